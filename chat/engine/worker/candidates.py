"""The candidates for one token: a numpy array that llama.cpp's samplers and ours take turns on."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt

__all__ = ["Candidates", "Floats", "Ints", "Native", "Table"]

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[Any]
"""Token ids, of whatever width."""


class Candidates:
    """Tokens that may still be chosen, and their logits, in parallel arrays; never empty.

    `logits` and `weights`, when given, are those of the whole vocabulary: what of them is needed is looked up
    when it is.
    """

    __slots__ = ("_all_logits", "_all_weights", "_logits", "ids", "is_sorted")

    def __init__(self, ids: Ints, logits: Floats, weights: Floats | None = None) -> None:
        self.ids = ids
        self.is_sorted = False
        """True: best first."""
        self._logits: Floats | None = None
        self._all_logits = logits
        self._all_weights = weights

    @property
    def logits(self) -> Floats:
        if self._logits is None:
            self._logits = self._all_logits[self.ids]
        return self._logits

    @logits.setter
    def logits(self, logits: Floats) -> None:
        self._logits, self._all_weights = logits, None

    def weights(self) -> Floats:
        """Probabilities but for a factor."""
        if self._all_weights is not None:
            return self._all_weights[self.ids]
        return np.asarray(np.exp(self.logits - self.logits.max()), np.float32)

    def keep(self, places: Ints) -> None:
        """Drops all candidates but those at these places, or where a mask is true."""
        self.ids = self.ids[places]
        if self._logits is not None:
            self._logits = self._logits[places]


class Table:
    """A llama_token_data_array over numpy memory, which all native samplers of a chain share."""

    def __init__(self, capacity: int) -> None:
        self.rows = np.zeros(capacity, CANDIDATE)
        self._data = self.rows.ctypes.data_as(api.llama_token_data_p)
        self._array = api.llama_token_data_array(data=self._data, size=0, selected=-1, sorted=False)
        self._reference = ctypes.byref(self._array)

    def load(self, ids: Ints, logits: Floats) -> None:
        """Fills the first rows."""
        rows = self.rows[: ids.size]
        rows["id"] = ids
        rows["logit"] = logits

    def apply(self, handle: Any, size: int, is_sorted: bool = False) -> int:
        """Runs a native sampler on the first rows; the chosen token, -1 if it does not choose."""
        array = self._array
        array.data, array.size, array.selected, array.sorted = self._data, size, -1, is_sorted
        api.llama_sampler_apply(handle, self._reference)
        selected = array.selected
        return int(array.data[selected].id) if 0 <= selected < array.size else -1

    def take(self, candidates: Candidates) -> None:
        """What the last sampler left. XTC cuts by moving the array's beginning."""
        address = ctypes.cast(self._array.data, ctypes.c_void_p).value or 0
        first = (address - self.rows.ctypes.data) // CANDIDATE.itemsize
        rows = self.rows[first : first + self._array.size]
        candidates.ids, candidates.logits = rows["id"], rows["logit"]
        candidates.is_sorted = bool(self._array.sorted)


class Native:
    """A llama_sampler_chain on a shared table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.handle: Any = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        self.chooses = False
        """Its last sampler draws the token."""

    def add(self, sampler: Any) -> None:
        """Takes a sampler over; it is freed with the chain."""
        api.llama_sampler_chain_add(self.handle, sampler)

    def __call__(self, candidates: Candidates) -> int:
        """Runs on the candidates; the chosen token, -1 if it does not choose."""
        count = candidates.ids.size
        self.table.load(candidates.ids, candidates.logits)
        chosen = self.table.apply(self.handle, count, candidates.is_sorted)
        if not self.chooses:
            self.table.take(candidates)
        return chosen

    def accept(self, token: int) -> None:
        api.llama_sampler_accept(self.handle, token)

    def reset(self) -> None:
        api.llama_sampler_reset(self.handle)

    def close(self) -> None:
        if self.handle:
            api.llama_sampler_free(self.handle)
            self.handle = None

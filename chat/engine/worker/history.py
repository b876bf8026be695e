"""What the samplers look back on: the end of the prompt and the reply so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chat.engine.worker.candidates import Floats, Ints, Native, Table

__all__ = ["History"]


class History:
    """The tokens that penalties, DRY and biased sequences see, and the native samplers that are told them."""

    def __init__(self, size: int, order: int = 0) -> None:
        """`size`: tokens in the vocabulary."""
        self.window = order
        """Tokens of the past that anyone looks back on."""
        self.ids: Ints = np.zeros(0, np.intp)
        """Each token of it once."""
        self._all_ids = np.zeros(size, np.intp)
        self._table = Table(size)
        """The same tokens as llama.cpp takes them, filled in once: only their logits change."""
        self._logits: Floats = self._table.rows["logit"][:0]
        self.natives: list[Native] = []
        """Samplers that are told every token."""
        self._seen: set[int] = set()
        self._ordered = order
        self._recent: list[int] = []

    def look_back(self, count: int) -> None:
        """So many tokens matter."""
        self.window = max(self.window, count)

    def keep_order(self, count: int) -> None:
        """`recent` and `ends_with` are to know so many tokens."""
        self._ordered = max(self._ordered, count)
        self.look_back(count)

    def fill(self, tokens: Sequence[int]) -> None:
        """Starts afresh with the tail of these."""
        tail = tokens[max(0, len(tokens) - self.window) :] if self.window else []
        self._seen = set(tail)
        self._know(0, list(dict.fromkeys(tail)))
        self._recent = list(tail[max(0, len(tail) - self._ordered) :]) if self._ordered else []
        for native in self.natives:
            native.reset()
            for token in tail:
                native.accept(token)

    def accept(self, token: int) -> None:
        """One more."""
        if not self.window:
            return
        for native in self.natives:
            native.accept(token)
        if token not in self._seen:
            self._seen.add(token)
            self._know(self.ids.size, [token])
        if self._ordered:
            self._recent.append(token)
            if len(self._recent) > 2 * self._ordered:
                del self._recent[: -self._ordered]

    def apply(self, native: Native, logits: Floats) -> None:
        """Penalties and DRY change only tokens of the past: only those are shown to them. In place."""
        ids, mine = self.ids, self._logits
        if ids.size:
            mine[:] = logits[ids]
            self._table.apply(native.handle, ids.size)
            logits[ids] = mine

    def _know(self, start: int, tokens: Sequence[int]) -> None:
        end = start + len(tokens)
        self._all_ids[start:end] = tokens
        self._table.rows["id"][start:end] = tokens
        self.ids = self._all_ids[:end]
        self._logits = self._table.rows["logit"][:end]

    def recent(self, count: int) -> Sequence[int]:
        """The last tokens, oldest first."""
        return self._recent[-count:]

    def ends_with(self, tokens: Sequence[int]) -> bool:
        """Whether these are the last tokens."""
        return tuple(self._recent[-len(tokens) :]) == tuple(tokens)

"""The sampler chain of one reply: llama.cpp's samplers and ours, over candidates in a numpy array.

Order: bans, penalties, DRY, top-n-sigma, (prefilter), top-k, TFS, typical, top-p, min-p, XTC, temperature,
draw. What is neutral is left out, so `names` is the chain that is really in force.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Sequence
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt

from chat.engine.worker.tail_free import tail_free_keep
from presets.sampling import Sampling

__all__ = ["PREFILTER", "Chain"]

PREFILTER = 1e-5
"""Probability that the prefilter may drop at most. Exact sorting of a whole vocabulary costs milliseconds a
token, and the thousands of tokens at its end weigh less than this together."""

PREFILTER_CUTS = tuple(np.exp(np.float32(-depth)) for depth in (14.0, 18.0, 22.0))
"""Weights, the best token's being 1, that are tried as the cut until what lies below is little enough."""

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class _Native:
    """A llama_sampler_chain applied to a numpy array of candidates."""

    def __init__(self, capacity: int) -> None:
        self.handle: Any = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        self.candidates = np.zeros(capacity, CANDIDATE)
        self._data = self.candidates.ctypes.data_as(api.llama_token_data_p)
        self._array = api.llama_token_data_array(data=self._data, size=0, selected=-1, sorted=False)
        self._reference = ctypes.byref(self._array)
        self.used = False

    def add(self, sampler: Any) -> None:
        api.llama_sampler_chain_add(self.handle, sampler)
        self.used = True

    def apply(self, size: int, is_sorted: bool = False) -> int:
        """Runs the chain on the first `size` candidates; returns the chosen token, -1 if it does not
        choose."""
        array = self._array
        array.data, array.size, array.selected, array.sorted = self._data, size, -1, is_sorted
        api.llama_sampler_apply(self.handle, self._reference)
        selected = array.selected
        return int(array.data[selected].id) if 0 <= selected < array.size else -1

    def accept(self, token: int) -> None:
        api.llama_sampler_accept(self.handle, token)

    def reset(self) -> None:
        api.llama_sampler_reset(self.handle)

    def close(self) -> None:
        if self.handle:
            api.llama_sampler_free(self.handle)
            self.handle = None


class Chain:
    """Chooses the tokens of one reply. `vocab` is llama.cpp's handle; only DRY needs it.

    `banned` tokens are never chosen.
    """

    def __init__(
        self, size: int, sampling: Sampling, seed: int, banned: Iterable[int] = (), vocab: Any = None
    ) -> None:
        self.names: list[str] = []
        self._sampling = sampling
        self._logits = np.zeros(size, np.float32)
        self._work = np.zeros(size, np.float32)
        self._banned = np.array(sorted(set(banned)), np.int32)
        if self._banned.size:
            self.names.append(f"ban({self._banned.size})")
        self._window = 0
        self._history = np.zeros(0, np.int32)
        self._seen: set[int] = set()
        self._looks_back = _Native(size)
        self._add_history_samplers(vocab)
        self._sharpness = 1.0 / max(1.0, sampling.temperature)
        self._chooses = _Native(size)
        # What stands between the penalties and a greedy choice never cuts the best token, but for these two.
        self._takes_best = (sampling.temperature, sampling.typical_p, sampling.xtc_probability) == (0, 1, 0)
        self._add_choosing_samplers(_seed32(seed))

    def _add_history_samplers(self, vocab: Any) -> None:
        """Samplers that can change only tokens which stand in the history."""
        s = self._sampling
        values = (s.repeat_penalty, s.frequency_penalty, s.presence_penalty)
        if values != (1.0, 0.0, 0.0) and s.repeat_last_n > 0:
            penalties = api.llama_sampler_init_penalties(self._logits.size, s.repeat_last_n, *values)
            self._looks_back.add(penalties)
            self._window = s.repeat_last_n
            names = ("repeat_penalty", "frequency_penalty", "presence_penalty")
            for name, value, neutral in zip(names, values, (1.0, 0.0, 0.0), strict=True):
                if value != neutral:
                    self.names.append(f"{name}({value:g})")
        if s.dry_multiplier > 0 and s.dry_penalty_last_n > 0 and vocab is not None:
            breakers = [text.encode() for text in s.dry_sequence_breakers]
            array = (ctypes.c_char_p * len(breakers))(*breakers)
            self._looks_back.add(
                api.llama_sampler_init_dry(
                    vocab,
                    s.dry_multiplier,
                    s.dry_base,
                    s.dry_allowed_length,
                    s.dry_penalty_last_n,
                    array,
                    len(breakers),
                )
            )
            self._window = max(self._window, s.dry_penalty_last_n)
            self.names.append(f"dry({s.dry_multiplier:g})")

    def _add_choosing_samplers(self, seed: int) -> None:
        s, add = self._sampling, self._chooses.add
        if s.top_n_sigma > 0:
            self.names.append(f"top_n_sigma({s.top_n_sigma:g})")
        if not self._takes_best:
            self.names.append(f"prefilter({PREFILTER:g})")
        self._ours = s.tfs_z < 1.0
        if s.top_k > 0:
            self.names.append(f"top_k({s.top_k})")
            if not self._ours:
                add(api.llama_sampler_init_top_k(s.top_k))
        if self._ours:
            self.names.append(f"tfs_z({s.tfs_z:g})")
        if s.typical_p < 1.0:
            self.names.append(f"typical_p({s.typical_p:g})")
            add(api.llama_sampler_init_typical(s.typical_p, 1))
        if s.top_p < 1.0:
            self.names.append(f"top_p({s.top_p:g})")
            add(api.llama_sampler_init_top_p(s.top_p, 1))
        if s.min_p > 0.0:
            self.names.append(f"min_p({s.min_p:g})")
            add(api.llama_sampler_init_min_p(s.min_p, 1))
        if s.xtc_probability > 0.0:
            self.names.append(f"xtc({s.xtc_probability:g})")
            add(api.llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 1, seed))
        if s.temperature == 0.0:
            self.names.append("greedy")
            add(api.llama_sampler_init_greedy())
            return
        if s.temperature != 1.0:
            self.names.append(f"temperature({s.temperature:g})")
            add(api.llama_sampler_init_temp(s.temperature))
        self.names.append("dist")
        add(api.llama_sampler_init_dist(seed))

    def prime(self, tokens: Sequence[int]) -> None:
        """Starts afresh, with the prompt's tail as the history that penalties and DRY look back on."""
        self._looks_back.reset()
        self._chooses.reset()
        tail = tokens[max(0, len(tokens) - self._window) :] if self._window else []
        self._seen = set(tail)
        self._history = np.fromiter(dict.fromkeys(tail), np.int32, len(self._seen))
        for token in tail:
            self._looks_back.accept(token)

    def accept(self, token: int) -> None:
        """Records a token that was chosen."""
        if self._window:
            self._looks_back.accept(token)
            if token not in self._seen:
                self._seen.add(token)
                self._history = np.append(self._history, np.int32(token))
        self._chooses.accept(token)

    def sample(self, logits: Floats, forbidden: Sequence[int] = ()) -> int:
        """The next token. `logits`: shape (vocabulary,), left as it is. `forbidden` holds for this one token.

        Raises FloatingPointError when no token can be chosen: all are banned, or the model gave no numbers.
        """
        work = self._logits
        np.copyto(work, logits)
        if self._banned.size:
            work[self._banned] = -np.inf
        if forbidden:
            work[np.fromiter(forbidden, np.int32)] = -np.inf
        self._look_back(work)
        likeliest = int(work.argmax())
        best = float(work[likeliest])
        if not math.isfinite(best):
            raise FloatingPointError("no token can be chosen")
        if self._takes_best:
            return likeliest
        if self._sampling.top_n_sigma > 0:
            self._top_n_sigma(work, best)
        ids = self._prefilter(work, best)
        if self._ours:
            ids = self._tail_free(work, ids)
        count = ids.size
        candidates = self._chooses.candidates[:count]
        candidates["id"] = ids
        candidates["logit"] = work[ids]
        return self._chooses.apply(count, is_sorted=self._ours)

    def close(self) -> None:
        """Frees the native samplers."""
        self._looks_back.close()
        self._chooses.close()

    def _look_back(self, work: Floats) -> None:
        """Penalties and DRY change only tokens of the history: only those are shown to them."""
        count = self._history.size
        if not self._looks_back.used or not count:
            return
        candidates = self._looks_back.candidates[:count]
        candidates["id"] = self._history
        candidates["logit"] = work[self._history]
        self._looks_back.apply(count)
        work[candidates["id"]] = candidates["logit"]

    def _top_n_sigma(self, work: Floats, best: float) -> None:
        """Top-n-sigma (Tang et al. 2024) on the whole vocabulary, as llama.cpp has it."""
        finite = work[np.isfinite(work)]
        depth = self._sampling.top_n_sigma * float(finite.std(dtype=np.float64))
        work[work < best - depth] = -np.inf

    def _prefilter(self, work: Floats, best: float) -> Ints:
        """The tokens that matter: those left out have less than PREFILTER of the probability together.

        Measured at temperature 1 or the reply's own, whichever is flatter, and before anything is cut.
        """
        weights = self._work
        np.subtract(work, best, out=weights)
        if self._sharpness != 1.0:
            np.multiply(weights, self._sharpness, out=weights)
        np.exp(weights, out=weights)
        total = float(weights.sum())
        for cut in PREFILTER_CUTS:
            ids: Ints = (weights >= cut).nonzero()[0]
            if total - float(weights[ids].sum()) <= PREFILTER * total:
                return ids
        return np.asarray(weights.nonzero()[0])

    def _tail_free(self, work: Floats, ids: Ints) -> Ints:
        """Top-k and TFS; the ids that stay, best first."""
        s = self._sampling
        weights = self._work[ids] if self._sharpness == 1.0 else np.exp(work[ids] - work[ids].max())
        ordered = np.sort(weights)[::-1]
        if s.top_k > 0:
            ordered = ordered[: s.top_k]
        p = ordered / ordered.sum()
        keep = tail_free_keep(p, s.tfs_z, s.tfs_min_keep, s.tfs_variant == "reference")
        among = (weights >= ordered[keep - 1]).nonzero()[0]
        if among.size > 1:
            among = among[np.argsort(-weights[among], kind="stable")[:keep]]
        return np.asarray(ids[among])


def _seed32(seed: int) -> int:
    """llama.cpp's samplers take 32 bits, and all ones mean `at random` to them."""
    folded = (seed ^ seed >> 32) & 0xFFFFFFFF
    return folded if folded != 0xFFFFFFFF else 0xFFFFFFFE

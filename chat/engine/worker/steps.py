"""The samplers that are ours: what llama.cpp does not have, as functions of candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from chat.engine.worker.candidates import Candidates, Floats, Ints, Native
from chat.engine.worker.tail_free import tail_free_head, tail_free_keep
from presets.sampling import Sampling

__all__ = ["GuardedXTC", "MinPReach", "Smoothing", "TailFree", "TopA", "TopKReach", "penalize_by_age"]


HEAD_DEPTHS = (8.0, 11.0, 15.0)
"""How far below the best logit `TailFree.head` looks: the few of the first one settle most cuts, and the last
one is still a third of the whole path's cost."""

TOP_K_DEPTHS = (8.0, 16.0)
"""How far below the best logit `TopKReach` looks before it takes all."""

ROUNDED_UP = 1e-3
"""What logits in float32 may be off by, and more."""


class TailFree:
    """TFS, with the top-k that stands right before it: both need the same order."""

    def __init__(self, sampling: Sampling, top_k: int = 0) -> None:
        self._top_k = top_k
        self._z = sampling.tfs_z
        self._min_keep = sampling.tfs_min_keep
        self._reference = sampling.tfs_variant == "reference"

    def head(self, logits: Floats, best: float) -> Ints | None:
        """What it keeps of a whole vocabulary, in its order, found without a look at the unlikely ones; None
        where they could move the cut."""
        for depth in HEAD_DEPTHS:
            ids: Ints = (logits >= best - depth).nonzero()[0]
            weights = logits[ids]
            weights -= best
            np.exp(weights, out=weights)
            ordered = weights.copy()
            ordered.sort()
            ordered, most = ordered[::-1], logits.size
            if 0 < self._top_k <= ids.size:
                ordered, most = ordered[: self._top_k], self._top_k
            keep = tail_free_head(ordered, most, self._z, self._min_keep, self._reference)
            if keep is not None:
                return np.asarray(ids[_best(weights, ordered[keep - 1], keep)])
        return None

    def __call__(self, candidates: Candidates) -> int:
        places = candidates.ids.argsort()
        weights = candidates.weights()[places]
        ordered = np.sort(weights)[::-1]
        if self._top_k > 0:
            ordered = ordered[: self._top_k]
        p = ordered / ordered.sum()
        keep = tail_free_keep(p, self._z, self._min_keep, self._reference)
        candidates.keep(places[_best(weights, ordered[keep - 1], keep)])
        candidates.is_sorted = False
        return -1


def _best(weights: Floats, least: np.float32, keep: int) -> Ints:
    """The places of the so many best, in their own order; `least` is the weight of the last of them. Of
    those that weigh the same the first stay."""
    places = (weights >= least).nonzero()[0]
    if places.size > keep:
        equal = places[weights[places] == least]
        places = np.setdiff1d(places, equal[keep - places.size :], assume_unique=True)
    return np.asarray(places)


class MinPReach:
    """What min-p can keep: nothing is so little likely beside the best."""

    def __init__(self, share: float) -> None:
        self._depth = ROUNDED_UP - math.log(share)

    def __call__(self, logits: Floats, best: float) -> Ints:
        return np.asarray((logits >= best - self._depth).nonzero()[0])


class TopKReach:
    """What top-k can keep: any so many tokens and what is as likely as they are."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, logits: Floats, best: float) -> Ints:
        for depth in TOP_K_DEPTHS:
            ids = (logits >= best - depth).nonzero()[0]
            if ids.size >= self._count:
                return np.asarray(ids)
        return np.asarray((logits > -np.inf).nonzero()[0])


class TopA:
    """KoboldAI's top-a: drops what is less likely than `a` times the square of the best probability."""

    def __init__(self, a: float) -> None:
        self._a = a

    def __call__(self, candidates: Candidates) -> int:
        weights = candidates.weights()
        # p < a p0^2 with p = w / sum and p0 = w0 / sum; the best one stays whatever rounding says.
        best = float(weights.max())
        candidates.keep(weights >= min(best, self._a * best * best / float(weights.sum(dtype=np.float64))))
        return -1


class Smoothing:
    """Quadratic sampling with a curve (kalomaze; KoboldCpp and text-generation-webui have this formula).

    A logit x below the best becomes -k f x^2 + s f x^3 with k = (3 - curve) / 2 and s = (curve - 1) / 2.
    """

    def __init__(self, factor: float, curve: float) -> None:
        self._square = np.float32(-factor * (3 - curve) / 2)
        self._cube = np.float32(factor * (curve - 1) / 2)

    def __call__(self, candidates: Candidates) -> int:
        best = candidates.logits.max()
        below = candidates.logits - best
        bent = below * below * (self._square + self._cube * below)
        bent[~np.isfinite(below)] = -np.inf
        candidates.logits = best + bent
        candidates.is_sorted = False
        return -1


class GuardedXTC:
    """llama.cpp's XTC, passed over where it would remove a protected token (line breaks, the reply's end).

    text-generation-webui has the same rule: without it, paragraphs and replies do not end.
    """

    def __init__(self, native: Native, threshold: float, size: int, protected: Sequence[int]) -> None:
        self._native = native
        self._threshold = threshold
        self._protected = np.zeros(size, np.bool_)
        self._protected[np.fromiter(protected, np.int32, len(protected))] = True

    def __call__(self, candidates: Candidates) -> int:
        flags = self._protected[candidates.ids]
        if flags.any() and self._would_remove(candidates, flags):
            return -1
        return self._native(candidates)

    def _would_remove(self, candidates: Candidates, flags: Ints) -> bool:
        weights = candidates.weights()
        above = (weights >= self._threshold * weights.sum()).nonzero()[0]
        if above.size < 2:
            return False
        last = above[weights[above].argmin()]  # the least likely of them stays
        return bool(flags[above].sum() > flags[last])


def penalize_by_age(
    logits: Floats, ids: Ints, recent: Sequence[int], penalty: float, slope: float, size: int
) -> None:
    """KoboldCpp's repetition penalty with a slope, in place: tokens that stand only in the older half of
    `recent` get 1 + (penalty - 1) * slope."""
    half = len(recent) // 2
    factors = np.ones(size, np.float32)
    factors[np.asarray(recent[:half], np.int64)] = 1 + (penalty - 1) * slope if penalty > 1 else penalty
    factors[np.asarray(recent[half:], np.int64)] = penalty
    factor = factors[ids]
    np.multiply(logits, factor, out=logits, where=logits <= 0)
    np.divide(logits, factor, out=logits, where=logits > 0)

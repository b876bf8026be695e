"""Tail-free sampling: cuts where the curve of sorted probabilities stops bending.

The arithmetic is that of llama.cpp's `llama_sampler_tail_free_apply` (before October 2024, b3995), which
KoboldCpp keeps; the reference variant is that of KoboldAI's and text-generation-webui's TailFreeLogitsWarper.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["tail_free_head", "tail_free_keep"]

Floats = npt.NDArray[np.float32]

FLAT = 1e-6
"""Second differences that sum to less are noise; the weights are then uniform."""

ROUNDING = 2e-5
"""What sums of some thousand numbers in float32 may differ by."""


def tail_free_keep(p: Floats, z: float, min_keep: int = 1, reference: bool = False) -> int:
    """How many of the probabilities, sorted in descending order, stay: at least 1, all when z >= 1.

    `reference` keeps one more than llama.cpp does, and always drops the last.
    """
    n = p.size
    if z >= 1 or n <= 2:
        return n
    first = p[:-1] - p[1:]
    second = np.abs(first[:-1] - first[1:])
    total = second.sum()
    weights = second / total if total > FLAT else np.full(n - 2, 1 / (n - 2), np.float32)
    hit = int(np.searchsorted(np.cumsum(weights), np.float32(z), side="right"))  # the first sum above z
    if not reference:
        hit = max(hit, min_keep)
    if hit >= n - 2:
        return n - int(reference)
    return max(hit + int(reference), min_keep)


def tail_free_head(
    weights: Floats, most: int, z: float, min_keep: int = 1, reference: bool = False
) -> int | None:
    """`tail_free_keep` from the beginning of the sorted weights alone, the best one's being 1.

    `most` is how many there are of all of them, at most. None where the beginning does not settle it.
    """
    if weights.size < min_keep + 4:
        return None
    first = weights[:-1] - weights[1:]
    second = first[:-1] - first[1:]
    sums = np.abs(second, out=second).cumsum()
    least = float(sums[-1])
    if least <= FLAT * most:  # it may be as flat as noise
        return None
    # Behind the last one the weights fall to 0 at most, so that much is what their differences sum to.
    beyond = float(first[-1] + 2 * weights[-1]) if weights.size < most else 0.0
    hit = int(sums.searchsorted(np.float32(z * least * (1 - ROUNDING)), side="right"))
    if hit >= second.size - 1 or sums[hit] <= z * (least + beyond) * (1 + ROUNDING):
        return None
    if not reference:
        hit = max(hit, min_keep)
    return max(hit + int(reference), min_keep)

"""Cutting the middle out of what was read: the rest moves up, instead of being read again.

Approximate, as KoboldCpp's ContextShift and llama-server's `--cache-reuse` are: what stays was read while the
text that is gone stood before it, and remembers it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from chat.engine.worker.cache import CachedSequence, Plan
from chat.engine.worker.reading import GenerateError
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.slots import Slots
from chat.engine.worker.tokens import Tokenized

__all__ = ["move_up"]

LEAST = 64
"""Tokens that must be spared; for fewer it is not worth being wrong."""
NEEDLE = 48
"""Bytes by which the place is found where the prompt goes on."""
TRIES = 64
"""Such places that are looked at."""
SEAM = 16
"""Tokens at such a place, among which one has to begin where one of the new prompt does."""


def move_up(slots: Slots, prompt: Tokenized) -> int:
    """Cuts out of the chat's sequence what the prompt leaves out, where it goes on with what comes behind.

    Returns the tokens that were moved. Raises GenerateError for a model that cannot move them.
    """
    sequence = slots.main
    if not slots.context.can_shift:
        message = "This model cannot move what it has read; turn the setting shift off."
        raise GenerateError("request", message)
    gap = _gap(sequence, prompt)
    if gap is None:
        return 0
    for other in slots.others:
        if other.shared_with(sequence) > gap.start:  # its cells would move too
            slots.drop(other)
    seam = slots.fork(sequence, gap.start)
    try:
        if gap.ids:
            if slots.context.decode(gap.ids, gap.start, seam.number) != 0:
                return 0
            seam.cache.add(gap.ids, gap.images)
        return sequence.take_in(gap.start, gap.end, seam)
    finally:
        slots.drop(seam)


@dataclass(frozen=True, slots=True)
class _Gap:
    """What goes: the tokens from `start` up to `end`. Where a token of the old text reaches over its edge, a
    few come in its place."""

    start: int
    end: int
    ids: list[int]
    images: list[bytes]


def _gap(sequence: LiveSequence, prompt: Tokenized) -> _Gap | None:
    """The gap that leaves most standing; None where the prompt does not go on behind one."""
    cache = sequence.cache
    plan = cache.plan(prompt)
    if plan.broken_at is None:
        return None
    best, most = None, plan.kept + LEAST - 1
    for gap in _gaps(cache, plan):
        without = cache.copy()
        without.replace(gap.start, gap.end, gap.ids, gap.images)
        kept = without.plan(prompt).kept
        if kept > most:
            best, most = gap, kept
    return best


def _gaps(cache: CachedSequence, plan: Plan) -> Iterator[_Gap]:
    """Places behind which the cache may hold what the prompt goes on with, at most so many."""
    start = plan.kept
    images = cache.stored_images(start, cache.solid)
    text, rest = b"".join(images), b"".join(plan.images)
    ends = list(accumulate(map(len, images), initial=0))
    begins = {offset: count for count, offset in enumerate(accumulate(map(len, plan.images), initial=0))}
    at = text.find(rest[:NEEDLE], 1)
    for _ in range(TRIES):
        if at < 0:
            return
        first = bisect_left(ends, at)
        for end in range(first, min(first + SEAM, len(ends))):
            count = begins.get(ends[end] - at)
            if count is not None:
                yield _Gap(start, start + end, plan.ids[:count], plan.images[:count])
                break
        at = text.find(rest[:NEEDLE], at + 1)

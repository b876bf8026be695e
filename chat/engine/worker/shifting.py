"""Cutting the middle out of what was read: the rest moves up, instead of being read again.

Approximate, as KoboldCpp's ContextShift and llama-server's `--cache-reuse` are: what stays was read while the
text that is gone stood before it, and remembers it.
"""

from __future__ import annotations

from itertools import accumulate

from chat.engine.worker.reading import GenerateError
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.slots import Slots
from chat.engine.worker.tokens import Tokenized

__all__ = ["move_up"]

LEAST = 64
"""Tokens that must be spared; for fewer it is not worth being wrong."""
NEEDLE = 48
"""Bytes by which the place is found where the prompt goes on."""


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
    start, end = gap
    for other in slots.others:
        if other.shared_with(sequence) > start:  # its cells would move too
            slots.drop(other)
    return sequence.cut_out(start, end)


def _gap(sequence: LiveSequence, prompt: Tokenized) -> tuple[int, int] | None:
    """First token that goes and first that stays behind it; None where the prompt does not go on so."""
    cache = sequence.cache
    plan = cache.plan(prompt)
    if plan.broken_at is None:
        return None
    images = cache.images[plan.kept : cache.solid]
    text, needle = b"".join(images), b"".join(plan.images)[:NEEDLE]
    tokens: dict[int, int] = {}
    for place, offset in enumerate(accumulate(map(len, images), initial=0), plan.kept):
        tokens.setdefault(offset, place)  # the first of those that begin a character together
    offset = text.find(needle)
    while offset >= 0:
        end = tokens.get(offset, plan.kept)
        if end > plan.kept:
            without = cache.copy()
            without.cut_out(plan.kept, end)
            if without.plan(prompt).kept - plan.kept >= LEAST:
                return plan.kept, end
        offset = text.find(needle, offset + 1)
    return None

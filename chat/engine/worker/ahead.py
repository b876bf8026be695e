"""Which sequence a prompt goes to: the chat's, one that was read ahead for it, or one of its own.

When the context is full, a block of the oldest turns leaves and all behind it must be read again. That is
done ahead of time, in a second sequence that shares the cells of what both begin with; the reply whose prompt
goes on from there finds it, and it becomes the chat's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chat.engine.protocol import Prepare, Prepared
from chat.engine.worker.cache import Plan
from chat.engine.worker.paging import align, fork_at_page, pack, padding
from chat.engine.worker.reading import PromptReader, ReadingListener
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.slots import Slots
from chat.engine.worker.tokens import Tokenized

__all__ = ["aside", "chats_sequence", "prepare"]


def chats_sequence(slots: Slots, prompt: Tokenized, reply: int) -> LiveSequence:
    """The sequence that a reply of up to so many tokens is written in; it is the chat's from now on.

    What was read ahead and is used takes the place of what was there, which is dropped at once: foreign cells
    slow the writing down. It goes too when the prompt is another chat's.
    """
    best = slots.best(prompt)
    if best is slots.prepared:
        slots.drop(slots.promote(best))
        slots.forget_prepared()
        pack(slots)
    elif best is not slots.main:
        slots.promote(best)
    plan = best.cache.plan(prompt)
    if slots.prepared is not None and 2 * plan.kept < best.length:
        slots.drop(slots.prepared)
    most = slots.context.size - plan.kept
    slots.make_room(min(len(plan.ids) + reply, most) - (best.length - plan.kept))
    return best


@contextmanager
def aside(slots: Slots, prompt: Tokenized, reply: int) -> Iterator[LiveSequence]:
    """A sequence for a side task, which begins with what another one holds of its prompt; gone afterwards.

    Where the cache is too full for what is new in it, that is the chat's own: then this loses its end.
    """
    source = slots.best(prompt)
    plan = source.cache.plan(prompt)
    fork = slots.fork(source, plan.kept)
    new = min(len(plan.ids) + reply, slots.context.size - plan.kept)
    try:
        yield fork if slots.make_room(new, (fork,)) else slots.main
    finally:
        slots.drop(fork)


def prepare(
    slots: Slots,
    request: Prepare,
    prompt: Tokenized,
    listener: ReadingListener,
    cancelled: Callable[[], bool],
) -> Prepared:
    """Reads a prompt ahead. Raises GenerateError for one that does not fit into the context."""
    started = time.monotonic()
    if not request.spans:
        if slots.prepared is not None:
            slots.drop(slots.prepared)
        return Prepared(id=request.id, evaluated=0, whole=True)
    if cancelled():  # before anything is forgotten for it
        return Prepared(id=request.id, evaluated=0, whole=False)
    sequence = slots.best(prompt) if request.purpose == "draft" else _second(slots, prompt)
    cache = sequence.cache
    plan = cache.plan(prompt)
    if cache.holds(plan):
        return Prepared(id=request.id, evaluated=0, whole=True)
    if sequence is slots.prepared and not _makes_room(slots, sequence, plan):
        if sequence.shared_with(slots.main) < sequence.length:  # the rest is read when it is needed
            return Prepared(id=request.id, evaluated=0, whole=True)
        slots.drop(sequence)
        return Prepared(id=request.id, evaluated=0, whole=False, room=False)
    reader = PromptReader(sequence, prompt, request.id, listener, cancelled)
    solid = min(cache.solid, reader.plan.kept)
    whole = reader.read()
    if sequence is slots.prepared:
        slots.prepared_end = slots.cells_used
    if request.purpose == "draft":
        cache.solid = solid  # nobody has said it yet, and so nothing is broken when it changes
    seconds = time.monotonic() - started
    return Prepared(id=request.id, evaluated=reader.evaluated, whole=whole, seconds=seconds)


def _second(slots: Slots, prompt: Tokenized) -> LiveSequence:
    """The sequence for what comes after the oldest turns have left: the chat's own where it would lose
    nothing by that."""
    main, known = slots.main, slots.prepared
    plan = main.cache.plan(prompt)
    if plan.broken_at is None:
        return main
    if known is not None and known.cache.plan(prompt).kept > plan.kept:
        return known
    if known is not None:
        slots.drop(known)
    pack(slots)
    slots.prepared = fork_at_page(slots, plan.kept)
    return slots.prepared


def _makes_room(slots: Slots, sequence: LiveSequence, plan: Plan) -> bool:
    """Room for the rest of a plan beside the chat's sequence, which may grow to its full size; at the
    beginning of a page, where there is room for that too."""
    rest = len(plan.ids) - (sequence.length - plan.kept) + slots.context.size - slots.main.length
    spared = [one for one in (sequence, slots.filling) if one is not None]
    if slots.make_room(rest + padding(slots, sequence), spared):
        align(slots, sequence)
        return True
    return slots.cells_free >= rest

"""Several replies to one prompt: it is read once, then each reply gets a token in every batch.

They share the prompt's cells. What each has written stays in the cache when all are over, so that any of them
may go on without being read, until others need the room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from chat.engine.protocol import Done, ReplyDone, Swipes, SwipesDone
from chat.engine.worker.ahead import chats_sequence
from chat.engine.worker.reading import GenerateError, NumbersLost, PromptReader, ReadingListener
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.siblings import Beginning
from chat.engine.worker.slots import Slots
from chat.engine.worker.tokens import Tokenized
from chat.engine.worker.words import words_of
from chat.engine.worker.writing import OVER, Writer

__all__ = ["FanOut", "SwipeListener"]

SHORTEST = 2
"""A reply may get the so-manieth part of the length that was asked for, where memory is short."""


class SwipeListener(ReadingListener, Protocol):
    """Who is told what happens."""

    def text(self, text: str, reply: int = 0) -> None: ...

    def reply_done(self, event: ReplyDone) -> None: ...


@dataclass(slots=True)
class _Alternative:
    """One of the replies."""

    number: int
    writer: Writer
    token: int = OVER
    """To be decoded next."""
    done: Done | None = None


class FanOut:
    """Writes several replies to one prompt. `cancelled` may turn true at any moment; the context's abort
    flag goes with it.

    Making it raises GenerateError for a prompt that is none and `room` where so many replies do not fit.
    """

    def __init__(
        self,
        slots: Slots,
        request: Swipes,
        prompt: Tokenized,
        listener: SwipeListener,
        cancelled: Callable[[], bool],
        ended: Callable[[], Collection[int]] = frozenset,
    ) -> None:
        """`ended`: those of the replies that should end early."""
        self._slots = slots
        self._request = request
        self._listener = listener
        self._cancelled = cancelled
        self._ended = ended
        common = request.generate
        vocabulary = slots.main.vocabulary
        self._prompt = prompt
        self._words = words_of(vocabulary, common.sampling, common.dry_breakers)
        self._base = self._sequence_for_the_prompt()
        self._reader = PromptReader(self._base, self._prompt, request.id, listener, cancelled)
        self._length = self._room_for_each()
        self._read_seconds = 0.0
        self.numbers_lost = False
        """Whether any reply failed as NumbersLost says."""
        self._writing_since: float | None = None

    def run(self) -> SwipesDone:
        """All replies. Raises GenerateError when none can be made; the cache's record is true whatever
        happens."""
        started = time.monotonic()
        ahead = len(self._reader.plan.ids)
        self._slots.make_room(ahead + self._length * len(self._request.seeds), (self._base,))
        alternatives = self._alternatives()
        try:
            whole = self._reader.read()
            self._read_seconds = time.monotonic() - started
            if whole:
                self._write(alternatives)
        finally:
            for one in alternatives:
                one.writer.close()
        replies = [self._finish(one) for one in alternatives]
        self._hand_over(alternatives)
        return SwipesDone(id=self._request.id, replies=replies)

    # Before -------------------------------------------------------------------------------------------------

    def _sequence_for_the_prompt(self) -> LiveSequence:
        """Where the prompt is read: a reply that stands behind it now keeps its own sequence."""
        slots = self._slots
        best = slots.best(self._prompt)
        kept = best.cache.plan(self._prompt).kept
        if 0 < kept < best.cache.solid and best is not slots.prepared:
            slots.promote(slots.fork(best, kept))
        return chats_sequence(slots, self._prompt, 0)

    def _room_for_each(self) -> int:
        """Tokens that each reply may have. Raises GenerateError."""
        context, count = self._slots.context, len(self._request.seeds)
        if count > context.sequences - 1:
            said = f"{count} replies at once are too many: this model's cache has places for"
            raise GenerateError("room", f"{said} {context.sequences - 1}.")
        prompt = self._reader.prompt_tokens
        wanted = max(1, min(self._request.generate.max_tokens, context.size - prompt))
        least = -(-wanted // SHORTEST)
        room = context.cells - prompt
        if room < count * least:
            possible = room // least
            fits = f"{possible} fit" if possible > 1 else "only one fits"
            held = f"memory holds {context.cells} tokens, the prompt takes {prompt}"
            said = f"{count} replies at once do not fit: {held} and each reply at least {least}"
            raise GenerateError("room", f"{said}; {fits}.")
        return min(wanted, room // count)

    def _alternatives(self) -> list[_Alternative]:
        """The writers, before anything is read: settings that are none are said at once."""
        common, seeds = self._request.generate, self._request.seeds
        known = [Beginning(text.encode(), over=True) for text in common.siblings]
        beginnings = [Beginning() for _ in seeds]
        found = []
        for number, seed in enumerate(seeds):
            writer = Writer(
                self._base,
                common.model_copy(update={"id": self._request.id, "seed": seed}),
                self._prompt,
                partial(self._listener.text, reply=number),
                [*known, *beginnings[:number], *beginnings[number + 1 :]],
                beginning=beginnings[number],
                words=self._words,
            )
            found.append(_Alternative(number, writer))
        return found

    # Writing ------------------------------------------------------------------------------------------------

    def _write(self, alternatives: Sequence[_Alternative]) -> None:
        base, self._writing_since = self._base, time.monotonic()
        first = np.array(base.context.logits())
        forks: list[LiveSequence] = []
        for one in alternatives:
            one.writer.sequence = self._slots.fork(base, base.length, forks)
            forks.append(one.writer.sequence)
        for one in alternatives:
            self._advance(one, partial(one.writer.begin, first, self._length))
        base.context.writing_threads.begin()
        while live := [one for one in alternatives if one.done is None]:
            ended = range(len(alternatives)) if self._cancelled() else self._ended()
            for one in live:
                if one.number in ended:
                    one.writer.end("cancelled")
                    self._finish(one)
            if live := [one for one in live if one.done is None]:
                self._step(live)

    def _step(self, live: Sequence[_Alternative]) -> None:
        """One more token for each."""
        for one in live:
            status = one.writer.catch_up()
            if status != 0:
                self._break_off(one, status)
        live = [one for one in live if one.done is None]
        if not live:
            return
        sequences = [one.writer.sequence for one in live]
        context = self._slots.context
        status = context.decode_each(
            [one.token for one in live],
            [sequence.length for sequence in sequences],
            [sequence.number for sequence in sequences],
        )
        if status != 0:
            for one in live:
                self._break_off(one, status)
            return
        context.writing_threads.written(len(live))
        for one in live:
            one.writer.sequence.cache.add((one.token,), (one.writer.image,))
        for row, one in enumerate(live):
            logits = context.logits(row)
            self._advance(one, partial(one.writer.step, logits))

    def _advance(self, one: _Alternative, step: Callable[[], int]) -> None:
        """What comes next in a reply; when it fails, it fails alone."""
        try:
            one.token = step()
        except GenerateError as error:
            self.numbers_lost = self.numbers_lost or isinstance(error, NumbersLost)
            one.writer.end("cancelled")
            self._finish(one, str(error))
            return
        if one.token == OVER:
            self._finish(one)

    def _break_off(self, one: _Alternative, status: int) -> None:
        try:
            one.writer.cut_short(status)
        except GenerateError as error:
            self._finish(one, str(error))
        else:
            self._finish(one)

    # After --------------------------------------------------------------------------------------------------

    def _finish(self, one: _Alternative, error: str = "") -> Done:
        """Tells that a reply is over, once."""
        if one.done is None:
            one.done = self._done(one)
            event = ReplyDone(id=self._request.id, reply=one.number, done=one.done, error=error)
            self._listener.reply_done(event)
            if one.writer.sequence is not self._base and not one.writer.generated:
                self._slots.drop(one.writer.sequence)
        return one.done

    def _hand_over(self, alternatives: Sequence[_Alternative]) -> None:
        """The chat goes on from the first of them that says something, for all that one can know here."""
        slots = self._slots
        first = next((one.writer for one in alternatives if one.writer.text), None)
        if first is not None and first.sequence is not self._base:
            slots.promote(first.sequence)
            slots.drop(self._base)

    def _done(self, one: _Alternative) -> Done:
        """The reading of the prompt was for the first; the others found it there."""
        writer, reader = one.writer, self._reader
        is_first, since = one.number == 0, self._writing_since
        return Done(
            id=self._request.id,
            text=writer.text,
            finish_reason=writer.reason or "cancelled",
            stop=writer.stop,
            prompt_tokens=reader.prompt_tokens,
            evaluated_tokens=reader.evaluated if is_first else 0,
            reused_tokens=reader.plan.kept if is_first else reader.prompt_tokens,
            generated_tokens=writer.generated,
            broken_at=reader.plan.broken_at if is_first else None,
            broken_span=reader.broken_span(self._request.generate.spans) if is_first else None,
            read_seconds=self._read_seconds if is_first else 0.0,
            write_seconds=time.monotonic() - since if since else 0.0,
            samplers=writer.samplers if since else [],
            rewound_tokens=writer.rewound,
            probs=writer.recorder.tokens if writer.recorder else [],
        )

"""Bringing a sequence to a prompt: keep what stands in its cache, read the rest in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from chat.engine.protocol import Reading, Span
from chat.engine.worker.cache import Plan
from chat.engine.worker.llama import ABORTED, NO_ROOM
from chat.engine.worker.sequence import CHUNK, CHUNK_GPU, LiveSequence
from chat.engine.worker.tokens import Tokenized, span_at

__all__ = ["GenerateError", "NumbersLost", "PromptReader", "ReadingListener", "decode_error"]

PROGRESS_SECONDS = 0.05
"""Reading events come no faster."""


class GenerateError(Exception):
    """A reply that cannot be made; `code` is a `Failed.code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NumbersLost(GenerateError):
    """What the model holds of the text leads to something that is no number, and so will all that follows."""


class ReadingListener(Protocol):
    """Who is told how far the reading is."""

    def reading(self, event: Reading) -> None: ...


class PromptReader:
    """Reads one prompt into a sequence. `cancelled` may turn true at any moment."""

    def __init__(
        self,
        sequence: LiveSequence,
        prompt: Tokenized,
        id: int,
        listener: ReadingListener,
        cancelled: Callable[[], bool],
    ) -> None:
        """Raises GenerateError for a prompt that is empty or leaves no room for a reply."""
        self._sequence = sequence
        self._prompt = prompt
        self._id = id
        self._listener = listener
        self._cancelled = cancelled
        self.plan = self._make_plan()
        self.evaluated = 0
        """Tokens that were read so far."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the whole prompt, as it stands in the cache when it is read."""
        return self.plan.kept + len(self.plan.ids)

    def broken_span(self, spans: Sequence[Span]) -> int | None:
        """Index of the span in which the prompt left what the cache held; None: it only grew."""
        byte = self.plan.broken_byte
        return None if byte is None else span_at(spans, byte)

    def read(self) -> bool:
        """Brings the cache to the prompt; False when it was cancelled on the way.

        The cache's record is true whatever happens. Raises GenerateError.
        """
        sequence = self._sequence
        cache, context = sequence.cache, sequence.context
        self._keep()
        plan = self.plan
        total = len(plan.ids)
        told = time.monotonic()
        self._tell(total)
        for start, end in self._chunks(total):
            ids = plan.ids[start:end]
            if end == total:  # where another reply to the same prompt will begin
                sequence.checkpoint(turn=True)
            status = ABORTED if self._cancelled() else context.decode(ids, len(cache.ids), sequence.number)
            if status != 0:
                return self._stop(status)
            cache.add(ids, plan.images[start:end])
            self.evaluated = end
            if end < total:
                sequence.checkpoint()
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS or self.evaluated == total:
                told = now
                self._tell(total)
        cache.solid = len(cache.ids)
        return True

    def _keep(self) -> None:
        """Forgets what the prompt does not begin with; what a model lost with it is read again."""
        sequence, plan = self._sequence, self.plan
        cache, kept = sequence.cache, plan.kept
        ids, images, starts = cache.ids[:kept], cache.images[:kept], set(cache.reply_starts)
        left = sequence.keep(kept)
        if left == kept:
            return
        if left == 0:
            self.plan = self._from_scratch(plan)
            return
        cache.reply_starts = {start for start in starts if start < kept}
        ids, images = ids[left:] + plan.ids, images[left:] + plan.images
        self.plan = Plan(left, ids, images, plan.broken_at, plan.broken_byte)

    def _chunks(self, total: int) -> list[tuple[int, int]]:
        """What is read at a time. Where the model needs checkpoints, the last token comes alone: the same
        prompt is answered again from before it. Elsewhere never: llama.cpp computes a single token in another
        way than several, and what a prompt gives would depend on its length."""
        context = self._sequence.context
        size = min(CHUNK_GPU if self._sequence.on_gpu else CHUNK, context.batch_size)
        if context.checkpointed and not self._sequence.sliding_window:
            last = total - 1
        else:
            last = total
            while size > 2 and total % size == 1:
                size -= 1
        ends = [*range(size, last, size), *([last] if 0 < last < total else []), total]
        return list(zip([0, *ends], ends, strict=False))

    def _make_plan(self) -> Plan:
        length, room = len(self._prompt.ids), self._sequence.context.size
        if length == 0:
            raise GenerateError("request", "The prompt is empty.")
        if length >= room:
            said = f"The prompt is {length} tokens long and the context holds {room}"
            raise GenerateError("context", f"{said}: nothing is left for a reply.")
        plan = self._sequence.cache.plan(self._prompt)
        return plan if plan.kept + len(plan.ids) < room else self._from_scratch(plan)

    def _from_scratch(self, plan: Plan) -> Plan:
        return Plan(0, self._prompt.ids, self._prompt.images, plan.broken_at, plan.broken_byte)

    def _stop(self, status: int) -> bool:
        sequence = self._sequence
        sequence.settle()
        sequence.cache.solid = len(sequence.cache.ids)
        if status != ABORTED:
            raise decode_error(status)
        return False

    def _tell(self, total: int) -> None:
        event = Reading(id=self._id, done=self.evaluated, total=total, reused=self.plan.kept)
        self._listener.reading(event)


def decode_error(status: int) -> GenerateError:
    """What a status of llama_decode means, in one line."""
    if status == NO_ROOM:
        return GenerateError("context", "The context has no room left.")
    return GenerateError("internal", f"llama.cpp could not evaluate the text (status {status}); see the log.")

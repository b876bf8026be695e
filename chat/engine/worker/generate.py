"""One reply: read what of the prompt is new, then write token by token until something ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from chat.engine.protocol import Done, Generate
from chat.engine.worker.reading import PromptReader, ReadingListener
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.siblings import Beginning
from chat.engine.worker.tokens import tokenize
from chat.engine.worker.writing import OVER, Writer

__all__ = ["Listener", "Reply"]


class Listener(ReadingListener, Protocol):
    """Who is told what happens."""

    def text(self, text: str) -> None: ...


class Reply:
    """Makes one reply. `cancelled` may turn true at any moment; the context's abort flag goes with it."""

    def __init__(
        self, sequence: LiveSequence, request: Generate, listener: Listener, cancelled: Callable[[], bool]
    ) -> None:
        self._sequence = sequence
        self._request = request
        self._listener = listener
        self._cancelled = cancelled
        self._prompt = tokenize(sequence.vocabulary, request.spans)
        self._reader = PromptReader(sequence, self._prompt, request.id, listener, cancelled)

    def run(self) -> Done:
        """The whole reply. Raises GenerateError; the cache's record is true whatever happens."""
        started = time.monotonic()
        siblings = [Beginning(text.encode(), over=True) for text in self._request.siblings]
        # Before the reading: a grammar that is none is said at once.
        writer = Writer(self._sequence, self._request, self._prompt, self._listener.text, siblings)
        try:
            whole = self._reader.read()
            read = time.monotonic()
            if whole:
                self._write(writer)
        finally:
            writer.close()
        return Done(
            id=self._request.id,
            text=writer.text,
            finish_reason=writer.reason or "cancelled",
            stop=writer.stop,
            prompt_tokens=self._reader.prompt_tokens,
            evaluated_tokens=self._reader.evaluated,
            reused_tokens=self._reader.plan.kept,
            generated_tokens=writer.generated,
            broken_at=self._reader.plan.broken_at,
            broken_span=self._reader.broken_span(self._request.spans),
            read_seconds=read - started,
            write_seconds=time.monotonic() - read,
            samplers=writer.samplers if whole else [],
            rewound_tokens=writer.rewound,
            probs=writer.recorder.tokens if writer.recorder else [],
        )

    def _write(self, writer: Writer) -> None:
        sequence, cancelled = self._sequence, self._cancelled
        context, cache, number = sequence.context, sequence.cache, sequence.number
        threads = context.writing_threads
        threads.begin()
        token = writer.begin(np.array(context.logits()))
        while token != OVER:
            if cancelled():
                writer.end("cancelled")
                return
            status = writer.catch_up() or context.decode_one(token, len(cache.ids), number)
            if status != 0:
                writer.cut_short(status)
                return
            threads.written()
            cache.add((token,), (writer.image,))
            sequence.checkpoint_in_writing()
            token = writer.step(context.logits())

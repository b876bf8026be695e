"""`python -P -m chat.engine.worker.bare MODEL CONTEXT`: llama.cpp with nothing of ours around it.

What `rpchat bench` compares the program with: a greedy loop over `llama_decode`, the library's own
`create_completion`, and a fresh reading of a prompt. One JSON object a line, in and out.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chat.engine.worker.__main__ import take_pipes

SEQUENCES = 4


class Bare:
    """A model and a context; each answer is a dictionary of plain values."""

    def __init__(self, model: str, context: int) -> None:
        from chat.engine.machine import writing_threads
        from chat.engine.needs import needs_of
        from chat.engine.plan import Machine, Wanted
        from chat.engine.planning import make_plan
        from chat.engine.worker import log
        from chat.engine.worker.llama import Context, Model, initialize
        from chat.engine.worker.tokens import Vocabulary
        from chat.gguf import read_header

        log.catch()
        initialize()
        self._path, self._size, self._threads = model, context, writing_threads()
        self._model = Model(model, 0, False, lambda _fraction: True)
        self._vocabulary = Vocabulary(self._model.vocab)
        flash = make_plan(needs_of(read_header(Path(model))), Machine(None), Wanted(context=context)).flash
        self._context = Context(
            self._model, context, self._threads, 512, SEQUENCES, flash_attention="auto" if flash else "off"
        )
        self._read: list[int] = []
        self._llama: Any = None

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Does one of `greedy`, `completion`, `candidates`."""
        match asked["do"]:
            case "greedy":
                return self._greedy(self._ids(asked["spans"]), asked["tokens"])
            case "completion":
                return self._completion(asked["text"], asked["tokens"], asked["sampling"])
            case _:
                return self._candidates(self._ids(asked["spans"]), asked["best"])

    def _ids(self, spans: Sequence[Mapping[str, Any]]) -> list[int]:
        from chat.engine.protocol import Span
        from chat.engine.worker.tokens import tokenize

        return tokenize(self._vocabulary, [Span.model_validate(span) for span in spans]).ids

    def _fresh(self, ids: Sequence[int], batch: int = 512) -> None:
        context = self._context
        context.clear(0)
        for start in range(0, len(ids), batch):
            context.decode(ids[start : start + batch], start)

    def _greedy(self, ids: list[int], tokens: int) -> dict[str, Any]:
        """Seconds for so many tokens behind a prompt that is read before the clock starts."""
        context = self._context
        if ids == self._read:
            context.remove(0, len(ids) - 1)
            context.decode_one(ids[-1], len(ids) - 1)
        else:
            self._fresh(ids)
            self._read = ids
        token = int(context.logits().argmax())
        begun = time.perf_counter()
        for position in range(len(ids), len(ids) + tokens):
            context.decode_one(token, position)
            token = int(context.logits().argmax())
        return {"seconds": time.perf_counter() - begun, "tokens": tokens}

    def _completion(self, text: str, tokens: int, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """The same through the library's own streaming call, from its first piece to its last."""
        from llama_cpp import Llama

        if self._llama is None:
            threads = self._threads
            self._llama = Llama(
                self._path, n_ctx=self._size, n_threads=threads, n_threads_batch=threads, verbose=False
            )
        begun, pieces = 0.0, -1
        for _piece in self._llama.create_completion(text, max_tokens=tokens, stream=True, **sampling):
            pieces += 1
            begun = begun or time.perf_counter()
        return {"seconds": time.perf_counter() - begun, "tokens": pieces}

    def _candidates(self, ids: list[int], best: int) -> dict[str, Any]:
        """The likeliest next tokens after a prompt that is read from nothing, in batches of 512."""
        import numpy as np

        self._fresh(ids)
        self._read = []
        logits = self._context.logits().astype(np.float64)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        order = np.argsort(-p)[:best]
        return {"ids": order.tolist(), "p": p[order].tolist()}


def main() -> None:
    """Answers until its input ends."""
    requests, answers = take_pipes()
    bare = Bare(sys.argv[1], int(sys.argv[2]))
    with os.fdopen(requests, encoding="utf-8") as lines, os.fdopen(answers, "w", encoding="utf-8") as out:
        for line in lines:
            print(json.dumps(bare.answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()

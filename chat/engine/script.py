"""What a scripted engine is told and what it answers with: replies, requests, operations, records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from chat.engine.protocol import (
    Candidate,
    Done,
    Event,
    FinishReason,
    Loaded,
    Prepared,
    SamplerStep,
    Span,
    SwipesDone,
    TokenProbs,
)
from presets.sampling import Sampling

__all__ = ["ScriptedGenerate", "ScriptedOperation", "ScriptedReply", "ScriptedSwipes", "recorded"]


@dataclass(frozen=True)
class ScriptedReply:
    """One reply, and how it comes."""

    text: str
    finish_reason: FinishReason = "eos"
    fail_after: int | None = None
    """Words after which the worker `dies`: EngineError("worker"), and `alive` turns false."""
    hold_after: int | None = None
    """Words after which the reply waits for `ScriptedEngine.go`."""
    delay: float = 0.0
    """Seconds before each word."""
    read_steps: int = 1
    """Reading events before the first word."""
    error: str = ""
    """Among several at once: it breaks off with this line when its words are said."""


@dataclass(frozen=True)
class ScriptedGenerate:
    """A request as it arrived."""

    spans: tuple[Span, ...]
    sampling: Sampling
    seed: int
    max_tokens: int
    stops: tuple[str, ...]
    ban_eos: bool
    strip_names: tuple[str, ...]
    keep_leading_space: bool
    dry_breakers: tuple[str, ...] = ()
    grammar_text: str = ""
    grammar_after: tuple[str, ...] = ()
    probs: int = 0
    aside: bool = False
    shift: bool = False
    siblings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    """Of several replies at once."""

    @property
    def prompt(self) -> str:
        """The prompt as text."""
        return "".join(span.text for span in self.spans)


FinalT = TypeVar("FinalT")


class ScriptedOperation(Generic[FinalT]):
    """An operation over events that are made as they are read."""

    def __init__(self, write: Callable[[threading.Event], Iterator[Event]]) -> None:
        self._cancelled = threading.Event()
        self._events = write(self._cancelled)
        self._last: Event | None = None
        self._ended = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            self._last = next(self._events)
        except StopIteration:
            self._ended = True
            raise
        return self._last

    def cancel(self) -> None:
        self._cancelled.set()

    def wait(self) -> FinalT:
        for _event in self:
            pass
        return cast(FinalT, self._last)

    @property
    def result(self) -> FinalT | None:
        return (
            cast(FinalT, self._last)
            if isinstance(self._last, Done | Loaded | Prepared | SwipesDone)
            else None
        )


class ScriptedSwipes(ScriptedOperation[SwipesDone]):
    """Several replies at once, each of which may be ended by itself."""

    def __init__(self, events: Iterator[Event], ended: Sequence[threading.Event]) -> None:
        super().__init__(lambda _cancelled: events)
        self._ended_early = ended

    def cancel(self) -> None:
        for one in self._ended_early:
            one.set()

    def end(self, reply: int) -> None:
        self._ended_early[reply].set()


def recorded(words: Sequence[str], best: int) -> list[TokenProbs]:
    """Each word as if the model had thought of `best` tokens, and top-k had left the first two."""
    tokens = []
    for number, word in enumerate(words if best else ()):
        thought = [Candidate(id=number, text=word, p=0.5)]
        thought += [Candidate(id=1000 + n, text=f" other{n}", p=0.5 / best) for n in range(1, best)]
        left = [Candidate(id=c.id, text=c.text, p=p) for c, p in zip(thought, (0.8, 0.2), strict=False)]
        steps = [
            SamplerStep(sampler="model", left=1000, best=thought),
            SamplerStep(sampler="top_k(2)", left=len(left), best=left),
        ]
        tokens.append(TokenProbs(id=number, text=word, steps=steps))
    return tokens

"""What a session and the screens know of an engine: its surface, whoever stands behind it.

`client.Engine` drives the worker process; `scripted.ScriptedEngine` has no process at all and serves tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypedDict, TypeVar, Unpack, runtime_checkable

from chat.engine.protocol import (
    Adapter,
    Build,
    CacheChoice,
    Done,
    Event,
    FlashAttention,
    Loaded,
    Prepared,
    Purpose,
    Span,
    StateRestored,
    StateSaved,
    SwipesDone,
)
from presets.sampling import Sampling

__all__ = ["Asked", "EngineError", "EngineSurface", "GpuLayers", "Operation", "SwipesOperation"]

Final_co = TypeVar("Final_co", covariant=True)

GpuLayers = int | Literal["auto"]
"""Layers on the GPU; `auto` takes as many as safely fit and fewer when that fails."""


class Asked(TypedDict, total=False):
    """What `generate` and `swipes` take in common."""

    stops: Sequence[str]
    ban_eos: bool
    strip_names: Sequence[str]
    keep_leading_space: bool
    dry_breakers: Sequence[str]
    grammar_text: str
    grammar_after: Sequence[str]
    siblings: Sequence[str]
    probs: int
    shift: bool


class EngineError(Exception):
    """What went wrong in the engine, as one line for people.

    `code` is one of `load` (a bad model file), `context` (the prompt is too long), `memory`, `request`
    (nothing is loaded, an impossible value), `adapter` (a file that is none, or for another model), `worker`
    (the process died) and `internal`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Operation(Protocol[Final_co]):
    """A request under way: a blocking iterator over its events that ends after the final one.

    Iterating raises EngineError when the request fails or the worker dies; what came before stays valid.
    """

    def __iter__(self) -> Iterator[Event]: ...

    def __next__(self) -> Event: ...

    def cancel(self) -> None:
        """Asks for an early end, from any thread; a reply then ends with finish reason `cancelled`."""
        ...

    def wait(self) -> Final_co:
        """Reads all events that are left and returns the final one. Raises EngineError."""
        ...

    @property
    def result(self) -> Final_co | None:
        """The final event, once it has come."""
        ...


class SwipesOperation(Operation[SwipesDone], Protocol):
    """Several replies under way."""

    def end(self, reply: int) -> None:
        """Asks for an early end of one of them, from any thread; the others go on."""
        ...


@runtime_checkable
class EngineSurface(Protocol):
    """An engine, real or scripted. Every method may be called from any thread."""

    @property
    def loaded(self) -> Loaded | None:
        """The model that stands ready; None before, and after the worker died."""
        ...

    @property
    def alive(self) -> bool:
        """Whether there is a worker to talk to."""
        ...

    def start(self) -> None:
        """Spawns the worker; returns at once."""
        ...

    def load(
        self,
        path: Path,
        *,
        context: int | None = None,
        gpu_layers: GpuLayers = "auto",
        threads: int | None = None,
        vocabulary_only: bool = False,
        cache_type: CacheChoice = "auto",
        flash_attention: FlashAttention = "auto",
        full_window: bool = False,
        adapters: Sequence[Adapter] = (),
    ) -> Operation[Loaded]:
        """Loads a model: Loading events, then Loaded.

        The worker begins at once, but with `auto` it is the iterating that steps down: read it to the end.
        """
        ...

    def adapt(self, adapters: Sequence[Adapter]) -> list[Adapter]:
        """Puts these adapters in the place of those in force, and returns them; blocks.

        Raises EngineError, and then nothing has changed.
        """
        ...

    def count(self, spans: Sequence[Span]) -> list[int]:
        """Tokens of each span when all are tokenized as one prompt; blocks. Raises EngineError."""
        ...

    def generate(
        self,
        spans: Sequence[Span],
        sampling: Sampling,
        *,
        seed: int,
        max_tokens: int,
        stops: Sequence[str] = (),
        ban_eos: bool = False,
        strip_names: Sequence[str] = (),
        keep_leading_space: bool = False,
        dry_breakers: Sequence[str] = (),
        grammar_text: str = "",
        grammar_after: Sequence[str] = (),
        siblings: Sequence[str] = (),
        probs: int = 0,
        aside: bool = False,
        shift: bool = False,
    ) -> Operation[Done]:
        """Reads the prompt and writes a reply: Reading and Text events, then Done."""
        ...

    def swipes(
        self,
        spans: Sequence[Span],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        max_tokens: int,
        **asked: Unpack[Asked],
    ) -> SwipesOperation:
        """Reads the prompt and writes a reply for each seed, side by side: Reading, Text and ReplyDone
        events, then SwipesDone. EngineError `room` when they do not fit in memory."""
        ...

    def prepare(self, spans: Sequence[Span], purpose: Purpose) -> Operation[Prepared]:
        """Reads a prompt ahead: Reading events, then Prepared. Whatever else is asked for comes first."""
        ...

    def save_state(
        self, folder: Path, chat: str, *, quota: int | None = None, within: float | None = None
    ) -> Operation[StateSaved]:
        """Writes what stands in the chat's sequence to a file of that folder, where it pays: StateSaved."""
        ...

    def restore_state(self, folder: Path, chat: str) -> Operation[StateRestored]:
        """Brings it back, where the file is for this very model: StateRestored."""
        ...

    def devices(self) -> Build:
        """The build of llama.cpp and its devices; blocks. Raises EngineError."""
        ...

    def restart(self) -> Operation[Loaded]:
        """Ends the worker, if it lives, and loads the same model in a new one.

        Raises EngineError when no model was ever asked for.
        """
        ...

    def close(self) -> None:
        """Ends the worker. May be called twice."""
        ...

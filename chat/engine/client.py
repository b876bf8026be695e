"""The engine as the program sees it: a child process that holds the model, spoken to in JSON lines.

llama.cpp may abort its process, and llama-cpp-python scribbles on descriptors 1 and 2: it never runs in ours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, Unpack, cast

from chat.engine.process import Exchange, WorkerProcess
from chat.engine.protocol import (
    Adapt,
    Adapted,
    Adapter,
    Build,
    CacheChoice,
    Count,
    Counted,
    Devices,
    Done,
    Event,
    FlashAttention,
    Generate,
    Load,
    Loaded,
    Loading,
    Prepare,
    Prepared,
    Purpose,
    RestoreState,
    SaveState,
    Span,
    StateRestored,
    StateSaved,
    Swipes,
    SwipesDone,
    Work,
)
from chat.engine.surface import Asked, EngineError, GpuLayers
from presets.sampling import Sampling

__all__ = ["Engine", "EngineError", "EngineOperation"]

FinalT = TypeVar("FinalT")


class EngineOperation(Generic[FinalT]):
    """A request under way; see `surface.Operation`."""

    def __init__(self, events: Iterator[Event], cancel: Callable[[], None]) -> None:
        self._events = events
        self._cancel = cancel
        self._result: FinalT | None = None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = next(self._events)
        if isinstance(event, Done | Loaded | Prepared | SwipesDone | StateSaved | StateRestored):
            self._result = cast(FinalT, event)
        return event

    def cancel(self) -> None:
        """Asks for an early end, from any thread."""
        self._cancel()

    def wait(self) -> FinalT:
        """Reads all events that are left and returns the final one. Raises EngineError."""
        for _event in self:
            pass
        if self._result is None:
            raise EngineError("internal", "The request ended without a result.")
        return self._result

    @property
    def result(self) -> FinalT | None:
        """The final event, once it has come."""
        return self._result


class EngineSwipes(EngineOperation[SwipesDone]):
    """Several replies under way; see `surface.SwipesOperation`."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.events(), exchange.cancel)
        self._exchange = exchange

    def end(self, reply: int) -> None:
        """Asks for an early end of one of them, from any thread."""
        self._exchange.cancel(reply)


class Engine:
    """An EngineSurface on a worker process of its own.

    The worker is this program's interpreter with `-P -m chat.engine.worker`; what llama.cpp and it have to
    say goes to `log_file` (mode 0600, one older file is kept as `.1`).
    """

    def __init__(self, log_file: Path, plans_file: Path | None = None) -> None:
        """`plans_file`: where the worker remembers what loading needed on these devices."""
        self.log_file = log_file
        self.plans_file = plans_file
        self._lock = threading.RLock()
        self._worker: WorkerProcess | None = None
        self._asked: Load | None = None
        self._loaded: Loaded | None = None

    @property
    def alive(self) -> bool:
        worker = self._worker
        return worker is not None and worker.alive

    @property
    def loaded(self) -> Loaded | None:
        return self._loaded if self.alive else None

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive else None

    def start(self) -> None:
        with self._lock:
            if not self.alive:
                self._loaded = None
                self._worker = WorkerProcess(self.log_file)

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
    ) -> EngineOperation[Loaded]:
        asked = Load(
            id=0,
            path=str(path),
            context=context,
            gpu_layers=gpu_layers,
            threads=threads,
            vocabulary_only=vocabulary_only,
            cache_type=cache_type,
            flash_attention=flash_attention,
            full_window=full_window,
            adapters=list(adapters),
            plans=str(self.plans_file or ""),
        )
        return self._load(asked)

    def _load(self, asked: Load) -> EngineOperation[Loaded]:
        with self._lock:
            self.start()
            self._asked = asked
            self._loaded = None
            loading = _LoadAttempts(self, asked)
        return EngineOperation(loading.events(), loading.cancel)

    def adapt(self, adapters: Sequence[Adapter]) -> list[Adapter]:
        for event in self._send(Adapt(id=0, adapters=list(adapters))).events():
            if isinstance(event, Adapted):
                self._adapted(event.adapters)
                return event.adapters
        raise EngineError("internal", "The worker did not change the adapters.")

    def _adapted(self, adapters: list[Adapter]) -> None:
        """A worker that is started in this one's place gets the same adapters."""
        with self._lock:
            if self._asked is not None:
                self._asked = self._asked.model_copy(update={"adapters": adapters})
            if self._loaded is not None:
                self._loaded = self._loaded.model_copy(update={"adapters": adapters})

    def count(self, spans: Sequence[Span]) -> list[int]:
        if not spans:
            return []
        for event in self._send(Count(id=0, spans=list(spans))).events():
            if isinstance(event, Counted):
                return event.tokens
        raise EngineError("internal", "The worker did not count.")

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
    ) -> EngineOperation[Done]:
        request = Generate(
            id=0,
            spans=list(spans),
            sampling=sampling,
            seed=seed,
            max_tokens=max_tokens,
            stops=[stop for stop in stops if stop],
            ban_eos=ban_eos,
            strip_names=list(strip_names),
            keep_leading_space=keep_leading_space,
            dry_breakers=[text for text in dry_breakers if text],
            grammar_text=grammar_text,
            grammar_after=list(grammar_after),
            siblings=list(siblings),
            probs=probs,
            aside=aside,
            shift=shift,
        )
        exchange = self._send(request)
        return EngineOperation(exchange.events(), exchange.cancel)

    def swipes(
        self,
        spans: Sequence[Span],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        max_tokens: int,
        **asked: Unpack[Asked],
    ) -> EngineSwipes:
        request = Generate(
            id=0,
            spans=list(spans),
            sampling=sampling,
            seed=0,
            max_tokens=max_tokens,
            stops=[stop for stop in asked.get("stops", ()) if stop],
            ban_eos=asked.get("ban_eos", False),
            strip_names=list(asked.get("strip_names", ())),
            keep_leading_space=asked.get("keep_leading_space", False),
            dry_breakers=[text for text in asked.get("dry_breakers", ()) if text],
            grammar_text=asked.get("grammar_text", ""),
            grammar_after=list(asked.get("grammar_after", ())),
            siblings=list(asked.get("siblings", ())),
            probs=asked.get("probs", 0),
            shift=asked.get("shift", False),
        )
        return EngineSwipes(self._send(Swipes(id=0, generate=request, seeds=list(seeds))))

    def prepare(self, spans: Sequence[Span], purpose: Purpose) -> EngineOperation[Prepared]:
        exchange = self._send(Prepare(id=0, spans=list(spans), purpose=purpose))
        return EngineOperation(exchange.events(), exchange.cancel)

    def save_state(
        self, folder: Path, chat: str, *, quota: int | None = None, within: float | None = None
    ) -> EngineOperation[StateSaved]:
        request = SaveState(id=0, folder=str(folder), chat=chat, quota=quota, within=within)
        exchange = self._send(request)
        return EngineOperation(exchange.events(), exchange.cancel)

    def restore_state(self, folder: Path, chat: str) -> EngineOperation[StateRestored]:
        exchange = self._send(RestoreState(id=0, folder=str(folder), chat=chat))
        return EngineOperation(exchange.events(), exchange.cancel)

    def devices(self) -> Build:
        self.start()
        for event in self._send(Devices(id=0)).events():
            if isinstance(event, Build):
                return event
        raise EngineError("internal", "The worker did not name its devices.")

    def restart(self) -> EngineOperation[Loaded]:
        with self._lock:
            asked = self._asked
            if asked is None:
                raise EngineError("request", "No model was chosen.")
            self.close()
            return self._load(asked)

    def close(self) -> None:
        with self._lock:
            worker, self._worker, self._loaded = self._worker, None, None
        if worker is not None:
            worker.close()

    def _send(self, request: Work) -> Exchange:
        worker = self._worker
        if worker is None:
            raise EngineError("worker", "The model's process is not running.")
        return worker.send(request)


class _LoadAttempts:
    """Loading one model: with `auto` layers it tries again with a smaller plan when memory fails or the
    worker dies."""

    def __init__(self, engine: Engine, asked: Load) -> None:
        self.engine = engine
        self.asked = asked
        self.cancelled = False
        self.exchange = engine._send(asked)

    def cancel(self) -> None:
        self.cancelled = True
        self.exchange.cancel()

    def events(self) -> Iterator[Event]:
        while True:
            tried = 0
            try:
                for event in self.exchange.events():
                    if isinstance(event, Loading) and event.gpu_layers:
                        tried = event.gpu_bytes
                    if isinstance(event, Loaded):
                        self._finish(event)
                    yield event
                return
            except EngineError as error:
                if self.cancelled or self.asked.gpu_layers != "auto" or tried == 0:
                    raise
                if error.code not in ("memory", "worker"):
                    raise
            self._again(smaller_plan(tried))

    def _finish(self, loaded: Loaded) -> None:
        with self.engine._lock:
            if self.engine._asked is self.asked:
                self.engine._loaded = loaded

    def _again(self, limit: int) -> None:
        """A new worker: after a failed allocation the old one's state is anybody's guess."""
        engine = self.engine
        with engine._lock:
            if engine._asked is not self.asked or engine._worker is None:
                raise EngineError("load", "Loading was given up for another model.")
            engine.close()
            engine.start()
            self.exchange = engine._send(self.asked.model_copy(update={"gpu_limit": limit}))


def smaller_plan(gpu_bytes: int) -> int:
    """Bytes that the next attempt may use on the GPUs, when one that meant to use so many failed."""
    return gpu_bytes * 4 // 5

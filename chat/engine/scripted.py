"""An engine without a process: it says what a test wrote for it, word by word, at the pace the test sets."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Unpack

from chat.engine.protocol import (
    Adapter,
    Build,
    CacheChoice,
    Device,
    Done,
    Event,
    FlashAttention,
    Loaded,
    Loading,
    Prepared,
    Purpose,
    Reading,
    ReplyDone,
    Span,
    StateRestored,
    StateSaved,
    SwipesDone,
    Text,
)
from chat.engine.script import ScriptedGenerate, ScriptedOperation, ScriptedReply, ScriptedSwipes, recorded
from chat.engine.surface import Asked, EngineError, GpuLayers
from presets.sampling import Sampling

__all__ = ["ScriptedEngine", "ScriptedGenerate", "ScriptedReply"]

CHARACTERS_PER_TOKEN = 4
"""What a scripted token is when it counts prompts; replies come a word at a time."""
MARKER = re.compile(r"<[^\s<>]+>|\[[^\s\[\]]+\]")
"""A trusted text that is one token."""


class ScriptedEngine:
    """An EngineSurface that answers from a list of replies.

    When the list is used up, every further reply is `fallback`. `requests` records what was asked for, `go`
    lets a held reply continue, `load_error` makes loading fail with that line, `load_hold` makes it wait for
    `go_load`, `ready` saves the loading.
    """

    def __init__(
        self,
        replies: Iterable[ScriptedReply | str] = (),
        *,
        context: int = 4096,
        model: str = "scripted.gguf",
        load_error: str = "",
        load_hold: bool = False,
        ready: bool = False,
        fallback: str = "She nodded.",
    ) -> None:
        self.replies = [ScriptedReply(reply) if isinstance(reply, str) else reply for reply in replies]
        self.requests: list[ScriptedGenerate] = []
        self.counted: list[tuple[Span, ...]] = []
        self.prepared: list[tuple[Purpose, str]] = []
        """What was read ahead, and the text of it."""
        self.loads: list[Path] = []
        self.adapters: list[Adapter] = []
        """Those in force."""
        self.adapt_error = ""
        """What the next `adapt` fails with."""
        self.states: list[tuple[str, str]] = []
        """What was saved and restored, and of which chat."""
        self.state_problem = ""
        """What a saving of a state says."""
        self.go = threading.Event()
        self.go_load = threading.Event()
        self.fallback = fallback
        self.knows_markers = True
        """Its vocabulary has every format's markers as control tokens."""
        self.swipes_error = ""
        """Why several replies at once do not fit; empty: they do."""
        self.load_error = load_error
        self.context = context
        self.loaded: Loaded | None = None
        self.alive = False
        self._model = Path(model)
        self._previous: tuple[Span, ...] = ()
        if not load_hold:
            self.go_load.set()
        if ready:
            self.alive = True
            self.loaded = self._describe(self._model)

    def start(self) -> None:
        self.alive = True

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
    ) -> ScriptedOperation[Loaded]:
        self.alive = True
        self.loads.append(path)
        self.adapters = list(adapters)
        self._model = path
        self.context = context or self.context

        def events(cancelled: threading.Event) -> Iterator[Event]:
            yield Loading(id=0, fraction=0.5)
            while not self.go_load.wait(0.01):
                if cancelled.is_set():
                    raise EngineError("load", "Loading was cancelled.")
            if self.load_error:
                raise EngineError("load", self.load_error)
            self.loaded = self._describe(path)
            yield self.loaded

        return ScriptedOperation(events)

    def adapt(self, adapters: Sequence[Adapter]) -> list[Adapter]:
        self._need_model()
        if self.adapt_error:
            raise EngineError("adapter", self.adapt_error)
        self.adapters = list(adapters)
        if self.loaded is not None:
            self.loaded = self.loaded.model_copy(update={"adapters": self.adapters})
        return self.adapters

    def count(self, spans: Sequence[Span]) -> list[int]:
        self._need_model()
        self.counted.append(tuple(spans))
        counts, seen = [], 0
        for span in spans:
            if self.knows_markers and span.trusted and MARKER.fullmatch(span.text):
                counts.append(1)
                continue
            before = -(-seen // CHARACTERS_PER_TOKEN)
            seen += len(span.text)
            counts.append(-(-seen // CHARACTERS_PER_TOKEN) - before)
        return counts

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
    ) -> ScriptedOperation[Done]:
        self._need_model()
        request = ScriptedGenerate(
            tuple(spans),
            sampling,
            seed,
            max_tokens,
            tuple(stops),
            ban_eos,
            tuple(strip_names),
            keep_leading_space,
            tuple(dry_breakers),
            grammar_text,
            tuple(grammar_after),
            probs,
            aside,
            shift,
            tuple(siblings),
        )
        self.requests.append(request)
        reply = self.replies.pop(0) if self.replies else ScriptedReply(self.fallback)
        return ScriptedOperation(lambda cancelled: self._write(request, reply, cancelled))

    def prepare(self, spans: Sequence[Span], purpose: Purpose) -> ScriptedOperation[Prepared]:
        self._need_model()
        self.prepared.append((purpose, "".join(span.text for span in spans)))
        done = Prepared(id=0, evaluated=len(spans), whole=True)
        return ScriptedOperation(lambda _cancelled: iter((done,)))

    def swipes(
        self,
        spans: Sequence[Span],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        max_tokens: int,
        **asked: Unpack[Asked],
    ) -> ScriptedSwipes:
        self._need_model()
        if self.swipes_error:
            raise EngineError("room", self.swipes_error)
        request = ScriptedGenerate(
            tuple(spans),
            sampling,
            seeds[0],
            max_tokens,
            tuple(asked.get("stops", ())),
            asked.get("ban_eos", False),
            tuple(asked.get("strip_names", ())),
            asked.get("keep_leading_space", False),
            tuple(asked.get("dry_breakers", ())),
            siblings=tuple(asked.get("siblings", ())),
            probs=asked.get("probs", 0),
            seeds=tuple(seeds),
        )
        self.requests.append(request)
        replies = [self.replies.pop(0) if self.replies else ScriptedReply(self.fallback) for _ in seeds]
        ended = [threading.Event() for _ in replies]
        return ScriptedSwipes(self._write_several(request, replies, ended), ended)

    def save_state(
        self, folder: Path, chat: str, *, quota: int | None = None, within: float | None = None
    ) -> ScriptedOperation[StateSaved]:
        self._need_model()
        self.states.append(("save", chat))
        done = StateSaved(id=0, tokens=1, problem=self.state_problem)
        return ScriptedOperation(lambda _cancelled: iter((done,)))

    def restore_state(self, folder: Path, chat: str) -> ScriptedOperation[StateRestored]:
        self._need_model()
        self.states.append(("restore", chat))
        return ScriptedOperation(lambda _cancelled: iter((StateRestored(id=0),)))

    def devices(self) -> Build:
        device = Device(
            name="CPU", description="scripted", kind="cpu", memory_free=1 << 33, memory_total=1 << 34
        )
        return Build(
            id=0,
            llama_cpp_python="0",
            system_info="scripted",
            supports_gpu_offload=False,
            devices=[device],
        )

    def restart(self) -> ScriptedOperation[Loaded]:
        return self.load(self._model)

    def close(self) -> None:
        self.alive = False
        self.loaded = None

    def die(self) -> None:
        """What a killed worker looks like from outside."""
        self.close()

    def _need_model(self) -> None:
        if not self.alive:
            raise EngineError("worker", "The model's process is not running.")
        if self.loaded is None:
            raise EngineError("request", "No model is loaded.")

    def _describe(self, path: Path) -> Loaded:
        return Loaded(
            id=0,
            path=str(path),
            context=self.context,
            context_trained=self.context,
            layers=1,
            gpu_layers=0,
            device="CPU",
            vocabulary=1000,
            threads=1,
            bos="",
            eos="",
            seconds=0.0,
            plan="weights 0.1 GB = 0.1 GB: on the CPU",
        )

    def _write(
        self, request: ScriptedGenerate, reply: ScriptedReply, cancelled: threading.Event
    ) -> Iterator[Event]:
        total = sum(self.count(request.spans))
        del self.counted[-1]
        reused = min(self._shared(request), max(total - 1, 0))
        self._previous = request.spans
        new = total - reused
        for step in range(1, reply.read_steps + 1):
            yield Reading(id=0, done=new * step // reply.read_steps, total=new, reused=reused)
        written, words, reason = "", re.findall(r"\s*\S+|\s+$", reply.text), reply.finish_reason
        taken = 0
        for word in words:
            if reply.hold_after == taken:
                while not self.go.wait(0.01) and not cancelled.is_set():
                    pass
            if reply.delay:
                cancelled.wait(reply.delay)
            if reply.fail_after == taken:
                self.close()
                raise EngineError("worker", "The model's process ended (signal 9, SIGKILL).")
            if cancelled.is_set() or taken >= request.max_tokens:
                reason = "cancelled" if cancelled.is_set() else "length"
                break
            piece = word if written or request.keep_leading_space else word.lstrip()
            taken += 1
            if piece.strip():
                written += piece
                yield Text(id=0, text=piece)
        yield Done(
            id=0,
            text=written.rstrip(),
            finish_reason=reason,
            prompt_tokens=total,
            evaluated_tokens=new,
            reused_tokens=reused,
            generated_tokens=taken,
            probs=recorded(words[:taken], request.probs),
            read_seconds=0.001,
            write_seconds=max(reply.delay * taken, 0.001),
        )

    def _write_several(
        self,
        request: ScriptedGenerate,
        replies: Sequence[ScriptedReply],
        ended: Sequence[threading.Event],
    ) -> Iterator[Event]:
        """A word of each in turn."""
        writing = {n: self._write(request, reply, ended[n]) for n, reply in enumerate(replies)}
        done: dict[int, Done] = {}
        while writing:
            for number, events in list(writing.items()):
                for event in events:
                    if isinstance(event, Done):
                        del writing[number]
                        done[number] = event
                        yield ReplyDone(id=0, reply=number, done=event, error=replies[number].error)
                    elif isinstance(event, Text):
                        yield event.model_copy(update={"reply": number})
                    elif number == 0:
                        yield event
                        continue
                    else:
                        continue
                    break
        yield SwipesDone(id=0, replies=[done[number] for number in range(len(replies))])

    def _shared(self, request: ScriptedGenerate) -> int:
        before = "".join(span.text for span in self._previous)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(before, request.prompt, strict=False))
        return sum(1 for _ in same) // CHARACTERS_PER_TOKEN

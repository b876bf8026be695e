"""The worker's work: one request after the other, on the thread that owns the model."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager

import llama_cpp
import llama_cpp.llama_cpp as api

from chat.engine.costs import memory_peak
from chat.engine.plan import Plan
from chat.engine.protocol import (
    Adapt,
    Adapted,
    Build,
    Count,
    Counted,
    Devices,
    Done,
    Generate,
    Load,
    Loading,
    Prepare,
    Reading,
    ReplyDone,
    RestoreState,
    SaveState,
    Swipes,
)
from chat.engine.worker import log, offload
from chat.engine.worker.ahead import aside, chats_sequence, prepare
from chat.engine.worker.fanout import FanOut
from chat.engine.worker.generate import Reply
from chat.engine.worker.llama import initialize
from chat.engine.worker.loading import LoadedModel, LoadError, load
from chat.engine.worker.pipe import Pipe, Work
from chat.engine.worker.reading import GenerateError, NumbersLost
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.shifting import move_up
from chat.engine.worker.slots import Slots
from chat.engine.worker.state import States
from chat.engine.worker.tokens import Tokenized, count, tokenize

__all__ = ["Server"]

PROGRESS_SECONDS = 0.05
"""Loading events come no faster."""

TEXT_SECONDS = 0.025
"""Nor does a reply's text."""


class Server:
    """Answers requests from a pipe until that ends the process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._loaded: LoadedModel | None = None
        self._slots: Slots | None = None
        self._states: States | None = None
        self._evaluating = False
        self._model_lock = threading.Lock()
        """Held while the model comes or goes; the reading thread may count tokens with it meanwhile."""
        log.catch()
        initialize()
        pipe.on_start = self._resume
        pipe.on_cancel = self._abort
        pipe.answer_aside = self._count_aside

    def run(self) -> None:
        """Serves for ever."""
        while True:
            request = self._pipe.take()
            try:
                self._answer(request)
            except (LoadError, GenerateError) as error:
                self._pipe.fail(request.id, error.code, str(error))
            except MemoryError:
                self._pipe.fail(request.id, "memory", "The model's process has no memory left.")
            except Exception as error:  # noqa: BLE001 - whatever it is, the client must hear of it
                self._blame(request, error)
            finally:
                self._pipe.finished()

    def _answer(self, request: Work) -> None:
        if isinstance(request, Load):
            self._load(request)
        elif isinstance(request, Adapt):
            self._adapt(request)
        elif isinstance(request, Count):
            self._count(request)
        elif isinstance(request, Generate):
            self._generate(request)
        elif isinstance(request, Prepare):
            self._prepare(request)
        elif isinstance(request, Swipes):
            self._swipes(request)
        elif isinstance(request, SaveState | RestoreState):
            self._state(request)
        else:
            self._describe(request)

    def _blame(self, request: Work, error: Exception) -> None:
        """A mistake of ours: lines of code go to the log, values and so text do not."""
        log.write("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__)
        message = f"The model's process made a mistake ({type(error).__name__}); its log knows more."
        self._pipe.fail(request.id, "internal", message)

    def _load(self, request: Load) -> None:
        told = 0.0

        def progress(fraction: float, plan: Plan) -> None:
            nonlocal told
            now = time.monotonic()
            if fraction in (0.0, 1.0) or now - told >= PROGRESS_SECONDS:
                told = now
                event = Loading(
                    id=request.id,
                    fraction=min(fraction, 1.0),
                    gpu_layers=plan.layers,
                    gpu_bytes=plan.gpu_bytes,
                )
                self._pipe.send(event)

        with self._model_lock:
            if self._loaded is not None:
                self._slots, loaded, self._loaded = None, self._loaded, None
                loaded.close()
            loaded = load(request, progress, lambda: self._pipe.cancelled)
            self._loaded = loaded
            self._slots = _slots(loaded)
            self._states = States(loaded) if self._slots is not None else None
        self._pipe.send(loaded.described)

    def _adapt(self, request: Adapt) -> None:
        with self._model_lock:
            if self._loaded is None:
                raise GenerateError("request", "No model is loaded.")
            try:
                self._loaded.adapt(request.adapters)
            except MemoryError as error:
                message = "There is not memory enough for the adapters; load the model again."
                raise GenerateError("memory", message) from error
            finally:
                self._slots = _slots(self._loaded)
        self._pipe.send(Adapted(id=request.id, adapters=self._loaded.described.adapters))

    def _count(self, request: Count) -> None:
        if self._loaded is None:
            raise GenerateError("request", "No model is loaded.")
        tokens = tokenize(self._loaded.vocabulary, request.spans)
        self._pipe.send(Counted(id=request.id, tokens=count(request.spans, tokens)))

    def _count_aside(self, request: Count) -> bool:
        """While the model reads or writes, tokens can be counted beside it: the vocabulary is only read."""
        if not self._evaluating:
            return False
        with self._model_lock:
            try:
                self._count(request)
            except Exception as error:  # noqa: BLE001 - the reading thread must live
                self._blame(request, error)
        return True

    def _generate(self, request: Generate) -> None:
        with self._evaluation(request) as (slots, prompt):
            shifted = move_up(slots, prompt) if request.shift else 0
            if request.aside:
                with aside(slots, prompt, request.max_tokens) as sequence:
                    done = self._reply(sequence, request)
            else:
                done = self._reply(chats_sequence(slots, prompt, request.max_tokens), request)
        if self._states is not None:
            self._states.measured(done.evaluated_tokens, done.read_seconds)
        self._pipe.send(done.model_copy(update={"shifted_tokens": shifted}) if shifted else done)

    def _reply(self, sequence: LiveSequence, request: Generate) -> Done:
        with closing(_Listener(self._pipe, request.id)) as listener:
            return Reply(sequence, request, listener, lambda: self._pipe.cancelled).run()

    def _prepare(self, request: Prepare) -> None:
        listener = _Listener(self._pipe, request.id)
        with self._evaluation(request) as (slots, prompt):
            prepared = prepare(slots, request, prompt, listener, lambda: self._pipe.cancelled)
        self._pipe.send(prepared)

    def _swipes(self, request: Swipes) -> None:
        with (
            closing(_Listener(self._pipe, request.id)) as listener,
            self._evaluation(request.generate) as (slots, prompt),
        ):
            if request.generate.shift:
                move_up(slots, prompt)
            pipe = self._pipe
            fan_out = FanOut(
                slots,
                request,
                prompt,
                listener,
                lambda: pipe.cancelled,
                lambda: pipe.cancelled_replies,
            )
            done = fan_out.run()
            if fan_out.numbers_lost:
                self._forget_all()
        self._pipe.send(done)

    def _state(self, request: SaveState | RestoreState) -> None:
        if self._slots is None or self._states is None:
            raise GenerateError("request", "No model is loaded.")
        if isinstance(request, SaveState):
            self._pipe.send(self._states.save(self._slots, request))
        else:
            self._pipe.send(self._states.restore(self._slots, request))

    @contextmanager
    def _evaluation(self, request: Generate | Prepare) -> Iterator[tuple[Slots, Tokenized]]:
        """The sequences and the request's prompt. Raises GenerateError where there is no model."""
        if self._slots is None or self._loaded is None:
            raise GenerateError("request", "No model is loaded.")
        self._evaluating = True
        try:
            yield self._slots, tokenize(self._loaded.vocabulary, request.spans)
        except NumbersLost:
            self._forget_all()
            raise
        finally:
            self._evaluating = False

    def _forget_all(self) -> None:
        """What the model holds of any text is of no use any more."""
        if self._slots is not None and self._loaded is not None:
            self._slots.context.forget_all()
            self._slots = _slots(self._loaded)

    def _describe(self, request: Devices) -> None:
        info = api.llama_print_system_info() or b""
        build = Build(
            id=request.id,
            llama_cpp_python=llama_cpp.__version__,
            system_info=info.decode("utf-8", "replace").strip(),
            supports_gpu_offload=bool(api.llama_supports_gpu_offload()),
            devices=offload.devices(),
            cpu_seconds=time.process_time(),
            memory_peak=memory_peak(),
        )
        self._pipe.send(build)

    def _abort(self) -> None:
        slots = self._slots
        if slots is not None:
            slots.context.abort()

    def _resume(self) -> None:
        slots = self._slots
        if slots is not None:
            slots.context.resume()


def _slots(loaded: LoadedModel) -> Slots | None:
    """Empty sequences in a model's context; None where it has none."""
    if loaded.context is None:
        return None
    return Slots(
        loaded.context,
        loaded.vocabulary,
        sliding_window=loaded.model.sliding_window,
        on_gpu=loaded.described.gpu_layers > 0,
    )


class _Listener:
    """Sends a reply's progress as events. Text is paced: each event wakes the client, which takes a core from
    llama.cpp where there are few, and a screen shows no more than so many a second."""

    def __init__(self, pipe: Pipe, id: int) -> None:
        self._pipe = pipe
        self._id = id
        self._held: dict[int, str] = {}
        self._sent: dict[int, float] = {}

    def reading(self, event: Reading) -> None:
        self._pipe.send(event)

    def text(self, text: str, reply: int = 0) -> None:
        now = time.monotonic()
        self._held[reply] = self._held.get(reply, "") + text
        if now - self._sent.get(reply, 0.0) >= TEXT_SECONDS:
            self._sent[reply] = now
            self._flush(reply)

    def reply_done(self, event: ReplyDone) -> None:
        self._flush(event.reply)
        self._pipe.send(event)

    def close(self) -> None:
        """Nothing more is said."""
        for reply in [*self._held]:
            self._flush(reply)

    def _flush(self, reply: int) -> None:
        if held := self._held.pop(reply, ""):
            self._pipe.text(self._id, held, reply)

"""One reply: waiting for the model, the prompt, the stream, checkpoints, and the message in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chat.checkpoints import Checkpoints
from chat.counting import spans_of
from chat.database import StoreError
from chat.engine.protocol import Done, Reading, Text
from chat.engine.surface import EngineError, EngineSurface, Operation
from chat.events import (
    ImpersonationFinished,
    ReadingPrompt,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    SessionEvent,
    TextAdded,
    Waiting,
)
from chat.rows import new_message, storable
from chat.tree import Generation, Message
from presets.values import Mode, Prompt, PromptTooLong, Window

if TYPE_CHECKING:
    from chat.session import Session

POLL_SECONDS = 0.05
LOADING_GRACE = 3.0
"""Seconds for which a worker may be down while another thread loads a model: it may be starting anew."""

FAILURES = (PromptTooLong, ValueError, EngineError, StoreError)
"""What ends a reply with one line for the person."""


class Stopped(Exception):
    """The user stopped the reply before its first word."""


class Reply:
    """A reply of a session, from the request to the stored message. `events` may be iterated once."""

    def __init__(
        self,
        session: Session,
        mode: Mode,
        path: list[Message],
        continued: Message | None = None,
    ) -> None:
        """`path` is what the prompt shows, root first; `continued` its last message, when that grows."""
        self.mode = mode
        self.path = path
        self.started = False
        self.ended = threading.Event()
        self._session = session
        self._stop = threading.Event()
        self._operation: Operation[object] | None = None
        self._lock = threading.Lock()
        self._head = session.tree.head
        self._text = ""
        self._parent = continued.parent_id if continued else (path[-1].id if path else None)
        self._message = new_message(
            session.chat.id,
            self._parent,
            "char",
            continued.name if continued else session.card.call_name,
            "",
            continues=continued.id if continued else None,
        )
        self._checkpoints = Checkpoints(self._save_draft)

    @property
    def message_id(self) -> str:
        """Of the message to be; empty when nothing will be stored."""
        return "" if self.mode == "impersonate" else self._message.id

    def stop(self) -> None:
        """End it, from any thread, keeping what was written."""
        self._stop.set()
        with self._lock:
            if self._operation is not None:
                self._operation.cancel()

    def save_now(self) -> None:
        """Have all that was written on the disk."""
        self._checkpoints.flush()

    def events(self) -> Iterator[SessionEvent]:
        """Make the reply. Whatever fails becomes the last event."""
        self.started = True
        try:
            yield from self._make()
        except Stopped:
            yield ReplyEmpty(self.message_id, "stopped before the first word", cancelled=True)
        except FAILURES as error:
            yield ReplyFailed(self.message_id or None, one_line(error), None)
        finally:
            self._checkpoints.end()
            self.ended.set()

    # The steps -------------------------------------------------------------------------------------------

    def _make(self) -> Iterator[SessionEvent]:
        engine = yield from self._ready_engine()
        prompt = self._session.prompt_for(self.path, self.mode)
        if self.mode != "impersonate":
            self._keep_window(prompt.window)
        yield ReplyStarted(self.message_id, self._parent, prompt.base_text)
        if self._stop.is_set():
            raise Stopped
        yield from self._stream(engine, prompt)

    def _ready_engine(self) -> Generator[SessionEvent, None, EngineSurface]:
        """Wait until a model stands ready; bring back a worker that died since."""
        session, told, down_since = self._session, "", None
        while True:
            engine = session.engine
            if self._stop.is_set():
                raise Stopped
            if engine is None or session.model_problem:
                raise EngineError("request", session.model_problem or "There is no model to answer with.")
            if engine.loaded is not None:
                session.had_model = True
                return engine
            if engine.alive:
                down_since = None
            elif session.had_model or time.monotonic() - (down_since or time.monotonic()) > LOADING_GRACE:
                yield from self._restart(engine)
                continue
            else:
                down_since = down_since or time.monotonic()
            if told != (why := "the model is loading"):
                told = why
                yield Waiting(why)
            self._stop.wait(POLL_SECONDS)

    def _restart(self, engine: EngineSurface) -> Iterator[SessionEvent]:
        yield Waiting("the model is starting again")
        operation = engine.restart()
        self._begin(operation)
        try:
            for _event in operation:
                pass
        except EngineError:
            if self._stop.is_set():
                raise Stopped from None
            raise
        if engine.loaded is None:
            raise EngineError("load", "The model did not start again.")

    def _stream(self, engine: EngineSurface, prompt: Prompt) -> Iterator[SessionEvent]:
        session = self._session
        started = time.monotonic()
        generation = self._generation(engine, prompt, session.seeds.next(), "interrupted")
        self._message = replace(self._message, generation=generation)
        operation = engine.generate(
            spans_of(prompt.segments),
            session.sampling,
            seed=generation.seed,
            max_tokens=session.reply_tokens,
            stops=prompt.stops,
            ban_eos=prompt.ban_eos or session.sampling.ban_eos,
            strip_names=prompt.strip_names,
            keep_leading_space=prompt.keep_leading_space,
        )
        self._begin(operation)
        done: Done | None = None
        try:
            for event in operation:
                match event:
                    case Reading():
                        yield ReadingPrompt(event.done, event.total, event.reused)
                    case Text():
                        self._text += event.text
                        self._checkpoint(prompt)
                        yield TextAdded(self.message_id, event.text)
                    case Done():
                        done = event
        except EngineError as error:
            yield self._broken(prompt, one_line(error))
            return
        except BaseException:
            # Whoever was listening has gone (closed generator, Ctrl+C): stop the model, keep its words.
            operation.cancel()
            self._broken(prompt, "")
            raise
        if done is None:
            yield self._broken(prompt, "The model's process ended without a word.")
            return
        yield self._finished(prompt, generation, done, time.monotonic() - started)

    def _finished(self, prompt: Prompt, generation: Generation, done: Done, seconds: float) -> SessionEvent:
        session = self._session
        generation = replace(
            generation,
            prompt_tokens=done.prompt_tokens,
            evaluated_tokens=done.evaluated_tokens,
            reused_tokens=done.reused_tokens,
            generated_tokens=done.generated_tokens,
            timings={"read": done.read_seconds, "write": done.write_seconds, "total": seconds},
            samplers=list(done.samplers),
            finish_reason=done.finish_reason,
        )
        if self.mode == "impersonate":
            return ImpersonationFinished(done.text, done.finish_reason)
        session.last = generation
        session.context_used = done.prompt_tokens + done.generated_tokens
        if not done.text.strip():
            self._checkpoints.end()
            if self._checkpoints.saved:
                session.store.drop_draft(self._message.id)
            cancelled = done.finish_reason == "cancelled"
            why = "stopped before the first word" if cancelled else "the model had nothing to say"
            return ReplyEmpty(self.message_id, why, cancelled)
        self._text = done.text
        message, problem = self._land(prompt, generation)
        return ReplyFailed(message.id, problem, message) if problem else ReplyFinished(message)

    def _broken(self, prompt: Prompt, error: str) -> SessionEvent:
        """The engine broke off: what was written becomes a message."""
        generation = self._message.generation
        if self.mode == "impersonate" or generation is None or not self._text.strip():
            return ReplyFailed(self.message_id or None, error, None)
        reason = "interrupted" if error else "cancelled"
        message, problem = self._land(prompt, replace(generation, finish_reason=reason))
        self._session.last = message.generation
        return ReplyFailed(message.id, " ".join(filter(None, (error, problem))), message)

    # How -------------------------------------------------------------------------------------------------

    def _keep_window(self, window: Window) -> None:
        """Store what the prompts hold from now on, when it has changed. Raises StoreError."""
        session = self._session
        if window != session.chat.window:
            chat = replace(session.chat, window=window)
            session.store.save_settings(chat)
            session.chat = chat

    def _begin(self, operation: Operation[object]) -> None:
        """From now on `stop` ends this operation; at once when it came before."""
        with self._lock:
            self._operation = operation
            if self._stop.is_set():
                operation.cancel()

    def _generation(self, engine: EngineSurface, prompt: Prompt, seed: int, reason: str) -> Generation:
        session = self._session
        return Generation(
            model=Path(engine.loaded.path).name if engine.loaded else "",
            format=session.format.id,
            sampling=session.sampling.model_dump(mode="json"),
            seed=seed,
            prompt_tokens=sum(prompt.tokens or ()),
            finish_reason=reason,
        )

    def _checkpoint(self, prompt: Prompt) -> None:
        if self.mode != "impersonate" and self._text.strip():
            self._checkpoints.update(storable(prompt.base_text + self._text))

    def _save_draft(self, text: str) -> None:
        self._session.store.save_draft(replace(self._message, text=text))

    def _land(self, prompt: Prompt, generation: Generation) -> tuple[Message, str]:
        """Store the message; it joins the tree also when the store refuses, and is stored later then."""
        self._checkpoints.end()
        text = storable(prompt.base_text + self._text.rstrip())
        message = replace(self._message, text=text, generation=generation)
        return message, self._session.land(message, self._head)


def one_line(error: Exception) -> str:
    """An error as one line."""
    return " ".join(str(error).split()) or type(error).__name__

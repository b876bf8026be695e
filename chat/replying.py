"""One reply: waiting for the model, the prompt, the stream, checkpoints, and the message in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chat.checkpoints import Checkpoints
from chat.database import StoreError
from chat.engine.surface import EngineError, EngineSurface, Operation
from chat.events import (
    ImpersonationFinished,
    Remark,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    SessionEvent,
    Waiting,
)
from chat.output import kept_text, output_options
from chat.rows import new_message, storable
from chat.stretches import Stretches, settled
from chat.tree import Generation, Message
from presets.values import Mode, Prompt, PromptTooLong, Window

if TYPE_CHECKING:
    from chat.session import Session

POLL_SECONDS = 0.05
LOADING_GRACE = 3.0
"""Seconds for which a worker may be down while another thread loads a model: it may be starting anew."""

FAILURES = (PromptTooLong, ValueError, EngineError, StoreError)
"""What ends a reply with one line for the person."""


class Written(NamedTuple):
    """What a checkpoint keeps."""

    text: str
    thinking: str
    raw: str


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
        self._continued = continued
        self._writing: Stretches | None = None
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
        started = time.monotonic()
        generation = self._generation(engine, prompt, self._session.seeds.next(), "interrupted")
        self._message = replace(self._message, generation=generation)
        stretches = Stretches(self._session, engine, prompt, self.mode, self.path, self._message, self._stop)
        self._writing = stretches
        try:
            for event in stretches.events(generation.seed, self._begin):
                self._checkpoint(prompt)
                yield event
        except FAILURES as error:
            yield self._broken(prompt, one_line(error))
            return
        except BaseException:
            # Whoever was listening has gone (closed generator, Ctrl+C): keep the model's words.
            self._broken(prompt, "")
            raise
        if stretches.totals.last is None:
            yield self._broken(prompt, "The model's process ended without a word.")
            return
        yield from self._finished(
            prompt, settled(generation, stretches, time.monotonic() - started), stretches
        )

    def _finished(
        self, prompt: Prompt, generation: Generation, stretches: Stretches
    ) -> Iterator[SessionEvent]:
        session, output, last = self._session, stretches.output, stretches.totals.last
        if self.mode == "impersonate":
            yield ImpersonationFinished(output.text, generation.finish_reason)
            return
        session.last = generation
        if last is not None:
            session.context_used = last.prompt_tokens + last.generated_tokens
        if not (output.text.strip() or output.thinking):
            self._checkpoints.end()
            if self._checkpoints.saved:
                session.store.drop_draft(self._message.id)
            cancelled = generation.finish_reason == "cancelled"
            why = "stopped before the first word" if cancelled else "the model had nothing to say"
            yield ReplyEmpty(self.message_id, why, cancelled)
            return
        if output_options(session).repetition_watch:
            before = self.path[:-1] if self.mode == "continue" else self.path
            if line := session.repetition.look(before, prompt.base_text + output.text, session.sampling):
                yield Remark(self.message_id, line)
        message, problem = self._land(prompt, generation)
        yield ReplyFailed(message.id, problem, message) if problem else ReplyFinished(message)

    def _broken(self, prompt: Prompt, error: str) -> SessionEvent:
        """The engine broke off: what was written becomes a message."""
        generation = self._message.generation
        output = self._writing.output if self._writing is not None else None
        if output is not None:
            output.finish()
        something = output is not None and (output.text.strip() or output.thinking)
        if self.mode == "impersonate" or generation is None or not something:
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
        written = self._written(prompt)
        if self.mode != "impersonate" and (written.text.strip() or written.thinking):
            self._checkpoints.update(written)

    def _written(self, prompt: Prompt, text: str | None = None) -> Written:
        """What there is of the message, with `text` in place of what is shown when that is another."""
        output = self._writing.output if self._writing is not None else None
        if output is None:
            return Written(prompt.base_text, "", "")
        whole = storable(prompt.base_text + (output.text if text is None else text))
        before = self._continued
        thinking = "\n\n".join(filter(None, (before.thinking if before else "", output.thinking)))
        raw = (before.raw if before and before.raw else prompt.base_text) + output.raw
        return Written(whole, thinking, "" if raw.strip() == whole.strip() else raw)

    def _save_draft(self, written: Written) -> None:
        self._session.store.save_draft(replace(self._message, **written._asdict()))

    def _land(self, prompt: Prompt, generation: Generation) -> tuple[Message, str]:
        """Store the message; it joins the tree also when the store refuses, and is stored later then."""
        self._checkpoints.end()
        reason = generation.finish_reason
        text = self._writing.output.text if self._writing is not None else ""
        if text:
            cut, cancelled = reason not in ("eos", "stop"), reason in ("cancelled", "interrupted")
            text = kept_text(self._session, prompt, text, cut=cut, cancelled=cancelled)
        written = self._written(prompt, text)._asdict()
        message = replace(self._message, **written, generation=generation)
        return message, self._session.land(message, self._head)


def one_line(error: Exception) -> str:
    """An error as one line."""
    return " ".join(str(error).split()) or type(error).__name__

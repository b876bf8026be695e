"""One reply: waiting for the model, the prompt, the stream, and the message in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from chat.database import StoreError
from chat.drafts import Draft
from chat.engine.surface import EngineError, EngineSurface
from chat.events import ReplyEmpty, ReplyFailed, ReplyStarted, SessionEvent
from chat.stretches import settled
from chat.tree import Message
from chat.underway import Stopped, UnderWay
from presets.values import Mode, Prompt, PromptTooLong, Window

if TYPE_CHECKING:
    from chat.session import Session

FAILURES = (PromptTooLong, ValueError, EngineError, StoreError)
"""What ends a reply with one line for the person."""


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
        self.started = False
        self.ended = threading.Event()
        self._session = session
        self._path = path
        self._under_way = UnderWay(session)
        self._draft = Draft(session, mode, path, continued)

    @property
    def message_id(self) -> str:
        """Of the message to be; empty when nothing will be stored."""
        return self._draft.message_id

    def stop(self) -> None:
        """End it, from any thread, keeping what was written."""
        self._under_way.stop()

    def save_now(self) -> None:
        """Have all that was written on the disk."""
        self._draft.save_now()

    def events(self) -> Iterator[SessionEvent]:
        """Make the reply. Whatever fails becomes the last event."""
        self.started = True
        draft = self._draft
        try:
            yield from self._make()
        except Stopped:
            yield ReplyEmpty(draft.message_id, "stopped before the first word", cancelled=True)
        except FAILURES as error:
            yield ReplyFailed(draft.message_id or None, one_line(error), None)
        finally:
            draft.end()
            self._session.saved.used(self._session.engine, self._session.last)
            self.ended.set()

    # The steps -------------------------------------------------------------------------------------------

    def _make(self) -> Iterator[SessionEvent]:
        session, draft = self._session, self._draft
        engine = yield from self._under_way.engine()
        prompt = session.prompt_for(self._path, self.mode)
        if self.mode != "impersonate":
            keep_window(session, prompt.window)
        yield ReplyStarted(draft.message_id, draft.parent, prompt.base_text)
        if self._under_way.stopped.is_set():
            raise Stopped
        yield from self._stream(engine, prompt)

    def _stream(self, engine: EngineSurface, prompt: Prompt) -> Iterator[SessionEvent]:
        started, draft = time.monotonic(), self._draft
        stretches = draft.begin(engine, prompt, self._session.seeds.next(), self._under_way)
        try:
            for event in stretches.events(draft.generation.seed, self._under_way.begin):
                draft.checkpoint()
                yield event
        except FAILURES as error:
            yield draft.broken(one_line(error))
            return
        except BaseException:
            # Whoever was listening has gone (closed generator, Ctrl+C): keep the model's words.
            draft.broken("")
            raise
        if stretches.totals.last is None:
            yield draft.broken("The model's process ended without a word.")
            return
        yield from draft.finished(settled(draft.generation, stretches, time.monotonic() - started))


def keep_window(session: Session, window: Window) -> None:
    """Store what the prompts hold from now on, when it has changed. Raises StoreError."""
    if window != session.chat.window:
        chat = replace(session.chat, window=window)
        session.store.save_settings(chat)
        session.chat = chat


def one_line(error: Exception) -> str:
    """An error as one line."""
    return " ".join(str(error).split()) or type(error).__name__

"""Replies on their way to the screen: one at a time, made in a thread, told to the screen by messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message as Intent

from chat.events import (
    ImpersonationFinished,
    ReadingPrompt,
    Remark,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    SessionEvent,
    TextAdded,
    TextWasThinking,
    ThinkingAdded,
    Waiting,
)
from chat.tui.blocks import Block
from chat.tui.status import number

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tui.screens.chat import ChatScreen
    from chat.tui.several import Several

AGAIN = "Ctrl+R tries again"


@dataclass
class Said(Intent):
    """The session told something about the reply under way."""

    event: SessionEvent


@dataclass
class Ended(Intent):
    """The reply's thread is done, whatever came of it."""

    failure: str = ""
    """One line when the program itself failed; the session tells its own failures as events."""


class Replies:
    """Starts and stops replies for a chat screen and shows what comes."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._session: Session | None = None
        self._then: Callable[[], object] | None = None
        self._several: Several | None = None
        self.running = False
        """A reply is being made."""
        self.failed = False
        """The last one failed, so that the next try is `Session.retry`."""
        self.waiting = ""
        """Why the reply cannot begin yet."""

    def start(
        self, session: Session, events: Callable[[], Iterator[SessionEvent]], several: Several | None = None
    ) -> None:
        """Iterate over the events in a thread. `several`: they are of more than one reply."""
        screen, self._several = self._screen, several
        self.running, self.failed, self.waiting, self._session = True, False, "", session
        screen.meter.prompt = None
        screen.banner.settle()

        def work() -> None:
            try:
                for event in events():
                    screen.post_message(Said(event))
            except BaseException as error:
                screen.post_message(Ended(f"the reply broke off: {type(error).__name__}"))
                raise
            screen.post_message(Ended())

        screen.run_worker(work, thread=True, exclusive=True, group="reply", exit_on_error=False)
        screen.show_state()

    def stop(self) -> None:
        """End the reply; what was written is kept."""
        if self._session is not None:
            self._session.stop()

    def when_idle(self, then: Callable[[], object]) -> None:
        """Do it now, or as soon as the reply that is under way has been stopped."""
        if not self.running:
            then()
            return
        self._then = then
        self.stop()

    def end(self, failure: str) -> None:
        """The thread is done."""
        self.running, self.waiting = False, ""
        self._screen.rpchat.look_at_engine()
        if failure:
            self._screen.banner.say(failure, key=AGAIN)
        self._screen.show_path()
        if self._several is not None:
            self._several.end()
            self._several = None
        then, self._then = self._then, None
        if then is not None:
            then()
        self._screen.ahead.look()

    # What a session tells -----------------------------------------------------------------------------------

    def show(self, event: SessionEvent) -> None:
        """Bring one event to the screen."""
        if self._several is not None and self._several.show(event):
            return
        match event:
            case ReplyStarted():
                self._begin(event)
            case Waiting():
                self.waiting = event.why
                self._screen.show_state()
            case ReadingPrompt():
                self._reading(event)
            case TextAdded():
                self._screen.transcript.grow(event.text)
                self._writing()
            case ThinkingAdded():
                self._screen.transcript.think(event.text)
                self._writing()
            case TextWasThinking():
                self._screen.transcript.text_was_thinking()
            case Remark():
                self._screen.tell(f"{event.text[:1].upper()}{event.text[1:].removesuffix('.')}.")
            case ReplyFinished():
                self._screen.meter.finished(event.message)
                self._screen.show_path()
            case ReplyEmpty():
                self._screen.show_path()
                if not event.cancelled:
                    self._screen.tell(event.why)
            case ReplyFailed():
                self._screen.show_path()
                if self._screen.has_model:  # else the banner says how to get one
                    self.failed = True
                    self._screen.banner.say(event.error, key=AGAIN)
            case ImpersonationFinished():
                self._screen.composer.set_text(event.text)
                self._screen.composer.focus()

    def _begin(self, event: ReplyStarted) -> None:
        session = self._session
        self.waiting = ""
        self._screen.rpchat.look_at_engine()
        if session is None or not event.message_id:
            return
        block = Block(event.message_id, "char", session.card.call_name, event.base_text)
        self._screen.transcript.begin(block, event.parent_id)

    def _writing(self) -> None:
        if not self._screen.status.status.writing:
            self._screen.status.change(reading=None, writing=True)
            self._screen.show_state()

    def _reading(self, event: ReadingPrompt) -> None:
        progress = f"reading {number(event.done)} of {number(event.total)}" if event.total else ""
        self._screen.transcript.say_progress(progress)
        self._screen.meter.prompt = event.total + event.reused
        self._screen.status.change(reading=(event.done, event.total), writing=False)
        self._screen.show_state()

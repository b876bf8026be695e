"""`rpchat say --swipes N`: several replies to one turn; the first is printed as it comes, then the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chat.cli.printing import stream, warn

if TYPE_CHECKING:
    from chat.events import SessionEvent
    from chat.session import Session
    from chat.tree import Message

__all__ = ["Swipes"]


class Swipes:
    """Replies that are made at once; `make` ends when all have."""

    def __init__(self, session: Session, count: int, *, aloud: bool) -> None:
        self.messages: list[Message] = []
        """What was stored, in order."""
        self.error = ""
        """Why one of them broke off, in one line."""
        self._session = session
        self._count = count
        self._aloud = aloud
        self._ids: list[str] = []
        self._turn = 0
        """Which of them is printed now."""
        self._headed = -1
        """The last one that has its heading."""
        self._later: dict[str, str] = {}
        """Text of those whose turn has not come."""
        self._nothing = ""
        self._stopped = False

    def make(self) -> None:
        """Make them. Raises UsageError where so many cannot be had, ClickException where none came."""
        for event in self._session.swipes(self._count):
            self._show(event)
        if self.messages:
            return
        if self._stopped:
            raise KeyboardInterrupt
        raise click.ClickException(self.error or self._nothing or "the replies did not end")

    def _show(self, event: SessionEvent) -> None:
        from chat.events import Remark, ReplyEmpty, ReplyFailed, ReplyFinished, ReplyStarted, TextAdded

        match event:
            case ReplyStarted(message_id=message_id):
                self._ids.append(message_id)
            case TextAdded(message_id=message_id, text=text):
                if message_id == self._ids[self._turn]:
                    self._print(text)
                else:
                    self._later[message_id] = self._later.get(message_id, "") + text
            case Remark(text=text):
                warn(text)
            case ReplyFinished(message=message):
                self._end(message)
            case ReplyEmpty(why=why, cancelled=stopped):
                self._nothing, self._stopped = why, self._stopped or stopped
                self._print(f"({why})")
                self._end(None)
            case ReplyFailed(error=error, refused=True):
                raise click.UsageError(error)
            case ReplyFailed(message_id=message_id, error=error, partial=partial):
                self.error = self.error or error
                if message_id is not None:
                    self._end(partial)

    def _end(self, message: Message | None) -> None:
        """The reply that is printed is over: the next one's turn."""
        if message is not None:
            self.messages.append(message)
        self._print("\n")
        if self._turn + 1 < len(self._ids):
            self._print("\n")
            self._turn += 1
            self._print(self._later.pop(self._ids[self._turn], ""))

    def _print(self, text: str) -> None:
        if not (self._aloud and text):
            return
        if self._count > 1 and self._headed < self._turn:
            self._headed = self._turn
            stream(f"— {self._turn + 1}/{self._count} —\n")
        stream(text)

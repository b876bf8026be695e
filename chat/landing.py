"""Putting replies into the store, also when it refuses at first."""

from __future__ import annotations

from collections.abc import Iterator

from chat.events import ReplyFailed, ReplyFinished, SessionEvent
from chat.store import Store, StoreError
from chat.tree import Message


class Landing:
    """Replies on their way into the store, oldest first.

    A reply that a full disk refuses is not lost while the program lives: it waits here, and goes in before
    anything else does. (Its draft is on the disk as far as it got.)
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Message, bool]] = []

    @property
    def waiting(self) -> list[Message]:
        """What could not be stored yet."""
        return [message for message, _ in self._waiting]

    def add(self, message: Message, *, move_head: bool) -> None:
        """Store a reply, and make it the head. Raises StoreError and keeps it waiting."""
        self._waiting.append((message, move_head))
        self.flush()

    def flush(self) -> None:
        """Store what is waiting. Raises StoreError when that still fails."""
        while self._waiting:
            message, move_head = self._waiting[0]
            self._store.add_message(message, move_head=move_head)
            del self._waiting[0]

    def late(self) -> Iterator[SessionEvent]:
        """Store what is waiting, told as the end of the last of these replies."""
        message = self._waiting[-1][0]
        try:
            self.flush()
        except StoreError as error:
            yield ReplyFailed(message.id, " ".join(str(error).split()), message)
        else:
            yield ReplyFinished(message)

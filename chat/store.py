"""The chats on disk: one SQLite file, insert-only rows, one transaction a change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from chat.records import Chat, ChatSummary, Found, OpenChat
from chat.tree import Message, Removal


class StoreError(Exception):
    """The store cannot do it; one line: what, where, what to do."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """`locked`, `full`, `readonly`, `damaged`, `newer`, `missing` (no such chat) or `io`."""


class Store:
    """All chats of one user. Every method may be called from any thread and raises StoreError."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin a new one; see `notices` for what had to be done for it."""
        self.path = path
        self.notices: list[str] = []
        """Sentences the person should see: a damaged file that was set aside ..."""
        raise NotImplementedError

    @classmethod
    def in_memory(cls) -> Self:
        """A store that forgets everything when it is closed (`say --no-save`)."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; the store cannot be used any more."""

    # Chats

    def chats(self, card_ref: str | None = None) -> list[ChatSummary]:
        """The chats, of one card or of all, last used first."""
        raise NotImplementedError

    def find_chat(self, id_or_beginning: str) -> str:
        """The whole id of a chat. A StoreError `missing` when none, or more than one, begins so."""
        raise NotImplementedError

    def create_chat(self, chat: Chat, messages: Sequence[Message] = (), head: str | None = None) -> None:
        """Store a new chat with its first messages, parents first."""
        raise NotImplementedError

    def open_chat(self, chat_id: str) -> OpenChat:
        """Read a chat whole; a reply that a crash cut off becomes a message first. Raises StoreError."""
        raise NotImplementedError

    def save_settings(self, chat: Chat) -> None:
        """Keep a chat's title, format, sampling, options, persona and window as they stand in `chat`."""
        raise NotImplementedError

    def delete_chat(self, chat_id: str) -> None:
        """Take a chat out of every list and search; its rows stay."""
        raise NotImplementedError

    def restore_chat(self, chat_id: str) -> None:
        """Undo of `delete_chat`."""
        raise NotImplementedError

    # Messages

    def add_message(self, message: Message, *, move_head: bool = True) -> None:
        """Store a message, make it the head, and drop its draft if it had one."""
        raise NotImplementedError

    def move_head(self, chat_id: str, message_id: str | None) -> None:
        """Record where the active path ends now."""
        raise NotImplementedError

    def remove(self, message: Message, head_before: str | None, head_after: str | None) -> Removal:
        """Hide a message and what is below it."""
        raise NotImplementedError

    def restore(self, chat_id: str, removal: Removal, head: str | None) -> None:
        """Take a removal back."""
        raise NotImplementedError

    # Drafts

    def save_draft(self, message: Message) -> None:
        """Checkpoint a reply under way: should the program die, it becomes a message when the chat is opened."""
        raise NotImplementedError

    def drop_draft(self, message_id: str) -> None:
        """Forget a draft that became nothing."""
        raise NotImplementedError

    # Finding, sharing

    def search(self, text: str, *, limit: int = 50) -> list[Found]:
        """Messages that hold all the words (the last may be a beginning), best first; removed ones are left out."""
        raise NotImplementedError

    def claim(self, chat_id: str) -> bool:
        """Say that this program has the chat open; False when another one has. `release` or `close` ends it."""
        raise NotImplementedError

    def release(self, chat_id: str) -> None:
        """The chat is left."""


def now() -> datetime:
    """This moment, UTC, in whole milliseconds, as the store keeps it."""
    raise NotImplementedError

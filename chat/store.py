"""The chats on disk: one SQLite file, insert-only rows, one transaction a change.

Several programs may have the same file open. Every method may be called from any thread.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from chat import finding
from chat.database import Snapshots, StoreError, open_database, reported
from chat.ids import new_id, now, to_milliseconds
from chat.migrations import migrate
from chat.records import Chat, ChatSummary, Found, OpenChat
from chat.rows import (
    CHAT_COLUMNS,
    MESSAGE_COLUMNS,
    chat_row,
    chat_settings,
    message_row,
    read_chat,
    read_messages,
)
from chat.tree import Message, Removal, Tree
from chat.writers import Writers

__all__ = ["Store", "StoreError"]

_MESSAGE_MARKS = ", ".join("?" * len(MESSAGE_COLUMNS.split(", ")))
_CHAT_MARKS = ", ".join("?" * len(CHAT_COLUMNS.split(", ")))
_ADD_MESSAGE = f"INSERT INTO messages ({MESSAGE_COLUMNS}) VALUES ({_MESSAGE_MARKS})"
_NEWEST_SETTINGS = "SELECT key, value, max(seq) FROM settings WHERE chat_id = ? GROUP BY key"


class Store:
    """All chats of one user. Methods raise StoreError."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin a new one; `notices` says what had to be done for it."""
        self.path: Path | None = path
        """None: in memory."""
        self._lock = threading.RLock()
        self._connection, self._notices = open_database(path)
        self._writers: Writers | None = Writers(path.parent / "locks")
        self._snapshots: Snapshots | None = Snapshots(path)
        with self._reading() as connection:
            worth_keeping = finding.has_chats(connection)
        if worth_keeping:
            self._snapshots.begin()

    @classmethod
    def in_memory(cls) -> Self:
        """A store that forgets everything when it is closed (`say --no-save`)."""
        store = cls.__new__(cls)
        store.path = None
        store._lock = threading.RLock()
        store._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        store._connection.execute("PRAGMA foreign_keys = ON")
        store._notices, store._writers, store._snapshots = [], None, None
        migrate(store._connection)
        return store

    def close(self) -> None:
        """Close the file, after a snapshot that is being taken; the store cannot be used any more."""
        if self._snapshots is not None:
            self._snapshots.wait()
        if self._writers is not None:
            self._writers.close()
        with self._lock, reported(self._name):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def notices(self) -> list[str]:
        """Sentences that the person should see: a damaged file that was set aside ..."""
        return self._notices + (self._snapshots.notices if self._snapshots else [])

    # Chats -----------------------------------------------------------------------------------------------

    def chats(self, card_ref: str | None = None) -> list[ChatSummary]:
        """The chats, of one card or of all, last used first."""
        with self._reading() as connection:
            return finding.summaries(connection, card_ref)

    def find_chat(self, id_or_beginning: str) -> str:
        """The whole id of a chat. A StoreError `missing` when none, or more than one, begins so."""
        with self._reading() as connection:
            ids = finding.ids_beginning(connection, id_or_beginning.strip().lower())
        if len(ids) == 1:
            return ids[0]
        if not ids:
            raise _missing(id_or_beginning)
        raise StoreError(
            f"More than one chat begins with {id_or_beginning!r}: give more of its id.", "missing"
        )

    def create_chat(self, chat: Chat, messages: Sequence[Message] = (), head: str | None = None) -> None:
        """Store a new chat with its first messages, parents first."""
        with self._change() as connection:
            connection.execute(f"INSERT INTO chats ({CHAT_COLUMNS}) VALUES ({_CHAT_MARKS})", chat_row(chat))
            self._insert_settings(connection, chat.id, chat_settings(chat))
            connection.executemany(_ADD_MESSAGE, [message_row(message) for message in messages])
            self._insert_head(connection, chat.id, head)

    def open_chat(self, chat_id: str) -> OpenChat:
        """Read a chat whole; a reply that a crash cut off becomes a message first."""
        interrupted = self._recover_drafts(chat_id)
        with self._reading() as connection:
            row = connection.execute(f"SELECT {CHAT_COLUMNS} FROM chats WHERE id = ?", (chat_id,)).fetchone()
            if row is None:
                raise _missing(chat_id)
            settings = {key: value for key, value, _ in connection.execute(_NEWEST_SETTINGS, (chat_id,))}
            messages = connection.execute(
                f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE chat_id = ? ORDER BY seq", (chat_id,)
            ).fetchall()
            removals = connection.execute(
                "SELECT id, message_id, head_before FROM removals WHERE chat_id = ? AND id NOT IN"
                " (SELECT removal_id FROM restores) ORDER BY seq",
                (chat_id,),
            ).fetchall()
            heads = connection.execute(
                "SELECT message_id FROM heads WHERE chat_id = ? ORDER BY seq", (chat_id,)
            ).fetchall()
        tree = Tree(
            read_messages(messages), [Removal(*removal) for removal in removals], [head for (head,) in heads]
        )
        return OpenChat(read_chat(row, settings), tree, interrupted)

    def save_settings(self, chat: Chat) -> None:
        """Keep a chat's title, format, sampling, options and window as they stand in `chat`."""
        with self._change() as connection:
            self._insert_settings(connection, chat.id, chat_settings(chat))

    def delete_chat(self, chat_id: str) -> None:
        """Take a chat out of every list and search; its rows stay."""
        with self._change() as connection:
            self._insert_settings(connection, chat_id, {"deleted": "true"})

    def restore_chat(self, chat_id: str) -> None:
        """Undo of `delete_chat`."""
        with self._change() as connection:
            self._insert_settings(connection, chat_id, {"deleted": "false"})

    # Messages --------------------------------------------------------------------------------------------

    def add_message(self, message: Message, *, move_head: bool = True) -> None:
        """Store a message, make it the head, and drop its draft if it had one."""
        with self._change() as connection:
            connection.execute(_ADD_MESSAGE, message_row(message))
            if move_head:
                self._insert_head(connection, message.chat_id, message.id)
            connection.execute("DELETE FROM drafts WHERE id = ?", (message.id,))

    def move_head(self, chat_id: str, message_id: str | None) -> None:
        """Record where the active path ends now."""
        with self._change() as connection:
            self._insert_head(connection, chat_id, message_id)

    def remove(self, message: Message, head_before: str | None, head_after: str | None) -> Removal:
        """Hide a message and what is below it."""
        removal = Removal(new_id(), message.id, head_before)
        with self._change() as connection:
            connection.execute(
                "INSERT INTO removals (id, chat_id, message_id, head_before, created) VALUES (?, ?, ?, ?, ?)",
                (removal.id, message.chat_id, message.id, head_before, to_milliseconds(now())),
            )
            self._insert_head(connection, message.chat_id, head_after)
        return removal

    def restore(self, chat_id: str, removal: Removal, head: str | None) -> None:
        """Take a removal back, and record where the active path ends then."""
        with self._change() as connection:
            connection.execute(
                "INSERT INTO restores (id, removal_id, created) VALUES (?, ?, ?)",
                (new_id(), removal.id, to_milliseconds(now())),
            )
            self._insert_head(connection, chat_id, head)

    # Drafts ----------------------------------------------------------------------------------------------

    def save_draft(self, message: Message) -> None:
        """Checkpoint a reply under way; should the program die, the next opening makes a message of it."""
        writer = ""
        if self._writers is not None:
            with reported(self._name):
                self._writers.begin_drafts()
            writer = self._writers.me
        with self._change() as connection:
            connection.execute(
                f"INSERT INTO drafts ({MESSAGE_COLUMNS}, writer, saved) VALUES ({_MESSAGE_MARKS}, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET text = excluded.text, thinking = excluded.thinking,"
                " raw = excluded.raw, saved = excluded.saved",
                (*message_row(message), writer, to_milliseconds(now())),
            )

    def drop_draft(self, message_id: str) -> None:
        """Forget a draft that became nothing."""
        with self._change() as connection:
            connection.execute("DELETE FROM drafts WHERE id = ?", (message_id,))

    # Finding, sharing ------------------------------------------------------------------------------------

    def search(self, text: str, *, limit: int = 50) -> list[Found]:
        """Messages with all the words (the last may be a beginning), best first, but removed ones."""
        with self._reading() as connection:
            return finding.search(connection, text, limit)

    def claim(self, chat_id: str) -> bool:
        """Say that this program has the chat open, until `release`; False when another one has."""
        with reported(self._name):
            return self._writers is None or self._writers.claim_chat(chat_id)

    def release(self, chat_id: str) -> None:
        """The chat is left."""
        if self._writers is not None:
            self._writers.release_chat(chat_id)

    # How -------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> Path | str:
        return self.path or "in memory"

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view, whatever another program writes meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One change: all of it is on the disk when the block ends, or nothing of it is."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, reported(self._name):
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk has ended the transaction by itself already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _insert_head(self, connection: sqlite3.Connection, chat_id: str, message_id: str | None) -> None:
        connection.execute(
            "INSERT INTO heads (id, chat_id, message_id, created) VALUES (?, ?, ?, ?)",
            (new_id(), chat_id, message_id, to_milliseconds(now())),
        )

    def _insert_settings(self, connection: sqlite3.Connection, chat_id: str, values: dict[str, str]) -> None:
        """Add a row for each setting that is not as it was."""
        before = {key: value for key, value, _ in connection.execute(_NEWEST_SETTINGS, (chat_id,))}
        moment = to_milliseconds(now())
        connection.executemany(
            "INSERT INTO settings (id, chat_id, key, value, created) VALUES (?, ?, ?, ?, ?)",
            [(new_id(), chat_id, key, new, moment) for key, new in values.items() if before.get(key) != new],
        )

    def _recover_drafts(self, chat_id: str) -> int:
        """Make messages of the drafts whose program is gone; returns how many there were."""
        with self._reading() as connection:
            drafts = connection.execute(
                f"SELECT {MESSAGE_COLUMNS}, writer, saved FROM drafts WHERE chat_id = ? ORDER BY saved",
                (chat_id,),
            ).fetchall()
        recovered = 0
        for *columns, writer, saved in drafts:
            with reported(self._name):
                if self._writers is None or not self._writers.is_gone(writer):
                    continue
            with self._change() as connection:
                # Another program that opened the chat at the same moment may have been quicker.
                if connection.execute("DELETE FROM drafts WHERE id = ?", (columns[0],)).rowcount:
                    connection.execute(_ADD_MESSAGE, columns)
                    if not connection.execute(
                        "SELECT 1 FROM heads WHERE chat_id = ? AND created > ?", (chat_id, saved)
                    ).fetchone():
                        self._insert_head(connection, chat_id, columns[0])
                    recovered += 1
        return recovered


def _missing(chat_id: str) -> StoreError:
    return StoreError(f"There is no chat {chat_id!r}: `rpchat chat list` names them all.", "missing")

"""The schema of the store, as numbered steps: step n brings a file from `user_version` n - 1 to n.

A step is never changed once it has been released. Rows are insert-only, but for drafts, which are checkpoints
of replies under way. `seq` is the order in which rows came into this file, whatever the clock said; ids are
UUIDv7, so that the rows of two machines can be merged one day. Times are Unix milliseconds.
"""

from __future__ import annotations

import sqlite3

FIRST = (
    """
    CREATE TABLE chats (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        card_ref TEXT NOT NULL,
        card_name TEXT NOT NULL,
        card_document TEXT NOT NULL,
        persona_name TEXT NOT NULL,
        persona_description TEXT NOT NULL,
        dice INTEGER NOT NULL
    )
    """,
    # What may change about a chat (title, format, window, deleted ...): the newest row of a key counts.
    """
    CREATE TABLE settings (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        chat_id TEXT NOT NULL REFERENCES chats (id),
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        created INTEGER NOT NULL
    )
    """,
    "CREATE INDEX settings_of_chat ON settings (chat_id, key)",
    """
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        chat_id TEXT NOT NULL REFERENCES chats (id),
        parent_id TEXT REFERENCES messages (id),
        role TEXT NOT NULL CHECK (role IN ('user', 'char', 'system')),
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        hidden INTEGER NOT NULL,
        created INTEGER NOT NULL,
        generation TEXT,
        sampling TEXT,
        continues TEXT REFERENCES messages (id)
    )
    """,
    "CREATE INDEX messages_of_chat ON messages (chat_id)",
    "CREATE INDEX messages_below ON messages (parent_id)",
    "CREATE INDEX messages_continued ON messages (continues) WHERE continues IS NOT NULL",
    # Where the active path ends: the newest row of a chat counts, the older ones tell what was visited last.
    """
    CREATE TABLE heads (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        chat_id TEXT NOT NULL REFERENCES chats (id),
        message_id TEXT REFERENCES messages (id),
        created INTEGER NOT NULL
    )
    """,
    "CREATE INDEX heads_of_chat ON heads (chat_id)",
    # A removal holds until a restore names it.
    """
    CREATE TABLE removals (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        chat_id TEXT NOT NULL REFERENCES chats (id),
        message_id TEXT NOT NULL REFERENCES messages (id),
        head_before TEXT REFERENCES messages (id),
        created INTEGER NOT NULL
    )
    """,
    "CREATE INDEX removals_of_chat ON removals (chat_id)",
    "CREATE INDEX removals_of_message ON removals (message_id)",
    """
    CREATE TABLE restores (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        removal_id TEXT NOT NULL REFERENCES removals (id),
        created INTEGER NOT NULL
    )
    """,
    "CREATE INDEX restores_of_removal ON restores (removal_id)",
    # Replies under way, written over at every checkpoint. `writer` names the program that is at it.
    """
    CREATE TABLE drafts (
        id TEXT PRIMARY KEY,
        chat_id TEXT NOT NULL REFERENCES chats (id),
        parent_id TEXT REFERENCES messages (id),
        role TEXT NOT NULL,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        hidden INTEGER NOT NULL,
        created INTEGER NOT NULL,
        generation TEXT,
        sampling TEXT,
        continues TEXT REFERENCES messages (id),
        writer TEXT NOT NULL,
        saved INTEGER NOT NULL
    )
    """,
    """
    CREATE VIRTUAL TABLE words USING fts5 (
        text, content = 'messages', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER words_of_message AFTER INSERT ON messages BEGIN
        INSERT INTO words (rowid, text) VALUES (new.seq, new.text);
    END
    """,
)

# What a model thought before a reply, and the reply as it came from the model where the text is another one.
SECOND = tuple(
    f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
    for table in ("messages", "drafts")
    for column in ("thinking", "raw")
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (FIRST, SECOND)


def latest() -> int:
    """The `user_version` that this program writes."""
    return len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date, each step in a transaction of its own. Raises sqlite3.Error."""
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if version >= latest():
                connection.execute("COMMIT")
                return
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

"""Reading across chats: lists of them, and full-text search."""

from __future__ import annotations

import json
import re
import sqlite3

from cards.library import id_in
from chat.ids import from_milliseconds
from chat.records import ChatSummary, Found

LAST_LINE = 200
"""Characters of the last message that a list of chats shows at most."""
EXCERPT = 160
"""Characters around a hit."""

_NEWEST = "(SELECT value FROM settings WHERE chat_id = chats.id AND key = '{}' ORDER BY seq DESC LIMIT 1)"
_DELETED = f"coalesce({_NEWEST.format('deleted')}, 'false') = 'true'"

# The newest head of each chat, and from there the way up to the root.
_SUMMARIES = f"""
    WITH RECURSIVE
    ends (chat_id, head_seq, message_id, moved) AS (
        SELECT chat_id, seq, message_id, created FROM heads
        WHERE seq IN (SELECT (SELECT max(seq) FROM heads WHERE chat_id = chats.id) FROM chats)
    ),
    ways (chat_id, message_id) AS (
        SELECT chat_id, message_id FROM ends WHERE message_id IS NOT NULL
        UNION ALL
        SELECT ways.chat_id, parent_id FROM ways JOIN messages ON messages.id = ways.message_id
        WHERE parent_id IS NOT NULL
    ),
    lengths (chat_id, length) AS (SELECT chat_id, count(*) FROM ways GROUP BY chat_id)
    SELECT chats.id, card_ref, card_name, {_NEWEST.format("title")}, chats.created,
           coalesce(moved, chats.created), coalesce(length, 0), coalesce(substr(messages.text, 1, 1000), '')
    FROM chats
    LEFT JOIN ends ON ends.chat_id = chats.id
    LEFT JOIN lengths ON lengths.chat_id = chats.id
    LEFT JOIN messages ON messages.id = ends.message_id
    WHERE NOT {_DELETED}
      AND (:card_ref IS NULL OR card_ref = :card_ref OR (:id != '' AND card_ref LIKE '%~' || :id))
    ORDER BY head_seq DESC
"""

# A message is gone when it, or one above it, is removed and not restored; it is replaced when continued
# with no replies of its own.
_HITS = f"""
    WITH RECURSIVE
    gone (id) AS (
        SELECT message_id FROM removals WHERE id NOT IN (SELECT removal_id FROM restores)
        UNION
        SELECT messages.id FROM messages JOIN gone ON messages.parent_id = gone.id
    ),
    hits AS ({{hits}})
    SELECT hits.chat_id, hits.id, chats.card_name, hits.name, hits.text, hits.created
    FROM hits JOIN chats ON chats.id = hits.chat_id
    WHERE NOT {_DELETED}
      AND hits.id NOT IN (SELECT id FROM gone)
      AND NOT (
        EXISTS (SELECT 1 FROM messages WHERE continues = hits.id)
        AND NOT EXISTS (SELECT 1 FROM messages WHERE parent_id = hits.id)
      )
    ORDER BY place LIMIT :limit
"""
_BY_WORDS = _HITS.format(
    hits="""
    SELECT messages.*, rank AS place FROM words JOIN messages ON messages.seq = words.rowid
    WHERE words MATCH :query"""
)
_BY_LETTERS = _HITS.format(
    hits="SELECT messages.*, -seq AS place FROM messages WHERE text LIKE :query ESCAPE '\\'"
)


def summaries(connection: sqlite3.Connection, card_ref: str | None) -> list[ChatSummary]:
    """Every chat that is not deleted, last used first. Raises sqlite3.Error."""
    # A card's file may have got another name since a chat noted it: the id in it is what stays.
    wanted = {"card_ref": card_ref, "id": id_in(card_ref or "")}
    rows = connection.execute(_SUMMARIES, wanted).fetchall()
    return [
        ChatSummary(
            id=id_,
            card_ref=ref,
            card_name=name,
            title=json.loads(title or '""'),
            created=from_milliseconds(created),
            updated=from_milliseconds(updated),
            messages=length,
            last_line=" ".join(text.split())[:LAST_LINE],
        )
        for id_, ref, name, title, created, updated, length, text in rows
    ]


def has_chats(connection: sqlite3.Connection) -> bool:
    """Whether there is anything that a snapshot could keep. Raises sqlite3.Error."""
    return connection.execute("SELECT 1 FROM chats LIMIT 1").fetchone() is not None


def ids_beginning(connection: sqlite3.Connection, beginning: str) -> list[str]:
    """At most two ids of chats that are not deleted and begin so. Raises sqlite3.Error."""
    if not beginning:
        return []
    rows = connection.execute(
        f"SELECT id FROM chats WHERE substr(id, 1, ?) = ? AND NOT {_DELETED} LIMIT 2",
        (len(beginning), beginning),
    )
    return [id_ for (id_,) in rows]


def search(connection: sqlite3.Connection, text: str, limit: int) -> list[Found]:
    """Messages with all the words of `text`, else with `text` itself in them (Chinese has no spaces).

    Raises sqlite3.Error.
    """
    words = re.findall(r"\w+", text)
    if not words:
        return []
    # Quoted, a word is nothing but a word: no operator, no column name.
    query = " ".join(f'"{word}"' for word in words) + "*"
    rows = connection.execute(_BY_WORDS, {"query": query, "limit": limit}).fetchall()
    if not rows:
        letters = re.sub(r"([\\%_])", r"\\\1", text.strip())
        rows = connection.execute(_BY_LETTERS, {"query": f"%{letters}%", "limit": limit}).fetchall()
    return [
        Found(chat_id, id_, card_name, name, excerpt(message, words), from_milliseconds(created))
        for chat_id, id_, card_name, name, message, created in rows
    ]


def excerpt(text: str, words: list[str]) -> str:
    """One line of `text` around the first of the words that is in it."""
    line = " ".join(text.split())
    hit = re.search("|".join(map(re.escape, words)), line, re.IGNORECASE)
    start = max((hit.start() if hit else 0) - EXCERPT // 3, 0)
    piece = line[start : start + EXCERPT]
    return ("… " if start else "") + piece + (" …" if start + EXCERPT < len(line) else "")

"""What is known of each card in a folder without reading it again.

A cache: a file is read once, and again when its size or time of change is another. Deleting it, damaging it
or not being able to write it costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cards.card import Card
from cards.errors import CardError
from cards.library.files import read_file, save_file
from cards.reading import read_card

__all__ = [
    "INDEX_NAME",
    "NO_CARD",
    "CardIndex",
    "LibraryCard",
    "described",
    "estimated_tokens",
    "is_other_text",
]

INDEX_NAME: Final = ".index.json"
_VERSION: Final = 2
_ABOUT: Final = 300
"""Characters of a card's notes that a list may be searched for."""
NO_CARD: Final = "a text that is no card"
"""The error of a README and the like, which no list shows."""
_PASSING: Final = ("missing", "unreadable", "not-a-file")
"""Errors that may be gone the next time."""


@dataclass(frozen=True, slots=True)
class LibraryCard:
    """A card in the library, for a list."""

    ref: str
    """What finds it, and what chats know it by: its file's name without the ending."""
    path: Path
    name: str
    spec: str
    creator: str = ""
    tags: tuple[str, ...] = ()
    starter: bool = False
    error: str = ""
    """Why it cannot be read; then name is the file's."""
    tokens: int = 0
    """Of all that may stand in a prompt, estimated: no model is asked."""
    about: str = ""
    """The beginning of the creator's notes, else of the description."""
    digest: str = ""
    """SHA-256 of the file."""


def estimated_tokens(card: Card) -> int:
    """Tokens of a card's own texts in a prompt, at four characters a token."""
    texts = (
        card.name,
        card.description,
        card.personality,
        card.scenario,
        card.first_mes,
        card.mes_example,
        card.system_prompt,
        card.post_history_instructions,
    )
    return sum((len(text) + 3) // 4 for text in texts)


def described(card: Card, path: Path, data: bytes, *, starter: bool = False) -> LibraryCard:
    """A card's line in a list."""
    about = " ".join((card.creator_notes.strip() or card.description)[: 2 * _ABOUT].split())[:_ABOUT]
    return LibraryCard(
        path.stem,
        path,
        card.name,
        card.spec,
        card.creator,
        tuple(card.tags),
        starter,
        tokens=estimated_tokens(card),
        about=about,
        digest=hashlib.sha256(data).hexdigest(),
    )


class CardIndex:
    """The cache of one folder; use it for one listing and then `save` it."""

    def __init__(self, file: Path) -> None:
        """Reads the cache; a damaged one is an empty one."""
        self.file = file
        self._known = _read(self.file)
        self._seen: dict[str, list[Any]] = {}
        self._changed = False

    def card(self, path: Path, found: os.stat_result, *, starter: bool) -> LibraryCard:
        """The card in a file, read only when it is not the file that is known."""
        row = self._known.get(path.name)
        if row is not None and row[:2] == [found.st_size, found.st_mtime_ns]:
            try:
                card = _card_of(row, path, starter)
            except (TypeError, ValueError, IndexError):
                card = None
            if card is not None:
                self._seen[path.name] = row
                return card
        self._changed = True
        try:
            card = _read_line(path, starter)
        except CardError as error:
            card = LibraryCard(path.stem, path, path.stem, "", starter=starter, error=str(error))
            if error.code in _PASSING:
                return card
        self._seen[path.name] = _row(card, found)
        return card

    def save(self) -> None:
        """Writes the cache when a file was new, changed or gone."""
        if not self._changed and len(self._seen) == len(self._known):
            return
        text = json.dumps({"version": _VERSION, "cards": self._seen}, separators=(",", ":"))
        try:
            save_file(self.file, text.encode(), backup=False, flush=False)
        except CardError:
            # A folder that cannot be written is listed all the same, only not as fast.
            return


def _read_line(path: Path, starter: bool) -> LibraryCard:
    """Raises CardError."""
    data = read_file(path)
    if is_other_text(path, data):
        return LibraryCard(path.stem, path, path.stem, "", starter=starter, error=NO_CARD)
    return described(read_card(data, path.name)[0], path, data, starter=starter)


def is_other_text(path: Path, data: bytes) -> bool:
    """Whether a Markdown file in a folder of cards is a README or a note, and no card."""
    if path.suffix.lower() != ".md":
        return False
    from cards.markdown import looks_like_markdown_card

    return not looks_like_markdown_card(data.decode("utf-8", "replace"))


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        held = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if (
        not isinstance(held, dict)
        or held.get("version") != _VERSION
        or not isinstance(held.get("cards"), dict)
    ):
        return {}
    return {name: row for name, row in held["cards"].items() if isinstance(row, list)}


def _row(card: LibraryCard, found: os.stat_result) -> list[Any]:
    return [
        found.st_size,
        found.st_mtime_ns,
        card.digest,
        card.name,
        card.spec,
        card.creator,
        list(card.tags),
        card.tokens,
        card.about,
        card.error,
    ]


def _card_of(row: list[Any], path: Path, starter: bool) -> LibraryCard:
    _, _, digest, name, spec, creator, tags, tokens, about, error = row
    texts = (digest, name, spec, creator, about, error, *tags)
    if not all(isinstance(text, str) for text in texts) or not isinstance(tokens, int):
        raise TypeError(path.name)
    return LibraryCard(
        path.stem, path, name, spec, creator, tuple(tags), starter, error, tokens, about, digest
    )

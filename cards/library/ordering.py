"""Sorting and filtering of a listing. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from cards.library.index import LibraryCard

__all__ = ["SORTS", "Sort", "TypedFilter", "filtered", "in_order"]

Sort = Literal["name", "creator", "chat", "tokens"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_ASKED: Final = re.compile(r'(?:#|tag:)("[^"]*"?|\S*)|\S+', re.IGNORECASE)


def in_order(
    cards: Iterable[LibraryCard], by: Sort = "name", last_chats: Mapping[str, datetime] | None = None
) -> list[LibraryCard]:
    """Cards by name, by creator, by their last chat (newest first) or by size in tokens (largest first).

    `last_chats` is when a chat with each ref went on last. Cards that have no creator or chat come last.
    """
    chats = last_chats or {}

    def key(card: LibraryCard) -> tuple[Any, ...]:
        name = (card.name.casefold(), card.ref)
        if by == "creator":
            return (not card.creator, card.creator.casefold(), *name)
        if by == "chat":
            return (-chats.get(card.ref, _NEVER).timestamp() if card.ref in chats else 0.0, *name)
        return (-card.tokens, *name) if by == "tokens" else name

    return sorted(cards, key=key)


def filtered(cards: Iterable[LibraryCard], *, tags: Sequence[str] = (), text: str = "") -> list[LibraryCard]:
    """Cards that have all these tags, in any case, and all words of `text` somewhere in their name, creator,
    tags, file name or the beginning of their notes."""
    wanted = {tag.strip().casefold() for tag in tags}
    words = text.casefold().split()
    return [card for card in cards if _has_tags(card, wanted) and _has_words(card, words)]


class TypedFilter:
    """The cards that a line leaves while it is being typed; quick for ten thousand of them.

    Its words are those of `filtered`. `#sea` and `tag:sea` mean a tag that begins so, and so does
    `#"slow bu`; a quoted tag that is closed means the whole tag.
    """

    def __init__(self, cards: Iterable[LibraryCard]) -> None:
        """What is found keeps the order of `cards`."""
        self._lines = [(card, _held(card), _tag_lines(card)) for card in cards]

    def in_order(self, by: Sort, last_chats: Mapping[str, datetime] | None = None) -> TypedFilter:
        """The same cards in the order of `in_order`."""
        lines = {id(line[0]): line for line in self._lines}
        other = TypedFilter(())
        other._lines = [
            lines[id(card)] for card in in_order((line[0] for line in self._lines), by, last_chats)
        ]
        return other

    def found(self, typed: str) -> list[LibraryCard]:
        """The cards that answer to all of it; every card where nothing is asked."""
        words, tags = _asked(typed)
        found = self._lines
        for word in words:
            found = [line for line in found if word in line[1]]
        for tag in tags:
            found = [line for line in found if tag in line[2]]
        return [card for card, _, _ in found]


def _asked(typed: str) -> tuple[list[str], list[str]]:
    """Words, and what of tags is to be found in `_tag_lines`."""
    words: list[str] = []
    tags: list[str] = []
    for part in _ASKED.finditer(typed.casefold()):
        tag = part[1]
        if tag is None:
            words.append(part[0])
        elif bare := tag.strip('"').strip():
            whole = tag[0] == tag[-1] == '"'
            tags.append(f"\n{bare}\n" if whole else f"\n{bare}")
    return words, tags


def _tag_lines(card: LibraryCard) -> str:
    """The folded tags, each between two newlines."""
    tags = (" ".join(tag.split()).casefold() for tag in card.tags)
    return "\n" + "".join(f"{tag}\n" for tag in tags)


def _has_tags(card: LibraryCard, wanted: set[str]) -> bool:
    return not wanted or wanted <= {tag.strip().casefold() for tag in card.tags}


def _has_words(card: LibraryCard, words: Sequence[str]) -> bool:
    if not words:
        return True
    held = _held(card)
    return all(word in held for word in words)


def _held(card: LibraryCard) -> str:
    return "\n".join((card.name, card.creator, card.ref, card.about, *card.tags)).casefold()

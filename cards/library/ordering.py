"""Sorting and filtering of a listing. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from cards.library.index import LibraryCard

__all__ = ["SORTS", "Sort", "filtered", "in_order"]

Sort = Literal["name", "creator", "chat", "tokens"]
SORTS: Final = ("name", "creator", "chat", "tokens")
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


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


def _has_tags(card: LibraryCard, wanted: set[str]) -> bool:
    return not wanted or wanted <= {tag.strip().casefold() for tag in card.tags}


def _has_words(card: LibraryCard, words: Sequence[str]) -> bool:
    if not words:
        return True
    held = "\n".join((card.name, card.creator, card.ref, card.about, *card.tags)).casefold()
    return all(word in held for word in words)

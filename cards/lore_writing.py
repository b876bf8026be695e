"""A lorebook's file into a card's book: whatever its form, the entries become those of Character Card V2,
with SillyTavern's settings in their extensions, and nothing of an entry is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cards.agnai import memory_entry
from cards.card import Card
from cards.errors import CardError
from cards.lore_entry import WORLD_NAMES
from cards.paths import value_at
from cards.reading import book_in, read_card

__all__ = ["book_with", "entry_from_world"]

_WORLD_FIELDS: Final = {
    "key": "keys",
    "keysecondary": "secondary_keys",
    "comment": "comment",
    "content": "content",
    "constant": "constant",
    "selective": "selective",
    "order": "insertion_order",
    "caseSensitive": "case_sensitive",
    "uid": "id",
}


_SPELLED: Final = {
    "outletName": "outlet_name",
    "automationId": "automation_id",
    "displayIndex": "display_index",
}
"""What SillyTavern spells otherwise in a card, besides the settings that rpchat reads."""


def book_with(card: Card, data: bytes, filename: str) -> tuple[Card, int]:
    """The card with the entries of a lorebook's file after those of its own book, and how many came.

    `data` is any file that `read_lorebook` reads. Raises CardError.
    """
    raw = _raw_book(data, filename)
    entries = raw.get("entries")
    listed = list(entries.values()) if isinstance(entries, Mapping) else entries
    if not isinstance(listed, list):
        raise CardError("no-lorebook", "there are no entries in this lorebook", filename)
    memory = raw.get("kind") == "memory"
    new = [_entry(entry, memory) for entry in listed if isinstance(entry, Mapping)]
    place = (*card.shape.fields, card.shape.book_key)
    held = value_at(card.document, place)
    if not isinstance(held, Mapping):
        settings = {
            key: value for key, value in raw.items() if key not in ("entries", "kind", "originalData")
        }
        book = {"extensions": {}, **settings, "entries": new}
    else:
        own = held.get("entries")
        before = list(own.values()) if isinstance(own, Mapping) else own if isinstance(own, list) else []
        book = {**held, "entries": [*before, *new]}
    return card.edited(place, book), len(new)


def _raw_book(data: bytes, filename: str) -> Mapping[str, Any]:
    found = book_in(data, [])
    if found is not None:
        return found
    card, _ = read_card(data, filename)
    held = value_at(card.document, (*card.shape.fields, card.shape.book_key))
    if not isinstance(held, Mapping):
        raise CardError("no-lorebook", "there is no lorebook in this card", filename)
    return held


def _entry(entry: Mapping[str, Any], memory: bool) -> dict[str, Any]:
    if memory:
        return memory_entry(entry)
    if "key" in entry and "keys" not in entry:
        return entry_from_world(entry)
    required = {"keys": [], "content": "", "extensions": {}, "enabled": True, "insertion_order": 100}
    return {**required, **entry}


def entry_from_world(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a World Info file as one of a V2 book."""
    book: dict[str, Any] = {
        "keys": [],
        "content": "",
        "enabled": not entry.get("disable", False),
        "insertion_order": 100,
        # Where a World Info entry says nothing, its secondary keys count; in a book they do not.
        "selective": True,
    }
    extensions: dict[str, Any] = {}
    spelled = {camel: snake for snake, camel in WORLD_NAMES.items()} | _SPELLED
    for key, value in entry.items():
        if key in _WORLD_FIELDS:
            book[_WORLD_FIELDS[key]] = value
        elif key != "disable":
            extensions[spelled.get(key, key)] = value
    position = entry.get("position")
    if position in (0, 1):
        book["position"] = "after_char" if position else "before_char"
    book["extensions"] = extensions
    return book

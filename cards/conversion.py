"""One specification's document from another's, and what is lost on the way down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from cards.card import Card
from cards.paths import value_at, with_value
from cards.png import MIRRORED
from cards.shapes import FIELD_ALIASES

__all__ = [
    "PRIVATE_KEYS",
    "SpecNumber",
    "as_v1",
    "as_v2",
    "as_v3",
    "completed",
    "converted",
    "losses",
    "without_private_keys",
]

SpecNumber = Literal[1, 2, 3]

PRIVATE_KEYS: Final = ("chat", "fav", "create_date", "last_mes")
"""What SillyTavern keeps about its user at a card's root: the last chat's name, favourites, dates."""

_V3_ONLY: Final = (
    "nickname",
    "assets",
    "creator_notes_multilingual",
    "source",
    "group_only_greetings",
    "creation_date",
    "modification_date",
)
_V2_FIELDS: Final = (
    *MIRRORED,
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "alternate_greetings",
    "tags",
    "creator",
    "character_version",
    "extensions",
)
_NOT_IN_V1: Final = (*_V2_FIELDS[6:], "character_book")


def without_private_keys(document: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """The document without SillyTavern's private keys at its root, and at that of the card where `prefix`
    leads through an envelope to it; the same object when there are none."""
    if any(key in document for key in PRIVATE_KEYS):
        document = {key: value for key, value in document.items() if key not in PRIVATE_KEYS}
    inner = value_at(document, prefix) if prefix else None
    if isinstance(inner, dict) and any(key in inner for key in PRIVATE_KEYS):
        return dict(with_value(document, prefix, without_private_keys(inner)))
    return document


def converted(card: Card, spec: SpecNumber) -> dict[str, Any]:
    """The card as a document of that specification. A lorebook of null, which none allows, is left out."""
    document = {1: as_v1, 2: as_v2, 3: as_v3}[spec](card)
    data = document.get("data")
    if spec > 1 and isinstance(data, dict) and data.get("character_book", data) is None:
        document["data"] = {key: value for key, value in data.items() if key != "character_book"}
    return document


def as_v1(card: Card) -> dict[str, Any]:
    """The six fields, flat, with the root's keys that no specification knows; of a V1 card, all of them."""
    held = value_at(card.document, card.shape.prefix) if card.spec == "v1" else _root(card)
    kept = {key: value for key, value in held.items() if key not in ("spec", "spec_version")}
    return {**kept, **{name: getattr(card, name) for name in MIRRORED}}


def as_v2(card: Card) -> dict[str, Any]:
    """A V2 document: every required field is there; V3's own are left out of what was V3."""
    data = _data(card)
    if card.spec == "v3":
        data = {key: value for key, value in data.items() if key not in _V3_ONLY}
    _complete_book(data, v3=False)
    return {**_root(card), "spec": "chara_card_v2", "spec_version": "2.0", "data": data}


def as_v3(card: Card) -> dict[str, Any]:
    """A V3 document: every required field is there."""
    data = _data(card)
    data.setdefault("group_only_greetings", [])
    _complete_book(data, v3=True)
    version = "3.0"
    if card.spec == "v3":
        written = value_at(card.document, (*card.shape.prefix, "spec_version"))
        version = written if isinstance(written, str) and written else version
    return {**_root(card), "spec": "chara_card_v3", "spec_version": version, "data": data}


def completed(card: Card) -> dict[str, Any]:
    """An edited V2 or V3 document with its required fields; all else, a V1 mirror included, as it is.

    Another specification's document, and one in an envelope, as they are.
    """
    if card.spec not in ("v2", "v3") or card.shape.prefix:
        return card.document
    data = _data(card)
    if card.spec == "v3":
        data.setdefault("group_only_greetings", [])
    _complete_book(data, v3=card.spec == "v3")
    marks = {"spec": f"chara_card_{card.spec}", "spec_version": f"{card.spec[1]}.0"}
    return {
        **{key: mark for key, mark in marks.items() if key not in card.document},
        **card.document,
        "data": data,
    }


def losses(card: Card, spec: SpecNumber) -> list[str]:
    """What a document of that specification cannot hold of this card: `nickname`, `lorebook decorators`
    ..."""
    fields = value_at(card.document, card.shape.fields)
    held = fields if isinstance(fields, Mapping) else {}
    if spec == 1:
        return _lost_in_v1(card, held)
    if spec == 3 or card.spec != "v3":
        return []
    lost = [name for name in _V3_ONLY if held.get(name)]
    book = held.get(card.shape.book_key)
    texts = book.get("entries") if isinstance(book, Mapping) else None
    raw = list(texts.values()) if isinstance(texts, Mapping) else texts if isinstance(texts, list) else []
    entries = [entry for entry in raw if isinstance(entry, Mapping)]
    if any(str(entry.get("content", "")).lstrip().startswith("@@") for entry in entries):
        lost.append("lorebook decorators (their lines stay in the text)")
    if any(entry.get("use_regex") for entry in entries):
        lost.append("lorebook regex keys")
    return lost


def _lost_in_v1(card: Card, held: Mapping[str, Any]) -> list[str]:
    if card.spec == "v1":
        return []
    lost = [name for name in _V3_ONLY if held.get(name)] if _has_data(card) else []
    lost += [name for name in _NOT_IN_V1 if held.get(name) or (name != "extensions" and getattr(card, name))]
    if _has_data(card):
        # Keys of `data` that no specification knows have no place in a flat card either.
        known = {*lost, *_V3_ONLY, *_V2_FIELDS, "character_book"}
        lost += [
            name for name, value in held.items() if name not in known and value not in (None, "", [], {})
        ]
    return lost


def _root(card: Card) -> dict[str, Any]:
    """The root's keys that are neither fields nor markers: other programs' own."""
    root = value_at(card.document, card.shape.prefix)
    if not isinstance(root, Mapping):
        return {}
    known = {"spec", "spec_version", "data", *MIRRORED}
    if not _has_data(card):
        known |= {*_V2_FIELDS, "character_book", "creatorcomment", card.shape.book_key}
        known |= {alias for aliases in FIELD_ALIASES.values() for alias in aliases}
    return {key: value for key, value in root.items() if key not in known}


def _has_data(card: Card) -> bool:
    return card.shape.fields != card.shape.prefix


def _data(card: Card) -> dict[str, Any]:
    """The data object: a V2 or V3 card's own with what is required filled in, another's fields put in
    their places."""
    if _has_data(card):
        held = value_at(card.document, card.shape.fields)
        data = dict(held) if isinstance(held, Mapping) else {}
        for name in _V2_FIELDS:
            if name not in data:
                data[name] = getattr(card, name)
        return data
    data = {name: getattr(card, name) for name in _V2_FIELDS}
    book = value_at(card.document, (*card.shape.fields, card.shape.book_key))
    if isinstance(book, Mapping):
        data["character_book"] = dict(book)
    return data


def _complete_book(data: dict[str, Any], *, v3: bool) -> None:
    """Fills in what a book and its entries must have, on copies; what is there stays, also where it is
    odd."""
    book = data.get("character_book")
    if not isinstance(book, Mapping):
        return
    entries = book.get("entries", [])
    complete = {**book, "extensions": book.get("extensions", {}), "entries": entries}
    if isinstance(entries, list):
        complete["entries"] = [_complete_entry(entry, v3) for entry in entries]
    data["character_book"] = complete


def _complete_entry(entry: Any, v3: bool) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    required: dict[str, Any] = {
        "keys": [],
        "content": "",
        "extensions": {},
        "enabled": True,
        "insertion_order": 100,
    }
    if v3:
        required["use_regex"] = False
    return {**entry, **{key: value for key, value in required.items() if key not in entry}}

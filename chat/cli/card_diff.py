"""Two cards side by side, field by field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cards.card import COMPARED, Card
from cards.paths import value_at

SPECIAL = ("extensions", "character_book", "depth_prompt")
"""Fields that are compared as they stand in the documents, value by value."""

Difference = tuple[str, Any, Any]
"""A field, what it was, what it is; None where one card has none."""


def differences(before: Card, after: Card) -> list[Difference]:
    """Fields that differ, in the order of the fields; of extensions and lorebooks each value that differs.

    Values are the documents' own, so an odd type that means the same shows as well.
    """
    found: list[Difference] = []
    if before.spec != after.spec:
        found.append(("spec", before.spec, after.spec))
    for field in COMPARED:
        if field in SPECIAL:
            continue
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            found.append((field, old, new))
    known = {*COMPARED, "modification_date"}
    old_fields, new_fields = _fields(before), _fields(after)
    for key in dict.fromkeys([*old_fields, *new_fields]):
        if key in SPECIAL or (key not in known and before.shape.fields and after.shape.fields):
            found += _below(key, old_fields.get(key), new_fields.get(key))
    return found


def _fields(card: Card) -> Mapping[str, Any]:
    held = value_at(card.document, card.shape.fields)
    return held if isinstance(held, Mapping) else {}


def _below(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _below(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            yield from _below(
                f"{path}[{place}]",
                old[place] if place < len(old) else None,
                new[place] if place < len(new) else None,
            )
    else:
        yield path, old, new


def lines_of(field: str, old: Any, new: Any) -> list[str]:
    """A difference for people: the changed lines of a text with what stands around them."""
    before, after = _text(old).splitlines(), _text(new).splitlines()
    lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    return [f"== {field}", *(line for line in lines if not line.startswith("@@"))]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if value and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False, indent=2)

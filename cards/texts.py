"""Every text of a card with its place in the document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from cards.card import Card
from cards.errors import CardWarning
from cards.paths import value_at

__all__ = ["card_texts", "counted", "texts_in"]

_NAMED: Final = 5
"""Fields that are named one by one; the rest is counted."""


def texts_in(value: Any, place: str, wanted: Callable[[str], bool] = bool) -> Iterator[tuple[str, str]]:
    """The texts inside a JSON value that are wanted, with their places: `data.tags[0]`; those of an object
    before those inside its values."""
    if isinstance(value, str):
        if wanted(value):
            yield place, value
        return
    waiting: list[tuple[Any, Any]] = [(value, place)] if isinstance(value, (dict, list)) else []
    while waiting:
        holder, trail = waiting.pop()
        below: list[tuple[Any, Any]] = []
        for key, child in holder.items() if type(holder) is dict else enumerate(holder):
            # A place is written only where there is something to say: a card may hold a million values.
            if type(child) is str:
                if wanted(child):
                    yield _written((trail, key)), child
            elif child and (type(child) is dict or type(child) is list):
                below.append((child, (trail, key)))
        waiting += reversed(below)


def _written(trail: Any) -> str:
    """A place from the places above it: `(("data", "tags"), 0)` is `data.tags[0]`."""
    if isinstance(trail, str):
        return trail
    above, key = _written(trail[0]), trail[1]
    if isinstance(key, int):
        return f"{above}[{key}]"
    return f"{above}.{key}" if above else str(key)


def card_texts(card: Card, wanted: Callable[[str], bool] = bool) -> Iterator[tuple[str, str]]:
    """The wanted texts of a card's fields; not those of the V1 mirror beside them."""
    fields = value_at(card.document, card.shape.fields)
    return texts_in(fields, ".".join(card.shape.fields), wanted)


def counted(found: list[CardWarning], what: str) -> list[CardWarning]:
    """The first of many warnings of one kind, and how many more there are."""
    if len(found) <= _NAMED:
        return found
    return [*found[:_NAMED], CardWarning(found[0].code, f"{len(found) - _NAMED} more fields {what}")]

"""Every text of a card with its place in the document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cards.card import Card
from cards.errors import CardWarning
from cards.paths import value_at

__all__ = ["card_texts", "counted", "texts_in"]

_NAMED: Final = 5
"""Fields that are named one by one; the rest is counted."""


def texts_in(value: Any, place: str, wanted: Callable[[str], bool] = bool) -> Iterator[tuple[str, str]]:
    """The texts inside a JSON value that are wanted, with their places: `data.tags[0]`."""
    if isinstance(value, str):
        if wanted(value):
            yield place, value
    elif isinstance(value, (Mapping, list)):
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            # A place is made only where there is something to say: a card may hold a million values.
            if isinstance(child, str):
                if wanted(child):
                    yield _below(place, key), child
            elif child and isinstance(child, (Mapping, list)):
                yield from texts_in(child, _below(place, key), wanted)


def _below(place: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{place}[{key}]"
    return f"{place}.{key}" if place else key


def card_texts(card: Card, wanted: Callable[[str], bool] = bool) -> Iterator[tuple[str, str]]:
    """The wanted texts of a card's fields; not those of the V1 mirror beside them."""
    fields = value_at(card.document, card.shape.fields)
    return texts_in(fields, ".".join(card.shape.fields), wanted)


def counted(found: list[CardWarning], what: str) -> list[CardWarning]:
    """The first of many warnings of one kind, and how many more there are."""
    if len(found) <= _NAMED:
        return found
    return [*found[:_NAMED], CardWarning(found[0].code, f"{len(found) - _NAMED} more fields {what}")]

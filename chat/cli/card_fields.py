"""`--set FIELD=TEXT`: a field of a card by its name, or any value by its path."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cards.shapes import TEXT_FIELDS
from chat.cli.options import text_or_file

if TYPE_CHECKING:
    from cards.card import Card

LISTS = ("tags", "alternate_greetings")
STRUCTURED = (
    "extensions",
    "character_book",
    "assets",
    "source",
    "group_only_greetings",
    "creator_notes_multilingual",
    "creation_date",
    "modification_date",
)
"""Fields that hold no text; their own value is written as JSON."""

Parts = tuple[str | int, ...]


def pair(setting: str, option: str, form: str) -> tuple[str, str]:
    """`KEY=VALUE` in two. Raises UsageError."""
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"{option} {setting}: {form} is needed")
    return key.strip(), value


def with_field(card: Card, setting: str) -> Card:
    """The card with `FIELD=TEXT` or `FIELD=@FILE` applied. Raises UsageError for a field that is none."""
    field, value = pair(setting, "--set", "FIELD=TEXT or FIELD=@FILE")
    text = text_or_file(value)
    parts = _resolved(card, field)
    name = _field_at(card, parts)
    if name in TEXT_FIELDS:
        return card.edited(name, text)
    if name in LISTS:
        return card.edited(name, _list(text, split=name == "tags"))
    return _with_path(card, field, parts, text)


def _field_at(card: Card, parts: Parts) -> str:
    """The field that stands at a path; "" for a place inside one, or outside of all."""
    fields = card.shape.fields
    inside = len(parts) == len(fields) + 1 and parts[:-1] == fields
    return str(parts[-1]) if inside else ""


def _resolved(card: Card, field: str) -> Parts:
    """Where in the document a written path leads: `tags[0]` is `data.tags[0]` of a V2 card."""
    from cards.paths import parsed_path, value_at, written_path

    try:
        parts = parsed_path(field)
    except ValueError as error:
        raise click.UsageError(f"--set {error}") from error
    fields, first = card.shape.fields, str(parts[0])
    if first in (*TEXT_FIELDS, *LISTS, *STRUCTURED):
        return (*fields, card.shape.book_key if first == "character_book" else first, *parts[1:])
    if len(parts) == 1:
        if value_at(card.document, (*fields, first)) is not None:
            return (*fields, first)
        raise _no_field(field, first)
    if first in card.document or (not fields and first != "data"):
        return parts
    if first == "data":
        if not fields:
            raise click.UsageError(f"--set {field}: this card has no data; write {written_path(parts[1:])}")
        return (*fields[:-1], *parts)
    right = written_path((*fields, *parts))
    raise click.UsageError(f"--set {field}: there is no {first} in this card; a new field is {right}")


def _no_field(field: str, name: str) -> click.UsageError:
    known = (*TEXT_FIELDS, *LISTS)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}"
    return click.UsageError(f"--set {field}: no field of a card; {hint}")


def _with_path(card: Card, written: str, parts: Sequence[str | int], text: str) -> Card:
    from cards.paths import value_at

    old = value_at(card.document, parts)
    value: Any = text
    if _field_at(card, tuple(parts)) in STRUCTURED or (old is not None and not isinstance(old, str)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.UsageError(
                f"--set {written}: the value there is no text, so JSON is needed: {error}"
            ) from error
    try:
        return card.edited(tuple(parts), value)
    except KeyError as error:
        raise click.UsageError(f"--set {written}: {error.args[0]}") from error


def _list(text: str, *, split: bool) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return found
    if split:
        return [part.strip() for part in text.split(",") if part.strip()]
    return [text] if text.strip() else []

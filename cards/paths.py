"""Reading and replacing one value deep inside a JSON document, the rest shared and untouched.

A path is written `data.character_book.entries[0].content`; a key that is no plain word stands as JSON in
brackets, `data.extensions["a.b"]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["parsed_path", "value_at", "with_value", "written_path"]

Path = Sequence[str | int]
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE: Final = re.compile(r"[^.\[]+")
_DECODER: Final = json.JSONDecoder()
_DIGITS: Final = 9
"""Of a list's index, at most: of thousands of digits Python makes no number."""


def written_path(path: Path) -> str:
    """The path as text, which `parsed_path` reads back equal."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def parsed_path(text: str) -> tuple[str | int, ...]:
    """The parts of a written path; `entries.0` is taken for `entries[0]` by whoever follows it. Raises
    ValueError."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        if text[position] == "[":
            part, position = _bracketed(text, position + 1)
            parts.append(part)
            continue
        position += bool(parts) and text[position] == "."
        found = _BARE.match(text, position)
        if found is None or (parts and text[position - 1] != "."):
            raise _no_path(text)
        parts.append(found[0])
        position = found.end()
    if text.endswith("."):
        raise _no_path(text)
    return tuple(parts)


def _bracketed(text: str, position: int) -> tuple[str | int, int]:
    try:
        part, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        raise _no_path(text) from error
    if not isinstance(part, (str, int)) or isinstance(part, bool) or text[end : end + 1] != "]":
        raise _no_path(text)
    return part, end + 1


def _no_path(text: str) -> ValueError:
    return ValueError(f"{text!r} is no path; paths are written data.tags[0]")


def value_at(document: Any, path: Path) -> Any:
    """The value at `path`, None where the path leads nowhere."""
    for part in path:
        if isinstance(document, Mapping):
            document = document.get(str(part))
        elif isinstance(document, list) and _index(part, len(document)) is not None:
            document = document[int(part)]
        else:
            return None
    return document


def with_value(document: Any, path: Path, value: Any) -> Any:
    """A copy of `document` with `value` at `path`; what lies off the path is the same object as before.

    Missing objects on the way are made; an index one past a list's end appends. Raises KeyError where a list
    has no such place or a plain value stands in the way.
    """
    if not path:
        return value
    part, rest = path[0], path[1:]
    if document is None:
        document = {}
    if isinstance(document, Mapping):
        key = str(part)
        return {**document, key: with_value(document.get(key), rest, value)}
    if isinstance(document, list):
        index = _index(part, len(document) + 1)
        if index is None:
            raise KeyError(f"no place {part} in a list of {len(document)}")
        below = document[index] if index < len(document) else None
        return [*document[:index], with_value(below, rest, value), *document[index + 1 :]]
    raise KeyError(f"{part} lies inside a plain value")


def _index(part: str | int, length: int) -> int | None:
    if isinstance(part, str) and not (part.isdecimal() and len(part) <= _DIGITS):
        return None
    index = int(part)
    return index if 0 <= index < length else None

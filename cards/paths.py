"""Reading and replacing one value deep inside a JSON document, the rest shared and untouched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["value_at", "with_value"]

Path = Sequence[str | int]


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
    if isinstance(part, str) and not part.isdecimal():
        return None
    index = int(part)
    return index if 0 <= index < length else None

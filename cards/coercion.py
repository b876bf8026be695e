"""Values of the wrong type, taken as the type that was meant, with one warning each.

Real cards hold lists where text belongs, `null` where a list belongs and numbers in quotes. The original
value stays in the document; only the view is coerced.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from cards import limits
from cards.errors import CardWarning

__all__ = ["Coercion", "split_at_commas", "type_name"]

_MISSING = object()


def type_name(value: Any) -> str:
    """What JSON calls the value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, dict) else "a list"


class Coercion:
    """Reads values out of one object of a document and notes what had to be bent."""

    def __init__(self, source: Mapping[str, Any], place: str, warnings: list[CardWarning]) -> None:
        self.source = source
        self.place = place
        """Dotted path of the object in the document, empty for the root."""
        self.warnings = warnings

    def field(self, key: str) -> str:
        """The dotted path of a key of this object."""
        return f"{self.place}.{key}" if self.place else key

    def warn(self, key: str, message: str) -> None:
        if len(self.warnings) < limits.WARNINGS_COUNTED:
            self.warnings.append(CardWarning("type", message, self.field(key)))

    def within(self, key: str, *, nullable: bool = False) -> Coercion:
        """The object under `key`; an empty one when there is none."""
        return Coercion(self.mapping(key, nullable=nullable), self.field(key), self.warnings)

    def text(self, key: str, default: str = "") -> str:
        value = self.source.get(key, _MISSING)
        if value is _MISSING:
            return default
        if not isinstance(value, str):
            self.warn(key, f"{type_name(value)} where text belongs")
            value = _as_text(value)
        if len(value) > limits.TEXT:
            self.warn(key, f"only the first {limits.TEXT} of {len(value)} characters are used")
            value = value[: limits.TEXT]
        return str(value)

    def texts(self, key: str, *, split: bool = False) -> list[str]:
        """A list of text. One text alone becomes a list of one, or with `split` is split at commas."""
        value = self.source.get(key, _MISSING)
        if value is _MISSING:
            return []
        if isinstance(value, list):
            if all(isinstance(item, str) for item in value):
                return list(value)
            odd = next(item for item in value if not isinstance(item, str))
            self.warn(key, f"{type_name(odd)} in a list of text")
            return [_as_text(item) for item in value if isinstance(item, (str, int, float))]
        if value is not None or key not in ("secondary_keys", "keysecondary"):
            self.warn(key, f"{type_name(value)} where a list belongs")
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            text = _as_text(value)
            parts = split_at_commas(text) if split else [text]
            return [part.strip() if split else part for part in parts if part.strip()]
        if isinstance(value, Mapping):
            return [item for item in value.values() if isinstance(item, str)]
        return []

    def mapping(self, key: str, *, nullable: bool = False) -> Mapping[str, Any]:
        value = self.source.get(key, _MISSING)
        if isinstance(value, Mapping):
            return value
        if value is not _MISSING and not (nullable and value is None):
            self.warn(key, f"{type_name(value)} where an object belongs")
        return {}

    def warn_of_null(self, key: str, wanted: str) -> None:
        """For what must be there where it is named at all."""
        if self.source.get(key, _MISSING) is None:
            self.warn(key, f"null where {wanted} belongs")

    def number(self, key: str, default: float) -> float:
        number = self.optional_number(key)
        return default if number is None else number

    def optional_number(self, key: str) -> float | None:
        value = self.source.get(key)
        if value is None:
            return None
        if isinstance(value, bool):
            self.warn(key, "a boolean where a number belongs")
            return float(value)
        if isinstance(value, (int, float)):
            return _finite(value)
        self.warn(key, f"{type_name(value)} where a number belongs")
        try:
            return _finite(float(value)) if isinstance(value, str) else None
        except ValueError:
            return None

    def whole(self, key: str, default: int) -> int:
        """A number without a fraction; 3.0 is one, and 3.7 is cut to 3."""
        return int(self.number(key, default))

    def flag(self, key: str, default: bool) -> bool:
        value = self.optional_flag(key)
        return default if value is None else value

    def optional_flag(self, key: str) -> bool | None:
        value = self.source.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.warn(key, f"{type_name(value)} where true or false belongs")
        if isinstance(value, str):
            word = value.strip().lower()
            return {"true": True, "1": True, "yes": True, "on": True, "": None}.get(word, False)
        return bool(value)


def split_at_commas(text: str) -> list[str]:
    """The parts of a text between commas, as many as any list may have."""
    return text.split(",", limits.PARTS)[: limits.PARTS]


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e15 else None


def _as_text(value: Any) -> str:
    """What a value of another type says as text: a list its lines, a number its digits, an object its
    JSON."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_as_text, value)))
    if isinstance(value, (int, float)):
        try:
            return str(value)
        except ValueError:  # more digits than Python turns into text
            return ""
    return json.dumps(value, ensure_ascii=False) if value else ""

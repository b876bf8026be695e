"""Bytes to text to a JSON document, with limits and with errors that name line and column."""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any, Final

from cards import limits
from cards.errors import CardError, CardWarning

__all__ = ["decode_text", "dump_json", "parse_json", "text_encoding"]

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The beginning of a JSON or YAML text: two characters that both have letters, quotes and brackets among them.
_UNMARKED: Final = (
    (re.compile(rb"(?:[\t\n\r -~]\0\0\0){2}"), "utf-32-le"),
    (re.compile(rb"(?:\0\0\0[\t\n\r -~]){2}"), "utf-32-be"),
    (re.compile(rb"(?:[\t\n\r -~]\0){2}"), "utf-16-le"),
    (re.compile(rb"(?:\0[\t\n\r -~]){2}"), "utf-16-be"),
)


def text_encoding(data: bytes) -> str:
    """The encoding that the first bytes give away: by byte order mark, or by where the zeros of two plain
    letters stand (RFC 4627, 3); "" when they do not."""
    for mark, encoding in _MARKS:
        if data.startswith(mark) and (encoding[:6] != "utf-32" or len(data) % 4 == 0):
            return encoding
    return next((encoding for pattern, encoding in _UNMARKED if pattern.match(data)), "")


def decode_text(data: bytes, warnings: list[CardWarning]) -> str:
    """Text from bytes: UTF-16 and UTF-32 with a mark or without, else UTF-8, else Windows-1252 with a
    warning. Mojibake is left alone.

    Raises CardError for a long text that only seems to be UTF-16 or UTF-32.
    """
    encoding = text_encoding(data)
    if encoding and encoding != "utf-8":
        warnings.append(CardWarning("encoding", f"the text is {encoding[:6].upper()}"))
        return _decoded(data, encoding).removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        warnings.append(CardWarning("encoding", f"byte {error.start} is not UTF-8; read as Windows-1252"))
        # Five bytes mean nothing in Windows-1252; Latin-1 gives each byte a character and so loses none.
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("latin-1")


def parse_json(text: str, warnings: list[CardWarning]) -> Any:
    """The JSON value of `text`. Raises CardError with line and column.

    NaN, infinities and integers of thousands of digits become null, duplicate keys keep the last value, each
    with one warning.
    """
    if len(text) > limits.JSON_TEXT:
        raise CardError("too-large", f"the JSON text is over the limit of {limits.JSON_TEXT // 2**20} MB")
    if _has_values_over(text, limits.JSON_VALUES):
        raise CardError("too-large", f"the JSON text has over {limits.JSON_VALUES} values")
    oddities: dict[str, None] = {}
    try:
        value = _decoder(oddities).decode(text)
    except json.JSONDecodeError as error:
        raise _json_error(error) from error
    except RecursionError as error:
        raise _too_deep() from error
    if _depth_over(value, limits.JSON_DEPTH):
        raise _too_deep()
    warnings.extend(CardWarning("json", message) for message in list(oddities)[:10])
    return value


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        # Every unit that means nothing costs time, and a file of nothing else is no text.
        if len(data) > limits.DAMAGED_TEXT:
            what = f"the text is not the {encoding[:6].upper()} that it begins as, from byte {error.start} on"
            raise CardError("encoding", f"{what}; fetch the file again") from error
        return data.decode(encoding, "replace")


def _has_values_over(text: str, limit: int) -> bool:
    """Whether over `limit` commas and opening brackets stand outside the text's strings.

    One match of a pattern that never goes back counts them, without a copy of the text.
    """
    if text.count(",") + text.count("[") + text.count("{") <= limit:
        return False
    structure = rf'(?:(?:[^",\[{{]++|"(?:[^"\\]++|\\.)*+")*+[,\[{{]){{{limit + 1}}}+'
    return re.match(structure, text, re.DOTALL) is not None


def _decoder(oddities: dict[str, None]) -> json.JSONDecoder:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) < len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    oddities[f"the key {key[:40]!r} stands twice in one object; the last one counts"] = None
                seen.add(key)
        return value

    def constant(name: str) -> None:
        oddities[f"{name} is not a JSON value; taken as null"] = None

    def number(digits: str) -> float | None:
        value = float(digits)
        if math.isfinite(value):
            return value
        constant(digits[:20])
        return None

    def integer(digits: str) -> int | None:
        if len(digits) > 4_000:
            oddities[f"a number of {len(digits)} digits was taken as null"] = None
            return None
        return int(digits)

    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_constant=constant, parse_float=number, parse_int=integer, strict=False
    )


def _json_error(error: json.JSONDecodeError) -> CardError:
    excerpt = error.doc[max(0, error.pos - 20) : error.pos + 20]
    message = f"broken JSON at line {error.lineno} column {error.colno}: {error.msg}"
    message += f", near {excerpt!r}" if excerpt.strip() else ""
    return CardError("json", message + _advice(error), line=error.lineno, column=error.colno)


_OTHER_QUOTES: Final = ("'", "\u2018", "\u2019", "\u201c", "\u201d", "\u201e", "\u00ab")
_ADVICE: Final = {
    "Extra data": "; delete what follows the card",
    "Expecting ',' delimiter": "; a comma is missing, or a quote inside a text lacks its backslash",
    "Invalid \\escape": "; a backslash inside a text is written twice",
    "Invalid \\uXXXX escape": "; a backslash inside a text is written twice",
}


def _advice(error: json.JSONDecodeError) -> str:
    """What to do about the commonest mistakes of an edit by hand."""
    here, before = error.doc[error.pos : error.pos + 2], error.doc[max(0, error.pos - 200) : error.pos]
    if here in ("//", "/*") or here[:1] == "#":
        return "; JSON has no comments: delete this one"
    if here[:1] in ("}", "]") and before.rstrip().endswith(","):
        return "; delete the comma before it"
    if here[:1] in _OTHER_QUOTES:
        return '; JSON has only straight double quotes: "'
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return "; the text seems cut off: fetch the file again"
    return next((what for said, what in _ADVICE.items() if error.msg.startswith(said)), "")


def _too_deep() -> CardError:
    return CardError("too-deep", f"the JSON is nested over {limits.JSON_DEPTH} levels deep")


def _depth_over(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        below: list[Any] = []
        for item in level:
            children = item.values() if type(item) is dict else item if type(item) is list else ()
            below += [child for child in children if type(child) is list or type(child) is dict]
        if not below:
            return False
        level = below
    return True


def dump_json(document: Any, *, indent: int | None = None) -> str:
    """`document` as JSON that UTF-8 can carry: lone surrogates stay as escapes. Raises CardError for NaN."""
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent, separators=separators)
    except (ValueError, TypeError) as error:
        raise CardError("json", f"the card cannot be written as JSON: {error}") from error
    return text

"""The one gate between untrusted text and a terminal.

Card, lorebook, persona, user and model text passes `display_text` before it is printed or drawn, as do file
names and errors. The text that is kept, sent to the model or exported is never changed by it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["cells", "display_text"]

# Control strings (OSC, DCS, APC, PM, SOS) in their 7-bit and 8-bit form. A terminated one goes whole; one
# that is never terminated, or that another control cuts short, goes up to the end of its line, so that a
# stray byte in a model's reply cannot hide the pages after it. Then CSI with or without its final byte, then
# any other escape.
_SEQUENCES: Final = re.compile(
    r"""(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])
        (?: [^\x07\x18\x1a\x1b\x80-\x9f]* (?:\x07|\x1b\\|\x9c)
          | [^\n\x07\x18\x1a\x1b\x80-\x9f]* )
      | (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]?
      | \x1b [ -/]* [0-~]?
    """,
    re.VERBOSE,
)
# C0 without tab and newline, DEL, C1; bidirectional embeddings, overrides and isolates; tag characters.
_DROPPED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_SUSPECT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
_PICTURES: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
    **dict.fromkeys((*range(0xD800, 0xE000), *range(0xE0000, 0xE0080)), 0xFFFD),
    0x2028: 0x0A,
    0x2029: 0x0A,
}
"""Control pictures where there are any; one for one, so that columns stay right."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LINE_SEPARATOR: Final = re.compile("[\u2028\u2029]")
_ZERO_WIDTH_RUN: Final = re.compile("([\u200b-\u200d\u2060\ufeff])[\u200b-\u200d\u2060\ufeff]+")
_MARKS: Final = 4
"""Combining marks that one character of a single line keeps."""


def display_text(text: str, *, single_line: bool = False, limit: int | None = None) -> str:
    """`text` without anything that a terminal would act on.

    A body of text shows what was written: ESC stands as `␛`, BEL as `␇`, what has no picture as U+FFFD;
    newlines and tabs are kept, and a carriage return before a newline goes. A `single_line` (a name, a title,
    an error) loses escape sequences and controls whole, has one space for every run of white space, and
    stacks of combining marks and runs of invisible characters are cut down. `limit` is in terminal cells; a
    longer text ends in `…`.
    """
    if _SUSPECT.search(text):
        text = _without_controls(text) if single_line else text.replace("\r\n", "\n").translate(_PICTURES)
    if single_line:
        text = " ".join(text.split())
        if not text.isascii():
            text = _thinned(_ZERO_WIDTH_RUN.sub(r"\1", text))
    return text if limit is None or len(text) * 2 <= limit else _cut(text, limit)


def _without_controls(text: str) -> str:
    text = _LINE_SEPARATOR.sub("\n", _SEQUENCES.sub("", text))
    return _SURROGATE.sub("\ufffd", _DROPPED.sub("", text))


def cells(text: str) -> int:
    """Terminal cells that `text` takes when it is drawn on one line."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _thinned(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks <= _MARKS:
            kept.append(character)
    return "".join(kept)


def _cut(text: str, limit: int) -> str:
    """The text, or as much of it as leaves a cell for the ellipsis."""
    used = 0
    room = None
    for index, character in enumerate(text):
        used += _width(character)
        if room is None and used > limit - 1:
            room = index
        if used > limit:
            return text[:room].rstrip() + "…" if limit > 0 else ""
    return text

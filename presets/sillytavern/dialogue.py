"""Example dialogue as SillyTavern reads it, its quirks included.

A block begins at each `<START>`. A line that begins with a name and a colon gives that one the floor; lines
of the same speaker stay one message, of which only the first name is cut; text before the first speaker joins
that one's message. Of a block that names nobody nothing remains, unless that is so of all of them: then each
stands as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_START = re.compile("<START>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Line:
    """One message of an example."""

    user: bool
    text: str


def blocks_of(text: str) -> list[str]:
    """The blocks of a `mes_example` (macros expanded, no `\\r`), trimmed."""
    if text in ("", "<START>"):
        return []
    whole = text if text.startswith("<START>") else f"<START>\n{text.strip()}"
    return [block.strip() for block in _START.split(whole)[1:]]


def lines_of(block: str, user: str, char: str) -> list[Line]:
    """The messages of one block."""
    return [Line(speaks == user, said) for speaks, said in _messages(block, user, char)]


def _messages(block: str, user: str, char: str) -> Iterator[tuple[str, str]]:
    speaks = ""
    held: list[str] = []
    for line in [*block.split("\n"), ""]:
        opener = next((name for name in (user, char) if line.startswith(f"{name}:")), "")
        if opener and speaks and opener != speaks:
            yield speaks, _said(held, speaks)
            held = []
        speaks = opener or speaks
        held.append(line)
    if speaks:
        yield speaks, _said(held, speaks)


def _said(lines: list[str], name: str) -> str:
    return "\n".join(lines).replace(f"{name}:", "", 1).strip()

"""Roleplay markup: which stretches of a message are action, speech, bold or code.

Only styles come from here. Every character of the text stays where it is, marks included, so offsets,
copying and line heights never depend on them, and a mark whose partner is missing is simply not styled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["action", "speech", "bold", "code", "mark", "users"]

_TOKEN = re.compile(r"`+|\*+|[\"“”„«»「」『』]")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_CLOSED_BY = {"„": "“”", "“": "”", "«": "»", "「": "」", "『": "』"}
_BEFORE_SPEECH = frozenset("([{*—–-…/'‘`_")
"""Characters after which a straight quote may still open speech; after a digit it is an inch mark."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A styled stretch of text: offsets in characters, the end not included."""

    start: int
    end: int
    kind: Kind
    """`mark` is the `*` or backtick itself; `users`, not found here, the user's own sentences."""


def marks(text: str, *, growing: bool = False) -> list[Mark]:
    """The styled stretches of a message, in no particular order; they may lie inside one another.

    Nothing but a fence reaches over a line's end. While the text is still `growing`, what its last line has
    opened counts as running to the end: a sentence that is being spoken looks spoken from its first letter.
    """
    found: list[Mark] = []
    lines = text.split("\n")
    starts = _line_starts(lines)
    number = 0
    while number < len(lines):
        end = _fence_end(lines, number, growing)
        if end is not None:
            found.append(Mark(starts[number], starts[end] + len(lines[end]), "code"))
            number = end + 1
            continue
        last = number == len(lines) - 1
        _Line(lines[number], starts[number], growing and last, found).scan()
        number += 1
    return found


def _line_starts(lines: list[str]) -> list[int]:
    starts, position = [], 0
    for line in lines:
        starts.append(position)
        position += len(line) + 1
    return starts


def _fence_end(lines: list[str], number: int, growing: bool) -> int | None:
    """The line that closes the fence which opens at `number`; None when there is no whole fence."""
    opening = _FENCE.match(lines[number])
    if opening is None:
        return None
    fence = opening[1]
    for end in range(number + 1, len(lines)):
        closing = _FENCE.match(lines[end])
        if closing and closing[1].startswith(fence) and not lines[end].strip(f" {fence[0]}"):
            return end
    return len(lines) - 1 if growing else None


class _Line:
    """One line's inline marks, found in a single pass over its quotes, stars and backticks."""

    def __init__(self, line: str, offset: int, growing: bool, found: list[Mark]) -> None:
        self.line = line
        self.offset = offset
        self.growing = growing
        self.found = found
        self.stars: dict[int, int] = {}
        """Open stars: 1 for an action, 2 for bold, and where they stand."""
        self.quote: tuple[str, int] | None = None
        """The characters that close the speech which is open, and where it began."""

    def scan(self) -> None:
        tokens = list(_TOKEN.finditer(self.line))
        closers = self._code_closers(tokens)
        index = 0
        while index < len(tokens):
            token = tokens[index]
            if token[0][0] == "`":
                closer = closers.get(index)
                if closer is not None:
                    self._add(token.start(), tokens[closer].end(), "code")
                    index = closer
            elif token[0][0] == "*":
                self._star(token)
            else:
                self._quote(token)
            index += 1
        if self.growing:
            self._run_to_the_end()

    @staticmethod
    def _code_closers(tokens: list[re.Match[str]]) -> dict[int, int]:
        """For each run of backticks the next run of the same length, both as indices into the tokens."""
        closers: dict[int, int] = {}
        latest: dict[str, int] = {}
        for index, token in enumerate(tokens):
            if token[0][0] == "`":
                if token[0] in latest:
                    closers[latest[token[0]]] = index
                latest[token[0]] = index
        return closers

    def _add(self, start: int, end: int, kind: Kind) -> None:
        self.found.append(Mark(self.offset + start, self.offset + end, kind))

    def _star(self, token: re.Match[str]) -> None:
        start, end = token.span()
        before = self.line[start - 1] if start else " "
        after = self.line[end] if end < len(self.line) else " "
        sizes = {1: (1,), 2: (2,), 3: (1, 2)}.get(end - start, ())
        for size in sizes:
            begin = self.stars.get(size)
            if begin is not None and not before.isspace():
                kind: Kind = "action" if size == 1 else "bold"
                self._add(begin, end, kind)
                self._add(begin, begin + size, "mark")
                self._add(end - size, end, "mark")
                del self.stars[size]
            elif not after.isspace() and not before.isalnum():
                self.stars[size] = start

    def _quote(self, token: re.Match[str]) -> None:
        character, start = token[0], token.start()
        if self.quote is not None and character in self.quote[0]:
            self._add(self.quote[1], token.end(), "speech")
            self.quote = None
        elif self.quote is None:
            if character in _CLOSED_BY:
                self.quote = (_CLOSED_BY[character], start)
            elif character == '"' and self._may_open(start):
                self.quote = ('"', start)

    def _may_open(self, start: int) -> bool:
        before = self.line[start - 1] if start else " "
        return before.isspace() or before in _BEFORE_SPEECH or before in ",.;:!?"

    def _run_to_the_end(self) -> None:
        end = len(self.line)
        for size, begin in self.stars.items():
            self._add(begin, end, "action" if size == 1 else "bold")
            self._add(begin, begin + size, "mark")
        if self.quote is not None:
            self._add(self.quote[1], end, "speech")

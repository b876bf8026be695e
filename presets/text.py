"""Segments from a format's text: placeholders filled, each name a segment of its own that nothing trusts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from presets.format import PLACEHOLDER, PromptFormat
from presets.values import Segment, SegmentKind

ORIGINAL = re.compile(r"\{\{\s*original\s*\}\}", re.IGNORECASE)
"""In a card's text: where the preset's own text of that kind stands."""

_BREAKS = re.compile(r"\s*\n\s*")


@dataclass(frozen=True, slots=True)
class Cast:
    """Whom a prompt is about and what the user chose: all that a format's placeholders stand for."""

    char: str
    user: str
    length: str
    """The format's own words, so trusted."""
    format: PromptFormat
    names: bool
    """Turns begin with `Name: `."""
    think: str = "off"
    """The option `think`: `off`, `on` or a number of tokens."""
    clock: datetime | None = None
    """When the chat began, for chat templates that tell the date."""

    @property
    def source(self) -> str:
        return f"format {self.format.id}"

    def fill(self, text: str, kind: SegmentKind) -> list[Segment]:
        """`text` of the format as segments of `kind`."""
        segments: list[Segment] = []
        for index, stretch in enumerate(PLACEHOLDER.split(text)):
            if index % 2 == 0 or stretch == "length":
                segments.append(Segment(kind, self.source, stretch if index % 2 == 0 else self.length, True))
            elif stretch == "char":
                segments.append(Segment(kind, "card name", self.char, False))
            else:
                segments.append(Segment(kind, "persona name", self.user, False))
        return joined(segments)

    def plain(self, text: str) -> str:
        """`text` of the format as a string."""
        return "".join(segment.text for segment in self.fill(text, "header"))


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """The same text without empty segments, neighbours of one origin made one."""
    result: list[Segment] = []
    for segment in segments:
        if not segment.text:
            continue
        last = result[-1] if result else None
        if last and (last.kind, last.source, last.trusted) == (segment.kind, segment.source, segment.trusted):
            result[-1] = Segment(last.kind, last.source, last.text + segment.text, last.trusted)
        else:
            result.append(segment)
    return result


def lines(text: str) -> str:
    """`text` with every line break a newline, without white space around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def one_line(text: str) -> str:
    """`text` with each line break, and the white space around it, made one space."""
    return _BREAKS.sub(" ", lines(text))


def line_name(name: str, otherwise: str) -> str:
    """A name that fits on a line; `otherwise` where there is none."""
    return one_line(name) or otherwise

"""Where a prompt left what the engine had read already, in words: the reason why a turn cost more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat.engine.protocol import Done
    from presets.values import Prompt, Segment

WINDOW = "the oldest messages left"
"""What broke a prompt when its window moved."""

NAMES = ("card name", "persona name")
"""The sources of the names that turns begin with."""


def broken_by(prompt: Prompt, done: Done) -> str:
    """The source of the segment in which a prompt did, such as `lore Eldoria/tower`; empty when it only
    grew."""
    if done.broken_span is None or done.broken_span >= len(prompt.segments):
        return ""
    source = _source(prompt.segments, done.broken_span)
    return WINDOW if source == prompt.window.first_turn else source


def shown(source: str) -> str:
    """A break for people: the id of a message tells them nothing."""
    return "an earlier message" if source.startswith("message ") else source


def _source(segments: Sequence[Segment], place: int) -> str:
    """A format's own words and a speaker's name stand around something: that is what came or went."""
    segment = segments[place]
    if not _stands_around(segment):
        return segment.source
    around = (one for one in segments[place + 1 :] if not _stands_around(one) and one.text)
    beside = next(around, segment)
    return beside.source if beside.kind == segment.kind else segment.source


def _stands_around(segment: Segment) -> bool:
    return segment.trusted or (segment.kind == "turn" and segment.source in NAMES)

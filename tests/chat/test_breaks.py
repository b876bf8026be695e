"""Where a prompt left what was read already, in words."""

from __future__ import annotations

import pytest

from chat.breaks import WINDOW, broken_by, shown
from chat.engine.protocol import Done
from presets.values import Prompt, Segment, Window

SEGMENTS = (
    Segment("header", "format limarp-v3", "### Instruction:\n", True),
    Segment("header", "card description", "A vampire.", False),
    Segment("lore", "format limarp-v3", "\n", True),
    Segment("lore", "lore Eldoria/tower", "The tower fell.", False),
    Segment("turn", "format limarp-v3", "### Input:\n", True),
    Segment("turn", "message 7", "Hello.", False),
    Segment("open", "format limarp-v3", "### Response:\n", True),
)


@pytest.mark.parametrize(
    ("span", "window", "expected"),
    [
        (None, "", ""),
        (0, "", "card description"),
        (2, "", "lore Eldoria/tower"),
        (3, "", "lore Eldoria/tower"),
        (4, "", "message 7"),
        (5, "", "message 7"),
        (5, "message 7", WINDOW),
        (4, "message 7", WINDOW),
        (6, "", "format limarp-v3"),
        (7, "", ""),
    ],
)
def test_what_broke_a_prompt(span: int | None, window: str, expected: str) -> None:
    prompt = Prompt(SEGMENTS, (), window=Window(window))
    assert broken_by(prompt, broken(span)) == expected


@pytest.mark.parametrize(
    ("span", "window", "expected"),
    [
        (2, "message 7", WINDOW),
        (3, "message 7", WINDOW),
        (3, "message 6", "message 7"),
        (3, "", "message 7"),
        (1, "message 7", "card name"),
        (7, "message 7", "card name"),
    ],
)
def test_a_name_before_a_turn_is_the_turn(span: int, window: str, expected: str) -> None:
    segments = (
        Segment("header", "format alpaca", "You are ", True),
        Segment("header", "card name", "Samuel", False),
        Segment("turn", "format alpaca", "### Input:\n", True),
        Segment("turn", "persona name", "Anna", False),
        Segment("turn", "format alpaca", ": ", True),
        Segment("turn", "message 7", "Hello.", False),
        Segment("open", "format alpaca", "### Response:\n", True),
        Segment("open", "card name", "Samuel", False),
    )
    assert broken_by(Prompt(segments, (), window=Window(window)), broken(span)) == expected


def broken(span: int | None) -> Done:
    return Done(
        id=0,
        text="",
        finish_reason="eos",
        prompt_tokens=9,
        evaluated_tokens=4,
        reused_tokens=5,
        generated_tokens=1,
        broken_at=None if span is None else 5,
        broken_span=span,
        read_seconds=0,
        write_seconds=0,
    )


def test_an_id_tells_nobody_anything() -> None:
    assert shown("message 0193-7") == "an earlier message"
    assert shown("lore Eldoria/tower") == "lore Eldoria/tower"

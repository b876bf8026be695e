"""The status line and its numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat.tui.status import EngineState, Status, bar, number, status_content

FULL = Status(
    engine="ready",
    model="SmolLM2-135M-Instruct.Q4_1",
    device="GPU",
    format="limarp-v1",
    context_used=3312,
    context=4096,
    speed=31.4,
    read=34,
    reused=2911,
)


STATES = (
    replace(FULL, speed=None, read=None, reused=None, context_used=None),
    replace(FULL, mode="read"),
    replace(FULL, reading=(1200, 2945)),
    replace(FULL, writing=True),
)
"""Before the first turn, and what one turn goes through."""


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_what_goes_first_and_what_stays(width: int) -> None:
    text = status_content(FULL, width).plain
    assert len(text) == width
    assert "limarp-v1" in text
    assert "3 312/4 096" in text
    assert width < 60 or ("31 tok/s" in text and "GPU" in text)
    assert width < 80 or ("SmolLM2" in text and "read 34 new" in text)
    assert width < 100 or "read 34 new, 2 911 reused" in text
    assert width < 120 or FULL.model in text


BROKEN = replace(FULL, read=93, reused=812, broken_at=812, broken_by="lore Eldoria/tower")


@pytest.mark.parametrize(
    ("width", "part"),
    [
        (60, ""),
        (80, "read 93 new"),
        (120, "read 93 new: lore Eldoria/tower"),
        (160, "read 93 new, 812 reused, broke at 812: lore Eldoria/tower"),
    ],
)
def test_where_and_why_a_prompt_broke(width: int, part: str) -> None:
    text = status_content(BROKEN, width).plain
    assert len(text) == width
    assert part in text
    assert "3 312/4 096" in text


def test_an_earlier_message_is_not_called_by_its_id() -> None:
    text = status_content(replace(BROKEN, broken_by="message 0193-7f"), 160).plain
    assert "broke at 812: an earlier message" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_the_left_side_stands_still_through_a_turn(width: int) -> None:
    left = status_content(FULL, width).plain[7:].split("  ")[0]
    assert left.endswith("limarp-v1")
    for status in STATES:
        text = status_content(status, width).plain
        assert len(text) == width
        assert text[7:].split("  ")[0] == left


@pytest.mark.parametrize(
    ("width", "part"), [(60, "reading 41%"), (80, "reading 1 200 of 2 945"), (120, "reading 1 200 of 2 945")]
)
def test_reading_a_prompt_shows_how_far_it_is(width: int, part: str) -> None:
    assert part in status_content(replace(FULL, reading=(1200, 2945)), width).plain


@pytest.mark.parametrize("engine", ["starting", "loading", "ready", "failed", "none"])
def test_nothing_dangles_before_model_and_format_are_known(engine: EngineState) -> None:
    assert " ·" not in status_content(Status(engine=engine), 100).plain


def test_an_unknown_context_is_no_number() -> None:
    assert "ctx ░░░░░░░░ –/4 096" in status_content(STATES[0], 100).plain


@pytest.mark.parametrize(
    ("status", "part"),
    [
        (Status(), "no model"),
        (Status(engine="loading", loaded_fraction=0.5), "loading ████░░░░ 50%"),
        (Status(engine="failed", model="x"), "model not running"),
        (Status(engine="down", model="x"), "model not running"),
        (Status(engine="ready", reading=(1200, 4096)), "reading 1 200 of 4 096"),
        (Status(engine="ready", speed=3.21), "3.2 tok/s"),
        (Status(engine="ready", device="GPU 20/33 layers"), "GPU 20/33 layers"),
        (Status(mode="read"), " READ "),
        (Status(mode="edit"), " EDIT "),
        (Status(mode="write"), " WRITE "),
    ],
)
def test_it_tells(status: Status, part: str) -> None:
    assert part in status_content(status, 120).plain


def test_a_hostile_model_name_is_text() -> None:
    status = Status(engine="ready", model="[@click=app.quit]x[/]\x1b[2J", format="[/]")
    content = status_content(status, 200)
    assert "[@click=app.quit]x[/]" in content.plain
    assert "\x1b" not in content.plain


def test_numbers_and_bars() -> None:
    assert [number(n) for n in (0, 999, 1000, 2911, 1234567)] == ["0", "999", "1 000", "2 911", "1 234 567"]
    assert [bar(f, 4) for f in (-1, 0, 0.5, 1, 2)] == ["░░░░", "░░░░", "██░░", "████", "████"]

"""The status line and its numbers."""

from __future__ import annotations

import pytest

from chat.tui.status import Status, bar, number, status_content

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


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_it_fits_and_keeps_context_and_speed_longest(width: int) -> None:
    text = status_content(FULL, width).plain
    assert len(text) <= width
    assert "3 312/4 096" in text
    assert width < 60 or "31 tok/s" in text
    assert width < 80 or "read 34 new, 2 911 reused" in text
    assert width < 120 or ("GPU" in text and "limarp-v1" in text and "SmolLM2-135M-Instruct" in text)


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

"""The sampler inspector on the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.display import cells
from chat.engine.protocol import Candidate, SamplerStep, TokenProbs
from chat.inspector import KEPT, Inspector
from chat.tui.screens.inspector import InspectorScreen, Position, inspector_page, percent

Start = Callable[..., Any]


def step(name: str, left: int, *best: tuple[int, str, float]) -> SamplerStep:
    return SamplerStep(sampler=name, left=left, best=[Candidate(id=i, text=t, p=p) for i, t, p in best])


NIGHT = TokenProbs(
    id=2,
    text=" night",
    steps=[
        step("model", 32000, (1, " day", 0.5), (2, " night", 0.3), (3, "\n", 0.1), (4, "ⓧ", 0.0001)),
        step("repeat_penalty(1.1)", 32000, (2, " night", 0.45), (1, " day", 0.4), (3, "\n", 0.1)),
        step("top_k(2)", 2, (2, " night", 0.53), (1, " day", 0.47)),
    ],
)
TOKENS = [TokenProbs(id=9, text="The", steps=[step("model", 1, (9, "The", 1.0))]), NIGHT]


def page(
    at: Position, width: int = 54, height: int = 18, tokens: list[TokenProbs] | None = None
) -> list[str]:
    return inspector_page(tokens or TOKENS, at, width, height).plain.split("\n")


def test_a_page_shows_the_candidates_before_and_after_a_sampler() -> None:
    rows = page(Position(1, 2))
    assert rows[0] == "Token 2 of 2   ␣night   30.0 % → 53.0 %"
    assert rows[1].strip() == "The␣night"
    assert "repeat_penalty(1.1) › top_k(2) › drawn" in rows[3]
    assert rows[5].split("  ")[0] == "before: 32,000"
    assert rows[5].rstrip().endswith("after: 2")
    before, after = rows[6][:26], rows[6][28:]
    assert before.split()[:3] == ["▸", "␣night", "45.0"]
    assert after.split()[:3] == ["▸", "␣night", "53.0"]
    assert rows[7][28:].split()[:2] == ["␣day", "47.0"]
    assert rows[8][:26].split()[:2] == ["⏎", "10.0"]
    assert rows[8][28:].strip() == ""


def test_the_models_own_candidates_have_nothing_before_them() -> None:
    rows = page(Position(1, 0))
    assert "the model" in rows[5]
    assert rows[6][:26].strip() == ""
    assert "<0.1 %" in rows[9]
    assert rows[3].strip().startswith("model › repeat_penalty(1.1)")


def test_a_wide_page_lists_the_samplers_beside() -> None:
    rows = page(Position(1, 1), 104, 40)
    listed = [row[:30] for row in rows[3:6]]
    assert [row.split() for row in listed] == [
        ["model", "32,000"],
        ["▸", "repeat_penalty(1.1)", "32,000"],
        ["top_k(2)", "2"],
    ]


def test_a_token_that_was_not_among_the_best() -> None:
    token = TokenProbs(id=77, text="x", steps=[step("model", 9, (1, "a", 0.9))])
    assert "not among the best 1 → ?" in page(Position(0, 0), tokens=[token])[0]


@pytest.mark.parametrize(
    ("p", "shown"), [(1, "100.0 %"), (0.312, "31.2 %"), (0.001, "0.1 %"), (0.0004, "<0.1 %"), (0, "0.0 %")]
)
def test_percent(p: float, shown: str) -> None:
    assert percent(p) == shown


NAME = st.text(max_size=40)
STEPS = st.lists(
    st.builds(
        SamplerStep,
        sampler=NAME,
        left=st.integers(1, 300_000),
        best=st.lists(st.builds(Candidate, id=st.integers(0, 20), text=NAME, p=st.floats(0, 1)), max_size=12),
    ),
    min_size=1,
    max_size=14,
)


@given(
    st.lists(st.builds(TokenProbs, id=st.integers(0, 20), text=NAME, steps=STEPS), min_size=1, max_size=5),
    st.integers(0, 4),
    st.integers(0, 13),
    st.integers(36, 120),
    st.integers(8, 50),
)
def test_a_page_fits_its_screen(
    tokens: list[TokenProbs], token: int, at: int, width: int, height: int
) -> None:
    token %= len(tokens)
    rows = page(Position(token, at % len(tokens[token].steps)), width, height, tokens)
    assert len(rows) <= height
    assert all(cells(row) <= width for row in rows), [row for row in rows if cells(row) > width]


def test_records_are_kept_for_the_last_replies() -> None:
    inspector = Inspector(wanted=10)
    for number in range(KEPT + 2):
        inspector.begin(f"m{number}")
        inspector.add([NIGHT])
        inspector.add([NIGHT])
    assert inspector.tokens == [NIGHT, NIGHT]
    assert inspector.of("m1") == []
    assert inspector.of(f"m{KEPT + 1}") == [NIGHT, NIGHT]
    inspector.wanted = 0
    inspector.begin("unrecorded")
    assert (inspector.tokens, inspector.of("unrecorded")) == ([], [])


@pytest.mark.parametrize("size", [(60, 20), (100, 30), (200, 60)])
async def test_arrow_keys_walk_tokens_and_samplers(play: Start, size: tuple[int, int]) -> None:
    async with play("She smiled.", "She nodded slowly.", size=size) as p:
        await p.say("Hello")
        await p.say("/inspect")
        assert not isinstance(p.app.screen, InspectorScreen)
        assert "Recording now; Ctrl+R makes this reply anew." in p.screen()
        await p.press("ctrl+r")
        await p.idle()
        assert p.texts[-1] == "She nodded slowly."
        await p.say("/inspect")
        assert isinstance(p.app.screen, InspectorScreen)
        screen = p.screen()
        assert "Token 1 of 3" in screen
        assert "She nodded slowly." in screen
        assert "before: 1,000" in screen
        assert "after: 2" in screen
        assert "␣other1" in screen
        assert "50.0 % → 80.0 %" in screen
        assert "Esc back" in screen
        assert all(cells(row) <= size[0] for row in screen.split("\n"))
        await p.press("right", "up")
        assert "Token 2 of 3   ␣nodded" in p.screen()
        assert "the model" in p.screen()
        assert "␣other9" in p.screen()  # the tenth
        await p.press("end", "right")
        assert "Token 3 of 3" in p.screen()
        await p.press("home", "left", "pagedown")
        assert "Token 3 of 3" in p.screen()
        await p.press("escape")
        assert not isinstance(p.app.screen, InspectorScreen)
        await p.press("alt+s")
        assert isinstance(p.app.screen, InspectorScreen)
        await p.press("q")
        await p.press("alt+left", "alt+s")
        assert "Nothing was recorded of this message." in p.screen()
        await p.say("/inspect off")
        assert p.session.inspector.wanted == 0

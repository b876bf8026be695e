"""Several replies at once on the screen: columns or lines, and what Enter, a number and Escape do."""

from __future__ import annotations

from typing import Any

import pytest

from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.tui.screens.swipes import SwipesScreen

REPLIES = (
    "*He bowed.* Come in.",
    "Nobody was there at all, only rain.",
    "She laughed.",
    "The lamp went out.",
)


def held(after: int = 2) -> list[ScriptedReply]:
    return [ScriptedReply(text, hold_after=after) for text in REPLIES]


async def ask(p: Any, line: str = "/swipes 4") -> SwipesScreen:
    """Say something without an answer, then ask for several."""
    p.session.say("Hello?")
    p.chat.show_path()
    await p.type(line)
    await p.press("enter")
    await p.until(lambda: isinstance(p.app.screen, SwipesScreen))
    return p.app.screen  # type: ignore[no-any-return]


async def whole(p: Any) -> None:
    p.engine.go.set()
    await p.idle()


async def test_wide_they_stand_side_by_side_and_grow(play: Any) -> None:
    async with play(*held(), size=(120, 34)) as p:
        await ask(p)
        await p.until(lambda: "*He bowed.*▌" in p.screen() and "The lamp▌" in p.screen())
        row = next(line for line in p.screen().split("\n") if "bowed" in line)
        assert [row.index(words) for words in ("*He bowed.*▌", "Nobody was▌", "She laughed.", "The lamp▌")]
        assert "4 replies of Vera" in p.screen()
        assert "Hello?" in p.screen()
        assert "Esc stops and keeps all" in p.screen()
        await whole(p)
        await p.until(lambda: "Esc leaves the first" in p.screen())
        assert "▌" not in p.screen()


@pytest.mark.parametrize("size", [(60, 20), (100, 30)], ids=str)
async def test_narrow_there_is_a_line_for_each_and_one_in_full(play: Any, size: tuple[int, int]) -> None:
    async with play(*held(), size=size) as p:
        await ask(p)
        await p.until(lambda: "4  The lamp" in p.screen())
        await p.press("right")
        lines = p.screen().split("\n")
        assert any(line.startswith("  ▸ 2  Nobody was") and line.endswith("2 words …") for line in lines)
        assert any(line.strip() == "Nobody was▌" for line in lines)
        assert not any(line.strip() == "The lamp▌" for line in lines)
        await whole(p)
        await p.until(lambda: "7 words" in p.screen())
        assert all(len(line) <= size[0] for line in p.screen().split("\n"))


@pytest.mark.parametrize(
    ("keys", "taken"),
    [(("enter",), 0), (("right", "enter"), 1), (("left", "enter"), 3), (("3",), 2), (("escape",), 0)],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
async def test_one_of_the_whole_ones_is_taken(play: Any, keys: tuple[str, ...], taken: int) -> None:
    async with play(*REPLIES) as p:
        await ask(p)
        await p.idle()
        await p.press(*keys)
        await p.until(lambda: p.app.screen is p.chat)
        assert p.texts[-1] == REPLIES[taken]
        assert p.session.position(p.session.path()[-1].id) == (taken + 1, 4)
        assert f"  {REPLIES[taken]}" in p.lines()
        assert p.session.store.open_chat(p.session.chat.id).tree.path() == p.session.path()


async def test_escape_stops_them_and_keeps_what_each_has(play: Any) -> None:
    async with play(*held()) as p:
        await ask(p)
        await p.until(lambda: "2 words" in p.screen())
        await p.press("escape")
        await p.idle()
        assert p.app.screen is p.chat
        parent = p.session.path()[-2].id
        kept = [message.text for message in p.session.tree.children(parent)]
        assert kept == ["*He bowed.*", "Nobody was", "She laughed.", "The lamp"]
        assert "1/4" in p.screen()
        assert "Alt+← and Alt+→" in p.screen()
        await p.press("alt+right")
        assert p.texts[-1] == "Nobody was"


async def test_one_that_is_taken_early_grows_on_in_the_chat(play: Any) -> None:
    async with play(*held()) as p:
        await ask(p)
        await p.until(lambda: "2 words" in p.screen())
        await p.press("2")
        await p.until(lambda: p.app.screen is p.chat)
        await p.until(lambda: "  Nobody was▌" in p.lines())
        await whole(p)
        assert p.texts[-1] == REPLIES[1]
        assert "  Nobody was there at all, only rain." in p.lines()
        parent = p.session.path()[-2].id
        kept = [message.text for message in p.session.tree.children(parent)]
        assert kept == ["*He bowed.*", REPLIES[1], "She laughed.", "The lamp"]


async def test_more_than_fit_are_refused_with_a_sentence(play: Any) -> None:
    engine = ScriptedEngine()
    engine.swipes_error = "8 replies at once do not fit: memory holds 3 of them."
    async with play(engine=engine) as p:
        p.session.say("Hello?")
        await p.type("/swipes 8")
        await p.press("enter")
        await p.idle()
        await p.until(lambda: p.app.screen is p.chat)
        assert "memory holds 3 of them" in p.screen()
        assert p.texts[-1] == "Hello?"


@pytest.mark.parametrize("word", ["/swipes 0", "/swipes 9", "/swipes many"])
async def test_a_number_that_is_none_is_asked_for_again(play: Any, word: str) -> None:
    async with play() as p:
        p.session.say("Hello?")
        await p.type(word)
        await p.press("enter")
        await p.until(lambda: "How many replies at once?" in p.screen())
        assert p.engine.requests == []


async def test_a_number_of_thousands_of_digits_is_none(play: Any) -> None:
    async with play() as p:
        p.session.say("Hello?")
        p.chat.actions.run("swipes", "1" * 5000)
        await p.until(lambda: "How many replies at once?" in p.screen())


async def test_alt_r_asks_for_four_beside_the_last(play: Any) -> None:
    async with play("First.", *REPLIES) as p:
        await p.say("Hello?")
        await p.press("alt+r")
        await p.until(lambda: isinstance(p.app.screen, SwipesScreen))
        await p.idle()
        await p.press("enter")
        assert p.session.position(p.session.path()[-1].id) == (2, 5)


async def test_the_greetings_have_no_swipes_but_their_own(play: Any) -> None:
    async with play() as p:
        await p.press("alt+r")
        await p.until(lambda: "the card's own" in p.screen())
        assert p.engine.requests == []


async def test_a_worker_that_dies_leaves_what_there_is(play: Any) -> None:
    dying = [ScriptedReply(REPLIES[0], hold_after=2), ScriptedReply(REPLIES[1], fail_after=4)]
    async with play(*dying) as p:
        await ask(p, "/swipes 2")
        await p.until(lambda: "*He bowed.*▌" in p.screen())
        await whole(p)
        await p.press("escape")
        await p.until(lambda: "SIGKILL" in p.screen())
        parent = p.session.path()[-2].id
        kept = [message.text for message in p.session.tree.children(parent)]
        assert kept == [REPLIES[0], "Nobody was there at"]


async def test_a_terminal_that_changes_its_size_rearranges_them(play: Any) -> None:
    async with play(*held(), size=(120, 34)) as p:
        screen = await ask(p)
        await p.until(lambda: "The lamp▌" in p.screen())
        await p.pilot.resize_terminal(60, 20)
        await p.until(lambda: screen.has_class("-one"))
        await p.until(lambda: "▸ 1  *He bowed.*" in p.screen())
        await p.pilot.resize_terminal(120, 34)
        await p.until(lambda: "*He bowed.*▌" in p.screen() and "The lamp▌" in p.screen())
        await whole(p)

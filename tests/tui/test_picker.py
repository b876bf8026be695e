"""The picker of cards: typing, tags, orders, keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from cards.library import LibraryCard
from chat.settings import Folders
from chat.tui.card_list import CardList
from chat.tui.screens.library import LibraryScreen, counted

Picker = Callable[..., Any]


@pytest.fixture
def picker(play: Any, folders: Folders, make_card: Callable[..., Path]) -> Picker:
    """`async with picker() as p`: the picker over the starters and five cards."""
    folder = folders.cards
    folder.mkdir(parents=True, exist_ok=True)
    long = {"description": "word " * 40_000}
    make_card(folder / "ada.json", "Ada Quill", creator="zoe", tags=["Slow Burn", "sea"])
    make_card(folder / "bram.json", "Bram Quill", creator="anna", tags=["seaside"], **long)
    make_card(folder / "cleo.json", "Cleo", creator="", tags=["desert"], creator_notes="Rides a camel.")
    make_card(
        folder / "evil.json", "[red]Evil[/] \x1b[31m[@click=app.quit]x[/]", tags=["[b]bold", "\x1b]0;t\x07"]
    )
    (folder / "broken.json").write_text("{")

    @asynccontextmanager
    async def start(size: tuple[int, int] = (100, 30)) -> AsyncIterator[Any]:
        async with play(size=size) as p:
            await p.press("ctrl+o")
            await p.until(lambda: isinstance(p.app.screen, LibraryScreen) and " cards · " in p.screen())
            yield p

    return start


def shown(p: Any) -> list[str]:
    """Names in the list, row by row, as they are on the screen."""
    widget = p.app.screen.query_one(CardList)
    rows = [widget.render_line(y).text.strip() for y in range(widget.size.height)]
    return [row.split("  ")[0] for row in rows if row]


def talking_to(p: Any) -> str:
    """Name of the card whose chat is open; nothing while one is being opened."""
    return p.app.desk.session.card.name if p.app.desk.session is not None else ""


COUNT = re.compile(r"│ +((?:[\d ]+ of )?\d[\d ]* cards? · by \w+(?: chat)?|No card[^│]+?) +│")


def count_line(p: Any) -> str:
    found = COUNT.search(p.screen())
    assert found is not None, p.screen()
    return found[1]


@pytest.mark.parametrize(
    ("typed", "names", "line"),
    [
        ("quill", ["Ada Quill", "Bram Quill"], "2 of 10 cards · by name"),
        ("QUILL anna", ["Bram Quill"], "1 of 10 cards · by name"),
        ("camel", ["Cleo"], "1 of 10 cards · by name"),
        ("#sea", ["Ada Quill", "Bram Quill"], "2 of 10 cards · by name"),
        ("tag:sea zoe", ["Ada Quill"], "1 of 10 cards · by name"),
        ('#"sea"', ["Ada Quill"], "1 of 10 cards · by name"),
        ('Tag:"slow b', ["Ada Quill"], "1 of 10 cards · by name"),
        ("#burn", [], "No card is like that; Esc shows all again"),
        ("# quill", ["Ada Quill", "Bram Quill"], "2 of 10 cards · by name"),
        ("broken", ["broken"], "1 of 10 cards · by name"),
    ],
)
async def test_typing_narrows_the_list_down(picker: Picker, typed: str, names: list[str], line: str) -> None:
    async with picker() as p:
        assert count_line(p) == "10 cards · by name"
        await p.type(typed)
        await p.pilot.pause()
        assert (shown(p), count_line(p)) == (names, line)


async def test_every_key_filters_at_once(picker: Picker) -> None:
    async with picker() as p:
        seen = []
        for keys in (("q", "u", "i", "l", "l"), ("q",)):
            await p.press(*keys)
            seen.append(shown(p))
        assert seen == [["Ada Quill", "Bram Quill"], []]
        await p.press("backspace")
        assert shown(p) == ["Ada Quill", "Bram Quill"]


async def test_tab_goes_through_the_orders(picker: Picker, folders: Folders) -> None:
    async with picker() as p:
        await p.press("escape")
        for ref in ("cleo", "bram"):
            p.app.desk.open_card(str(folders.cards / f"{ref}.json"), new=True)
            await p.until(lambda ref=ref: talking_to(p).lower().startswith(ref))
        await p.press("ctrl+o")
        await p.until(lambda: isinstance(p.app.screen, LibraryScreen) and "10 cards" in p.screen())
        firsts = {}
        for _ in range(4):
            firsts[count_line(p).split("by ")[1]] = shown(p)[:2]
            await p.press("tab")
        assert count_line(p) == "10 cards · by name"
        await p.press("shift+tab")
        assert count_line(p) == "10 cards · by tokens"
        assert re.search(r"│ +Bram Quill +50 \d{3} tokens  seaside", p.screen())
    assert firsts["last chat"] == ["Bram Quill", "Cleo"]
    assert firsts["creator"][0] == "Bram Quill"
    assert firsts["tokens"][0] == "Bram Quill"
    assert list(firsts) == ["name", "creator", "last chat", "tokens"]


@pytest.mark.parametrize(
    ("keys", "name", "new"),
    [
        (("q", "u", "i", "l", "l", "enter"), "Ada Quill", False),
        (("q", "u", "i", "l", "l", "down", "enter"), "Bram Quill", False),
        (("q", "u", "i", "l", "l", "tab", "enter"), "Bram Quill", False),
        (("q", "u", "i", "l", "l", "pagedown", "up", "ctrl+n"), "Ada Quill", True),
    ],
)
async def test_enter_opens_the_card_under_the_cursor(
    picker: Picker, keys: tuple[str, ...], name: str, new: bool
) -> None:
    async with picker() as p:
        await p.press(*keys)
        await p.until(lambda: talking_to(p) == name)
        first = p.session.chat.id
        await p.press("ctrl+o")
        await p.until(lambda: isinstance(p.app.screen, LibraryScreen) and " cards · " in p.screen())
        await p.press(*keys)
        await p.until(lambda: not isinstance(p.app.screen, LibraryScreen))
        await p.until(lambda: talking_to(p) == name)
        assert (p.session.chat.id != first) == new


async def test_a_click_opens_a_card(picker: Picker) -> None:
    async with picker() as p:
        await p.type("quill")
        await p.pilot.click(CardList, offset=(2, 1))
        await p.until(lambda: talking_to(p) == "Bram Quill")


async def test_escape_clears_and_then_leaves(picker: Picker) -> None:
    async with picker() as p:
        await p.type("nobody at all")
        await p.pilot.pause()
        await p.press("enter")  # nothing to open
        assert isinstance(p.app.screen, LibraryScreen)
        await p.press("escape")
        assert p.app.screen.query_one(Input).value == ""
        assert count_line(p) == "10 cards · by name"
        await p.press("escape")
        assert not isinstance(p.app.screen, LibraryScreen)
        assert p.session.card.name == "Vera"


async def test_the_cursor_passes_over_what_cannot_be_read(picker: Picker) -> None:
    async with picker() as p:
        cards = p.app.screen.query_one(CardList)
        assert shown(p)[1:5] == ["Ada Quill", "Bram Quill", "broken", "Carina"]
        names = []
        for key in ("down", "down", "down", "up"):
            await p.press(key)
            assert cards.highlighted is not None
            names.append(cards.highlighted.name)
        assert names == ["Ada Quill", "Bram Quill", "Carina", "Bram Quill"]
        await p.pilot.click(CardList, offset=(2, 3))
        assert isinstance(p.app.screen, LibraryScreen)


@pytest.mark.parametrize("size", [(60, 20), (200, 60)])
async def test_names_and_tags_stay_text(picker: Picker, size: tuple[int, int]) -> None:
    async with picker(size) as p:
        assert "[red]Evil[/] " in p.screen()
        await p.type("[red]")
        await p.pilot.pause()
        assert count_line(p) == "1 of 10 cards · by name"
        assert not {"\x1b", "\x07"} & set(p.screen())
        for _ in range(3):
            await p.press("tab")
            assert len(shown(p)) == 1
            assert all(len(line) <= size[0] for line in p.screen().split("\n"))


@pytest.mark.parametrize("size", [(40, 10), (60, 20), (200, 60)])
async def test_ten_thousand_cards_scroll_under_the_cursor(
    play: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    many = [LibraryCard(f"c{n}", Path(f"c{n}.png"), f"Card {n:05}", "v2") for n in range(10_000)]
    async with play(size=size) as p:
        monkeypatch.setattr(type(p.app.desk.opening.library), "list", lambda self: many)
        await p.press("ctrl+o")
        await p.until(lambda: "10 000 cards · by name" in p.screen())
        cards = p.app.screen.query_one(CardList)
        rows = cards.size.height
        assert rows >= size[1] - 14
        assert rows >= 2
        assert len(p.app.screen.query("*")) < 20
        await p.press("pagedown", "pagedown", "down")
        assert cards.highlighted is many[2 * (rows - 1) + 1]
        assert cards.highlighted.name in shown(p)
        await p.type("0999")
        await p.until(lambda: "11 of 10 000 cards" in p.screen())
        assert shown(p)[0] == "Card 00999"
        assert "Ctrl+N new" in p.screen()


@pytest.mark.parametrize(
    ("found", "all", "by", "line"),
    [
        (12, 1000, "chat", "12 of 1 000 cards · by last chat"),
        (1000, 1000, "tokens", "1 000 cards · by tokens"),
        (1, 1, "name", "1 card · by name"),
    ],
)
def test_counted(found: int, all: int, by: Any, line: str) -> None:
    assert counted(found, all, by) == line

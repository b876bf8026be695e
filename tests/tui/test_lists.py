"""The lists of chats and of cards: columns, times, whole tags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chat.tui.card_pane import whole_tags
from chat.tui.screens.chats import ChatsScreen, when
from chat.tui.screens.library import LibraryScreen

NOON = datetime(2026, 11, 21, 12, 0).astimezone()


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (NOON, "today 12:00"),
        (NOON.astimezone(UTC), "today 12:00"),
        (NOON - timedelta(hours=13), "yesterday 23:00"),
        (NOON.replace(month=3, day=4), "4 Mar 12:00"),
        (NOON.replace(year=2024), "2024-11-21 12:00"),
    ],
)
def test_when(moment: datetime, shown: str) -> None:
    assert when(moment, NOON) == shown


@pytest.mark.parametrize(
    ("tags", "limit", "shown"),
    [
        (["sea", "storm", "lighthouse"], 40, "sea · storm · lighthouse"),
        (["sea", "storm", "lighthouse"], 23, "sea · storm …"),
        (["sea", "storm", "lighthouse"], 13, "sea · storm …"),
        (["sea", "storm", "lighthouse"], 12, "sea …"),
        (["海の灯台", "sea"], 10, "海の灯台 …"),
        (["a very long tag"], 8, "a very…"),
        (["", "sea"], 8, "sea"),
        ([], 8, ""),
    ],
)
def test_whole_tags(tags: list[str], limit: int, shown: str) -> None:
    assert whole_tags(tags, limit) == shown


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36)])
async def test_chats_of_one_card_are_told_apart_by_columns(play: Any, size: tuple[int, int]) -> None:
    async with play("a", size=size) as p:
        await p.say("Hi")
        first = p.session.chat.id
        await p.press("ctrl+n")
        await p.until(lambda: p.app.desk.session is not None and p.session.chat.id != first)
        await p.press("ctrl+l")
        await p.until(lambda: isinstance(p.app.screen, ChatsScreen))
        rows = [line for line in p.screen().split("\n") if " today " in line or " yesterday " in line]
        assert len(rows) == 2
        assert len({row.index("day ") for row in rows}) == 1
        assert len({row.index(" message") for row in rows}) == 1
        assert "1 message · open" in rows[0]
        assert "3 messages" in rows[1]


@pytest.mark.parametrize("size", [(60, 20), (100, 30)])
async def test_cards_show_whole_tags_in_a_column(play: Any, size: tuple[int, int]) -> None:
    async with play(size=size) as p:
        await p.press("ctrl+o")
        await p.until(lambda: isinstance(p.app.screen, LibraryScreen) and "Samuel" in p.screen())
        cards = p.app.desk.opening.library.list()
        tags = {tag for card in cards for tag in card.tags}
        for card in cards:
            row = next(line for line in p.screen().split("\n") if f"{card.name} " in line)
            shown = row.split(card.name, 1)[1].replace("│", "").replace("…", "").strip()
            assert not shown or set(shown.split(" · ")) <= tags

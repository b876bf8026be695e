"""The picker's list of cards: one line-API widget, a row a card, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cards.display import cells, display_text
from cards.library import LibraryCard, Sort
from chat.tui.card_pane import whole_tags
from chat.tui.status import number

NAME_CELLS = 32
VALUE_CELLS = {"name": 0, "creator": 18, "chat": len("yesterday 23:59"), "tokens": len("123 456 tokens")}
"""Cells of the column that shows what the list is sorted by."""
GAP = 2


class CardList(ScrollView, can_focus=False):
    """Cards and a cursor on one of them, which passes over those that cannot be read."""

    DEFAULT_CSS = """
    CardList {
        background: $background;
        color: $foreground;
        overflow-x: hidden;

        & > .cards--name { text-style: bold; }
        & > .cards--value { color: $foreground; }
        & > .cards--tags { color: $note; }
        & > .cards--error { color: $error; }
        & > .cards--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        &:ansi > .cards--cursor { text-style: reverse; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "cards--name",
        "cards--value",
        "cards--tags",
        "cards--error",
        "cards--cursor",
    }

    @dataclass
    class Chosen(Message):
        """A card was clicked."""

        card: LibraryCard

    def __init__(self) -> None:
        super().__init__()
        self._cards: Sequence[LibraryCard] = ()
        self._by: Sort = "name"
        self._last_chats: Mapping[str, datetime] = {}
        self._name_cells = 0
        self._cursor: int | None = None

    @property
    def highlighted(self) -> LibraryCard | None:
        """The card under the cursor; None where there is none that can be read."""
        return None if self._cursor is None else self._cards[self._cursor]

    def show(
        self,
        cards: Sequence[LibraryCard],
        by: Sort,
        last_chats: Mapping[str, datetime],
        name_cells: int,
    ) -> None:
        """These cards, with the cursor on the first; the name's column has `name_cells` cells at most."""
        self._cards, self._by, self._last_chats, self._name_cells = cards, by, last_chats, name_cells
        self._cursor = self._readable(0, 1)
        self.virtual_size = Size(0, len(cards))
        self.scroll_home(animate=False, immediate=True)
        self.refresh()

    def move(self, rows: int) -> None:
        """The cursor down or up, as far as there are cards."""
        if self._cursor is None:
            return
        step = 1 if rows > 0 else -1
        index = min(max(self._cursor + rows, 0), len(self._cards) - 1)
        found = self._readable(index, step)
        self._cursor = self._readable(index, -step) if found is None else found
        assert self._cursor is not None
        self.scroll_to_region(Region(0, self._cursor, 1, 1), animate=False, immediate=True, force=True)
        self.refresh()

    def _readable(self, index: int, step: int) -> int | None:
        while 0 <= index < len(self._cards):
            if not self._cards[index].error:
                return index
            index += step
        return None

    def on_click(self, event: events.Click) -> None:
        """Choose the card in that row."""
        row = event.y + self.scroll_offset.y
        if row < len(self._cards) and not self._cards[row].error:
            self.post_message(self.Chosen(self._cards[row]))

    def render_line(self, y: int) -> Strip:
        """One card, or an empty row."""
        width, base = self.scrollable_content_region.width, self.rich_style
        row = y + self.scroll_offset.y
        if row >= len(self._cards):
            return Strip.blank(width, base)
        cursor = self.get_component_rich_style("cards--cursor", partial=True) if row == self._cursor else None
        segments = [
            Segment(text, base + self.get_component_rich_style(f"cards--{part}", partial=True) + cursor)
            for part, text in self._parts(self._cards[row], width)
        ]
        return Strip(segments).adjust_cell_length(width, base + cursor)

    def _parts(self, card: LibraryCard, width: int) -> list[tuple[str, str]]:
        """Name, what the list is sorted by, and tags or what is wrong."""
        value_cells = VALUE_CELLS[self._by]
        most = (width - value_cells - 2 * GAP) // 2 if value_cells else width - GAP
        name_cells = max(1, min(self._name_cells, most))
        parts = [("name", _padded(card_name(card, name_cells), name_cells))]
        room = width - name_cells - GAP
        if card.error:
            return [*parts, ("error", display_text(card.error, single_line=True, limit=max(1, room)))]
        if value_cells:
            parts.append(("value", _padded(self._value(card, value_cells), value_cells)))
            room -= value_cells + GAP
        return [*parts, ("tags", whole_tags(card.tags, room))] if room > 1 else parts

    def _value(self, card: LibraryCard, limit: int) -> str:
        if self._by == "creator":
            return display_text(card.creator, single_line=True, limit=limit)
        if self._by == "tokens":
            return f"{number(card.tokens)} tokens".rjust(limit)
        from chat.tui.screens.chats import when

        last = self._last_chats.get(card.ref)
        return "" if last is None else when(last)


def card_name(card: LibraryCard, limit: int = NAME_CELLS) -> str:
    """As a list shows it."""
    return display_text(card.name, single_line=True, limit=limit)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text) + GAP)

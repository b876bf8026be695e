"""One message as screen rows: a name line, the text, a closing note, a blank row. No widget; strips come out.

A block is laid out and styled when it is first looked at, row by row, so that a transcript pays only for
what it shows. Columns: two for the cursor bar, then the text, then at least one for the caret of a growing
reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from cards.display import display_text
from chat.tree import Message
from chat.tui.markup import Kind, Mark, marks
from chat.tui.rows import Row, wrap
from chat.tui.thoughts import Thought
from presets.values import Role

if TYPE_CHECKING:
    from presets.output.speaking import UserFinder

GUTTER = 2
"""Columns left of the text: the cursor bar and a space."""
MARGIN = 1
"""Columns that stay free right of the text."""
WIDEST = 100
"""Text columns at most: longer lines are hard to read."""
TAB = "    "
NAME_CELLS = 40

NOTES = {
    "length": "cut at the length limit; Ctrl+G goes on",
    "cancelled": "stopped",
    "interrupted": "interrupted",
    "speaking_for_user": "ended where you would have spoken; Ctrl+G goes on",
}
"""What stands under a reply that did not end by itself, by its finish reason."""

Ink = Literal["base", "char", "user", "system", "note", "marker", "caret", "cursor", "selection", "hidden"]
Palette = Mapping[Ink | Kind, Style]
"""Rich styles by what they are for; all carry the background."""


@dataclass(frozen=True, slots=True)
class Position:
    """Which sibling is shown, counted from 1, of how many."""

    index: int
    count: int


@dataclass(slots=True)
class Block:
    """A message as the screen sees it."""

    id: str
    role: Role
    name: str
    source: str
    """The text as it is stored; `text` is what may be drawn."""
    finish: str = ""
    """Why the reply ended; see NOTES."""
    hidden: bool = False
    growing: bool = False
    """A reply that is being written: open marks count, a caret stands at its end."""
    progress: str = ""
    """What a growing reply waits for, shown on its name line."""
    base: str = ""
    """What a growing reply began with."""
    thought: Thought | None = None
    """What the model thought before it."""
    _text: str | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The text without anything that a terminal acts on, tabs as spaces."""
        if self._text is None:
            self._text = display_text(self.source).replace("\t", TAB)
        return self._text

    def change(self, source: str) -> None:
        """Give the message another text."""
        self.source = source
        self._text = None

    def grow(self, text: str) -> None:
        """The reply goes on."""
        self.progress = ""
        self.change(self.source + text)
        if self.thought is not None:
            self.thought.under_way = False

    def think(self, text: str) -> None:
        """The model thinks on, before the reply."""
        self.progress = ""
        if self.thought is None:
            self.thought = Thought("", under_way=True)
        self.thought.add(text)

    def turn_into_thought(self) -> None:
        """What grew so far was no text."""
        text = self.source[len(self.base) :]
        self.change(self.base)
        self.think(text)

    @property
    def note(self) -> str:
        """The line under the text, empty when there is none."""
        return "" if self.growing else NOTES.get(self.finish, "")

    def height(self, width: int) -> int:
        """Rows at a text width: name line, thought, text, note, blank row."""
        return 2 + self.rows_of_thought(width) + len(wrap(self.text, width)) + bool(self.note)

    def rows_of_thought(self, width: int) -> int:
        """Rows between the name line and the text."""
        return self.thought.height(width) if self.thought is not None else 0


def block_of(message: Message) -> Block:
    """A message of the tree as the screen sees it."""
    made = message.generation
    finish = (made.ended_by or made.finish_reason) if made else ""
    thought = Thought.of(message)
    return Block(
        message.id, message.role, message.name, message.text, finish, message.hidden, thought=thought
    )


def text_width(width: int) -> int:
    """Columns for text in a transcript of so many columns."""
    return max(1, min(WIDEST, width - GUTTER - MARGIN))


class PaintedBlock:
    """A block at one width and state, its strips drawn on demand."""

    def __init__(
        self,
        block: Block,
        width: int,
        palette: Palette,
        position: Position,
        *,
        at_cursor: bool,
        finder: UserFinder | None = None,
    ) -> None:
        """`finder` finds the sentences that are to be marked as the user's own."""
        self.block = block
        self.width = width
        self.palette = palette
        self.position = position
        self.at_cursor = at_cursor
        self._finder = finder
        self.rows: list[Row] = wrap(block.text, text_width(width))
        self._above = 1 + block.rows_of_thought(text_width(width))
        """Rows before the text."""
        self._strips: dict[int, Strip] = {}

    @property
    def height(self) -> int:
        """Rows, the blank one at the end included."""
        return self._above + len(self.rows) + bool(self.block.note) + 1

    def text_row(self, y: int) -> Row | None:
        """The stretch of text on row `y` of the block; None on the other rows."""
        return self.rows[y - self._above] if 0 <= y - self._above < len(self.rows) else None

    def strip(self, y: int, selected: tuple[int, int] | None = None) -> Strip:
        """Row `y` of the block; `selected` is a range of characters of the row, gutter included, -1 for its
        end."""
        if selected is not None:
            return self._draw(y, selected)
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._draw(y, None)
        return strip

    def _draw(self, y: int, selected: tuple[int, int] | None) -> Strip:
        if y == 0:
            segments = self._name_line()
        elif y < self._above:
            segments = self._thought_line(y - 1)
        elif (row := self.text_row(y)) is not None:
            segments = self._text_line(row, last=y == self._above + len(self.rows) - 1)
        elif y == self._above + len(self.rows) and self.block.note:
            segments = [Segment(f"— {self.block.note}", self.palette["note"])]
        else:
            return Strip.blank(self.width, self.palette["base"])
        bar = Segment("▌ ", self.palette["cursor"]) if self.at_cursor else Segment("  ", self.palette["base"])
        segments = [bar, *segments]
        if selected is not None:
            segments = _select(segments, selected, self.palette["selection"])
        return Strip(segments).adjust_cell_length(self.width, self.palette["base"])

    # The name line ------------------------------------------------------------------------------------------

    def _name_line(self) -> list[Segment]:
        block = self.block
        columns = text_width(self.width)
        right = self._marker()
        room = max(4, columns - sum(cell_len(segment.text) for segment in right) - 1)
        name = display_text(block.name, single_line=True, limit=min(NAME_CELLS, room)) or "—"
        left = [Segment(name, self.palette[block.role])]
        aside = block.progress if block.growing else "hidden from the model" if block.hidden else ""
        room -= cell_len(name) + 2
        if aside and room > 6:
            left.append(
                Segment("  " + display_text(aside, single_line=True, limit=room), self.palette["note"])
            )
        used = sum(cell_len(segment.text) for segment in [*left, *right])
        return [*left, Segment(" " * max(1, columns - used), self.palette["base"]), *right]

    def _marker(self) -> list[Segment]:
        """`‹ 2/3 ›`, its arrows to be clicked; nothing for an only child."""
        index, count = self.position.index, self.position.count
        if count < 2 or self.block.growing:
            return []
        style = self.palette["marker"]
        back = style + Style.from_meta({"swipe": (self.block.id, -1)})
        on = style + Style.from_meta({"swipe": (self.block.id, 1)})
        return [Segment("‹ ", back), Segment(f"{index}/{count}", style), Segment(" ›", on)]

    def _thought_line(self, number: int) -> list[Segment]:
        """The line that folds, then the thought, a little indented."""
        thought, style = self.block.thought, self.palette["note"]
        assert thought is not None
        if number == 0:
            return [Segment(thought.line, style + Style.from_meta({"thought": self.block.id}))]
        start, end = thought.rows(text_width(self.width))[number - 1]
        return [Segment(f"  {thought.text[start:end]}", style)]

    # The text -----------------------------------------------------------------------------------------------

    @cached_property
    def _runs(self) -> list[tuple[int, int, Style]]:
        """The whole text in order, cut where its style changes."""
        base = self.palette["hidden" if self.block.hidden else "base"]
        text = self.block.text
        found = marks(text, growing=self.block.growing)
        # A greeting and what the user has edited stand as they were meant: only what the model wrote counts.
        if self._finder is not None and self.block.finish and not self.block.growing:
            found += [Mark(start, end, "users") for start, end in self._finder.spans(text)]
        if not found:
            return [(0, len(text), base)]
        cuts = sorted({0, len(text), *(mark.start for mark in found), *(mark.end for mark in found)})
        opening: dict[int, list[Kind]] = {}
        closing: dict[int, list[Kind]] = {}
        for mark in found:
            opening.setdefault(mark.start, []).append(mark.kind)
            closing.setdefault(mark.end, []).append(mark.kind)
        active: dict[Kind, int] = {}
        runs = []
        for start, end in pairwise(cuts):
            for kind in closing.get(start, ()):
                active[kind] -= 1
            for kind in opening.get(start, ()):
                active[kind] = active.get(kind, 0) + 1
            style = base
            for kind in _LAYERS:
                if active.get(kind):
                    style += self.palette[kind]
            runs.append((start, end, style))
        return runs

    def _text_line(self, row: Row, *, last: bool) -> list[Segment]:
        start, end = row
        text = self.block.text
        segments = [
            Segment(text[max(start, first) : min(end, stop)], style)
            for first, stop, style in self._runs
            if first < end and stop > start
        ]
        if last and self.block.growing:
            segments.append(Segment("▌", self.palette["caret"]))
        return segments


_LAYERS: tuple[Kind, ...] = ("action", "speech", "bold", "code", "mark", "users")
"""Which style is laid over which."""


def _select(segments: list[Segment], selected: tuple[int, int], style: Style) -> list[Segment]:
    """The segments with a range of their characters in another style; the gutter is never part of it."""
    start, end = selected
    length = sum(len(segment.text) for segment in segments)
    start = max(start, GUTTER)
    end = length if end == -1 else min(end, length)
    result = []
    position = 0
    for text, own, _ in segments:
        first = min(max(start - position, 0), len(text))
        stop = min(max(end - position, first), len(text))
        inked = own + style if own else style
        result += [Segment(text[:first], own), Segment(text[first:stop], inked), Segment(text[stop:], own)]
        position += len(text)
    return [segment for segment in result if segment.text]

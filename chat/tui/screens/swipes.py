"""Several replies that are written at once, side by side; where that leaves too little room, one of them,
below a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from cards.display import cells, display_text
from chat.events import (
    ReadingPrompt,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyWritten,
    SessionEvent,
    TextAdded,
    TextWasThinking,
    ThinkingAdded,
)
from chat.swiping import MOST
from chat.tree import Message
from chat.tui.blocks import NOTES, Block
from chat.tui.status import number
from chat.tui.transcript import Transcript

__all__ = ["SwipesScreen"]

COLUMN = 29
"""Cells of a column at least; with fewer the replies stand one at a time."""
TICKS = 8
"""Times a second that the lines of the replies are drawn."""


class Column(Transcript, can_focus=False):
    """One of the replies; the transcript of a single message."""


class SwipesScreen(ModalScreen[str | None]):
    """The replies, one of them selected. Gives the id of the one that was taken, None where none was."""

    DEFAULT_CSS = """
    SwipesScreen {
        background: $background;
        & > Vertical { padding: 0 1; }
        & #swipes-head { height: auto; max-height: 2; padding: 0 1; }
        & #swipes-lines { height: auto; padding: 0 1; margin-top: 1; }
        & #swipes-columns { height: 1fr; align-horizontal: center; margin-top: 1; }
        & #swipes-keys { height: 1; padding: 0 1; }
        & Column { width: 1fr; max-width: 76; height: 100%; border-top: solid $rule; }
        & Column.-selected { border-top: heavy $accent; }
        &.-one Column { display: none; max-width: 112; }
        &.-one Column.-selected { display: block; border-top: solid $rule; }
        &.-beside #swipes-lines { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "leave", show=False, priority=True),
        Binding("enter", "take", show=False, priority=True),
        Binding("left,h", "select(-1)", show=False),
        Binding("right,l,tab", "select(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
        *(Binding(str(place), f"take({place})", show=False) for place in range(1, MOST + 1)),
    ]

    def __init__(self, ids: Sequence[str], name: str, before: str) -> None:
        """`ids` of the messages to be, `name` of who writes them, `before`: what they answer to."""
        super().__init__()
        self._ids = list(ids)
        self._writer = display_text(name, single_line=True, limit=40)
        self._before = display_text(before, single_line=True)
        self._blocks = {
            id_: Block(id_, "char", str(place), "", growing=True) for place, id_ in enumerate(ids, 1)
        }
        self._states = dict.fromkeys(ids, "")
        """How each has ended; empty: it is being written."""
        self._selected = 0
        self._over = False
        self._columns: list[Column] = []
        self._early: list[SessionEvent] = []
        """What came before there were columns to show it."""

    def compose(self) -> ComposeResult:
        """What they answer to, a line for each, the columns, the keys."""
        with Vertical():
            yield Static(id="swipes-head")
            yield Static(id="swipes-lines")
            with Horizontal(id="swipes-columns"):
                for _ in self._ids:
                    yield Column()
            yield Static(id="swipes-keys")

    def on_mount(self) -> None:
        """Let them grow."""
        self._columns = list(self.query(Column))
        for column, block in zip(self._columns, self._blocks.values(), strict=True):
            column.begin(block, None)
        for early in self._early:
            self.show(early)
        self.set_interval(1 / TICKS, self._draw_lines)
        self._arrange()

    def on_resize(self) -> None:
        """Side by side where they fit."""
        if self._columns:
            self._arrange()

    def on_click(self, event: events.Click) -> None:
        """A column that is clicked is selected."""
        if isinstance(event.widget, Column):
            self._selected = self._columns.index(event.widget)
            self._arrange()

    # What the session tells ---------------------------------------------------------------------------------

    def block(self, message_id: str) -> Block:
        """What there is of a reply, to grow elsewhere."""
        known = self._blocks[message_id]
        return Block(message_id, "char", self._writer, known.source, thought=known.thought)

    def show(self, event: SessionEvent) -> None:
        """Bring one event to its column."""
        if not self._columns:
            self._early.append(event)
            return
        match event:
            case ReadingPrompt(done=done, total=total):
                for column in self._columns:
                    column.say_progress(f"reading {number(done)} of {number(total)}" if total else "")
            case TextAdded(message_id=message_id, text=text):
                self._column(message_id).grow(text)
            case ThinkingAdded(message_id=message_id, text=text):
                self._column(message_id).think(text)
            case TextWasThinking(message_id=message_id):
                self._column(message_id).text_was_thinking()
            case ReplyWritten(message_id=message_id):
                self._states[message_id] = "whole"
            case ReplyFinished(message=message):
                self._settle(message)
            case ReplyFailed(partial=Message() as message):
                self._settle(message)
            case ReplyEmpty(message_id=message_id, why=why):
                self._column(message_id).say_progress(why)
                self._states[message_id] = why

    def all_over(self) -> None:
        """None is being written any more."""
        self._over = True
        if self._columns:
            self._draw()

    def _settle(self, message: Message) -> None:
        """The message as it was stored."""
        made = message.generation
        ended = (made.ended_by or made.finish_reason) if made else ""
        self._states[message.id] = NOTES.get(ended, "whole").partition(";")[0]
        name = self._blocks[message.id].name
        self._column(message.id).show([replace(message, name=name)], lambda _id: (1, 1))
        self._blocks[message.id] = self._column(message.id).blocks[0]

    def _column(self, message_id: str) -> Column:
        return self._columns[self._ids.index(message_id)]

    # What is drawn ------------------------------------------------------------------------------------------

    @property
    def _beside(self) -> bool:
        return (self.app.size.width - 2) // len(self._ids) >= COLUMN

    def _arrange(self) -> None:
        self.set_class(self._beside, "-beside")
        self.set_class(not self._beside, "-one")
        for place, column in enumerate(self._columns):
            column.set_class(place == self._selected, "-selected")
        self._draw()

    def _draw(self) -> None:
        width = self.app.size.width - 4
        title = f"{len(self._ids)} replies of {self._writer}"
        head = Content.styled(title, "bold $character")
        if self._before and width - cells(title) > 20:
            room = width - cells(title) - 3
            said = display_text(self._before, single_line=True, limit=room)
            head = Content.assemble(head, "   ", Content.styled(said, "$note"))
        self.query_one("#swipes-head", Static).update(head)
        keys = "Esc leaves the first" if self._over else "Esc stops and keeps all"
        every = f"← → selects · Enter or 1–{len(self._ids)} takes · ↑ ↓ scrolls · {keys}"
        short = f"← → selects · Enter takes · {keys}"
        shown = next((line for line in (every, short) if cells(line) <= width), keys)
        self.query_one("#swipes-keys", Static).update(Content.styled(shown, "$note"))
        self._draw_lines()

    def _draw_lines(self) -> None:
        if not self._beside:
            width = self.app.size.width - 4
            lines = [self._line(place, width) for place in range(len(self._ids))]
            self.query_one("#swipes-lines", Static).update(Content("\n").join(lines))

    def _line(self, place: int, width: int) -> Content:
        """Number, beginning, length and state of one reply."""
        id_ = self._ids[place]
        block, selected = self._blocks[id_], place == self._selected
        words = len(block.text.split())
        state = self._states[id_]
        if not state:
            right = f"{words} words …" if words else "thinking" if block.thought else "…"
        else:
            right = f"{words} words" if state == "whole" else f"{words} words, {state}" if words else state
        left = f"{'▸' if selected else ' '} {place + 1}  "
        room = max(4, width - cells(left) - cells(right) - 2)
        text = display_text(block.text, single_line=True, limit=room)
        gap = " " * max(2, width - cells(left) - cells(text) - cells(right))
        style = "$speech" if selected else "$foreground"
        return Content.assemble(
            Content.styled(left, "bold $accent" if selected else "$note"),
            Content.styled(text, style),
            Content.styled(f"{gap}{right}", "$note"),
        )

    # Keys ---------------------------------------------------------------------------------------------------

    def action_select(self, step: int) -> None:
        """The reply beside."""
        self._selected = (self._selected + step) % len(self._ids)
        self._arrange()

    def action_scroll(self, rows: int) -> None:
        """Scroll the selected reply."""
        column = self._columns[self._selected]
        column.release_anchor()
        column.scroll_relative(y=rows, animate=False)

    def action_take(self, place: int = 0) -> None:
        """Take the selected reply, or the one of that number."""
        if place <= len(self._ids):
            self.dismiss(self._ids[place - 1 if place else self._selected])

    def action_leave(self) -> None:
        """Take none: those that are being written stop."""
        self.dismiss(None)

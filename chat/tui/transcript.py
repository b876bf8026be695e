"""The chat on the screen: one line-API widget, however long the chat is.

It is a projection of the session's active path and never the truth about it: `show` is given the path after
every change. Heights are exact for what is near the end at once and for the rest a moment later
(`Heights`); a reply that grows is drawn at most FRAMES times a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message as Intent
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from chat.tree import Message
from chat.tui.blocks import Block, PaintedBlock, Palette, Position, block_of
from chat.tui.heights import Heights
from chat.tui.palette import COMPONENTS, palette

if TYPE_CHECKING:
    from presets.output.speaking import UserFinder

FRAMES = 30
"""Times a second that a growing reply is drawn."""
PAINTED = 160
"""Painted blocks that are kept: several screens full."""

Positions = Callable[[str], tuple[int, int]]


class Transcript(ScrollView, can_focus=True):
    """The messages of the active path, a cursor on one of them while it has the focus."""

    DEFAULT_CSS = """
    Transcript {
        height: 1fr;
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: scroll;

        & > .transcript--char { color: $character; text-style: bold; }
        & > .transcript--user { color: $person; text-style: bold; }
        & > .transcript--system { color: $note; text-style: bold; }
        & > .transcript--speech { color: $speech; }
        & > .transcript--action { color: $action; text-style: italic; }
        & > .transcript--bold { text-style: bold; }
        & > .transcript--code { color: $code; }
        & > .transcript--mark { color: $note; }
        & > .transcript--users { color: $note; text-style: underline; }
        & > .transcript--note { color: $note; }
        & > .transcript--hidden { color: $note; }
        & > .transcript--marker { color: $accent; }
        & > .transcript--caret { color: $accent; }
        & > .transcript--cursor { color: $accent; }
        & > .transcript--selection { background: $accent 35%; }

        &:ansi {
            & > .transcript--system, & > .transcript--note, & > .transcript--mark { text-style: dim; }
            & > .transcript--action { text-style: italic dim; }
            & > .transcript--selection { text-style: reverse; }
        }
        &:nocolor {
            & > .transcript--speech { text-style: bold; }
            & > .transcript--char, & > .transcript--user { text-style: bold underline; }
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENTS
    FOCUS_ON_CLICK = False
    """A click or a drag must not turn the next letters typed into commands."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("home,g", "move_to(0)", show=False),
        Binding("end,G", "move_to(-1)", show=False),
    ]

    cursor = reactive[int | None](None, init=False)
    """Index of the message that the reading cursor is on; None when there is none."""

    @dataclass
    class Swiped(Intent):
        """An arrow of a `2/3` marker was clicked."""

        message_id: str
        step: int

    @dataclass
    class Left(Intent):
        """The cursor went down past the last message: back to the composer."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.blocks: list[Block] = []
        self._heights = Heights(self.blocks)
        self._positions: Positions = lambda _id: (1, 1)
        self._painted: OrderedDict[str, PaintedBlock] = OrderedDict()
        self._palette: Palette | None = None
        self.finder: UserFinder | None = None
        """Finds the sentences that are marked as the user's own; `show` applies a new one."""
        self._stale = False
        """The growing block has text that is not drawn yet."""

    def on_mount(self) -> None:
        self.anchor()
        self._frames = self.set_interval(1 / FRAMES, self._draw_growing, pause=True)
        self._measuring = self.set_interval(1 / 60, self._measure_more, pause=True)

    # What is shown ------------------------------------------------------------------------------------------

    def show(self, path: Sequence[Message], positions: Positions) -> None:
        """Show this path; what stood there already keeps its place. `positions` numbers a message's
        siblings."""
        self._positions = positions
        same = 0
        for block, message in zip(self.blocks, path, strict=False):
            if block.id != message.id or block.growing:
                break
            same += 1
        del self.blocks[same:]
        self.blocks += map(block_of, path[same:])
        self._painted.clear()
        self._frames.pause()
        self._remeasure(same)
        if self.cursor is not None:
            self.cursor = min(self.cursor, len(self.blocks) - 1) if self.blocks else None
        elif self.has_focus:
            self._place_cursor()

    def begin(self, block: Block, after: str | None) -> None:
        """Let a reply grow below the message `after` (None: at the root); what stood below leaves the
        screen."""
        keep = 0
        if after is not None:
            keep = next((n + 1 for n, known in enumerate(self.blocks) if known.id == after), len(self.blocks))
        del self.blocks[keep:]
        block.growing, block.base = True, block.source
        self.blocks.append(block)
        self._painted.clear()
        self._remeasure(keep)
        self.cursor = None if self.cursor is None else keep
        self.anchor_again()
        self._frames.resume()

    def grow(self, text: str) -> None:
        """More of the reply; drawn with the next frame."""
        block = self.growing
        if block is not None:
            block.grow(text)
            self._stale = True

    def think(self, text: str) -> None:
        """More of what the model thinks before the growing reply."""
        block = self.growing
        if block is not None:
            block.think(text)
            self._stale = True

    def text_was_thinking(self) -> None:
        """What grew so far was no text."""
        block = self.growing
        if block is not None:
            block.turn_into_thought()
            self._stale = True

    def toggle_thought(self, message_id: str) -> bool:
        """Open or fold what was thought before a message; False when it has no thought."""
        for index, block in enumerate(self.blocks):
            if block.id == message_id and block.thought is not None:
                block.thought.opened = not block.thought.opened
                self._painted.pop(block.id, None)
                self._remeasure(index)
                return True
        return False

    def say_progress(self, progress: str) -> None:
        """What the growing reply waits for."""
        block = self.growing
        if block is not None and block.progress != progress:
            block.progress = progress
            self._stale = True

    @property
    def growing(self) -> Block | None:
        """The reply that is being written."""
        return self.blocks[-1] if self.blocks and self.blocks[-1].growing else None

    def anchor_again(self) -> None:
        """Follow the end of the chat, wherever the user has scrolled to."""
        self._anchor_released = False
        self.anchor()

    def show_top(self) -> None:
        """A chat that has only begun is read from its first line."""
        self.release_anchor()
        self.scroll_to(y=0, animate=False, immediate=True)

    def _draw_growing(self) -> None:
        if self._stale and self.growing is not None:
            self._stale = False
            self._painted.pop(self.growing.id, None)
            self._remeasure(len(self.blocks) - 1)

    # Measures -----------------------------------------------------------------------------------------------

    def _remeasure(self, first: int) -> None:
        self._heights.measure_from(first)
        self._apply_heights()
        if not self._heights.exact:
            self._measuring.resume()

    def _measure_more(self) -> None:
        added = self._heights.measure_more(self._first_visible())
        if self._heights.exact:
            self._measuring.pause()
        self._apply_heights()
        if added and (self._anchor_released or not self.is_anchored):
            self.scroll_to(y=self.scroll_y + added, animate=False, immediate=True)

    def _first_visible(self) -> int:
        return self._heights.at(self.scroll_offset.y)[0] if self.blocks else 0

    def _apply_heights(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, self._heights.total)
        if self.is_anchored and not self._anchor_released:
            # The compositor does this too, but only with the next layout: a frame of other rows would flash.
            self.scroll_target_y = self.scroll_y = self.max_scroll_y
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Lay out for another width, with the same message at the top of the screen."""
        width = self.scrollable_content_region.width
        if width == self._heights.width:
            return
        top = self._first_visible()
        self._painted.clear()
        self._heights.change_width(width)
        self._remeasure(len(self.blocks))
        if self._anchor_released and self.blocks:
            self.scroll_to(y=self._heights.top(top), animate=False, immediate=True)

    def notify_style_update(self) -> None:
        """The theme changed: every colour is another."""
        super().notify_style_update()
        self._palette = None
        self._painted.clear()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Nobody ever looks at a guessed height: jumping far up finishes the measuring first."""
        if not self._heights.exact and self._heights.at(int(new_value))[0] < self._heights.exact_from:
            self._measure_more_until_exact()
        super().watch_scroll_y(old_value, new_value)

    def _measure_more_until_exact(self) -> None:
        self._heights.measure_all()
        self._apply_heights()

    # Drawing ------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Row `y` of the visible part."""
        row = self.scroll_offset.y + y
        if self._palette is None:
            self._palette = palette(self)
        width = self.scrollable_content_region.width
        if not 0 <= row < self._heights.total:
            return Strip.blank(self.size.width, self._palette["base"])
        index, inside = self._heights.at(row)
        selection = self.text_selection
        span = selection.get_span(row) if selection is not None else None
        strip = self._paint(index, width).strip(inside, span)
        return strip.adjust_cell_length(self.size.width, self._palette["base"]).apply_offsets(0, row)

    def _paint(self, index: int, width: int) -> PaintedBlock:
        block = self.blocks[index]
        painted = self._painted.get(block.id)
        if painted is None:
            assert self._palette is not None
            at_cursor = self.has_focus and index == self.cursor
            position = Position(1, 1) if block.growing else Position(*self._positions(block.id))
            painted = PaintedBlock(
                block, width, self._palette, position, at_cursor=at_cursor, finder=self.finder
            )
            self._painted[block.id] = painted
            if len(self._painted) > PAINTED:
                self._painted.popitem(last=False)
        return painted

    # The reading cursor -------------------------------------------------------------------------------------

    @property
    def cursor_id(self) -> str | None:
        """Id of the message under the cursor."""
        return None if self.cursor is None else self.blocks[self.cursor].id

    def on_focus(self) -> None:
        """Reading begins at the last message that can be seen."""
        self._place_cursor()
        self._painted.clear()
        self.refresh()

    def _place_cursor(self) -> None:
        if self.blocks and self.cursor is None:
            following = self.is_anchored and not self._anchor_released
            bottom = self.scroll_offset.y + self.scrollable_content_region.height - 1
            last = len(self.blocks) - 1
            self.cursor = last if following else self._heights.at(min(bottom, self._heights.total - 1))[0]

    def on_blur(self) -> None:
        """The cursor bar goes with the focus."""
        self._painted.clear()
        self.refresh()

    def watch_cursor(self, old: int | None, new: int | None) -> None:
        """Draw the bar where it is now."""
        for index in (old, new):
            if index is not None and index < len(self.blocks):
                self._painted.pop(self.blocks[index].id, None)
        self.refresh()

    def action_move(self, step: int) -> None:
        """To the next message; through a message that is taller than the screen first."""
        if self.cursor is None:
            return
        top, bottom = self._heights.top(self.cursor), self._heights.top(self.cursor + 1)
        visible_top = self.scroll_offset.y
        visible_bottom = visible_top + self.scrollable_content_region.height
        if step < 0 and top < visible_top < bottom:
            self._scroll_rows(max(top - visible_top, -self._page))
        elif step > 0 and top < visible_bottom < bottom:
            self._scroll_rows(min(bottom - visible_bottom, self._page))
        elif step > 0 and self.cursor == len(self.blocks) - 1:
            self.post_message(self.Left())
        else:
            self.action_move_to(min(max(self.cursor + step, 0), len(self.blocks) - 1), end=step < 0)

    def action_move_to(self, index: int, end: bool = False) -> None:
        """To the message at `index`, -1 being the last, and bring it into view: its beginning, or its end."""
        if not self.blocks:
            return
        self.cursor = index % len(self.blocks)
        self._measure_more_until_exact()
        top, bottom = self._heights.top(self.cursor), self._heights.top(self.cursor + 1)
        visible, rows = self.scroll_offset.y, self.scrollable_content_region.height
        fits = bottom - top <= rows
        if self.cursor == len(self.blocks) - 1 and fits:
            self.anchor_again()
        elif (top < visible and fits) or (not fits and not end):
            self._scroll_rows(top - visible)
        elif bottom > visible + rows or not fits:
            self._scroll_rows(bottom - visible - rows)

    @property
    def _page(self) -> int:
        return max(1, self.scrollable_content_region.height - 2)

    def _scroll_rows(self, rows: int) -> None:
        self.release_anchor()
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, immediate=True)

    # The mouse ----------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """An arrow of a marker swipes, a thought's line opens it; else the reading cursor comes along."""
        swipe = event.style.meta.get("swipe") if event.style else None
        thought = event.style.meta.get("thought") if event.style else None
        if swipe is not None:
            self.post_message(self.Swiped(*swipe))
        elif thought is not None:
            self.toggle_thought(thought)
        elif self.has_focus and self.blocks:
            row = min(self.scroll_offset.y + event.y, self._heights.total - 1)
            self.cursor = self._heights.at(row)[0]

    def selection_updated(self, selection: Selection | None) -> None:
        """Textual changed what is selected in this widget."""
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it was written: rows that were only wrapped are joined again."""
        from chat.tui.selecting import selected_text

        return selected_text(self.blocks, self._heights, selection), "\n"

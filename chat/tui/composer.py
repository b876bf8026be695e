"""The box that texts are written in: Enter sends, it grows with the text, and no paste ever sends itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from cards.display import display_text
from chat.tui.commands import completion
from chat.tui.keys import unprinted

NEW_LINE = frozenset({"ctrl+j", "alt+enter", "shift+enter", "ctrl+enter", "shift+\r", "ctrl+\r", "alt+\r"})
"""Keys that begin a new line, among them the names that xterm's modifyOtherKeys ends up with."""


class Composer(TextArea):
    """A text area that sends."""

    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 3;
        max-height: 40vh;
        border: round $rule;
        border-title-color: $note;
        border-subtitle-color: $note;
        border-title-style: none;
        background: $background;
        padding: 0 1;

        &:focus { border: round $accent; border-title-color: $accent; }
        &:disabled { opacity: 100%; color: $note; }
        &.-editing { border: round $person; border-title-color: $person; }
        & .text-area--placeholder { color: $note; }
        & .text-area--cursor-line { background: $background; }
        & .text-area--suggestion { color: $note; }

        &:ansi {
            & .text-area--placeholder, & .text-area--suggestion { text-style: dim; }
            & .text-area--cursor { text-style: reverse; color: ansi_default; background: ansi_default; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "scroll_chat(-1)", show=False),
        Binding("pagedown", "scroll_chat(1)", show=False),
    ]

    @dataclass
    class Submitted(Message):
        """Enter was pressed."""

        text: str

    @dataclass
    class ReadingWanted(Message):
        """The user went up out of the box, or pressed Tab."""

    @dataclass
    class ScrollWanted(Message):
        """Page keys in a box that has nothing to page through move the chat."""

        pages: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
        self.highlight_cursor_line = False

    def set_text(self, text: str) -> None:
        """Put a text into the box with the cursor at its end; undo leads back to what stood there."""
        self.replace(text, self.document.start, self.document.end, maintain_selection_offset=False)
        self.move_cursor(self.document.end)

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: what a terminal would act on shows as a symbol, the text itself keeps it."""
        return Text(display_text(self.document.get_line(line_index)), end="")

    async def _on_key(self, event: events.Key) -> None:
        if self.read_only or self.disabled:
            return
        key = event.key
        if key == "enter" and not self._takes_backslash():
            self.post_message(self.Submitted(self.text))
        elif key == "enter" or key in NEW_LINE:
            self.insert("\n")
            self.scroll_cursor_visible()
        elif self._leads_out(key):
            self.post_message(self.ReadingWanted())
        elif character := unprinted(event):
            self.replace(character, *self.selection, maintain_selection_offset=False)
        elif key != "tab":
            return  # TextArea's own handler comes next
        event.stop()
        event.prevent_default()

    def _leads_out(self, key: str) -> bool:
        """Up in the first row, or Tab where there is no slash word to complete."""
        if key == "up":
            return self.navigator.is_first_wrapped_line(self.cursor_location)
        return key == "tab" and not self._complete()

    def _takes_backslash(self) -> bool:
        """Enter after a backslash that ends its line: the backslash goes, a new line comes."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        if column != len(line) or not line.endswith("\\") or not self.selection.is_empty:
            return False
        self.delete((row, column - 1), (row, column))
        return True

    def _complete(self) -> bool:
        rest = completion(self.text)
        if rest and self.cursor_at_end_of_text:
            self.insert(rest)
        return bool(rest)

    def on_text_area_changed(self) -> None:
        """Show how a slash word would go on."""
        self.suggestion = completion(self.text) if self.cursor_at_end_of_text else ""

    def action_scroll_chat(self, pages: int) -> None:
        """Page through the chat, unless the box itself is longer than it is high."""
        if self.virtual_size.height > self.scrollable_content_region.height:
            (self.action_cursor_page_up if pages < 0 else self.action_cursor_page_down)()
        else:
            self.post_message(self.ScrollWanted(pages))

"""The help, made from the command table, so that it cannot drift from what the keys do."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chat.tui.commands import GROUPS, Command, in_group, key_name

TITLE_CELLS = 13
KEY_CELLS = 18
LETTER_CELLS = 16
WORD_CELLS = 14


class HelpScreen(ModalScreen[None]):
    """Every command: what it does, its keys in both modes, its slash word."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll {
            width: 108; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2; border: round $rule; background: $background;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter,ctrl+c", "dismiss", show=False, priority=True),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll():
            yield Static(id="help")

    def on_mount(self) -> None:
        """Fill the page and take the keys."""
        self.query_one(VerticalScroll).focus()
        self._fill()

    def on_resize(self) -> None:
        """Columns where they fit, else one below the other."""
        self._fill()

    def _fill(self) -> None:
        self.query_one("#help", Static).update(help_content(min(self.app.size.width, 108) - 8))

    def action_scroll(self, rows: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=rows, animate=False)


def help_content(width: int) -> Content:
    """The whole help at a width in cells."""
    parts: list[Content | str] = [
        Content.styled("rpchat", "bold $accent"),
        "   ",
        Content.styled("box: while you write · reading: after Tab, on the message under the cursor", "$note"),
    ]
    for group in GROUPS:
        parts += ["\n\n", Content.styled(group, "bold $character")]
        for command in in_group(group):
            parts += ["\n", _line(command, width)]
    parts += ["\n\n", Content.styled("Esc closes this page", "$note")]
    return Content.assemble(*parts)


def _line(command: Command, width: int) -> Content:
    keys = " ".join(key_name(key) for key in command.keys)
    letters = " ".join(key_name(letter) for letter in command.letters)
    word = f"/{command.words[0]}" if command.words else ""
    columns = TITLE_CELLS + KEY_CELLS + LETTER_CELLS + WORD_CELLS
    if width < columns + 30:
        how = " · ".join(part for part in (keys, letters and f"reading {letters}", word) if part)
        return Content.assemble(
            Content.styled(command.title, "$speech"),
            "  ",
            Content.styled(how, "$accent"),
            f"\n  {_indented(command.help, 2, width)}",
        )
    text = _indented(command.help, columns, width)
    return Content.assemble(
        Content.styled(command.title.ljust(TITLE_CELLS), "$speech"),
        Content.styled(keys.ljust(KEY_CELLS), "$accent"),
        Content.styled(letters.ljust(LETTER_CELLS), "$person"),
        Content.styled(word.ljust(WORD_CELLS), "$code"),
        text,
    )


def _indented(text: str, indent: int, width: int) -> str:
    """The text wrapped right of its column."""
    from chat.tui.rows import wrap

    return ("\n" + " " * indent).join(text[start:end] for start, end in wrap(text, width - indent))

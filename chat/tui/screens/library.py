"""A plain picker of cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from cards.display import cells, display_text
from cards.library import CardLibrary, LibraryCard
from chat.tui.card_pane import whole_tags

WIDTH = 84
"""Cells of the list with its frame, at most."""
NAME_CELLS = 32


@dataclass(frozen=True, slots=True)
class Picked:
    """A card, and whether a new chat is wanted."""

    ref: str
    new: bool


class LibraryScreen(ModalScreen["Picked | None"]):
    """All cards by name; Enter opens the last chat with one, `n` begins a new one."""

    DEFAULT_CSS = """
    LibraryScreen {
        align: center middle;
        & > Vertical {
            width: 84; max-width: 100%; height: auto; max-height: 90%;
            padding: 1 2; border: round $rule; background: $background;
        }
        & .title { color: $accent; text-style: bold; margin-bottom: 1; }
        & .keys { color: $note; margin-top: 1; }
        & OptionList { height: auto; max-height: 1fr; border: none; background: $background; padding: 0; }
        & OptionList:focus { border: none; background-tint: $background 0%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "cancel", show=False, priority=True),
        Binding("n", "choose_new", show=False),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, library: CardLibrary) -> None:
        super().__init__()
        self._library = library
        self._cards: list[LibraryCard] = []

    def compose(self) -> ComposeResult:
        """Title, list, keys."""
        with Vertical():
            yield Static(Content("Who do you want to talk to?"), classes="title")
            yield OptionList()
            yield Static(Content("Enter opens the last chat · n a new one · Esc back"), classes="keys")

    def on_mount(self) -> None:
        """Cards are read in a thread: a folder may hold thousands."""
        self.run_worker(self._read, thread=True, group="library", exit_on_error=False)

    def _read(self) -> None:
        cards = self._library.list()
        self.app.call_from_thread(self._show, cards)

    def _show(self, cards: list[LibraryCard]) -> None:
        self._cards = cards
        options = self.query_one(OptionList)
        options.clear_options()
        column = max((cells(_name(card)) for card in cards), default=0)
        width = min(self.app.size.width, WIDTH) - 9
        options.add_options(
            [Option(card_label(card, column, width), disabled=bool(card.error)) for card in cards]
        )
        options.highlighted = next((n for n, card in enumerate(cards) if not card.error), None)
        options.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(Picked(self._ref(event.option_index), new=False))

    def action_choose_new(self) -> None:
        """A new chat with the card under the cursor."""
        index = self.query_one(OptionList).highlighted
        if index is not None and not self._cards[index].error:
            self.dismiss(Picked(self._ref(index), new=True))

    def action_down(self) -> None:
        """The next card."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """The card before."""
        self.query_one(OptionList).action_cursor_up()

    def _ref(self, index: int) -> str:
        card = self._cards[index]
        return card.ref if card.starter else str(card.path)

    def action_cancel(self) -> None:
        """Nobody."""
        self.dismiss(None)


def card_label(card: LibraryCard, name_cells: int, width: int) -> Content:
    """Name, and in a column beside it tags or what is wrong."""
    name = _name(card)
    name += " " * (name_cells - cells(name) + 2)
    room = max(8, width - cells(name))
    if card.error:
        return Content.assemble(
            name, Content.styled(display_text(card.error, single_line=True, limit=room), "$error")
        )
    return Content.assemble(
        Content.styled(name, "bold"), Content.styled(whole_tags(card.tags, room), "$note")
    )


def _name(card: LibraryCard) -> str:
    return display_text(card.name, single_line=True, limit=NAME_CELLS)

"""The picker of cards: found by typing, sorted in four ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cards.display import cells, display_text
from cards.library import SORTS, CardLibrary, LibraryCard, Sort, TypedFilter
from chat.last_chats import last_chats
from chat.records import ChatSummary
from chat.tui.card_list import CardList, card_name
from chat.tui.keys import Field
from chat.tui.status import number

TITLE = "Who do you want to talk to?"
KEYS = "Enter last chat · Ctrl+N new · Tab sorts · Esc back"
ORDERS = {"name": "by name", "creator": "by creator", "chat": "by last chat", "tokens": "by tokens"}
AROUND, AROUND_LOW = 12, 8
"""Rows of the frame that are no cards, and those on a low screen."""
LOW = 24
NOTHING = "No card is like that; Esc shows all again"


@dataclass(frozen=True, slots=True)
class Picked:
    """A card, and whether a new chat is wanted."""

    ref: str
    new: bool


class LibraryScreen(ModalScreen["Picked | None"]):
    """All cards; typing narrows them down, Tab sorts, Enter opens the last chat with one, Ctrl+N a new
    one."""

    DEFAULT_CSS = """
    LibraryScreen {
        align: center middle;
        & > Vertical {
            width: 92; max-width: 100%; height: 100%;
            padding: 1 2; border: round $rule; background: $background;
        }
        & .title { color: $accent; text-style: bold; }
        & Input { border: round $rule; background: $background; height: 3; }
        & Input:focus { border: round $accent; background-tint: $background 0%; }
        & .count, & .keys { color: $note; height: 1; }
        & CardList { height: 1fr; margin: 1 0; }
        &.-low { & > Vertical { padding: 0 2; } & CardList { margin: 0; } }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False, priority=True),
        Binding("ctrl+c", "cancel", show=False, priority=True),
        Binding("enter", "choose(False)", show=False, priority=True),
        Binding("ctrl+n", "choose(True)", show=False, priority=True),
        Binding("tab", "sort(1)", show=False, priority=True),
        Binding("shift+tab", "sort(-1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
    ]

    @dataclass
    class Listed(Message):
        """A thread has read the folder."""

        cards: list[LibraryCard]
        filter: TypedFilter
        last_chats: Mapping[str, datetime]
        name_cells: int
        failure: str

    def __init__(self, library: CardLibrary, chats: Callable[[], Sequence[ChatSummary]]) -> None:
        """`chats` gives all chats, in any order; it is called in a thread."""
        super().__init__()
        self._library = library
        self._chats = chats
        self._by: Sort = "name"
        self._listed: LibraryScreen.Listed | None = None
        self._filter = TypedFilter(())

    def compose(self) -> ComposeResult:
        """Title, field, count, list, keys."""
        with Vertical():
            yield Static(Content(TITLE), classes="title")
            yield Field(placeholder="Find a name, a creator, words or a #tag")
            yield Static(Content("Reading the cards …"), classes="count")
            yield CardList()
            yield Static(Content(KEYS), classes="keys")

    def on_mount(self) -> None:
        """Cards are read in a thread: a folder may hold thousands."""
        self.query_one(Input).focus()
        self.run_worker(self._read, thread=True, group="library", exit_on_error=False)

    def on_resize(self) -> None:
        """A low screen has no room for empty lines."""
        self._fit()

    def _fit(self) -> None:
        """A frame as high as all cards need: it stays while typing narrows them down."""
        rows, low = self.app.size.height, self.app.size.height < LOW
        self.set_class(low, "-low")
        cards = len(self._listed.cards) if self._listed is not None else 0
        around = AROUND_LOW if low else AROUND
        self.query_one(Vertical).styles.height = min(rows if low else rows - 2, around + max(1, cards))

    def _read(self) -> None:
        from chat.opening import OpeningError
        from chat.store import StoreError

        cards = self._library.list()
        chats: Mapping[str, datetime] = {}
        failure = ""
        try:
            chats = last_chats(cards, self._chats())
        except (OpeningError, StoreError) as error:
            failure = str(error)
        widest = max((cells(card_name(card)) for card in cards), default=0)
        self.post_message(self.Listed(cards, TypedFilter(cards), chats, widest, failure))

    @on(Listed)
    def _have(self, listed: Listed) -> None:
        self._listed = listed
        self._filter = listed.filter
        self._fit()
        if listed.failure:
            self.notify(display_text(listed.failure), severity="error", markup=False)
        self._sort()

    def _sort(self) -> None:
        if self._listed is not None:
            self._filter = self._filter.in_order(self._by, self._listed.last_chats)
            self._show()

    @on(Input.Changed)
    def _show(self) -> None:
        listed = self._listed
        if listed is None:
            return
        typed = self.query_one(Input).value
        found = self._filter.found(typed)
        self.query_one(CardList).show(found, self._by, listed.last_chats, listed.name_cells)
        count = counted(len(found), len(listed.cards), self._by) if found or not typed else NOTHING
        self.query_one(".count", Static).update(Content(count))

    @on(CardList.Chosen)
    def _clicked(self, chosen: CardList.Chosen) -> None:
        self._pick(chosen.card, new=False)

    def action_choose(self, new: bool) -> None:
        """The last chat with the card under the cursor, or a new one."""
        card = self.query_one(CardList).highlighted
        if card is not None:
            self._pick(card, new=new)

    def _pick(self, card: LibraryCard, *, new: bool) -> None:
        self.dismiss(Picked(card.ref if card.starter else str(card.path), new))

    def action_sort(self, step: int) -> None:
        """The next order, or the one before."""
        self._by = SORTS[(SORTS.index(self._by) + step) % len(SORTS)]
        self._sort()

    def action_move(self, rows: int) -> None:
        """Up and down the list; the field keeps the focus."""
        self.query_one(CardList).move(rows)

    def action_page(self, pages: int) -> None:
        """By as many rows as are seen."""
        cards = self.query_one(CardList)
        cards.move(pages * max(1, cards.size.height - 1))

    def action_back(self) -> None:
        """All cards again, then nobody."""
        field = self.query_one(Input)
        if field.value:
            field.value = ""
        else:
            self.action_cancel()

    def action_cancel(self) -> None:
        """Nobody."""
        self.dismiss(None)


def counted(found: int, all: int, by: Sort) -> str:
    """`12 of 1 000 cards · by last chat`."""
    cards = f"{number(all)} {'card' if all == 1 else 'cards'}"
    return f"{cards if found == all else f'{number(found)} of {cards}'} · {ORDERS[by]}"

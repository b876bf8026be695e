"""The list of chats: what was said last, found by name or by any words that were ever said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from cards.display import cells, display_text
from chat.records import ChatSummary, Found
from chat.store import StoreError
from chat.tui.keys import Field

if TYPE_CHECKING:
    from chat.opening import Opening

WIDTH = 100
"""Cells of the list with its frame, at most."""


class ChatsScreen(ModalScreen["str | None"]):
    """All chats, last used first; typing narrows them down, Enter opens, Delete deletes. Gives the chat's
    id."""

    DEFAULT_CSS = """
    ChatsScreen {
        align: center middle;
        & > Vertical {
            width: 100; max-width: 100%; height: 90%;
            padding: 1 2; border: round $rule; background: $background;
        }
        & Input { border: round $rule; background: $background; height: 3; }
        & Input:focus { border: round $accent; background-tint: $background 0%; }
        & OptionList { height: 1fr; border: none; background: $background; padding: 0; }
        & .keys { color: $note; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "cancel", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("enter", "open", show=False, priority=True),
        Binding("ctrl+d,delete", "delete", show=False, priority=True),
        Binding("ctrl+z", "restore", show=False, priority=True),
    ]

    def __init__(self, opening: Opening, current: str, words: str = "") -> None:
        super().__init__()
        self._delete = opening.delete_chat
        self._store = opening.store
        self._current = current
        self._words = words
        self._chats: list[ChatSummary] = []
        self._shown: list[str] = []
        """Chat ids, row by row."""
        self._deleted: list[str] = []

    def compose(self) -> ComposeResult:
        """Search, list, keys."""
        with Vertical():
            yield Field(self._words, placeholder="Search names and everything that was said", id="words")
            yield OptionList()
            yield Static(
                Content("Enter opens · Ctrl+D deletes · Ctrl+Z brings back · Esc back"), classes="keys"
            )

    def on_mount(self) -> None:
        """All chats, or those that the words find."""
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self._read()

    def _read(self) -> None:
        try:
            self._chats = self._store.chats()
            self._show(self.query_one(Input).value.strip())
        except StoreError as error:
            self.notify(display_text(str(error)), severity="error", markup=False)

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        self._show(event.value.strip())

    def _show(self, words: str) -> None:
        wanted = words.casefold()
        named = [chat for chat in self._chats if wanted in f"{chat.card_name}\n{chat.title}".casefold()]
        found = self._search(words) if words else []
        width = min(self.app.size.width, WIDTH) - 6
        room = max(8, min(NAME_CELLS, width - WHEN_CELLS - len("   99 messages · open") - 2))
        column = max((cells(_name(chat, room)) for chat in named), default=0)
        rows = [
            (chat.id, _chat_label(chat, column, width, current=chat.id == self._current)) for chat in named
        ]
        rows += [(hit.chat_id, _found_label(hit, width)) for hit in found]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(label) for _, label in rows])
        self._shown = [chat_id for chat_id, _ in rows]
        options.highlighted = 0 if rows else None

    def _search(self, words: str) -> Sequence[Found]:
        try:
            return self._store.search(words)
        except StoreError as error:
            self.notify(display_text(str(error)), severity="error", markup=False)
            return []

    def _highlighted(self) -> str | None:
        index = self.query_one(OptionList).highlighted
        return self._shown[index] if index is not None and index < len(self._shown) else None

    def action_move(self, step: int) -> None:
        """Up and down the list, the search keeps the focus."""
        options = self.query_one(OptionList)
        (options.action_cursor_up if step < 0 else options.action_cursor_down)()

    def action_open(self) -> None:
        """This one."""
        chat_id = self._highlighted()
        if chat_id is not None:
            self.dismiss(chat_id)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    def action_delete(self) -> None:
        """Take the chat out of the list; the open one stays."""
        chat_id = self._highlighted()
        if chat_id == self._current:
            self.notify("This chat is open; open another one first.", markup=False)
        elif chat_id is not None and self._change(self._delete, chat_id):
            self._deleted.append(chat_id)

    def action_restore(self) -> None:
        """Bring back what was deleted last."""
        if self._deleted and self._change(self._store.restore_chat, self._deleted[-1]):
            self._deleted.pop()

    def _change(self, change: Callable[[str], object], chat_id: str) -> bool:
        """Whether the store could do it; why not is said."""
        try:
            change(chat_id)
        except StoreError as error:
            self.notify(display_text(str(error)), severity="error", markup=False)
            return False
        self._read()
        return True

    def action_cancel(self) -> None:
        """None."""
        self.dismiss(None)


NAME_CELLS = 28
WHEN_CELLS = len("yesterday 23:59")


def _name(chat: ChatSummary, limit: int) -> str:
    return display_text(chat.title or chat.card_name, single_line=True, limit=limit)


def _chat_label(chat: ChatSummary, name_cells: int, width: int, *, current: bool) -> Content:
    """Name, time and messages in columns; what was said last below."""
    count = f"{chat.messages:>4} {'message' if chat.messages == 1 else 'messages'}"
    name = _name(chat, name_cells)
    return Content.assemble(
        Content.styled(name + " " * (name_cells - cells(name)), "bold $character"),
        "  ",
        Content.styled(when(chat.updated).ljust(WHEN_CELLS), "$foreground"),
        Content.styled(f"  {count}{' · open' if current else ''}", "$note"),
        f"\n  {display_text(chat.last_line, single_line=True, limit=width - 3)}",
    )


def _found_label(hit: Found, width: int) -> Content:
    who = display_text(
        f"{hit.card_name} · {hit.name}", single_line=True, limit=max(8, width - WHEN_CELLS - 3)
    )
    return Content.assemble(
        Content.styled(who, "$person"),
        "  ",
        Content.styled(when(hit.created), "$foreground"),
        f"\n  {display_text(hit.excerpt, single_line=True, limit=width - 3)}",
    )


def when(moment: datetime, now: datetime | None = None) -> str:
    """Day and time on this machine's clock: `today 11:05`, `3 Nov 11:05`, `2024-11-03 11:05`."""
    here = moment.astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    days = (today - here.date()).days
    if days in (0, 1):
        day = "yesterday" if days else "today"
    elif here.year == today.year:
        day = f"{here.day} {here:%b}"
    else:
        day = here.date().isoformat()
    return f"{day} {here:%H:%M}"

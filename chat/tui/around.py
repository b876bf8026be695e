"""What stands around the transcript: the header above, the box with its title and hints, passing remarks, the
status line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from cards.display import display_text
from chat.tui.commands import COMMANDS, Command, key_name

if TYPE_CHECKING:
    from chat.tui.screens.chat import ChatScreen

REMARK_SECONDS = 4.0
READ_ONLY = "Read only: there is no model to answer."


class Around:
    """Draws it for a chat screen."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._remark = ""
        self._timer: Timer | None = None

    def show(self) -> None:
        """All of it, as things are now."""
        self._show_status()
        self._show_header()
        self._show_box()

    # Passing remarks ----------------------------------------------------------------------------------------

    def tell(self, text: str, seconds: float = REMARK_SECONDS) -> None:
        """Say it in place of the hints, or above the box when it is longer than they may be."""
        self.hush()
        self._remark = display_text(text)
        self._timer = self._screen.set_timer(seconds, self.hush)
        self._show_hints()

    def hush(self) -> None:
        """Take the remark back."""
        if self._timer is not None:
            self._timer.stop()
        self._timer, self._remark = None, ""
        self._show_hints()

    # Parts --------------------------------------------------------------------------------------------------

    def _show_status(self) -> None:
        screen = self._screen
        session, engine = screen.session, screen.engine
        last = session.last if session is not None else None
        wrote = last.timings.get("write", 0.0) if last else 0.0
        reading = screen.reading or not screen.has_model
        screen.meter.look()
        screen.markers.look()
        screen.status.change(
            mode="read" if reading else "edit" if screen.actions.editing else "write",
            engine=engine.state,
            model=engine.model,
            device=engine.device,
            loaded_fraction=engine.fraction,
            format=session.format.id if session is not None else "",
            context_used=screen.meter.tokens,
            context=engine.context,
            speed=last.generated_tokens / wrote if last and wrote > 0 and last.generated_tokens else None,
            read=last.evaluated_tokens if last and last.evaluated_tokens else None,
            reused=last.reused_tokens if last else None,
            broken_at=last.broken_at if last else None,
            broken_by=last.broken_by if last else "",
        )
        if not screen.replies.running:
            screen.status.change(reading=None, writing=False)

    def _show_header(self) -> None:
        """Name and title; a narrow screen has no row for what the first name line says, a wide one has it in
        the column beside."""
        screen = self._screen
        session, header = screen.session, screen.query_one("#header", Static)
        if session is None:
            if not screen.transcript.blocks:
                header.update(Content.styled("opening the chat …", "$note"))
            return
        title = display_text(
            session.chat.title, single_line=True, limit=max(8, min(60, screen.size.width - 36))
        )
        beside = screen.has_class("-wide") or screen.has_class("-vast")
        parts = []
        if not beside:
            name = display_text(session.card.name, single_line=True, limit=30)
            parts.append(Content.styled(name, "bold $character"))
        if title:
            parts.append(Content.styled(title if beside else f"  {title}", "$note"))
        header.update(Content.assemble(*parts))
        header.display = bool(parts) and not screen.has_class("-narrow")

    def _show_box(self) -> None:
        screen = self._screen
        box, session, editing = screen.composer, screen.session, screen.actions.editing
        name = display_text(session.card.call_name, single_line=True, limit=30) if session is not None else ""
        box.set_class(editing is not None, "-editing")
        if screen.outbox.texts:
            box.border_title = Content("sent as soon as the chat is open · Esc takes it back")
        elif editing is not None:
            box.border_title = Content("editing · Enter keeps both · Esc leaves it as it is")
        elif screen.replies.waiting:
            box.border_title = Content(f"{screen.replies.waiting}, {name} answers then · Esc stops")
        elif screen.replies.running:
            doing = "reading" if screen.status.status.reading else "writing"
            box.border_title = Content(f"{name} is {doing} · Esc stops")
        else:
            box.border_title = None
        if not screen.has_model:
            box.placeholder = Content(READ_ONLY)
        else:
            box.placeholder = Content(f"Say something to {name}" if name else "Say something")
        self._show_hints()

    def _show_hints(self) -> None:
        room = self._screen.composer.size.width - 4
        above = self._screen.query_one("#remark", Static)
        fits = "\n" not in self._remark and cell_len(self._remark) <= room
        above.display = bool(self._remark) and not fits
        above.update(Content.styled(self._remark, "$accent"))
        if self._remark and fits:
            self._screen.composer.border_subtitle = Content.styled(self._remark, "$accent")
        else:
            self._screen.composer.border_subtitle = Content(self._hints(room))

    def _hints(self, room: int) -> str:
        """The keys that matter most now, as many as fit."""
        hints = []
        for command in COMMANDS:
            key = self._key(command)
            if command.hint and key and (self._screen.has_model or not command.needs_model):
                hints.append(f"{key_name(key)} {command.hint}")
        while hints and cell_len(" · ".join(hints)) > room:
            del hints[-2 if len(hints) > 1 else -1]  # help stays longest
        return " · ".join(hints)

    def _key(self, command: Command) -> str:
        """The key to hint at in this mode; a chat that can only be read takes no letters."""
        if not self._screen.reading:
            keys = command.keys
        elif not self._screen.has_model:
            keys = tuple(key for key in command.letters if len(key) > 1) or command.keys
        else:
            keys = command.letters
        if self._screen.reading and command.id == "read":
            return ""
        return keys[0] if keys else ""

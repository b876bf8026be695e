"""The chat screen: portrait, transcript, box, status line, and the two modes that keys are read in.

Composing: the box has the focus, Ctrl keys and slash words act. Reading: the transcript has it, letters act
on the message under its cursor. The screen shows what the session holds; what changes the session is in
`actions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from cards.display import display_text
from chat.tui.actions import Actions
from chat.tui.banner import Banner
from chat.tui.card_pane import CardPane
from chat.tui.commands import COMMANDS, key_name, read_line
from chat.tui.composer import Composer
from chat.tui.engine import EngineStatus
from chat.tui.replies import AGAIN, Ended, Replies, Said
from chat.tui.status import StatusLine
from chat.tui.transcript import Transcript

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tui.app import RpchatApp
    from presets.output.speaking import UserFinder


def _bindings() -> list[BindingType]:
    """Ctrl keys for both modes, letters for reading mode, all from the one table."""
    bound: list[BindingType] = [
        Binding("escape", "escape", show=False),
        # Before the text area, whose Ctrl+C copies, and before Textual's own.
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]
    for command in COMMANDS:
        if command.id and command.bound and command.keys:
            keys = ",".join(command.keys)
            bound.append(Binding(keys, f"command('{command.id}')", command.title, show=False, priority=True))
        if command.id and command.letters:
            keys = ",".join(letter for letter in command.letters if letter != "escape")
            bound.append(Binding(keys, f"letter('{command.id}')", command.title, show=False))
    return bound


class ChatScreen(Screen[None]):
    """One chat."""

    BINDINGS: ClassVar[list[BindingType]] = _bindings()
    AUTO_FOCUS = "Composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-normal"), (110, "-wide"), (170, "-vast")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (24, "-middle"), (34, "-tall")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self.actions = Actions(self)
        self.replies = Replies(self)
        self.engine = EngineStatus()
        self._leaving = False
        """Ctrl+C was pressed with nothing to stop or clear; again leaves."""

    def compose(self) -> ComposeResult:
        """Portrait column, then header, transcript, banner and box, then the status line."""
        with Horizontal(id="panes"):
            yield CardPane(id="card")
            with Container(id="stage"), Vertical(id="main"):
                yield Static(id="header")
                yield Transcript(id="transcript")
                yield Banner(id="banner")
                yield Composer(id="composer")
        yield StatusLine(id="status")

    def on_mount(self) -> None:
        """The box is ready before anything else is."""
        self.composer.focus()
        self.show_state()

    # Parts --------------------------------------------------------------------------------------------------

    @property
    def rpchat(self) -> RpchatApp:
        """The program."""
        from chat.tui.app import RpchatApp

        return cast(RpchatApp, self.app)

    @property
    def transcript(self) -> Transcript:
        """The messages."""
        return self.query_one(Transcript)

    @property
    def composer(self) -> Composer:
        """The box."""
        return self.query_one(Composer)

    @property
    def banner(self) -> Banner:
        """The line for errors."""
        return self.query_one(Banner)

    @property
    def status(self) -> StatusLine:
        """The last line."""
        return self.query_one(StatusLine)

    @property
    def reading(self) -> bool:
        """Reading mode: letters act."""
        return self.focused is self.transcript

    @property
    def has_model(self) -> bool:
        """There is a model, ready or on its way."""
        return self.engine.state != "none"

    # What is shown ------------------------------------------------------------------------------------------

    def show_session(self, session: Session, draft: str) -> None:
        """Another chat is on the screen from now on."""
        self.session = session
        self.actions = Actions(self)
        self.replies.failed = False
        self.banner.settle()
        self.query_one(CardPane).show_card(session.card, self.rpchat.portrait_colours)
        self.composer.set_text(draft)
        self.composer.history.clear()
        self.transcript.cursor = None
        self.show_path(follow=True)
        if len(session.path()) < 2:
            self.transcript.show_top()
        self.show_engine(self.engine)
        self.actions.begin_chat()
        for notice in session.notices:
            self.tell(notice)

    def show_path(self, *, follow: bool = False) -> None:
        """The active path as it stands now; `follow` goes to its end."""
        session = self.session
        if session is None:
            return
        self.transcript.finder = self._finder(session)
        self.transcript.show(session.path(), session.position)
        if follow:
            self.transcript.anchor_again()
        self.show_state()

    @staticmethod
    def _finder(session: Session) -> UserFinder | None:
        """Finds the sentences to be marked as the user's own; None when the chat does not want that."""
        from chat.output import output_options, user_finder

        marked = output_options(session).mark_user
        return user_finder(session.card, session.persona) if marked else None

    def show_engine(self, status: EngineStatus) -> None:
        """The model is being loaded, is ready, or is not there."""
        was, self.engine = self.engine.state, status
        if self.session is not None:
            self.session.model_problem = status.lines[0] if status.state == "failed" else ""
        read_only = status.state == "none"
        self.composer.disabled = read_only
        if read_only:
            self.banner.say("\n".join(status.lines), kind="plain")
            self.transcript.focus()
        elif status.state == "failed":
            self.banner.say(status.lines[0], key=AGAIN)
        elif status.state == "ready" and was == "failed":
            self.banner.settle()
        self.show_state()

    def show_state(self) -> None:
        """Everything around the transcript: header, box, hints, status line."""
        session, engine = self.session, self.engine
        last = session.last if session is not None else None
        wrote = last.timings.get("write", 0.0) if last else 0.0
        self.status.change(
            mode="read" if self.reading else "edit" if self.actions.editing else "write",
            engine=engine.state,
            model=engine.model,
            device=engine.device,
            loaded_fraction=engine.fraction,
            format=session.format.id if session is not None else "",
            context_used=session.context_used if session is not None else None,
            context=engine.context,
            speed=last.generated_tokens / wrote if last and wrote > 0 and last.generated_tokens else None,
            read=last.evaluated_tokens if last and last.evaluated_tokens else None,
            reused=last.reused_tokens if last else None,
        )
        if not self.replies.running:
            self.status.change(reading=None, writing=False)
        self._show_header()
        self._show_box()

    def _show_header(self) -> None:
        session = self.session
        if session is None:
            self.query_one("#header", Static).update(Content.styled("opening the chat …", "$note"))
            return
        name = display_text(session.card.name, single_line=True, limit=30)
        title = display_text(
            session.chat.title, single_line=True, limit=max(8, min(60, self.size.width - 36))
        )
        beside = self.has_class("-wide") or self.has_class("-vast")  # the column there has the name
        parts = [] if beside else [Content.styled(name, "bold $character")]
        if title:
            parts.append(Content.styled(title if beside else f"  {title}", "$note"))
        header = self.query_one("#header", Static)
        header.update(Content.assemble(*parts))
        header.display = bool(parts)

    def _show_box(self) -> None:
        box, session = self.composer, self.session
        name = display_text(session.card.call_name, single_line=True, limit=30) if session is not None else ""
        editing = self.actions.editing
        box.set_class(editing is not None, "-editing")
        if editing is not None:
            box.border_title = Content("editing · Enter keeps both · Esc leaves it as it is")
        elif self.replies.waiting:
            box.border_title = Content(f"{self.replies.waiting}, {name} answers then · Esc stops")
        elif self.replies.running:
            doing = "reading" if self.status.status.reading else "writing"
            box.border_title = Content(f"{name} is {doing} · Esc stops")
        else:
            box.border_title = None
        if self.engine.state == "none":
            box.placeholder = Content("Read only: there is no model to answer.")
        else:
            box.placeholder = Content(f"Say something to {name}" if name else "Say something")
        box.border_subtitle = Content(self._hints())

    def _hints(self) -> str:
        """The keys that matter most now, as many as fit."""
        room = self.composer.size.width - 4
        hints = []
        for command in COMMANDS:
            key = command.letters[:1] if self.reading else command.keys[:1]
            if command.needs_model and not self.has_model:
                continue
            if command.hint and key and not (self.reading and command.id == "read"):
                hints.append(f"{key_name(key[0])} {command.hint}")
        while hints and len(" · ".join(hints)) > room:
            del hints[-2 if len(hints) > 1 else -1]  # help stays longest
        return " · ".join(hints)

    def tell(self, text: str) -> None:
        """A passing remark."""
        self.notify(display_text(text), markup=False, timeout=4)

    def load_again(self) -> None:
        """Try once more to load the model."""
        self.banner.settle()
        if self.session is not None:
            self.session.model_problem = ""
        self.rpchat.load_model()

    # Modes --------------------------------------------------------------------------------------------------

    def focus_composer(self) -> None:
        """To composing mode; without a model there is nothing to compose."""
        if self.composer.disabled:
            self.tell("Read only: there is no model to answer.")
        else:
            self.composer.focus()

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _mode_changed(self) -> None:
        self.show_state()

    @on(Composer.ReadingWanted)
    def _read(self) -> None:
        self.transcript.focus()

    @on(Transcript.Left)
    def _write(self) -> None:
        self.focus_composer()

    @on(Composer.ScrollWanted)
    def _page(self, wanted: Composer.ScrollWanted) -> None:
        (self.transcript.scroll_page_up if wanted.pages < 0 else self.transcript.scroll_page_down)(
            animate=False
        )

    def on_resize(self) -> None:
        """As many hints as fit the new width."""
        self.call_after_refresh(self.show_state)

    def on_key(self, event: events.Key) -> None:
        """Any other key takes back the question whether to leave."""
        if event.key != "ctrl+c":
            self._leaving = False

    # Keys and words -----------------------------------------------------------------------------------------

    def action_command(self, command_id: str) -> None:
        """A Ctrl key."""
        self.actions.run(command_id)

    def action_letter(self, command_id: str) -> None:
        """A letter of reading mode."""
        if self.reading:
            self.actions.run(command_id)

    def action_escape(self) -> None:
        """Stop the reply; else leave reading mode; else leave the edit."""
        if self.replies.running:
            self.replies.stop()
        elif self.reading:
            self.focus_composer()
        elif self.actions.editing is not None:
            self.actions.cancel_edit()
        else:
            self.clear_selection()

    def action_interrupt(self) -> None:
        """Ctrl+C: stop the reply; else copy what is selected; else leave the edit; else clear the box; else
        leave."""
        selected = self.get_selected_text() or self.composer.selected_text
        if self.replies.running:
            self.replies.stop()
        elif selected:
            self.app.copy_to_clipboard(display_text(selected))
            self.clear_selection()
            self.tell("Copied.")
        elif self.actions.editing is not None:
            self.actions.cancel_edit()
        elif self.composer.text:
            self.composer.set_text("")
        elif self._leaving:
            self.rpchat.leave()
        else:
            self._leaving = True
            self.tell("Ctrl+C again leaves.")

    @on(Composer.Submitted)
    def _submitted(self, submitted: Composer.Submitted) -> None:
        line = read_line(submitted.text)
        if line.unknown:
            self.tell(
                f"There is no /{line.unknown}; /help shows all. Begin with // to send a text with a slash."
            )
        elif line.command is not None:
            self.composer.set_text(line.draft)
            self.actions.run(line.command.id, line.argument)
        else:
            self._send(line.text)

    def _send(self, text: str) -> None:
        from chat.store import StoreError

        editing = self.actions.editing is not None
        try:
            sent = self.actions.send(text)
        except StoreError as error:
            self.banner.say(str(error))
            return
        if sent and not editing:
            self.composer.set_text("")
            self.composer.history.clear()

    @on(Transcript.Swiped)
    def _swiped(self, swiped: Transcript.Swiped) -> None:
        self.replies.when_idle(lambda: self.actions.swipe_message(swiped.message_id, swiped.step))

    # Replies ------------------------------------------------------------------------------------------------

    @on(Said)
    def _said(self, said: Said) -> None:
        self.replies.show(said.event)

    @on(Ended)
    def _ended(self, ended: Ended) -> None:
        self.replies.end(ended.failure)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        if event.state == WorkerState.ERROR and event.worker.error is not None:
            self.rpchat.log_failure(event.worker.error)

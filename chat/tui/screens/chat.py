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
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from cards.display import display_text
from chat.tui.actions import Actions
from chat.tui.around import READ_ONLY, REMARK_SECONDS, Around
from chat.tui.banner import Banner
from chat.tui.card_pane import CardPane
from chat.tui.commands import COMMANDS, read_line
from chat.tui.composer import Composer
from chat.tui.engine import EngineStatus
from chat.tui.marker_watch import Checked, MarkerWatch
from chat.tui.meter import Counted, Meter
from chat.tui.outbox import Outbox
from chat.tui.read_ahead import ReadAhead
from chat.tui.replies import AGAIN, Ended, Replies, Said
from chat.tui.status import StatusLine
from chat.tui.transcript import Transcript

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tui.app import RpchatApp
    from presets.output.speaking import UserFinder


NOTES_SECONDS = 12.0
"""What was given up for memory stands for so long."""


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
        for letter in command.letters:
            if command.id and letter != "escape":
                action = "letter" if len(letter) == 1 else "reading_key"
                bound.append(Binding(letter, f"{action}('{command.id}')", command.title, show=False))
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
        self.meter = Meter(self)
        self.ahead = ReadAhead(self)
        self.markers = MarkerWatch(self)
        self.outbox = Outbox(self)
        self.around = Around(self)
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
                yield Static(id="remark")
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
        self.around.hush()
        self.show_path(follow=True)
        if len(session.path()) < 2:
            self.transcript.show_top()
        self.show_engine(self.engine)
        if self.outbox.say_all(session):
            self.show_path(follow=True)
            self.actions.answer(session)
        else:
            self.actions.begin_chat()

    def leave_session(self) -> None:
        """Another chat is being opened: what stands there is for the eye, what is typed is for the next."""
        if self.session is not None:
            self.session.idle.stop()
        self.session = None
        self.actions = Actions(self)
        self.around.hush()
        self.composer.set_text("")
        self.show_state()

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
            self.session.model_problem = status.lines[0] if status.state in ("failed", "none") else ""
        read_only = status.state == "none"
        self.composer.disabled = read_only
        if read_only:
            self.banner.say("\n".join(status.lines), kind="plain")
            self.transcript.focus()
        elif status.state == "failed":
            self.banner.say(status.lines[0], key=AGAIN)
        elif status.state == "ready" and was == "failed":
            self.banner.settle()
        if status.notes and was != "ready":
            self.tell(" ".join(status.notes), NOTES_SECONDS)
        if status.state == "ready" and (session := self.session) is not None:
            bring = session.saved.bring
            self.run_worker(
                lambda: bring(session.engine), thread=True, group="saved state", exit_on_error=False
            )
        self.show_state()

    def show_state(self) -> None:
        """Everything around the transcript: header, box, hints, status line."""
        self.around.show()

    def tell(self, text: str, seconds: float = REMARK_SECONDS) -> None:
        """A passing remark."""
        self.around.tell(text, seconds)

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
            self.tell(f"{READ_ONLY} Ctrl+L shows the chats, F1 the keys.")
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
        """A letter of reading mode. Where there is nothing but reading mode, whoever types means to write, so
        that letters do nothing there."""
        if self.has_model:
            self.action_reading_key(command_id)
        elif self.reading:
            self.focus_composer()

    def action_reading_key(self, command_id: str) -> None:
        """Another key of reading mode."""
        if self.reading:
            self.actions.run(command_id)

    def action_escape(self) -> None:
        """Take back what waits to be said; else stop the reply; else leave reading mode; else the edit."""
        if self.outbox.take_back():
            return
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

    @on(Composer.Changed)
    def _typed(self) -> None:
        self.ahead.typed()

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

        if self.rpchat.desk.session is None and text.strip():
            self.outbox.keep(text)
            return
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

    @on(Counted)
    def _counted(self, counted: Counted) -> None:
        self.meter.counted(counted)
        self.show_state()

    @on(Checked)
    def _checked(self, checked: Checked) -> None:
        self.markers.checked(checked)

    @on(Ended)
    def _ended(self, ended: Ended) -> None:
        self.replies.end(ended.failure)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        if event.state == WorkerState.ERROR and event.worker.error is not None:
            self.rpchat.log_failure(event.worker.error)

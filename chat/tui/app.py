"""The program on a terminal: theme, screens, the engine's life, and which chat is open. Everything else is
in parts.

The first frame waits for nothing: the worker is spawned after it, model and chat are opened in threads.
"""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.theme import Theme

from chat.engine.surface import EngineSurface
from chat.launch import Launch
from chat.opening import Opening, OpeningError
from chat.session import Session
from chat.settings import SettingsError
from chat.tui.engine import EngineChanged, EngineStatus, Failed, load_model, ready
from chat.tui.keys import teach_alt_enter
from chat.tui.opener import CardWanted, ChatFailed, ChatOpened, open_chat
from chat.tui.palette_commands import ChatCommands
from chat.tui.portrait import Colours
from chat.tui.screens.chat import ChatScreen
from chat.tui.screens.too_small import TooSmall, is_too_small
from chat.tui.status import StatusLine
from chat.tui.themes import RPCHAT, SIXTEEN, chat_colours, colours_of

LEAVING_SECONDS = 3.0
"""How long leaving waits for a reply's thread to have saved what it has."""


class RpchatApp(App[int]):
    """rpchat's screens around one engine and one open chat."""

    TITLE = "rpchat"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar = App.COMMANDS | {ChatCommands}
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", show=False, priority=True)]

    def __init__(self, opening: Opening, *, sixteen_colours: bool = False) -> None:
        super().__init__(ansi_color=True if sixteen_colours else None)
        self.opening = opening
        self.engine: EngineSurface | None = None
        self.engine_status = EngineStatus()
        self.session: Session | None = None
        self.chat = ChatScreen()
        self.failure = ""
        """One line for stderr when the program had to give up."""
        self._drafts: dict[str, str] = {}
        """What stood in the box of each chat when it was left."""
        self._leaving = False
        self.register_theme(RPCHAT)
        self.register_theme(SIXTEEN)
        self.theme = SIXTEEN.name if sixteen_colours else RPCHAT.name

    # Looks --------------------------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The chat's own colours under a theme that knows nothing of them."""
        theme: Theme = self.current_theme
        return chat_colours(theme, theme.to_color_system().generate())

    @property
    def portrait_colours(self) -> Colours:
        """What a portrait may be drawn with on this terminal."""
        return colours_of(self.console.color_system, self.no_color)

    # Start --------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Paint first."""
        self.push_screen(self.chat)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        try:
            self.engine = self.opening.start_engine()
            first = self.opening.persona_needed
        except OpeningError as error:
            self.give_up(str(error), 2 if error.usage else 1)
            return
        self.load_model()
        if first:
            from chat.tui.screens.first_start import FirstStart

            self.push_screen(FirstStart(self.opening.settings), lambda _: self.open(self.opening))
        else:
            self.open(self.opening)

    def load_model(self) -> None:
        """Load the chosen model in a thread."""
        opening, engine = self.opening, self.engine
        assert engine is not None
        self.run_worker(
            lambda: load_model(opening, engine, self.post_message),
            thread=True,
            exclusive=True,
            group="engine",
            exit_on_error=False,
        )

    def on_engine_changed(self, changed: EngineChanged) -> None:
        """Tell the screens."""
        self.engine_status = changed.status
        if not self.chat.query(StatusLine):
            return  # the program is ending
        if changed.status.state == "none":
            if self.engine is not None:
                self.engine.close()
            self.engine = None
            if self.session is not None:
                self.session.engine = None
        self.chat.show_engine(changed.status)
        for screen in self.screen_stack:
            show = getattr(screen, "show_model", None)
            if show is not None:
                show(changed.status)

    def look_at_engine(self) -> None:
        """A session may have brought back a worker that died, or one may have died under it."""
        engine, status = self.engine, self.engine_status
        if engine is None or status.state not in ("ready", "down"):
            return
        loaded = engine.loaded
        if loaded is not None and status.state == "down":
            self.post_message(EngineChanged(ready(status, loaded)))
        elif loaded is None and status.state == "ready":
            self.post_message(EngineChanged(replace(status, state="down")))

    def on_failed(self, failed: Failed) -> None:
        """Nothing can be done here: one line on stderr."""
        self.give_up(failed.line, failed.exit_status)

    # Chats --------------------------------------------------------------------------------------------------

    def open(self, opening: Opening) -> None:
        """Open a chat in a thread; the one that is open is left first."""
        self._leave_chat()
        engine = self.engine
        self.run_worker(
            lambda: open_chat(opening, engine, self.post_message),
            thread=True,
            exclusive=True,
            group="opening",
            exit_on_error=False,
        )

    def _leave_chat(self) -> None:
        if self.session is not None:
            self._drafts[self.session.chat.id] = self.chat.actions.draft
            self.session.close()
            self.session = None

    def on_chat_opened(self, opened: ChatOpened) -> None:
        """Show it."""
        self.opening, self.session = opened.opening, opened.session
        if self.engine is None:
            opened.session.engine = None
        typed = self.chat.composer.text if self.chat.session is None else ""
        self.chat.show_session(opened.session, self._drafts.get(opened.session.chat.id, typed))
        for notice in opened.opening.notices:
            self.chat.tell(notice)
        opened.opening.notices.clear()

    def on_chat_failed(self, failed: ChatFailed) -> None:
        """At the start there is nothing to show; later the chat before comes back, with the reason."""
        before = self.chat.session
        if before is None:
            self.give_up(failed.line, failed.exit_status)
            return
        self.open(self.opening.another(chat=before.chat.id))
        self.notify(failed.line, severity="error", markup=False, timeout=10)

    def on_card_wanted(self, wanted: CardWanted) -> None:
        """No chat yet and no card named: let the user choose."""
        self.pick_card()

    def open_card(self, ref: str, *, new: bool = False) -> None:
        """The last chat with a card, or a new one."""
        self.open(self.opening.another(card=ref, new=new))

    def pick_card(self) -> None:
        """Choose a character."""
        from chat.tui.screens.library import LibraryScreen, Picked

        def picked(choice: Picked | None) -> None:
            if choice is not None:
                self.open_card(choice.ref, new=choice.new)
            elif self.session is None:
                self.open_card("samuel")

        self.push_screen(LibraryScreen(self.opening.library), picked)

    def pick_chat(self, words: str = "") -> None:
        """Choose a chat."""
        from chat.tui.screens.chats import ChatsScreen

        def picked(chat_id: str | None) -> None:
            if chat_id is not None and (self.session is None or chat_id != self.session.chat.id):
                self.open(self.opening.another(chat=chat_id))

        current = self.session.chat.id if self.session is not None else ""
        self.push_screen(ChatsScreen(self.opening.store, current, words), picked)

    def show_help(self) -> None:
        """The help screen."""
        from chat.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    # Size ---------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Below the smallest useful size say so, and come back when there is room."""
        small = isinstance(self.screen, TooSmall)
        if is_too_small(event.size) and not small:
            self.push_screen(TooSmall())
        elif small and not is_too_small(event.size):
            self.pop_screen()

    # The end ------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Ctrl+Q."""
        self.leave()

    def leave(self) -> None:
        """Stop and keep a reply that is being written, end the worker, go."""
        if not self._leaving:
            self._leaving = True
            self.run_worker(self._leave, thread=True, group="leaving", exit_on_error=False)

    def _leave(self) -> None:
        """Blocks for a moment, hence a thread: the screen stays alive and the reply's thread can post its
        end."""
        try:
            if self.session is not None:
                self.session.close()
            if self.engine is not None:
                self.engine.close()
        finally:
            self.call_from_thread(self.exit, 0)

    def give_up(self, line: str, exit_status: int) -> None:
        """End with one line for stderr."""
        self.failure = line
        if self.engine is not None:
            self.engine.close()
        self.exit(exit_status, return_code=exit_status)

    def log_failure(self, error: BaseException) -> None:
        """Keep a traceback for a bug report; it holds no text of a chat."""
        from chat.files import make_private_folder

        file = self.opening.folders.program_log
        make_private_folder(file.parent)
        with file.open("a", encoding="utf-8") as log:
            for frame in traceback.extract_tb(error.__traceback__):
                log.write(f"{frame.filename}:{frame.lineno} in {frame.name}\n")
            log.write(f"{type(error).__name__}\n")


def run(launch: Launch) -> int:
    """Show the screens until the user leaves; the exit status."""
    try:
        opening = Opening(launch)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    teach_alt_enter()
    app = RpchatApp(opening, sixteen_colours=_few_colours())
    status = app.run(mouse=launch.mouse)
    if app.failure:
        from cards.display import display_text

        print(f"rpchat: {display_text(app.failure, single_line=True)}", file=sys.stderr)
    return status if status is not None else app.return_code or 0


def _few_colours() -> bool:
    """NO_COLOR, or a terminal that says it has no more than sixteen."""
    import os

    from rich.console import Console

    return bool(os.environ.get("NO_COLOR")) or Console().color_system in ("standard", "windows", None)

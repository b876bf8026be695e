"""The program on a terminal: theme, screens, the engine's life, and which chat is open. Everything else is
in parts.

The first frame waits for nothing: the worker is spawned after it, model and chat are opened in threads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.theme import Theme
from textual.worker import Worker, WorkerState

from chat.launch import Launch
from chat.tui.composer import Composer
from chat.tui.desk import Desk
from chat.tui.engine import EngineChanged, EngineStatus, Failed, load_model, ready
from chat.tui.keys import teach_alt_enter
from chat.tui.opener import CardWanted, ChatFailed, ChatOpened, Prepared
from chat.tui.palette_commands import ChatCommands
from chat.tui.portrait import Colours
from chat.tui.screens.chat import ChatScreen
from chat.tui.screens.too_small import TooSmall, is_too_small
from chat.tui.status import StatusLine
from chat.tui.themes import RPCHAT, SIXTEEN, chat_colours, colours_of, few_colours

if TYPE_CHECKING:  # what the first frame does not wait for
    from collections.abc import Callable

    from chat.engine.surface import EngineSurface
    from chat.opening import Opening
    from chat.settings import Settings

LEAVING_SECONDS = 3.0
"""How long leaving waits for a reply's thread to have saved what it has."""


class RpchatApp(App[int]):
    """rpchat's screens around one engine and one open chat."""

    TITLE = "rpchat"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar = App.COMMANDS | {ChatCommands}
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", show=False, priority=True)]

    def __init__(self, make_opening: Callable[[], Opening], *, sixteen_colours: bool = False) -> None:
        """`make_opening` is called in a thread, after the first frame."""
        super().__init__(ansi_color=True if sixteen_colours else None)
        self.desk = Desk(self, make_opening)
        self.engine: EngineSurface | None = None
        self.engine_status = EngineStatus()
        self.chat = ChatScreen()
        self.failure = ""
        """One line for stderr when the program had to give up."""
        self.unsent = ""
        """What stood in the box then."""
        self._leaving = False
        self._gone = False
        self.register_theme(RPCHAT)
        self.register_theme(SIXTEEN)
        self.theme = SIXTEEN.name if sixteen_colours else RPCHAT.name

    # Looks --------------------------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The chat's own colours under a theme that knows nothing of them."""
        theme: Theme = self.current_theme
        return chat_colours(theme, theme.to_color_system().generate())

    def use_theme_of(self, settings: Settings) -> None:
        """The theme that was chosen last; choices from now on are kept. 16 colours leave none."""
        if self.theme == SIXTEEN.name:
            return
        chosen = str(settings.get("theme") or "")
        if chosen in self.available_themes:
            self.theme = chosen
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(settings, theme))

    def _keep_theme(self, settings: Settings, theme: Theme) -> None:
        from chat.settings import SettingsError

        try:
            settings.set("theme", theme.name)
        except SettingsError as error:
            self.notify(str(error), severity="error", markup=False)

    @property
    def portrait_colours(self) -> Colours:
        """What a portrait may be drawn with on this terminal."""
        return colours_of(self.console.color_system, self.no_color)

    # Start and chats ----------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Paint first."""
        self.push_screen(self.chat)
        self.call_after_refresh(self.desk.prepare)
        for name in ("SIGHUP", "SIGTERM"):
            with suppress(AttributeError, NotImplementedError, RuntimeError):  # Windows; not the main thread
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), self.leave_at_once)

    def on_prepared(self, prepared: Prepared) -> None:
        """The settings are read; nothing else has been touched."""
        self.desk.prepared(prepared)

    def on_chat_opened(self, opened: ChatOpened) -> None:
        """A chat is there."""
        self.desk.opened(opened)

    def on_chat_failed(self, failed: ChatFailed) -> None:
        """A chat cannot be opened."""
        self.desk.failed(failed)

    def on_card_wanted(self, wanted: CardWanted) -> None:
        """No chat yet and no card named: let the user choose."""
        self.desk.pick_card()

    def show_help(self) -> None:
        """The help screen."""
        from chat.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    # The model ----------------------------------------------------------------------------------------------

    def load_model(self) -> None:
        """Load the chosen model in a thread."""
        opening, engine = self.desk.opening, self.engine
        if opening is None or engine is None:
            return
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
            if self.desk.session is not None:
                self.desk.session.engine = None
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

    def leave_at_once(self) -> None:
        """The terminal was closed, or the system ends: as `leave`, also where nothing can be drawn."""
        self._gone = True
        self.leave()

    def _leave(self) -> None:
        """Blocks for a moment, hence a thread: the screen stays alive and the reply's thread can post its
        end."""
        self.failure = self.desk.close()
        if self.engine is not None:
            self.engine.close()
        status = 1 if self.failure else 0
        if self._gone:  # writing to a terminal that was closed may block for ever
            last = threading.Timer(LEAVING_SECONDS, os._exit, (status,))
            last.daemon = True
            last.start()
        self.call_from_thread(self.exit, status, status)

    def give_up(self, line: str, exit_status: int) -> None:
        """End with one line for stderr."""
        self.failure = line
        if self.chat.query(Composer):
            self.unsent = self.chat.composer.text
        if self.engine is not None:
            self.engine.close()
        self.exit(exit_status, return_code=exit_status)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A thread of the program itself broke: nothing sensible can go on."""
        if event.state == WorkerState.ERROR and event.worker.error is not None:
            error = event.worker.error
            from chat.settings import Folders

            self.log_failure(error)
            self.give_up(f"a bug ended rpchat ({type(error).__name__}); see {Folders.find().program_log}", 1)

    def log_failure(self, error: BaseException) -> None:
        """Keep a traceback for a bug report; it holds no text of a chat."""
        from chat.files import make_private_folder
        from chat.settings import Folders

        file = Folders.find().program_log
        make_private_folder(file.parent)
        with file.open("a", encoding="utf-8") as log:
            for frame in traceback.extract_tb(error.__traceback__):
                log.write(f"{frame.filename}:{frame.lineno} in {frame.name}\n")
            log.write(f"{type(error).__name__}\n")


def run(launch: Launch) -> int:
    """Show the screens until the user leaves; the exit status."""

    def make_opening() -> Opening:
        from chat.opening import Opening

        return Opening(launch)

    teach_alt_enter()
    app = RpchatApp(make_opening, sixteen_colours=few_colours())
    status = app.run(mouse=launch.mouse)
    if app.failure:
        from cards.display import display_text

        print(f"rpchat: {display_text(app.failure, single_line=True)}", file=sys.stderr)
        if app.unsent:
            print(f"not sent: {display_text(app.unsent)}", file=sys.stderr)
    return status if status is not None else app.return_code or 0

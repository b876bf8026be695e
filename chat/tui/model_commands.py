"""`/lora` and `/memory`: what is done with the loaded model, outside of the screen's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cards.display import display_text

if TYPE_CHECKING:
    from chat.tui.screens.chat import ChatScreen

LONG_REMARK = 12.0
"""Seconds that a line with numbers stands."""


def change_adapters(screen: ChatScreen, argument: str) -> None:
    """Change the adapters in a thread and tell what is in force then."""
    session = screen.session
    if session is None:
        return
    engine = session.engine

    def work() -> None:
        from chat import adapting
        from chat.settings import Folders, Settings, SettingsError

        try:
            line = adapting.change_adapters(engine, Settings(Folders.find()), argument)
        except SettingsError as error:
            line = str(error)
        screen.app.call_from_thread(screen.tell, display_text(line, single_line=True), LONG_REMARK)

    screen.run_worker(work, thread=True, group="adapters", exit_on_error=False)


def show_memory(screen: ChatScreen) -> None:
    """Tell where the model lies and what that takes."""
    engine = screen.session.engine if screen.session is not None else None
    loaded = engine.loaded if engine is not None else None
    line = loaded.plan if loaded is not None else ""
    screen.tell(line or "No model is loaded yet.", LONG_REMARK)

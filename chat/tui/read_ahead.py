"""Reading ahead while the person reads or types: a thread does it, and any reply comes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.timer import Timer

from chat.tui.commands import read_line

if TYPE_CHECKING:
    from chat.tui.screens.chat import ChatScreen

PAUSE_SECONDS = 0.4
"""Typing has paused."""


class ReadAhead:
    """Has a chat screen's session read ahead."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._timer: Timer | None = None

    def typed(self) -> None:
        """The text in the box has changed: look at it when it has stood still for a moment."""
        if self._timer is None:
            self._timer = self._screen.set_timer(PAUSE_SECONDS, self._paused)
        else:
            self._timer.reset()

    def look(self) -> None:
        """Begin with what can be read now."""
        screen, session = self._screen, self._screen.session
        if session is None or screen.replies.running or screen.engine.state != "ready":
            return
        draft = self._draft()
        screen.run_worker(
            lambda: session.idle.work(draft), thread=True, exclusive=True, group="ahead", exit_on_error=False
        )

    def _paused(self) -> None:
        self._timer = None
        self.look()

    def _draft(self) -> str:
        """What would be said if Enter were pressed now; empty for a command, and for an earlier message that
        is being edited."""
        if self._screen.actions.editing is not None:
            return ""
        return read_line(self._screen.composer.text).text

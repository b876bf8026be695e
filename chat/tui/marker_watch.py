"""Looks, in a thread, whether the open chat's format fits the model, and says so once when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message as Intent

if TYPE_CHECKING:
    from chat.tui.screens.chat import ChatScreen

NOTICE_SECONDS = 12.0

Key = tuple[str, str]
"""The format's id and the model."""


@dataclass
class Checked(Intent):
    """A thread has asked the model's tokenizer."""

    key: Key
    sentence: str
    """One line; empty: the markers are what they should be."""


class MarkerWatch:
    """Asks once for each format with each model."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._asked: set[Key] = set()

    def look(self) -> None:
        """Ask, unless that was done, or there is nobody to ask."""
        screen = self._screen
        session = screen.session
        if session is None or screen.engine.state != "ready" or not session.format.control:
            return
        key = session.format.id, screen.engine.model
        if key in self._asked:
            return
        self._asked.add(key)

        def ask() -> None:
            from chat.marking import marker_notice

            screen.post_message(Checked(key, marker_notice(session)))

        screen.run_worker(ask, thread=True, group="markers", exit_on_error=False)

    def checked(self, checked: Checked) -> None:
        """Say it, if that is still the chat's format."""
        session = self._screen.session
        if checked.sentence and session is not None and session.format.id == checked.key[0]:
            self._screen.tell(checked.sentence, NOTICE_SECONDS)

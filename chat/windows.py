"""The prompts of a session: within its budget, and from the turn on that its window begins with.

When the oldest turns have to leave, it is decided here with which turn the prompts begin from then on. Where
that was decided ahead of time, so that the prompt could be read ahead (`chat.idle`), it stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chat.counting import TokenCounts
from chat.lore import LoreMemory
from chat.output import thinking_room
from chat.prompting import known_options, prompt_of, turns_of
from chat.tree import Message
from presets.values import Budget, Mode, Prompt, Window

if TYPE_CHECKING:
    from chat.session import Session


class Windows:
    """Makes a session's prompts."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._counts = TokenCounts()
        self._lore = LoreMemory()
        self.ahead: Window | None = None
        """The window for when the present one has become too long; a prompt with it may have been read."""

    def prompt(self, path: list[Message], mode: Mode) -> Prompt:
        """The prompt for the next turn after a path. Raises PromptTooLong, ValueError, EngineError."""
        budget, present, ahead = self.budget(), self._session.chat.window, self.ahead
        prompt = self.with_window(path, mode, present, budget)
        if ahead is not None and prompt.window not in (present, ahead):
            other = self.with_window(path, mode, ahead, budget)
            if other.window == ahead:
                return other
        return prompt

    def with_window(self, path: list[Message], mode: Mode, window: Window, budget: Budget | None) -> Prompt:
        """The same from a window on. Raises PromptTooLong, ValueError, EngineError."""
        session = self._session
        return prompt_of(
            session.card,
            session.persona,
            session.format,
            turns_of(path, thoughts=session.options.get("thoughts") == "on"),
            mode,
            options=known_options(session.options, session.format),
            clock=session.chat.created,
            dice=session.chat.dice,
            budget=budget,
            window=window,
            memory=self._lore,
        )

    def budget(self) -> Budget | None:
        """How long a prompt may be; None while no model says so."""
        session, engine = self._session, self._session.engine
        if engine is None or engine.loaded is None or not engine.loaded.context:
            return None
        context = engine.loaded.context
        room = context - session.reply_tokens - thinking_room(session.options, context)
        return Budget(room, lambda segments: self._counts.count(engine, segments))

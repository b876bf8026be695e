"""How much of the context a chat takes: counted in a thread when the chat has changed and nobody writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message as Intent

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tree import Message
    from chat.tui.screens.chat import ChatScreen

Key = tuple[object, ...]
"""What a count depends on: the chat, its last message, the format with its options, the model."""
KEPT = 256
"""Counts that are kept: swiping back and forth asks once."""


@dataclass
class Counted(Intent):
    """A thread is done counting; None when it could not."""

    key: Key
    tokens: int | None


class Meter:
    """Knows a number for what is on the screen, or none; never one of something else."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._known: dict[Key, int | None] = {}
        self._asked: Key | None = None
        self.prompt: int | None = None
        """Tokens of the prompt of the reply under way, once the engine has told."""

    @property
    def tokens(self) -> int | None:
        """Tokens of the context that are used, as far as they are known."""
        session = self._screen.session
        if session is None:
            return None
        return self.prompt if self._screen.replies.running else self._known.get(self._key(session))

    def look(self) -> None:
        """Count what is shown now, unless that is known, or nobody is there to count."""
        session = self._screen.session
        if session is None or self._screen.replies.running or self._screen.engine.state != "ready":
            return
        key = self._key(session)
        if key in self._known or key == self._asked:
            return
        self._asked = key
        screen = self._screen
        screen.run_worker(
            lambda: screen.post_message(Counted(key, count(session))),
            thread=True,
            exclusive=True,
            group="meter",
            exit_on_error=False,
        )

    def counted(self, counted: Counted) -> None:
        """A count has come."""
        if counted.key == self._asked:
            self._asked = None
        self._keep(counted.key, counted.tokens)

    def finished(self, message: Message) -> None:
        """A reply tells what it took, if it is the one that is shown and nobody broke it off."""
        session, made = self._screen.session, message.generation
        if session is None or made is None or session.tree.head != message.id:
            return
        if made.finish_reason not in ("cancelled", "interrupted"):
            self._keep(self._key(session), made.prompt_tokens + made.generated_tokens)

    def _keep(self, key: Key, tokens: int | None) -> None:
        self._known[key] = tokens
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]

    def _key(self, session: Session) -> Key:
        options = tuple(sorted(session.options.items()))
        engine = self._screen.engine
        return session.chat.id, session.tree.head, session.format.id, options, engine.model, engine.context


def count(session: Session) -> int | None:
    """Tokens of the prompt that would be sent now; blocks. None when it cannot be counted."""
    from chat.counting import spans_of
    from chat.engine.surface import EngineError
    from presets.values import PromptTooLong

    engine = session.engine
    if engine is None or engine.loaded is None:
        return None
    try:
        prompt = session.prompt()
        counts = prompt.tokens or engine.count(spans_of(prompt.segments))
    except (EngineError, PromptTooLong, ValueError):
        return None
    return sum(counts)

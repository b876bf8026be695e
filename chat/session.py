"""One open chat: card, persona, format, message tree and engine make replies. No screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from cards.card import Card
from chat.events import SessionEvent
from chat.records import Chat
from chat.store import Store
from chat.tree import Generation, Message, Tree
from presets.format import PromptFormat
from presets.sampling import Sampling
from presets.values import Mode, Persona, Prompt

if TYPE_CHECKING:
    from chat.engine.surface import EngineSurface

MAX_TOKENS = 400
"""Length of a reply, in tokens, when nothing else is asked for."""


class Session:
    """One open chat. Iterators of events block: run them in a thread; everything else answers at once."""

    chat: Chat
    card: Card
    persona: Persona
    format: PromptFormat
    """May be replaced at any time; `choose` keeps it with the chat."""
    sampling: Sampling
    options: dict[str, str]
    engine: EngineSurface | None
    """May be set later: a chat can be read without a model."""
    tree: Tree
    seed: int | None
    """Given: reply n of this session uses a value derived from it. None: every reply draws its own."""
    max_tokens: int
    notices: list[str]
    context_used: int | None
    """Tokens of prompt and reply after the last turn; None before it."""
    last: Generation | None
    """How the last reply was made."""

    @classmethod
    def begin(
        cls,
        store: Store,
        card: Card,
        persona: Persona,
        format: PromptFormat,
        sampling: Sampling,
        *,
        card_ref: str = "",
        engine: EngineSurface | None = None,
        options: Mapping[str, str] | None = None,
        seed: int | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> Self:
        """A new chat: the card's greetings are its sibling roots. Raises StoreError."""
        raise NotImplementedError

    @classmethod
    def resume(
        cls,
        store: Store,
        chat_id: str,
        format: PromptFormat,
        sampling: Sampling,
        *,
        card: Card | None = None,
        persona: Persona | None = None,
        engine: EngineSurface | None = None,
        options: Mapping[str, str] | None = None,
        seed: int | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> Self:
        """A chat that is stored. Card None: the snapshot that the chat holds; persona None: the chat's.

        Raises StoreError, CardError.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stop a reply under way, keep what was written, and leave the chat. The store stays open."""

    def path(self) -> list[Message]:
        """The active path, root first."""
        raise NotImplementedError

    def position(self, message_id: str) -> tuple[int, int]:
        """Which of its siblings a message is, from 1, and how many there are. Raises KeyError."""
        raise NotImplementedError

    def wants_reply(self) -> bool:
        """The character is to speak: after the user's turn, or in an empty chat of a format that begins so."""
        raise NotImplementedError

    def prompt(self, mode: Mode = "reply") -> Prompt:
        """The exact prompt that would be sent now. Raises PromptTooLong, ValueError, EngineError."""
        raise NotImplementedError

    # What the user does. Each is in the store when it returns; each raises StoreError.

    def say(self, text: str) -> Message:
        """The user's turn. Raises ValueError for a text without a word."""
        raise NotImplementedError

    def swipe(self, message_id: str, step: int) -> Message | None:
        """Go to a sibling, down to the leaf below it that was visited last; None past either end."""
        raise NotImplementedError

    def edit(self, message_id: str, text: str) -> Message:
        """A sibling with another text; it ends the path. Raises ValueError for a text without a word."""
        raise NotImplementedError

    def delete(self, message_id: str) -> None:
        """Hide a message and all below it."""
        raise NotImplementedError

    def undo(self) -> Message | str | None:
        """Take the last delete back: the message that returned, None when there is none."""
        raise NotImplementedError

    def choose(
        self,
        *,
        format: PromptFormat | None = None,
        sampling: Sampling | None = None,
        options: Mapping[str, str] | None = None,
        title: str | None = None,
    ) -> None:
        """Use another format, sampling, options or title, and keep it with the chat."""
        raise NotImplementedError

    # Replies. Errors are events (ReplyFailed), not exceptions.

    def reply(self) -> Iterator[SessionEvent]:
        """The character's next turn."""
        raise NotImplementedError

    def regenerate(self, message_id: str | None = None) -> Iterator[SessionEvent]:
        """Another sibling of that (else the last) message of the character."""
        raise NotImplementedError

    def continue_reply(self) -> Iterator[SessionEvent]:
        """The last message, longer, when it is the character's."""
        raise NotImplementedError

    def impersonate(self) -> Iterator[SessionEvent]:
        """The user's next turn as the model would write it; ends with ImpersonationFinished, stores nothing."""
        raise NotImplementedError

    def retry(self) -> Iterator[SessionEvent]:
        """What failed last, again: a broken reply gets a fresh sibling. A dead worker is started anew."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the reply under way, from any thread; what was written is kept."""

"""What a session tells while a reply is made; each event is yielded after its effect is in the store."""

from __future__ import annotations

from dataclasses import dataclass

from chat.tree import Message


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """A reply is under way: the path down to `parent_id` stands, what follows comes below it."""

    message_id: str
    """The id that the message will have; empty when impersonating, which stores nothing."""
    parent_id: str | None
    base_text: str = ""
    """What the text begins with: the message that is being continued; else empty."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The reply cannot begin yet."""

    why: str
    """`the model is loading`, `the model is starting again` ..."""


@dataclass(frozen=True, slots=True)
class ReadingPrompt:
    """Progress of reading the prompt, in tokens."""

    done: int
    total: int
    """New tokens to read."""
    reused: int
    """Tokens that were read in an earlier turn."""


@dataclass(frozen=True, slots=True)
class TextAdded:
    """The next piece of the text, to be shown after what came before."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingAdded:
    """The next piece of what the model thinks before it speaks; none of it is the reply's text."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class TextWasThinking:
    """All that `TextAdded` brought so far was thinking whose beginning nobody could see."""

    message_id: str


@dataclass(frozen=True, slots=True)
class ReplyWritten:
    """One of several replies at once has come to its end. It is stored when the others have, too."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A quiet word: the reply that is about to be finished repeats itself, and what would help; or what was
    read of the chat could not be saved. The latter is about no message."""

    message_id: str
    text: str
    """One line."""


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    """The reply is in the store and is the end of the active path. Its generation says why it ended."""

    message: Message


@dataclass(frozen=True, slots=True)
class ReplyEmpty:
    """The reply ended without a word, and nothing was stored."""

    message_id: str
    why: str
    """One line: stopped before the first word, or the model had nothing to say."""
    cancelled: bool
    """The user stopped it."""


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """The reply could not be made, or broke off. `Session.retry` tries again."""

    message_id: str | None
    error: str
    """One line: what, where, what to do."""
    partial: Message | None
    """What was written until then; it is the end of the active path. None when there was nothing."""
    refused: bool = False
    """So many replies at once can never be made here: ask for fewer."""


@dataclass(frozen=True, slots=True)
class ImpersonationFinished:
    """The user's next turn as the model would write it, whole, for the composer. Nothing was stored."""

    text: str
    finish_reason: str


SessionEvent = (
    ReplyStarted
    | Waiting
    | ReadingPrompt
    | TextAdded
    | ThinkingAdded
    | TextWasThinking
    | ReplyWritten
    | Remark
    | ReplyFinished
    | ReplyEmpty
    | ReplyFailed
    | ImpersonationFinished
)

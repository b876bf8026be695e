"""What the store keeps and finds: a chat, its line in a list of chats, a found message. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chat.tree import Tree
from presets.values import Persona, Window


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat with a character, without its messages."""

    id: str
    """UUIDv7."""
    created: datetime
    """UTC, in whole milliseconds; also the clock of the macros in the header, which stays put in a chat."""
    card_ref: str
    """The path or name by which the card was opened."""
    card_name: str
    card_document: dict[str, Any]
    """The card's document as it was then: the chat opens also when the file has gone."""
    persona: Persona
    """The user as they were when the chat began."""
    dice: int = 0
    """Seed of the random macros in the header, frozen like the clock."""
    title: str = ""
    """What the user called the chat."""
    format: str = ""
    """Id of the prompt format chosen for this chat; empty: the model's."""
    sampling: dict[str, Any] | None = None
    """Sampler settings chosen for this chat; None: the model's."""
    options: dict[str, str] = field(default_factory=dict)
    """Format options chosen for this chat (`names`, `length` ...)."""
    window: Window = field(default_factory=Window)
    """What of the chat its prompts still hold."""


@dataclass(frozen=True, slots=True)
class ChatSummary:
    """A chat as a line in a list."""

    id: str
    card_ref: str
    card_name: str
    title: str
    created: datetime
    updated: datetime
    """When a message or the head last changed."""
    messages: int
    """Messages on the active path."""
    last_line: str
    """The beginning of the last message, as one line. Untrusted text: show it through `display_text`."""


@dataclass(frozen=True, slots=True)
class OpenChat:
    """A chat with its messages."""

    chat: Chat
    tree: Tree
    interrupted: int = 0
    """Replies that a crash cut off and that were just put back into the tree."""


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a search found."""

    chat_id: str
    message_id: str
    card_name: str
    name: str
    excerpt: str
    """The words around the hit. Untrusted text."""
    created: datetime

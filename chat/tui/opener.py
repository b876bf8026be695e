"""Opening a chat in a thread, told by messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from cards.errors import CardError
from chat.engine.surface import EngineSurface
from chat.opening import Opening, OpeningError
from chat.session import Session
from chat.store import StoreError


@dataclass
class ChatOpened(Message):
    """It is there."""

    opening: Opening
    session: Session


@dataclass
class ChatFailed(Message):
    """It cannot be opened."""

    line: str
    exit_status: int


@dataclass
class CardWanted(Message):
    """Nothing was named and there is no chat yet."""


def open_chat(opening: Opening, engine: EngineSurface | None, post: Callable[[Message], object]) -> None:
    """Open what the launch asks for; blocks."""
    launch = opening.launch
    try:
        if launch.card is None and launch.chat is None and not opening.store.chats():
            post(CardWanted())
            return
        post(ChatOpened(opening, opening.session(engine)))
    except OpeningError as error:
        post(ChatFailed(str(error), 2 if error.usage else 1))
    except (StoreError, CardError) as error:
        post(ChatFailed(str(error), 1))

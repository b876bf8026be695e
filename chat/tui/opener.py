"""Opening a chat in a thread, told by messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from chat.engine.surface import EngineSurface
    from chat.opening import Opening
    from chat.session import Session


@dataclass
class Prepared(Message):
    """The settings are read; nothing else has been touched."""

    opening: Opening


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


def prepare(make_opening: Callable[[], Opening], post: Callable[[Message], object]) -> None:
    """Read the settings and look at the options that were given; blocks."""
    from chat.settings import SettingsError

    try:
        opening = make_opening()
    except SettingsError as error:
        post(ChatFailed(str(error), 1))
        return
    from chat.opening import OpeningError

    try:
        opening.check()
    except OpeningError as error:
        post(ChatFailed(str(error), 2 if error.usage else 1))
    else:
        post(Prepared(opening))


def open_chat(opening: Opening, engine: EngineSurface | None, post: Callable[[Message], object]) -> None:
    """Open what the launch asks for; blocks."""
    from cards.errors import CardError
    from chat.opening import OpeningError
    from chat.store import StoreError

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

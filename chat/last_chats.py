"""When the last chat with each card went on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cards.library import LibraryCard, lasting
from chat.records import ChatSummary


def last_chats(cards: Iterable[LibraryCard], chats: Iterable[ChatSummary]) -> dict[str, datetime]:
    """By the card's ref; a card that has no chat is not in it."""
    newest: dict[str, datetime] = {}
    for chat in chats:
        # The card's file may have got another name since.
        known = lasting(chat.card_ref)
        newest[known] = max(chat.updated, newest.get(known, chat.updated))
    return {card.ref: newest[lasting(card.ref)] for card in cards if lasting(card.ref) in newest}

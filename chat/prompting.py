"""The prompt of a chat: macros, lore and the turns, put together for `presets.prompt.build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from random import Random

from cards.card import Card
from cards.lorebook import activate
from cards.macros import Macros
from chat.tree import Message
from presets.format import PromptFormat
from presets.prompt import build
from presets.values import Budget, LoreInsertion, Mode, Persona, Prompt, Turn, Window


def turns_of(path: Sequence[Message]) -> list[Turn]:
    """A chat's active path as its prompts see it: hidden messages are left out."""
    return [
        Turn(message.role, message.name, message.text, f"message {message.id}")
        for message in path
        if not message.hidden
    ]


def macros_of(card: Card, persona: Persona, *, clock: datetime | None = None, dice: int = 0) -> Macros:
    """The macros of one chat; the same clock and dice give the same texts."""
    return Macros.for_card(card, persona.name, persona.description, clock=clock, dice=Random(dice))


def lore_of(card: Card, turns: Sequence[Turn]) -> list[LoreInsertion]:
    """The entries of the card's own book that the newest turns call for."""
    book = card.character_book
    if book is None:
        return []
    found = activate(book, [f"{turn.name}: {turn.text}" for turn in turns])
    return [
        LoreInsertion(
            text=entry.content,
            source=f"lore {book.name or card.name}/{entry.label}",
            position=entry.position if entry.position in ("before_char", "after_char") else "depth",
            depth=entry.depth,
            role=entry.role,
        )
        for entry, _ in found.fired
    ]


def prompt_of(
    card: Card,
    persona: Persona,
    format: PromptFormat,
    turns: Sequence[Turn],
    mode: Mode = "reply",
    *,
    options: Mapping[str, str] | None = None,
    clock: datetime | None = None,
    dice: int = 0,
    budget: Budget | None = None,
    window: Window | None = None,
) -> Prompt:
    """The exact prompt for the next turn. Raises PromptTooLong, ValueError."""
    return build(
        card,
        persona,
        format,
        turns,
        mode=mode,
        options=options,
        macros=macros_of(card, persona, clock=clock, dice=dice),
        lore=lore_of(card, turns),
        budget=budget,
        window=window,
    )

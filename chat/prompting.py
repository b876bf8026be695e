"""From a chat to its prompt: macros, the card's lorebook and `presets.prompt.build`, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random

from cards.activation import activate
from cards.card import Card
from cards.lore_entry import Entry
from cards.lore_values import LoreScene, LoreSettings
from cards.macros import Macros
from chat.records import Chat
from chat.rows import new_message
from chat.tree import Message
from presets.format import PromptFormat
from presets.output.options import OUTPUT_OPTIONS, for_the_prompt
from presets.prompt import build
from presets.values import Budget, LoreInsertion, Mode, Persona, Prompt, Segment, Turn, Window

NOTE_DEPTH = 4
"""Where entries go that a book hangs on the author's note: SillyTavern's depth of it."""

LORE_SHARE = 0.25
"""Of a prompt's budget, what a lorebook may take at most."""


def turns_of(path: Iterable[Message], *, thoughts: bool = False) -> list[Turn]:
    """The messages that the model gets to see; hidden ones stay out.

    `thoughts`: with what the model thought before the earlier ones. A reply that never got past its thinking
    is no turn, unless it is the last one.
    """
    shown = [message for message in path if not message.hidden]
    turns = []
    for place, message in enumerate(shown, 1):
        text, is_last = message.text, place == len(shown)
        if message.thinking and not is_last:
            if not text.strip():
                continue
            if thoughts:
                text = f"<think>\n{message.thinking}\n</think>\n\n{text}"
        turns.append(Turn(message.role, message.name, text, f"message {message.id}"))
    return turns


def macros_of(card: Card, persona: Persona, clock: datetime | None, dice: int) -> Macros:
    """The macros of one chat: the same clock and dice give the same text, all through the chat."""
    return Macros.for_card(
        card,
        persona.name or "User",
        persona.description,
        clock=clock.astimezone() if clock else None,
        dice=Random(dice),
        pick_seed=str(dice),
    )


def known_options(options: Mapping[str, str], format: PromptFormat) -> dict[str, str]:
    """The options that a format or the output has: a chat's may have been chosen for another format."""
    allowed = {**format.options(), **OUTPUT_OPTIONS}
    return {name: value for name, value in options.items() if value in allowed.get(name, ())}


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
    """The exact prompt for the next turn.

    `clock` is when the chat began, `dice` its seed: what a card leaves to chance and time stands still, so
    that the prompt's beginning is the same from turn to turn. Raises PromptTooLong and ValueError.
    """
    options = options or {}
    prompt = build(
        card,
        persona,
        format,
        turns,
        mode=mode,
        options=for_the_prompt(options, format),
        macros=macros_of(card, persona, clock, dice),
        lore=lore_of(card, persona, turns, clock, dice, budget),
        budget=budget,
        window=window,
    )
    if options.get("name_stop") != "off" or mode == "impersonate":
        return prompt
    names = {persona.name or "User", *(turn.name for turn in turns if turn.role == "user")}
    own = {f"\n{name}:" for name in names if name} - set(format.stops)
    return replace(prompt, stops=tuple(stop for stop in prompt.stops if stop not in own))


def lore_of(
    card: Card,
    persona: Persona,
    turns: Sequence[Turn],
    clock: datetime | None,
    dice: int,
    budget: Budget | None = None,
) -> list[LoreInsertion]:
    """The entries of the card's book that fire on the turns, for `build`; their macros are not expanded yet.

    Chance is drawn from the chat's dice and the last turn: asked again for the same turn, the book answers
    the same.
    """
    book = card.character_book
    if book is None:
        return []
    # Macros of its own: what the book throws must not move the dice of the card's texts.
    macros = macros_of(card, persona, clock, dice)
    names = {"char": card.call_name, "user": persona.name or "User", "system": ""}
    activation = activate(
        book,
        [f"{turn.name or names[turn.role]}: {turn.text}" for turn in turns],
        settings=LoreSettings(budget=int(budget.tokens * LORE_SHARE) if budget else None),
        scene=LoreScene(card.name, tuple(card.tags), sum(turn.role == "char" for turn in turns)),
        dice=Random(f"{dice} {turns[-1].source if turns else ''}"),
        count=_counter(budget) if budget else len,
        expand=macros.expand,
        expand_for_scan=lambda text: macros.expand(text, view="scan"),
    )
    found = (_insertion(fired.book or card.name, fired.entry) for fired in activation.fired)
    return [insertion for insertion in found if insertion is not None]


def _counter(budget: Budget) -> Callable[[str], int]:
    """Tokens of one text by itself."""
    return lambda text: sum(budget.count([Segment("lore", "", text, False)]))


def _insertion(book: str, entry: Entry) -> LoreInsertion | None:
    """Where an entry goes; None for an outlet, which no prompt asks for by itself."""
    source = f"lore {book}/{entry.label}"
    match entry.position:
        case "outlet":
            return None
        case "before_char" | "after_char":
            return LoreInsertion(entry.content, source, entry.position)
        case "examples_top" | "examples_bottom":
            return LoreInsertion(entry.content, source, "after_char")
        case "note_top" | "note_bottom":
            return LoreInsertion(entry.content, source, "depth", NOTE_DEPTH, entry.role)
        case "depth":
            return LoreInsertion(entry.content, source, "depth", entry.depth, entry.role)


def greetings_of(chat: Chat, card: Card, persona: Persona) -> list[Message]:
    """The card's greetings as sibling roots, their macros expanded once and for all."""
    macros = macros_of(card, persona, chat.created, chat.dice)
    return [
        new_message(chat.id, None, "char", card.call_name, macros.expand(greeting))
        for greeting in card.greetings
    ]

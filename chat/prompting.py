"""From a chat to its prompt: macros, the card's lorebook and `presets.prompt.build`, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random

from cards.card import Card
from cards.macros import Macros
from chat.lore import LoreMemory, LoreWatch
from chat.records import Chat
from chat.rows import new_message
from chat.tree import Message
from presets.format import PromptFormat
from presets.output.options import for_the_prompt
from presets.prompt import build
from presets.prompt_options import CHAT_OPTIONS, PROMPT_OPTIONS, READING_OPTIONS, PromptOptions
from presets.values import Budget, Mode, Persona, Prompt, Turn, Window


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
    """The options that a format or every chat has: a chat's may have been chosen for another format."""
    allowed = {**format.options(), **CHAT_OPTIONS}
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
    memory: LoreMemory | None = None,
) -> Prompt:
    """The exact prompt for the next turn.

    `clock` is when the chat began, `dice` its seed: what a card leaves to chance and time stands still, so
    that the prompt's beginning is the same from turn to turn. `memory` keeps what the book said of earlier
    turns. Raises PromptTooLong and ValueError.
    """
    options, apart = options or {}, {**PROMPT_OPTIONS, **READING_OPTIONS}
    chosen = PromptOptions.read(options)
    lore = LoreWatch(
        card,
        persona,
        turns if format.uses_card else (),
        # Macros of its own: what the book throws must not move the dice of the card's texts.
        macros_of(card, persona, clock, dice),
        chosen,
        dice=dice,
        clock=clock,
        budget=budget,
        memory=memory,
        mode=mode,
    )
    prompt = build(
        card,
        persona,
        format,
        turns,
        mode=mode,
        options=for_the_prompt({k: v for k, v in options.items() if k not in apart}, format),
        macros=macros_of(card, persona, clock, dice),
        lore=lore.lore() if format.uses_card else (),
        note=chosen.note,
        prefill=chosen.prefill,
        budget=budget,
        window=window,
    )
    if format.uses_card and (over := lore.dropped()):
        prompt = replace(prompt, dropped=(*prompt.dropped, *over))
    if options.get("name_stop") != "off" or mode == "impersonate":
        return prompt
    names = {persona.name or "User", *(turn.name for turn in turns if turn.role == "user")}
    own = {f"\n{name}:" for name in names if name} - set(format.stops)
    return replace(prompt, stops=tuple(stop for stop in prompt.stops if stop not in own))


def greetings_of(chat: Chat, card: Card, persona: Persona) -> list[Message]:
    """The card's greetings as sibling roots, their macros expanded once and for all."""
    macros = macros_of(card, persona, chat.created, chat.dice)
    return [
        new_message(chat.id, None, "char", card.call_name, macros.expand(greeting))
        for greeting in card.greetings
    ]

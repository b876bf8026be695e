"""Something to read: prose of our own making, the same on every run."""

from __future__ import annotations

from random import Random

from cards.card import Card, card_from_document
from chat.engine.protocol import Span

__all__ = ["card", "message", "prose", "spans"]

_WHO = ("The keeper", "Samuel", "A stranger", "The old ferryman", "Her brother", "The baker's girl", "Nobody")
_DID = (
    "leaned against",
    "looked down from",
    "walked past",
    "waited by",
    "thought of",
    "mended",
    "pointed at",
)
_WHAT = (
    "the balustrade",
    "the harbour wall",
    "a crooked lamp",
    "the last train",
    "an empty boat",
    "the bell",
)
_HOW = (
    "slowly",
    "without a word",
    "as the rain began",
    "in the blue hour",
    "for the third time",
    "and smiled",
)
_SAID = (
    "You came back.",
    "It was not always so quiet here.",
    "Will you stay?",
    "I kept the letter.",
    "Listen.",
)


def prose(sentences: int, seed: int) -> str:
    """So many sentences, each about twelve tokens long."""
    dice = Random(seed)
    lines = []
    for _ in range(sentences):
        line = f"{dice.choice(_WHO)} {dice.choice(_DID)} {dice.choice(_WHAT)} {dice.choice(_HOW)}."
        lines.append(f'{line} "{dice.choice(_SAID)}"' if dice.random() < 0.3 else line)
    return " ".join(lines)


def spans(sentences: int, seed: int = 0) -> list[Span]:
    """A prompt of plain text."""
    return [Span(text=prose(sentences, seed), trusted=False)]


def message(turn: int, sentences: int = 3) -> str:
    """What the user says in a turn: about 40 tokens."""
    return prose(sentences, 1_000 + turn)


def card(sentences: int = 12) -> Card:
    """A character to talk to; `sentences` of description."""
    document = {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {
            "name": "Samuel",
            "description": prose(sentences, 1),
            "personality": "Patient, dry, curious.",
            "scenario": "A lighthouse at the end of the season.",
            "first_mes": prose(3, 2),
            "mes_example": "",
        },
    }
    return card_from_document(document, "samuel.json")[0]

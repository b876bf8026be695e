"""What a large lorebook and an author's note cost in a chat whose context is full."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from random import Random
from typing import Any

from cards.card import Card, card_from_document
from chat.benchmarks.measure import Bench, Figure, Measure
from chat.benchmarks.story import card, message, prose
from chat.benchmarks.talk import Talk
from chat.idle import Idle

__all__ = ["MEASURES"]

TURNS = 60
CONTEXT = 2_048
ENTRIES = 60
DEPTH = 4
MOST_TURNS_TO_FILL = 60
NAMED_EVERY = 3
"""Turns: so often the user speaks of something that the book knows."""


def _keeper() -> Card:
    """A card whose book has half of its entries before the character and half at depth 4."""
    entries: list[dict[str, Any]] = [
        {
            "id": number,
            "keys": [_key(number)],
            "content": f"{_key(number)}: {prose(1, 3_000 + number)}",
            "enabled": True,
            "insertion_order": number,
            "position": "before_char",
            "extensions": {} if number % 2 else {"position": 4, "depth": DEPTH},
        }
        for number in range(ENTRIES)
    ]
    document = dict(card().document)
    document["data"] = {**document["data"], "character_book": {"entries": entries, "scan_depth": 4}}
    return card_from_document(document, "keeper.json")[0]


def _key(number: int) -> str:
    return "".join(Random(number).choices(("Va", "Lor", "Mi", "Ren", "Tas", "Ul"), k=3)).capitalize() + str(
        number
    )


def _words(turn: int) -> str:
    named = f" Tell me of {_key(Random(turn).randrange(ENTRIES))}." if turn % NAMED_EVERY == 0 else ""
    return message(turn, 2) + named


def _chat(bench: Bench, way: str) -> tuple[float, float]:
    """Tokens read in a turn, the 95th percentile; and the mean tokens of eight messages."""
    options = {"lore": way, "note": "[Keep the story slow and quiet.]", "note_depth": str(DEPTH)}
    with bench.engine(bench.demo, CONTEXT) as engine:
        talk = Talk(engine, "chatml", reply_tokens=40, character=_keeper(), options=options)
        idle = Idle(talk.session)
        for _ in range(MOST_TURNS_TO_FILL):
            if talk.turn(_words).slid:
                break
        turns = []
        for _ in range(TURNS):
            idle.work()
            turns.append(talk.turn(_words))
        talk.close()
    read = statistics.quantiles([turn.evaluated for turn in turns], n=20, method="inclusive")[-1]
    return read, 4 * statistics.fmean(turn.new + turn.generated for turn in turns)


def lore(bench: Bench) -> Mapping[str, float]:
    """Entries that stay where they fell, and entries that stand where the book says."""
    friendly, eight = _chat(bench, "cache-friendly")
    faithful, _ = _chat(bench, "faithful")
    return {
        "lore.evaluated_p95": friendly,
        "lore.eight_messages": eight,
        "lore.evaluated_p95_over_eight_messages": friendly / eight,
        "lore.faithful_evaluated_p95": faithful,
    }


MEASURES = (
    Measure(
        (
            Figure("lore.evaluated_p95"),
            Figure("lore.eight_messages"),
            Figure("lore.evaluated_p95_over_eight_messages", "<= 1"),
            Figure("lore.faithful_evaluated_p95"),
        ),
        lore,
    ),
)

"""How long cards take: a large lorebook against a long chat, and the second listing of a large library."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from cards.book import Lorebook
from cards.library import CardLibrary
from cards.lorebook import LoreSettings, activate
from chat.benchmarks.measure import Figure, Measure

__all__ = ["MEASURES", "library_list_ms", "lore_scan_ms"]

_SYLLABLES = ("ka", "lor", "mi", "ren", "tas", "ul", "vey", "zan", "eth", "bri", "go", "sha")


def lore_scan_ms(entries: int = 2_000, messages: int = 1_000, runs: int = 7) -> float:
    """Milliseconds for one scan of a chat for the keys of a book, all its messages within scan depth.

    The book's keys are compiled and its messages scanned before, as they are in a chat from its second turn
    on; the newest message is another one each time.
    """
    dice = Random(1)
    words = ["".join(dice.choices(_SYLLABLES, k=3)) for _ in range(2 * entries)]
    book = Lorebook.read(
        {
            "entries": [
                {
                    "keys": [words[n], f"{words[n]} {words[-n]}"],
                    "content": f"About {words[n]}.",
                    "enabled": True,
                }
                for n in range(entries)
            ]
        }
    )
    filler = ["the", "and", "she", "looked", "window", "slowly", "night", "candle"]
    chat = [
        "Samuel: " + " ".join(dice.choice(words if dice.random() < 0.02 else filler) for _ in range(60))
        for _ in range(messages)
    ]
    settings = LoreSettings(scan_depth=messages, recursive=False, budget=2_000)

    def scan(run: int) -> None:
        activate(book, [*chat[1:], f"User: turn {run}, {words[run]}."], settings=settings, dice=Random(0))

    scan(-1)
    return _median_ms(scan, runs)


def library_list_ms(cards: int = 1_000, runs: int = 5) -> float:
    """Milliseconds to list a folder of cards that has been listed before, by a library made anew."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cards):
            card = {
                "name": f"Card {number}",
                "description": "A character. " * 80,
                "first_mes": "Good evening. " * 40,
                "tags": ["a", "b"],
            }
            Path(folder, f"card{number}.json").write_text(json.dumps(card), encoding="utf-8")
        CardLibrary(Path(folder)).list()
        return _median_ms(lambda run: len(CardLibrary(Path(folder)).list()), runs)


def _median_ms(measured: Callable[[int], object], runs: int) -> float:
    times = []
    for run in range(runs):
        begun = time.perf_counter()
        measured(run)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


MEASURES = (
    Measure((Figure("lore.scan_ms", "<= 50"),), lambda _bench: {"lore.scan_ms": lore_scan_ms()}),
    Measure((Figure("library.list_ms", "<= 300"),), lambda _bench: {"library.list_ms": library_list_ms()}),
)

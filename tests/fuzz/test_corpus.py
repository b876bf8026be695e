"""What the fuzzer found worth keeping, and its seeds, without the fuzzer."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FUZZ = runpy.run_path(str(HERE / "fuzz_cards.py"))
SEEDS = runpy.run_path(str(HERE / "seeds.py"))["seeds"]()
CORPUS = sorted((HERE.parent / "data" / "fuzz").iterdir())
NO_CARDS = {
    "world.json": "lorebook",
    "book.json": "lorebook",
    "memory.json": "lorebook",
    "chat.jsonl": "chat",
    "comment.json": "json",
}
"""What the seeds that are no cards are said to be."""
WITH_BOOK = {
    *("v2.json", "v3.json", "envelope.json", "world.json", "book.json", "memory.json", "odd.json"),
    *("text.png", "bare.png", "itxt.png", "itxtz.png"),
    *("card.charx", "deflated.charx", "card.jpg", "card.byaf"),
}
SAID = {"json", "yaml", "truncated", "too-large", "not-a-card", "no-card", "lorebook", "chat"}
"""What may be told of an input that cannot be read as a card."""


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) > 30
    assert sum(path.stat().st_size for path in CORPUS) < 20_000


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_an_input_that_the_fuzzer_kept(path: Path) -> None:
    as_card, as_book = FUZZ["one_input"](path.read_bytes())
    assert as_card in {"read", *SAID}
    assert as_book in {"read", "no-lorebook", *SAID}


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed(name: str) -> None:
    as_card, as_book = FUZZ["one_input"](SEEDS[name])
    assert as_card == NO_CARDS.get(name, "read")
    assert (as_book == "read") == (name in WITH_BOOK)

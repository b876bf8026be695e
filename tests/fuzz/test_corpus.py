"""What the fuzzer found worth keeping, and its seeds, without the fuzzer."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FUZZ = runpy.run_path(str(HERE / "fuzz_cards.py"))
SEEDS = runpy.run_path(str(HERE / "seeds.py"))["seeds"]()
CORPUS = sorted((HERE.parent / "data" / "fuzz").iterdir())


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) > 30
    assert sum(path.stat().st_size for path in CORPUS) < 20_000


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_an_input_that_the_fuzzer_kept(path: Path) -> None:
    FUZZ["one_input"](path.read_bytes())


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed(name: str) -> None:
    FUZZ["one_input"](SEEDS[name])

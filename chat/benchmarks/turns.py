"""What a turn costs in a chat that still fits: as much as is new in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from chat.benchmarks.measure import Bench, Figure, Measure
from chat.benchmarks.random_models import random_llama_on
from chat.benchmarks.talk import Talk, TurnCost

__all__ = ["MEASURES", "surplus"]

TURNS = 20
CONTEXT = 4_096
NEVER_FIRST = (0, 1, 2, 13)
"""Llama-2's control tokens and its line break: a trained model samples none of them before its first word."""


def surplus(turns: Sequence[TurnCost]) -> tuple[float, float]:
    """Tokens evaluated over tokens that are new, the mean; and how many more they were at most."""
    ratios = [turn.evaluated / turn.new for turn in turns]
    return statistics.fmean(ratios), max(turn.evaluated - turn.new for turn in turns)


def _turns(
    bench: Bench, model: Path, format: str, prefix: str, banned: tuple[int, ...] = ()
) -> Mapping[str, float]:
    with bench.engine(model, CONTEXT) as engine:
        talk = Talk(engine, format, banned=banned)
        talk.turn()  # the header is read
        mean, most = surplus([talk.turn() for _ in range(TURNS)])
        talk.close()
    return {f"{prefix}.evaluated_over_new": mean, f"{prefix}.extra_tokens_max": most}


def demo_turns(bench: Bench) -> Mapping[str, float]:
    """Twenty turns with the demo model."""
    return _turns(bench, bench.demo, "chatml", "turn")


def metharme_turns(bench: Bench) -> Mapping[str, float]:
    """Twenty turns with SentencePiece and Metharme, whose models begin a reply with a space."""
    return _turns(bench, random_llama_on(bench), "metharme", "turn.metharme", NEVER_FIRST)


def _figures(prefix: str) -> tuple[Figure, ...]:
    return Figure(f"{prefix}.evaluated_over_new", "<= 1.1"), Figure(f"{prefix}.extra_tokens_max", "<= 8")


MEASURES = (Measure(_figures("turn"), demo_turns), Measure(_figures("turn.metharme"), metharme_turns))

"""A chat that outgrows its context: what its turns cost, and whether what stays is what was read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from chat.benchmarks.measure import Bare, Bench, Figure, Measure, Missing
from chat.benchmarks.talk import BEST, Talk
from chat.benchmarks.turns import surplus
from chat.idle import Idle

__all__ = ["MEASURES", "divergence"]

TURNS = 60
CONTEXT = 2_048
FEWEST_SLIDES = 3


def slide(bench: Bench) -> Mapping[str, float]:
    """Sixty turns beside sixty of a chat that prepares nothing; after each slide a fresh reading."""
    turns, apart, ratios = [], [], []
    with (
        bench.engine(bench.demo, CONTEXT) as engine,
        bench.engine(bench.demo, CONTEXT) as plain,
        Bare(bench.demo, CONTEXT) as bare,
    ):
        talk, other = (Talk(one, "chatml", sampling="limarp-v3", reply_tokens=40) for one in (engine, plain))
        idle = Idle(talk.session)
        talk.turn()
        other.turn()
        for _ in range(TURNS):
            idle.work()
            turns.append(talk.turn())
            rate = other.turn().rate
            if (candidates := turns[-1].candidates) is None:
                ratios.append(turns[-1].rate / rate)
            else:  # to note them down takes time
                apart.append(divergence(bare.candidates(talk.sent, BEST), candidates))
        talk.close()
        other.close()
    if len(apart) < FEWEST_SLIDES:
        raise Missing(f"the context slid {len(apart)} times only")
    bench.read_over_turns = [turn.evaluated for turn in turns]
    mean, most = surplus(turns)
    return {
        "slide.evaluated_over_new": mean,
        "slide.extra_tokens_max": most,
        "slide.kl": statistics.fmean(apart),
        "slide.decode_ratio": statistics.median(ratios),
    }


def divergence(true: Mapping[int, float], other: Mapping[int, float]) -> float:
    """KL(true || other) in nats over the tokens that both name; all others count as one token."""
    both = [(p, other[token]) for token, p in true.items() if p > 0 and other.get(token, 0) > 0]
    rest = tuple(1 - math.fsum(side) for side in zip(*both, strict=True))
    if min(rest) > 0:
        both.append((rest[0], rest[1]))
    return math.fsum(p * math.log(p / q) for p, q in both)


MEASURES = (
    Measure(
        (
            Figure("slide.evaluated_over_new", "<= 1.1"),
            Figure("slide.extra_tokens_max", "<= 8"),
            Figure("slide.kl", "<= 0.001"),
            Figure("slide.decode_ratio", ">= 0.9"),
        ),
        slide,
    ),
)

"""A chat that outgrows its context: what its turns cost, and whether what stays is what was read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from chat.benchmarks.measure import Bare, Bench, Figure, Measure, Missing
from chat.benchmarks.talk import Talk
from chat.benchmarks.turns import surplus
from chat.engine.client import Engine
from chat.engine.protocol import Span
from chat.idle import Idle
from presets.sampling import Sampling

__all__ = ["MEASURES", "divergence"]

TURNS = 60
CONTEXT = 2_048
BEST = 1_000
"""Candidates that distributions are compared over; the rest counts as one."""
FEWEST_SLIDES = 3


def slide(bench: Bench) -> Mapping[str, float]:
    """Sixty turns beside sixty of a chat that prepares nothing; after each slide a fresh reading."""
    turns, apart, ratios = [], [], []
    with (
        bench.engine(bench.demo, CONTEXT) as engine,
        bench.engine(bench.demo, CONTEXT) as plain,
        Bare(bench.demo, CONTEXT) as bare,
    ):
        talk, other = Talk(engine, "chatml", reply_tokens=40), Talk(plain, "chatml", reply_tokens=40)
        idle = Idle(talk.session)
        talk.turn()
        other.turn()
        for _ in range(TURNS):
            idle.work()
            turns.append(talk.turn())
            ratios.append(turns[-1].rate / other.turn().rate)
            if turns[-1].slid:
                fresh = bare.candidates(talk.sent, BEST)
                apart.append(divergence(fresh, _candidates(engine, talk.sent)))
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


def _candidates(engine: Engine, prompt: Sequence[Span]) -> dict[int, float]:
    """The likeliest next tokens by what the cache holds; the chat's own sequence stays as it is."""
    asked = engine.generate(prompt, Sampling(), seed=0, max_tokens=1, probs=BEST, aside=True).wait()
    return {candidate.id: candidate.p for candidate in asked.probs[0].steps[0].best}


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

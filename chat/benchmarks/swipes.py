"""Four replies at once, over one alone."""

from __future__ import annotations

from collections.abc import Mapping

from chat.benchmarks.measure import Bench, Figure, Measure, median_ratio
from chat.benchmarks.story import spans
from presets.sampling import Sampling

__all__ = ["MEASURES"]

CONTEXT = 2_048
SENTENCES = 70
"""About 1 000 tokens."""
TOKENS = 48
AT_ONCE = 4
NEUTRAL = Sampling(ban_eos=True)


def four_at_once(bench: Bench) -> Mapping[str, float]:
    """Tokens a second of all four together, over those of one."""
    prompt = spans(SENTENCES)
    with bench.engine(bench.demo, CONTEXT) as engine:

        def alone(pair: int) -> float:
            done = engine.generate(prompt, NEUTRAL, seed=pair, max_tokens=TOKENS).wait()
            return done.generated_tokens / done.write_seconds

        def together(pair: int) -> float:
            seeds = [100 * pair + number for number in range(AT_ONCE)]
            replies = engine.swipes(prompt, NEUTRAL, seeds=seeds, max_tokens=TOKENS).wait().replies
            return sum(one.generated_tokens for one in replies) / max(one.write_seconds for one in replies)

        alone(0)
        together(0)
        return {"swipes4.aggregate": median_ratio(together, alone)}


MEASURES = (Measure((Figure("swipes4.aggregate", ">= 1.25"),), four_at_once),)

"""The first token after a restart, with the chat's saved state and without."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from chat.benchmarks.measure import PAIRS, Bench, Figure, Measure, Missing
from chat.benchmarks.story import spans
from chat.engine.client import Engine
from chat.engine.protocol import Done
from presets.sampling import Sampling

__all__ = ["MEASURES"]

CONTEXT = 2_048
SENTENCES = 70
"""About 1 000 tokens."""
CHAT = "bench"


def _first_token(engine: Engine) -> Done:
    return engine.generate(spans(SENTENCES), Sampling(), seed=0, max_tokens=1).wait()


def reopen(bench: Bench) -> Mapping[str, float]:
    """Restoring and the first token, over a cold reading and the first token; a new worker each time."""
    shelf, ratios = bench.folder / "states", []
    with bench.engine(bench.demo, CONTEXT) as engine:
        _first_token(engine)
        saved = engine.save_state(shelf, CHAT).wait()
        if not saved.bytes:
            raise Missing("saving the state does not pay on this machine")
    for _ in range(PAIRS):
        with bench.engine(bench.demo, CONTEXT) as engine:
            cold = _seconds(_first_token(engine))
        with bench.engine(bench.demo, CONTEXT) as engine:
            restored = engine.restore_state(shelf, CHAT).wait()
            warm = restored.seconds + _seconds(_first_token(engine))
        ratios.append(warm / cold)
    return {"reopen.ttft_ratio": statistics.median(ratios)}


def _seconds(done: Done) -> float:
    return done.read_seconds + done.write_seconds


MEASURES = (Measure((Figure("reopen.ttft_ratio", "<= 0.05"),), reopen),)

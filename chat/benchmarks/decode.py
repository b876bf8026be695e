"""How quick a reply is written: the whole path against llama.cpp with nothing around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from chat.benchmarks.measure import PAIRS, Bare, Bench, Figure, Measure, median_ratio
from chat.benchmarks.random_models import random_llama
from chat.benchmarks.story import spans
from chat.engine.client import Engine
from chat.engine.protocol import Span
from chat.session import MAX_TOKENS
from presets.library import PresetLibrary
from presets.sampling import Sampling

__all__ = ["MEASURES"]

TOKENS = 64
"""Tokens of a timed reply: few, so that what else the machine does falls on both sides of a pair."""
SHORT_PAIRS = 21
"""Of such replies."""
REPLY = MAX_TOKENS
"""Tokens of a reply that nobody has set a length for. The library's call turns all of a reply to text again
at each of its tokens, so its speed is that of some length."""
ROUNDS = 3
"""Of nine pairs, each with processes of its own: where one lies in memory is worth a per cent or two."""
CONTEXT = 2_048
SENTENCES = 70
"""About 1 000 tokens of the demo model."""
STOPS = ("\n### Input", "\n### Response", "\nUser:", "\nSamuel:")
LARGE_VOCABULARIES = (131_072, 262_144)
WIDTH, LAYERS = 640, 18
"""Of the random models: those of the smallest model that has such a vocabulary, Gemma 3 270M."""


def _limarp() -> Sampling:
    return PresetLibrary().sampling("limarp-v3").sampling.model_copy(update={"ban_eos": True})


def _rate(engine: Engine, prompt: list[Span], seed: int, tokens: int) -> float:
    """Tokens a second from the prompt's end to the reply's, as the client sees it."""
    operation = engine.generate(prompt, _limarp(), seed=seed, max_tokens=tokens, stops=STOPS)
    done = operation.wait()
    return done.generated_tokens / done.write_seconds


def _vs_ceiling(bench: Bench, model: Path, prompt: list[Span], pairs: int = PAIRS) -> float:
    with bench.engine(model, CONTEXT) as engine, Bare(model, CONTEXT) as bare:
        _rate(engine, prompt, 0, TOKENS)  # the prompt is read, caches are warm
        bare.greedy(prompt, TOKENS)
        return median_ratio(
            lambda pair: _rate(engine, prompt, pair, TOKENS),
            lambda _pair: bare.greedy(prompt, TOKENS),
            pairs,
        )


def demo_vs_ceiling(bench: Bench) -> Mapping[str, float]:
    """The LimaRP sampling over a bare greedy loop at the same depth."""
    return {"decode.limarp_vs_ceiling": _vs_ceiling(bench, bench.demo, spans(SENTENCES), SHORT_PAIRS)}


def demo_vs_create_completion(bench: Bench) -> Mapping[str, float]:
    """The LimaRP sampling over the library's own streaming call with its values for the same settings."""
    return {"decode.vs_create_completion": median(_vs_create_completion(bench) for _ in range(ROUNDS))}


def _vs_create_completion(bench: Bench) -> float:
    prompt, sampling = spans(SENTENCES), _limarp()
    theirs: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "repeat_penalty": sampling.repeat_penalty,
    }
    with bench.engine(bench.demo, CONTEXT) as engine, Bare(bench.demo, CONTEXT) as bare:
        _rate(engine, prompt, 0, REPLY)
        text = prompt[0].text
        bare.completion(text, REPLY, theirs)
        return median_ratio(
            lambda pair: _rate(engine, prompt, pair, REPLY),
            lambda pair: bare.completion(text, REPLY, {**theirs, "seed": pair}),
        )


def large_vocabularies(bench: Bench) -> Mapping[str, float]:
    """The same over a bare loop where the sampling has many more candidates: tiny random models."""
    found = {}
    for size in LARGE_VOCABULARIES:
        model = random_llama(bench, vocabulary=size, width=WIDTH, layers=LAYERS)
        found[_of_vocabulary(size)] = _vs_ceiling(bench, model, spans(20))
    return found


def _of_vocabulary(size: int) -> str:
    return f"decode.limarp_vs_ceiling.{size // 1024}k"


MEASURES = (
    Measure((Figure("decode.limarp_vs_ceiling", ">= 0.92"),), demo_vs_ceiling),
    Measure((Figure("decode.vs_create_completion", ">= 1.05"),), demo_vs_create_completion),
    Measure(
        tuple(Figure(_of_vocabulary(size), ">= 0.92") for size in LARGE_VOCABULARIES), large_vocabularies
    ),
)

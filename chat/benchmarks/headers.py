"""How long it takes to know what a model file is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from chat.benchmarks.measure import Bench, Figure, Measure
from chat.benchmarks.random_models import random_llama
from chat.gguf import read_header

__all__ = ["MEASURES"]

VOCABULARY = 262_144
"""Entries, of the largest models that there are: their header is what takes time."""
RUNS = 9


def header_ms(bench: Bench) -> Mapping[str, float]:
    """Milliseconds to read the header of a model with a very large vocabulary."""
    path = random_llama(bench, vocabulary=VOCABULARY, width=64, layers=1)
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        read_header(path)
        times.append(time.perf_counter() - begun)
    return {"models.header_ms": statistics.median(times) * 1000}


MEASURES = (Measure((Figure("models.header_ms", "<= 100"),), header_ms),)

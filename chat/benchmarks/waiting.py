"""What a program costs that is told to stop, or that has nothing to do; and what it holds of memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping

from chat.benchmarks.measure import PAIRS, Bench, Figure, Measure, Missing
from chat.benchmarks.story import spans
from chat.benchmarks.talk import Talk
from chat.engine.protocol import Reading
from presets.sampling import Sampling

__all__ = ["MEASURES"]

LONG = 280
"""Sentences: about 4 000 tokens."""
CONTEXT = 8_192
IDLE_SECONDS = 10.0

BUFFER = re.compile(r"buffer size = +([0-9.]+) MiB")
"""What llama.cpp logs of the model, the cache and what it computes in."""

CLIENT = """
import json, sys
from pathlib import Path
from chat.benchmarks.measure import Bench
from chat.benchmarks.talk import Talk
from chat.engine.costs import memory_peak
bench = Bench(Path(sys.argv[1]), Path(sys.argv[2]))
with bench.engine(bench.demo, 2048) as engine:
    talk = Talk(engine, "chatml")
    talk.turn()
    talk.turn()
    print(json.dumps(memory_peak()))
"""
"""What the program does without its screen, by itself in a process."""


def cancel(bench: Bench) -> Mapping[str, float]:
    """Milliseconds from Escape to the end of a reading of 4 000 tokens, the worst of nine."""
    waits = []
    with bench.engine(bench.demo, CONTEXT) as engine:
        for run in range(PAIRS):
            operation = engine.generate(spans(LONG, run), Sampling(), seed=0, max_tokens=8)
            begun = 0.0
            for event in operation:
                if isinstance(event, Reading) and event.done >= (run + 1) * 128 and not begun:
                    begun = time.perf_counter()
                    operation.cancel()
            waits.append(time.perf_counter() - begun)
    return {"cancel.prefill_ms": max(waits) * 1000}


def idle(bench: Bench) -> Mapping[str, float]:
    """CPU seconds of worker and client together in ten seconds with nothing to do."""
    with bench.engine(bench.demo, 2_048) as engine:
        talk = Talk(engine, "chatml")
        talk.turn()
        time.sleep(1.0)  # what the turn set off has ended
        before = engine.devices().cpu_seconds + time.process_time()
        time.sleep(IDLE_SECONDS)
        after = engine.devices().cpu_seconds + time.process_time()
        talk.close()
    return {"overhead.idle_cpu": after - before}


def memory(bench: Bench) -> Mapping[str, float]:
    """MiB of the client without its screen, and of the worker beyond the model, its cache and buffers."""
    client = subprocess.run(
        (sys.executable, "-P", "-c", CLIENT, str(bench.folder), str(bench.demo)),
        stdout=subprocess.PIPE,
        check=False,
    )
    held = json.loads(client.stdout or "null")
    log = bench.folder / "memory.log"
    with bench.engine(bench.demo, CONTEXT, log) as engine:
        Talk(engine, "chatml").turn()
        peak = engine.devices().memory_peak
    if not held or not peak:
        raise Missing("this system does not say how much memory a process holds")
    buffers = sum(map(float, BUFFER.findall(log.read_text(encoding="utf-8", errors="replace"))))
    return {"memory.client_mib": held / 2**20, "memory.worker_beyond_mib": peak / 2**20 - buffers}


MEASURES = (
    Measure((Figure("cancel.prefill_ms", "<= 300"),), cancel),
    Measure((Figure("overhead.idle_cpu", "<= 0.1"),), idle),
    Measure((Figure("memory.client_mib", "<= 80"), Figure("memory.worker_beyond_mib", "<= 150")), memory),
)

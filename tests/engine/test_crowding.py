"""The threads that write: one fewer where another program has a core, all where none has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np
import pytest

from chat.engine.client import Engine
from chat.engine.protocol import Load, Span
from chat.engine.worker.crowding import WritingThreads
from chat.engine.worker.loading import load
from presets.sampling import Sampling


class Machine:
    """So many cores, of which other programs take some; a thread without one makes all wait for it."""

    def __init__(self, cores: int, spread: float = 0.0) -> None:
        self.cores, self.taken = cores, 0
        self.time = self.ran = 0.0
        self.threads = WritingThreads(self._use, cores, lambda: self.time, lambda: self.ran)
        self.threads.adapts = True
        self.used = cores
        self.changes = 0
        self._spread = spread
        self.share = 0.95
        """Of its time that the deciding thread runs while all have a core."""

    def _use(self, threads: int) -> None:
        self.used, self.changes = threads, self.changes + 1

    def write(self, tokens: int) -> float:
        """Tokens a second."""
        since = self.time
        self.threads.begin()
        for number in range(tokens):
            crowded = self.used > self.cores - self.taken
            seconds = (0.04 if crowded else 0.02 / self.used) * (1 + self._spread * (number % 3))
            self.time += seconds
            self.ran += seconds * (0.45 if crowded else self.share)
            self.threads.written()
        return tokens / (self.time - since)


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_a_quiet_machine_writes_with_all_threads(cores: int) -> None:
    machine = Machine(cores, spread=0.2)
    machine.write(3_000)
    assert machine.changes == 0


@pytest.mark.parametrize(("cores", "taken"), [(2, 1), (8, 1), (8, 3), (32, 12)])
def test_threads_without_a_core_are_let_go_and_come_back(cores: int, taken: int) -> None:
    machine = Machine(cores)
    machine.write(50)
    machine.taken = taken
    machine.write(600)
    assert machine.used <= cores - taken
    crowded = machine.write(4_000)
    assert crowded > 0.7 * 50 * (cores - taken)
    machine.taken = 0
    machine.write(4_000)
    assert machine.used >= 0.95 * cores
    assert machine.write(400) >= 0.95 * 50 * cores


def test_a_try_that_is_of_no_use_is_made_ever_more_seldom() -> None:
    """Threads that wait for something else than a core."""
    machine = Machine(8)
    machine.share = 0.3
    machine.write(4_000)
    assert machine.used == 8
    assert 2 <= machine.changes <= 60
    assert machine.write(4_000) > 0.98 * 50 * 8
    machine.taken = 3
    machine.write(2_000)
    assert machine.used <= 5
    machine.taken = 0
    machine.write(4_000)
    assert machine.used == 8


def test_another_core_that_is_taken_is_seen_soon() -> None:
    machine = Machine(8)
    machine.taken = 3
    machine.write(6_000)
    machine.taken = 4
    machine.write(300)
    assert machine.used <= 4


def test_replies_of_another_number_are_another_matter() -> None:
    machine = Machine(2)
    machine.taken = 1
    machine.write(10)
    assert machine.used == 1
    machine.threads.written(3)
    assert machine.used == 2


def test_a_try_of_more_threads_ends_as_soon_as_it_is_slower() -> None:
    machine = Machine(2)
    machine.taken = 1
    machine.write(2_000)
    assert machine.used == 1
    tries = machine.changes
    assert machine.write(2_000) > 47
    assert machine.changes > tries


def test_any_number_of_threads_gives_the_same_candidates(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    written = []
    for threads in (1, 2, 3):
        engine = Engine(tmp_path / f"{threads}.log")
        engine.load(demo_model, context=512, gpu_layers=0, threads=threads).wait()
        spans = [
            Span(text="The keeper of the lighthouse writes down what the sea brings. " * 12, trusted=True)
        ]
        done = engine.generate(spans, Sampling(), seed=5, max_tokens=24, probs=8).wait()
        written.append([[(one.id, one.p) for one in token.steps[0].best] for token in done.probs])
        engine.close()
    assert written[0] == written[1] == written[2]


BITS = """
import sys
from chat.engine.protocol import Load
from chat.engine.worker import log
log.catch()
from chat.engine.worker.loading import load
request = Load(id=0, path=sys.argv[1], context=512, gpu_layers=0)
loaded = load(request, lambda *_: None, lambda: False)
context = loaded.context
context.decode(list(range(300, 340)), 0)
for threads in (1, 2, 3):
    context.write_with(threads)
    context.decode_one(400, 40)
    print(context.logits().tobytes().hex())
    context.remove(0, 40)
"""


def test_any_number_of_threads_gives_the_same_bits(demo_model: Path) -> None:
    """In a process of its own: that of the tests has a limit of one thread."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_THREAD_LIMIT"}
    command = (sys.executable, "-c", BITS, str(demo_model))
    run = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    lines = run.stdout.split()
    assert len(lines) == 3
    assert len(set(lines)) == 1


def test_a_try_that_the_end_of_a_reply_cuts_short_counts_for_nothing() -> None:
    machine = Machine(2)
    machine.taken = 1
    machine.write(10)
    assert machine.used == 1
    machine.taken = 0
    machine.threads.begin()
    assert machine.used == 2


def test_several_replies_at_once_are_written_with_as_many(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Load(id=0, path=str(demo_model), context=512, gpu_layers=0)
    loaded = load(request, lambda _part, _plan: None, lambda: False)
    context = loaded.context
    assert context is not None
    reading, used = context._threads_reading, []
    real = api.llama_set_n_threads
    monkeypatch.setattr(
        api, "llama_set_n_threads", lambda handle, *given: [used.append(given), real(handle, *given)][1]
    )
    assert context.decode(list(range(300, 340)), 0) == 0
    context.copy(0, 1, 40)
    rows = []
    most = context.writing_threads.now
    for fewer in (False, True):
        context.writing_threads._most = most + fewer
        context.writing_threads.now = 1 if fewer else most
        assert context.decode_each([400, 401], [40, 40], [0, 1]) == 0
        rows.append(np.array([context.logits(row) for row in (0, 1)]))
        assert all(context.remove(number, 40) for number in (0, 1))
    assert used == [(1, 1), (1, reading)]
    assert np.array_equal(rows[0], rows[1])
    loaded.close()


@pytest.mark.parametrize(
    ("asked", "adapts"), [({}, True), ({"threads": 2}, False), ({"flash_attention": "on"}, False)]
)
def test_only_what_nobody_chose_and_what_stays_the_same_is_changed(
    tiny_model: Path, asked: dict[str, object], adapts: bool
) -> None:
    request = Load.model_validate({"id": 0, "path": str(tiny_model), "gpu_layers": 0, **asked})
    loaded = load(request, lambda _part, _plan: None, lambda: False)
    assert loaded.context is not None
    assert loaded.context.writing_threads.adapts == adapts
    loaded.close()

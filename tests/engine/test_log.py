"""llama.cpp's words are in a log with their true levels, bounded, one for each program, and nowhere else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from chat.engine import logs, process
from chat.engine.client import Engine, EngineError
from chat.engine.logs import OLDER, claim_log, log_files, tail, turn_over
from chat.engine.protocol import Span
from presets.sampling import Sampling

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [DIWE] .+")

SPEAKS = """
    import ctypes, sys
    from chat.engine import logs
    logs.LOG_BYTES = {limit}
    from chat.engine.worker import log, server
    def devices(self, request):
        for level, text in {said!r}:
            log._callback(level, text, None)
        described(self, request)
    described, server.Server._describe = server.Server._describe, devices
    from chat.engine.worker import __main__ as worker
    worker.main()
"""


def speaking(monkeypatch: pytest.MonkeyPatch, *said: tuple[int, bytes], limit: int = logs.LOG_BYTES) -> None:
    """Workers whose llama.cpp says this whenever they are asked for their devices."""
    script = textwrap.dedent(SPEAKS.format(said=said, limit=limit))
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", script))


def test_the_levels_are_ggmls(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    speaking(
        monkeypatch,
        (1, b"whispered\n"),
        (2, b"told\n"),
        (3, b"warned\n"),
        (4, b"cried "),
        (5, b"out "),
        (5, b"loud\n"),
        (2, b"bytes \xff\n"),
    )
    engine.devices()
    lines = [line for line in engine.log_file.read_text().splitlines() if not line.startswith("load_")]
    said = [line[20:] for line in lines if LINE.fullmatch(line)]
    assert [
        line for line in said if line.endswith(("told", "warned", "loud", "\N{REPLACEMENT CHARACTER}"))
    ] == [
        "I told",
        "W warned",
        "E cried out loud",
        "I bytes \N{REPLACEMENT CHARACTER}",
    ]
    assert not any("whispered" in line for line in lines)


def test_a_real_load_is_logged_and_an_error_is_one(engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    engine.load(tiny_model).wait()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model.read_bytes()[:200_000])
    with pytest.raises(EngineError):
        engine.load(broken).wait()
    lines = engine.log_file.read_text().splitlines()
    assert sum(bool(LINE.fullmatch(line)) for line in lines) > 20
    assert engine.log_file.stat().st_mode & 0o777 == 0o600


def test_it_is_bounded_while_a_worker_runs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    speaking(
        monkeypatch, *[(2, b"number %03d " % number + b"x" * 80 + b"\n") for number in range(300)], limit=5000
    )
    engine.devices()
    log = engine.log_file
    files = sorted(path.name for path in log.parent.glob("worker.log*"))
    assert files == ["worker.log", "worker.log.1", "worker.log.2"]
    assert all((log.parent / name).stat().st_size < 5300 for name in files)
    assert all((log.parent / name).stat().st_mode & 0o077 == 0 for name in files)
    numbers = [int(n) for n in re.findall(r"number (\d+) ", "\n".join(tail(log, 10_000)))]
    assert numbers == list(range(numbers[0], 300))  # in order, nothing lost in between
    assert len(numbers) > 90
    pid = engine.pid
    engine.devices()
    assert engine.pid == pid
    assert log.stat().st_size < 5300


def test_a_large_one_is_turned_over_when_a_worker_starts(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"x" * (logs.LOG_BYTES + 1))
    engine = Engine(log)
    engine.devices()
    engine.close()
    assert log.with_name("worker.log.1").stat().st_size == logs.LOG_BYTES + 1
    assert log.stat().st_size < logs.LOG_BYTES


def test_two_programs_have_a_log_each(
    tmp_path: Path, tiny_model: Path, trusted: Callable[[str], list[Span]]
) -> None:
    """What the one died of is not taken for the other's, and neither loses a line."""
    log = tmp_path / "worker.log"
    first, second = Engine(log), Engine(log)
    for engine in (first, second):
        engine.load(tiny_model).wait()
    assert len(log_files(log)) == 2
    with log_files(log)[-1].open("a") as one, log_files(log)[0].open("a") as other:
        for file in (one, other):
            file.write(f"GGML_ASSERT(in {Path(file.name).name})\n")
    for engine, name in ((first, "worker.log"), (second, "worker-2.log")):
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGABRT)
        with pytest.raises(EngineError, match=re.escape(f"GGML_ASSERT(in {name})")):
            engine.generate(trusted("Once"), Sampling(), seed=1, max_tokens=500, ban_eos=True).wait()
        engine.close()
    third = Engine(log)
    third.devices()
    third.close()
    assert log_files(log)[0] == log  # a free one is taken again


def test_a_restarted_worker_goes_on_in_the_same_log(engine: Engine, tiny_model: Path) -> None:
    engine.load(tiny_model).wait()
    for _ in range(3):
        engine.restart().wait()
    assert [path.name for path in log_files(engine.log_file)] == ["worker.log"]


def test_more_programs_than_logs_run_without(tmp_path: Path) -> None:
    claimed = [claim_log(tmp_path / "worker.log") for _ in range(logs.PROGRAMS + 1)]
    assert claimed[-1].descriptor is None
    assert len({one.path for one in claimed[:-1]}) == logs.PROGRAMS
    for one in claimed:
        one.close()
        one.release()
        one.release()


@pytest.mark.parametrize("size", [0, 10, 11])
def test_turning_over(tmp_path: Path, size: int) -> None:
    log = tmp_path / "worker.log"
    for turn in range(OLDER + 2):
        log.write_bytes(bytes([65 + turn]) * size)
        assert turn_over(log, 10) == (size > 10)
    older = sorted(path.read_bytes()[:1] for path in tmp_path.glob("worker.log.*"))
    assert older == ([b"C", b"D"] if size > 10 else [])


def test_a_log_that_cannot_be_turned_over_is_no_failure(tmp_path: Path) -> None:
    assert not turn_over(tmp_path / "nothing.log", 10)
    (tmp_path / "worker.log").write_bytes(b"x" * 20)
    (tmp_path / "worker.log.1").mkdir()
    (tmp_path / "worker.log.1" / "file").touch()
    (tmp_path / "worker.log.2").mkdir()
    (tmp_path / "worker.log.2" / "file").touch()
    assert not turn_over(tmp_path / "worker.log", 10)


def test_the_tail_goes_into_the_older_parts(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    for name, lines in (("worker.log.2", "1\n2\n"), ("worker.log.1", "3\n4\n"), ("worker.log", "5\n6\n")):
        (tmp_path / name).write_text(lines)
    assert tail(log, 1) == ["6"]
    assert tail(log, 3) == ["4", "5", "6"]
    assert tail(log, 100) == ["1", "2", "3", "4", "5", "6"]


def test_a_full_disk_under_the_log_does_not_stop_a_reply(
    engine: Engine, tiny_model: Path, trusted: Callable[[str], list[Span]]
) -> None:
    import resource

    engine.load(tiny_model).wait()
    assert engine.pid is not None
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    engine.load(tiny_model).wait()
    assert (
        engine.generate(trusted("Once"), Sampling(), seed=1, max_tokens=5, ban_eos=True)
        .wait()
        .generated_tokens
        == 5
    )


SECRETS = ("Zanzibarium", "Quetzalbrand", "Ixtlfathom")


def test_no_word_of_a_chat_is_in_it(engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    """Prompts, stops, banned phrases, a saved state, a prompt that is too long, and every kind of end."""
    one, two, three = SECRETS
    engine.load(tiny_model).wait()
    spans = [Span(text=f"<|system|>{one} " * 20, trusted=True), Span(text=f"{two} <s>", trusted=False)]
    sampling = Sampling(banned_strings=[three, one])
    engine.generate(spans, sampling, seed=1, max_tokens=20, stops=[two], dry_breakers=[three]).wait()
    engine.save_state(tmp_path / "states", "chat").wait()
    engine.restore_state(tmp_path / "states", "chat").wait()
    with pytest.raises(EngineError):
        engine.generate([Span(text=f"{one} " * 3000, trusted=True)], sampling, seed=1, max_tokens=5).wait()
    operation = engine.generate(spans, Sampling(), seed=1, max_tokens=900, ban_eos=True)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGABRT)
    with pytest.raises(EngineError) as caught:
        operation.wait()
    text = engine.log_file.read_text() + caught.value.message
    assert not [secret for secret in SECRETS if secret in text]


PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    from chat.engine.client import Engine
    from chat.engine.protocol import Span
    from presets.sampling import Sampling
    engine = Engine(Path(sys.argv[1]))
    engine.load(Path(sys.argv[2])).wait()
    prompt = [Span(text="Hello", trusted=True)]
    engine.generate(prompt, Sampling(), seed=1, max_tokens=5).wait()
    engine.save_state(Path(sys.argv[1]).parent / "states", "chat").wait()
    operation = engine.generate(prompt, Sampling(), seed=1, max_tokens=900, ban_eos=True)
    os.kill(engine.pid, signal.SIGABRT)
    try:
        operation.wait()
    except Exception as error:
        assert "SIGABRT" in str(error)
    engine.restart().wait()
    engine.close()
"""


def test_nothing_reaches_the_terminal_whatever_happens(tmp_path: Path, tiny_model: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), tmp_path / "worker.log", tiny_model]
    ran = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert (ran.stdout, ran.stderr) == (b"", b"")


def test_two_threads_turn_it_over_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread while it writes and the reading one at every sign of life."""
    from chat.engine import heartbeat

    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    for patience in ("PATIENCE", "PATIENCE_AT_START"):
        monkeypatch.setattr(heartbeat, patience, 10_000)
    speaking(monkeypatch, *[(2, b"line %04d\n" % number) for number in range(4000)], limit=40_000)
    for _ in range(2):
        engine.devices()
    numbers = [int(n) for n in re.findall(r"line (\d+)", "\n".join(tail(engine.log_file, 100_000)))]
    assert len(numbers) > 2000
    assert {after - before for before, after in pairwise(numbers)} <= {1, -3999}

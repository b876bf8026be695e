"""The worker's life and death: it never draws on the terminal, and neither end takes the other with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.engine import process
from chat.engine.client import Engine, EngineError
from chat.engine.death import describe_death
from chat.engine.protocol import Reading, Span, Text
from presets.sampling import Sampling

Prompt = Callable[[str], list[Span]]
ANY = Sampling(temperature=1.0)


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while running(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_killed_worker_is_one_error_and_a_new_one_takes_over(
    engine: Engine, tiny_model: Path, trusted: Prompt
) -> None:
    engine.load(tiny_model).wait()
    operation = engine.generate(trusted("Once upon a time"), ANY, seed=1, max_tokens=1900, ban_eos=True)
    shown = next(event.text for event in operation if isinstance(event, Text))
    assert shown
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineError) as caught:
        operation.wait()
    assert caught.value.code == "worker"
    assert "SIGKILL" in caught.value.message
    assert str(engine.log_file) in caught.value.message
    assert (engine.alive, engine.loaded, engine.pid) == (False, None, None)
    for ask in (
        lambda: engine.count(trusted("x")),
        lambda: engine.generate(trusted("x"), ANY, seed=1, max_tokens=1),
    ):
        with pytest.raises(EngineError, match="SIGKILL"):
            ask()
    loaded = engine.restart().wait()
    assert loaded.path == str(tiny_model)
    assert engine.generate(trusted("Once"), ANY, seed=1, max_tokens=5).wait().generated_tokens == 5


def test_every_request_under_way_hears_of_the_death(
    engine: Engine, tiny_model: Path, trusted: Prompt
) -> None:
    engine.load(tiny_model).wait()
    operations = [
        engine.generate(trusted("Once"), ANY, seed=1, max_tokens=1900, ban_eos=True) for _ in range(3)
    ]
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSEGV)
    for operation in operations:
        with pytest.raises(EngineError, match="SIGSEGV"):
            operation.wait()


PARENT = """
    import sys
    from pathlib import Path
    from chat.engine.client import Engine
    from chat.engine.protocol import Span
    from presets.sampling import Sampling
    engine = Engine(Path(sys.argv[1]))
    engine.load(Path(sys.argv[2])).wait()
    prompt = [Span(text="The rain came down over the old town and nobody was out. " * 250, trusted=True)]
    operation = engine.generate(prompt, Sampling(), seed=1, max_tokens=2000)
    for event in operation:
        if event.done > 0:
            break
    print(engine.pid, flush=True)
    operation.wait()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_worker_ends_with_its_parent_in_the_middle_of_a_decode(
    tmp_path: Path, demo_model: Path, how: signal.Signals
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), tmp_path / "worker.log", demo_model],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        assert running(worker)
        parent.send_signal(how)
        parent.wait()
    assert gone_within(worker, 3.0)


def test_nothing_reaches_the_terminal(tmp_path: Path, tiny_model: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from chat.engine.client import Engine
        from chat.engine.protocol import Span
        from presets.sampling import Sampling
        engine = Engine(Path(sys.argv[1]))
        engine.devices()
        engine.load(Path(sys.argv[2])).wait()
        engine.generate([Span(text="Hello", trusted=True)], Sampling(), seed=1, max_tokens=5).wait()
        for bad in ("/nonexistent.gguf", __file__ if "__file__" in globals() else sys.executable):
            try:
                engine.load(Path(bad)).wait()
            except Exception:
                pass
        engine.close()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "worker.log", tiny_model]
    ran = subprocess.run(arguments, capture_output=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == (b"", b"")


def test_a_folder_named_chat_does_not_shadow_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert engine.devices().devices


def test_it_is_idle_when_nothing_is_asked(tiny: Engine, trusted: Prompt) -> None:
    tiny.generate(trusted("Hello"), ANY, seed=1, max_tokens=20).wait()
    time.sleep(0.5)
    assert tiny.pid is not None
    worker, ours = cpu_seconds(tiny.pid), time.process_time()
    time.sleep(2.0)
    assert cpu_seconds(tiny.pid) - worker <= 0.02
    assert time.process_time() - ours <= 0.02


def test_interrupts_are_not_for_the_worker(tiny: Engine, trusted: Prompt) -> None:
    assert tiny.pid is not None
    os.kill(tiny.pid, signal.SIGINT)
    assert tiny.generate(trusted("Hello"), ANY, seed=1, max_tokens=3).wait().generated_tokens == 3
    assert os.getpgid(tiny.pid) != os.getpgid(0)


def test_closing_is_quick_and_may_be_repeated(engine: Engine, tiny_model: Path, trusted: Prompt) -> None:
    engine.load(tiny_model).wait()
    pid = engine.pid
    assert pid is not None
    operation = engine.generate(trusted("Once"), ANY, seed=1, max_tokens=1900, ban_eos=True)
    started = time.monotonic()
    engine.close()
    engine.close()
    assert time.monotonic() - started < 2.0
    assert not running(pid)
    with pytest.raises(EngineError, match="closed"):
        operation.wait()
    with pytest.raises(EngineError):
        engine.count(trusted("x"))


def test_restarting_needs_a_model(engine: Engine) -> None:
    with pytest.raises(EngineError):
        engine.restart()


def test_a_worker_that_cannot_start_says_why(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", "import no_such_module"))
    with pytest.raises(EngineError, match="no_such_module"):
        engine.devices()
    monkeypatch.setattr(process, "COMMAND", (str(tmp_path / "nothing"),))
    with pytest.raises(EngineError, match="could not be started"):
        engine.start()


def test_lines_that_are_no_requests_are_answered_and_survived(tiny: Engine, trusted: Prompt) -> None:
    worker = tiny._worker
    assert worker is not None
    stdin = worker._process.stdin
    assert stdin is not None
    for line in (b"\n", b"nonsense\n", b'{"op": "generate", "id": 1, "spans": "Secret text"}\n', b"[1]\n"):
        stdin.write(line)
        stdin.flush()
    assert tiny.count(trusted("Hello")) == [2]
    assert "Secret" not in tiny.log_file.read_text()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.mark.parametrize(
    ("status", "lines", "said"),
    [
        (-9, [], "(signal 9, SIGKILL), killed from outside, or by the system for want of memory."),
        (-6, ["ggml.c:1: GGML_ASSERT(x) failed", "some more"], "SIGABRT): ggml.c:1: GGML_ASSERT(x) failed."),
        (
            1,
            ["Traceback (most recent call last):", "  x", "ImportError: no numpy"],
            "status 1): ImportError: no numpy.",
        ),
        (None, [], "no exit status"),
        (-200, [], "signal 200"),
    ],
)
def test_a_death_is_one_line(log: Path, status: int | None, lines: list[str], said: str) -> None:
    old = "GGML_ASSERT(of an earlier worker)\n"
    log.write_text(old + "\n".join(lines))
    message = describe_death(status, log, len(old))
    assert said in message
    assert "\n" not in message
    assert "earlier" not in message


def test_a_death_without_a_log_is_told_too(log: Path) -> None:
    assert "SIGKILL" in describe_death(-9, log, 0)


def test_without_a_log_there_is_still_an_engine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = Engine(tmp_path / "file" / "worker.log")
    assert engine.devices().devices
    with contextlib.closing(engine):
        assert engine.alive


def test_reading_is_told(demo: Engine, trusted: Prompt) -> None:
    operation = demo.generate(
        trusted("The rain came down over the old town. " * 60), ANY, seed=1, max_tokens=1
    )
    events = [event for event in operation if isinstance(event, Reading)]
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[0].done == 0
    assert events[-1].done == events[-1].total
    assert len(events) >= 4

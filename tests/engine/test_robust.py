"""A worker that dies or hangs, however it does, is one message, and the chat goes on in a new one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cards.card import Card, card_from_document
from chat.engine import heartbeat, process
from chat.engine.client import Engine, EngineError
from chat.engine.death import describe_death, kills_for_memory
from chat.engine.heartbeat import Heartbeat
from chat.engine.protocol import Span, Text
from chat.engine.shelf import Shelf
from chat.events import ReadingPrompt, ReplyFailed, ReplyFinished, SessionEvent, TextAdded, Waiting
from chat.session import Session
from chat.states import SavedState
from chat.store import Store
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

Prompt = Callable[[str], list[Span]]
ANY = Sampling(temperature=1.0)
LONG = "The rain came down over the old town and nobody was out that night. "


# What it died of --------------------------------------------------------------------------------------------


def died(engine: Engine, prompt: list[Span]) -> EngineError:
    """What is said when the worker dies during a long reply."""
    with pytest.raises(EngineError) as caught:
        engine.generate(prompt, ANY, seed=1, max_tokens=1900, ban_eos=True).wait()
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
@pytest.mark.parametrize("when", ["reading", "writing", "idle"])
def test_a_death_at_any_moment_is_one_message(
    engine: Engine, tiny_model: Path, trusted: Prompt, how: signal.Signals, when: str
) -> None:
    engine.load(tiny_model).wait()
    pid = engine.pid
    assert pid is not None
    if when == "idle":
        os.kill(pid, how)
        while engine.alive:
            time.sleep(0.01)
        with pytest.raises(EngineError) as caught:
            engine.count(trusted("x"))
    else:
        spans = trusted(LONG * 110 if when == "reading" else "Once")
        operation = engine.generate(spans, ANY, seed=1, max_tokens=1900 if when == "writing" else 5)
        assert next(operation) is not None
        if when == "writing":
            next(event for event in operation if isinstance(event, Text))
        os.kill(pid, how)
        with pytest.raises(EngineError) as caught:
            operation.wait()
    assert caught.value.code == "worker"
    assert how.name in caught.value.message
    assert str(engine.log_file) in caught.value.message
    assert "\n" not in caught.value.message
    engine.restart().wait()
    assert engine.generate(trusted("Once"), ANY, seed=1, max_tokens=3).wait().generated_tokens == 3


SAYS_AND_ABORTS = """
    import os, sys
    sys.path.insert(0, {here!r})
    os.write(2, {said!r})
    os.abort()
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
         r"memory ran out \(what\(\):  std::bad_alloc\); a smaller --ctx"),
        (b"ggml.c:12: GGML_ASSERT(n > 0) failed\n", r"SIGABRT\): ggml\.c:12: GGML_ASSERT\(n > 0\) failed\."),
        (b"CUDA error: out of memory\n", r"memory ran out \(CUDA error: out of memory\)"),
        (b"MemoryError\n", r"memory ran out \(MemoryError\)"),
    ],
)  # fmt: skip
def test_the_cause_is_read_from_the_log(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, said: bytes, told: str
) -> None:
    script = textwrap.dedent(SAYS_AND_ABORTS.format(here=os.getcwd(), said=said))
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", script))
    with pytest.raises(EngineError, match=told):
        engine.devices()


def test_a_kill_for_want_of_memory_is_called_that(tmp_path: Path) -> None:
    said = describe_death(-9, tmp_path / "log", 0, for_memory=True)
    assert "the system killed it because memory ran out; a smaller --ctx" in said
    assert "memory ran out" not in describe_death(-9, tmp_path / "log", 0)
    assert kills_for_memory() >= 0


NO_MEMORY_ONCE = """
    import sys
    from chat.engine.worker import __main__ as worker, server
    known = server.Server._generate
    def generate(self, request):
        server.Server._generate = known
        raise MemoryError
    server.Server._generate = generate
    worker.main()
"""


def test_no_memory_in_our_own_code_is_one_message_and_survived(
    engine: Engine, tiny_model: Path, trusted: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (sys.executable, "-c", textwrap.dedent(NO_MEMORY_ONCE))
    monkeypatch.setattr(process, "COMMAND", script)
    engine.load(tiny_model).wait()
    pid = engine.pid
    with pytest.raises(EngineError, match="no memory left") as caught:
        engine.generate(trusted("Once"), ANY, seed=1, max_tokens=3).wait()
    assert caught.value.code == "memory"
    assert engine.generate(trusted("Once"), ANY, seed=1, max_tokens=3).wait().generated_tokens == 3
    assert engine.pid == pid


def test_an_address_space_that_is_full_is_one_message(
    engine: Engine, demo_model: Path, tiny_model: Path, trusted: Prompt
) -> None:
    """The limit is set from outside, on the worker that runs; then it is asked for more than that."""
    import resource

    engine.load(tiny_model).wait()
    pid = engine.pid
    assert pid is not None
    size = int(re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]
    resource.prlimit(pid, resource.RLIMIT_AS, (size + (8 << 20), resource.RLIM_INFINITY))
    with pytest.raises(EngineError) as caught:
        engine.load(demo_model, context=8192, gpu_layers=0).wait()
    assert caught.value.code in ("memory", "load", "worker")
    assert "\n" not in caught.value.message
    engine.close()
    engine.load(tiny_model).wait()
    assert engine.generate(trusted("Once"), ANY, seed=1, max_tokens=3).wait().generated_tokens == 3


BROKEN_READER = """
    from chat.engine.worker import __main__ as worker, pipe
    class Broken:
        def validate_json(self, line):
            raise MemoryError
    pipe.request_line = Broken()
    worker.main()
"""


def test_a_worker_that_cannot_read_any_more_ends(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (sys.executable, "-c", textwrap.dedent(BROKEN_READER))
    monkeypatch.setattr(process, "COMMAND", script)
    with pytest.raises(EngineError, match="MemoryError"):
        engine.devices()


# A worker that hangs ----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that beats ten times as fast."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("when", ["writing", "idle"])
def test_a_worker_that_is_stopped_is_ended_and_told(
    engine: Engine, tiny_model: Path, trusted: Prompt, when: str
) -> None:
    engine.load(tiny_model).wait()
    pid = engine.pid
    assert pid is not None
    if when == "idle":
        os.kill(pid, signal.SIGSTOP)
    operation = engine.generate(trusted("Once"), ANY, seed=1, max_tokens=1900, ban_eos=True)
    if when == "writing":
        next(event for event in operation if isinstance(event, Text))
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(EngineError, match="hung for 2 seconds and was ended") as caught:
        operation.wait()
    assert caught.value.code == "worker"
    assert time.monotonic() - started < 8
    assert not Path(f"/proc/{pid}").exists()
    engine.restart().wait()
    assert engine.generate(trusted("Once"), ANY, seed=1, max_tokens=3).wait().generated_tokens == 3


def test_who_presses_escape_waits_less(
    engine: Engine, tiny_model: Path, trusted: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(heartbeat, "PATIENCE", 1000)
    engine.load(tiny_model).wait()
    operation = engine.generate(trusted("Once"), ANY, seed=1, max_tokens=1900, ban_eos=True)
    next(event for event in operation if isinstance(event, Text))
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    operation.cancel()
    with pytest.raises(EngineError, match="hung for"):
        operation.wait()


@pytest.mark.usefixtures("quick")
def test_what_never_ends_is_ended_once_somebody_has_asked_for_it(
    engine: Engine, tiny_model: Path, trusted: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread waits for a file that never comes, as in a driver that hangs; the other says it lives."""
    monkeypatch.setattr(heartbeat, "PATIENCE", 8)
    monkeypatch.setattr(heartbeat, "PATIENCE_TO_END", 20)
    engine.load(tiny_model).wait()
    never = tmp_path / "never.gguf"
    os.mkfifo(never)
    loading = engine.load(never)
    time.sleep(1.5)
    assert engine.alive
    loading.cancel()
    with pytest.raises(EngineError, match="hung for 2 seconds and was ended"):
        loading.wait()
    engine.load(tiny_model).wait()
    assert engine.generate(trusted("Once"), ANY, seed=1, max_tokens=3).wait().generated_tokens == 3


def test_a_stopped_worker_can_be_closed(engine: Engine, tiny_model: Path) -> None:
    engine.load(tiny_model).wait()
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    engine.close()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("quick")
def test_a_long_computation_is_no_hang(engine: Engine, demo_model: Path, trusted: Prompt) -> None:
    """Reading takes longer than any patience here, and no reading event is needed to see that it lives."""
    engine.load(demo_model, context=2048).wait()
    started = time.monotonic()
    done = engine.generate(trusted(LONG * 100), ANY, seed=1, max_tokens=2).wait()
    assert done.prompt_tokens > 1200
    assert time.monotonic() - started > heartbeat.PATIENCE_TO_STOP * 0.1


WHOLE_PROGRAM_SLEEPS = """
    import sys
    from pathlib import Path
    from chat.engine import heartbeat
    from chat.engine.client import Engine
    from chat.engine.protocol import Span
    from presets.sampling import Sampling
    heartbeat.BEAT_SECONDS, heartbeat.PATIENCE = 0.1, 8
    engine = Engine(Path(sys.argv[1]))
    engine.load(Path(sys.argv[2])).wait()
    operation = engine.generate(
        [Span(text="Once", trusted=True)], Sampling(), seed=1, max_tokens=700, ban_eos=True
    )
    for number, event in enumerate(operation):
        if number == 3:
            print(engine.pid, flush=True)
    print("done", flush=True)
    engine.close()
"""


def test_a_program_that_slept_itself_blames_nobody(tmp_path: Path, tiny_model: Path) -> None:
    """As a suspended laptop does: both sleep far longer than the patience, and both go on."""
    command = [sys.executable, "-c", textwrap.dedent(WHOLE_PROGRAM_SLEEPS)]
    program = subprocess.Popen(
        [*command, tmp_path / "worker.log", tiny_model], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    with program.stdout as out:
        worker = int(out.readline())
        for pid in (worker, program.pid):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.0)
        for pid in (program.pid, worker):
            os.kill(pid, signal.SIGCONT)
        assert out.readline() == "done\n"
    assert program.wait(10) == 0


def test_the_heart_beats_only_while_something_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "PATIENCE", 3)
    asked, busy, hung = [], threading.Event(), threading.Event()
    heart = Heartbeat(busy.is_set, lambda: asked.append(1), lambda seconds: hung.set())
    heart.sign()
    time.sleep(0.1)
    assert asked == []
    busy.set()
    heart.watch()
    assert hung.wait(5)
    assert asked == [1]  # one question, however long the silence
    heart.end()


# The chat ---------------------------------------------------------------------------------------------------


def a_card() -> Card:
    data = {
        "name": "Keeper",
        "description": LONG * 12,
        "personality": "",
        "scenario": "",
        "first_mes": "The lamp is lit.",
        "mes_example": "",
    }
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data" / "chats.db") as opened:
        yield opened


@pytest.fixture
def talk(engine: Engine, tiny_model: Path, store: Store, tmp_path: Path) -> Iterator[Session]:
    """An open chat with a model that stands ready."""
    engine.load(tiny_model).wait()
    session = Session.begin(
        store,
        a_card(),
        Persona("Sam"),
        PresetLibrary(None).format("metharme"),
        ANY,
        engine=engine,
        max_tokens=40,
        seed=5,
    )
    session.saved = SavedState(Shelf(tmp_path / "states"), session.chat.id)
    yield session
    with contextlib.suppress(Exception):
        session.close()


def last(events: Iterator[SessionEvent]) -> SessionEvent:
    return list(events)[-1]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP])
@pytest.mark.parametrize("when", ["reading", "writing", "idle"])
def test_the_next_message_is_answered_from_the_saved_state(
    talk: Session, engine: Engine, how: signal.Signals, when: str, store: Store
) -> None:
    talk.say("Who lit the lamp?")
    assert isinstance(last(talk.reply()), ReplyFinished)
    assert talk.last is not None
    before = talk.last.prompt_tokens
    talk.saved._idle(engine)  # as it does by itself after a while
    talk.saved.wait(10)
    talk.say("And then?")
    pid, path = engine.pid, [message.text for message in talk.path()]
    assert pid is not None
    if when == "idle":
        os.kill(pid, how)
        if how is signal.SIGSTOP:
            assert isinstance(last(talk.reply()), ReplyFailed)
        else:
            while engine.alive:
                time.sleep(0.01)
    else:
        wanted = ReadingPrompt if when == "reading" else TextAdded
        talk.max_tokens = 900
        events = talk.reply()
        next(event for event in events if isinstance(event, wanted))
        os.kill(pid, how)
        failed = last(events)
        assert isinstance(failed, ReplyFailed)
        assert "\n" not in failed.error
        assert str(engine.log_file.parent) in failed.error
    talk.max_tokens = 40
    kept = [message.text for message in talk.path()]
    assert kept[: len(path)] == path
    assert [one.text for one in store.open_chat(talk.chat.id).tree.path()] == kept
    events = list(talk.regenerate(talk.path()[-1].id) if len(kept) > len(path) else talk.reply())
    assert any(isinstance(event, Waiting) for event in events)
    assert isinstance(events[-1], ReplyFinished)
    assert talk.last.reused_tokens >= before  # all that was said up to the saving
    assert talk.last.evaluated_tokens < before / 2


def test_a_state_that_kills_the_worker_is_tried_once(talk: Session, engine: Engine, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "states")
    talk.say("Who lit the lamp?")
    talk.saved.bring(engine)
    file = shelf.file(talk.chat.id, "0123456789abcdef")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"poison")
    engine.restart().wait()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (engine.pid, signal.SIGKILL))
    killer.start()
    assert isinstance(last(talk.reply()), ReplyFinished)  # in a third worker
    assert not file.exists()

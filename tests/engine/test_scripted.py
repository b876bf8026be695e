"""The engine that screens and sessions are tested with behaves like the real one where they look."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.engine.client import Engine
from chat.engine.protocol import Done, Loading, Reading, Span, Text
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.engine.surface import EngineError, EngineSurface
from presets.sampling import Sampling

PROMPT = [Span(text="x" * 10, trusted=True), Span(text="y" * 90, trusted=False)]


def test_both_engines_have_the_surface(tmp_path: Path) -> None:
    assert isinstance(ScriptedEngine(), EngineSurface)
    assert isinstance(Engine(tmp_path / "log"), EngineSurface)


def test_a_reply_comes_word_by_word_and_the_request_is_kept() -> None:
    engine = ScriptedEngine([ScriptedReply(" Good evening, \n\nfriend. ", read_steps=2)], ready=True)
    operation = engine.generate(PROMPT, Sampling(), seed=7, max_tokens=50, stops=["\nUser:"])
    events = list(operation)
    assert [event.done for event in events if isinstance(event, Reading)] == [12, 25]
    shown = "".join(event.text for event in events if isinstance(event, Text))
    assert shown == "Good evening, \n\nfriend."
    assert isinstance(events[-1], Done)
    assert operation.result == events[-1]
    assert (events[-1].text, events[-1].finish_reason) == (shown, "eos")
    request = engine.requests[0]
    assert (request.prompt, request.seed, request.stops) == ("x" * 10 + "y" * 90, 7, ("\nUser:",))
    again = engine.generate(PROMPT, Sampling(), seed=7, max_tokens=1).wait()
    assert (again.text, again.finish_reason, again.reused_tokens) == ("She", "length", 24)


def test_counts_sum_over_spans() -> None:
    engine = ScriptedEngine(ready=True)
    assert engine.count(PROMPT) == [3, 22]
    assert engine.count([Span(text="", trusted=True)]) == [0]


def test_a_held_reply_can_be_cancelled() -> None:
    engine = ScriptedEngine([ScriptedReply("one two three", hold_after=1)], ready=True)
    operation = engine.generate(PROMPT, Sampling(), seed=1, max_tokens=50)
    assert next(event.text for event in operation if isinstance(event, Text)) == "one"
    operation.cancel()
    assert (operation.wait().finish_reason, operation.result and operation.result.text) == (
        "cancelled",
        "one",
    )


def test_a_held_reply_goes_on() -> None:
    engine = ScriptedEngine([ScriptedReply("one two", hold_after=1)], ready=True)
    engine.go.set()
    assert engine.generate(PROMPT, Sampling(), seed=1, max_tokens=50).wait().text == "one two"


def test_a_worker_that_dies_in_mid_reply() -> None:
    engine = ScriptedEngine([ScriptedReply("one two", fail_after=1)], ready=True)
    operation = engine.generate(PROMPT, Sampling(), seed=1, max_tokens=50)
    with pytest.raises(EngineError) as caught:
        operation.wait()
    assert (caught.value.code, engine.alive, engine.loaded, operation.result) == ("worker", False, None, None)
    with pytest.raises(EngineError):
        engine.count(PROMPT)
    assert engine.restart().wait().context == 4096
    assert engine.alive


def test_loading_waits_and_fails_on_request() -> None:
    engine = ScriptedEngine(load_hold=True)
    operation = engine.load(Path("model.gguf"), context=512)
    assert isinstance(next(operation), Loading)
    assert engine.loaded is None
    engine.go_load.set()
    assert operation.wait().context == 512
    with pytest.raises(EngineError, match="no such model"):
        ScriptedEngine(load_error="no such model").load(Path("x")).wait()


def test_before_loading_nothing_can_be_asked() -> None:
    engine = ScriptedEngine()
    with pytest.raises(EngineError):
        engine.count(PROMPT)
    engine.start()
    with pytest.raises(EngineError) as caught:
        engine.generate(PROMPT, Sampling(), seed=1, max_tokens=1)
    assert caught.value.code == "request"
    assert engine.devices().devices

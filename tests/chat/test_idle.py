"""What a session reads ahead between two replies, with a scripted engine: when, what, and when not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cards.card import card_from_document
from chat import idle
from chat.battery import drains
from chat.engine.protocol import Loaded, Prepared, Purpose, Span
from chat.engine.scripted import ScriptedEngine
from chat.engine.surface import EngineError, Operation
from chat.session import Session
from chat.store import Store
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona, Prompt, Window

LIMARP = PresetLibrary(None).format("limarp-v3")
LONG = "The rain ran down the windows of the library all night long. " * 4


class Engine(ScriptedEngine):
    """Its readings can be made to fail, to be interrupted, and to have no room; replies take the time they
    are given."""

    read_seconds = 0.001
    answers: list[Prepared | EngineError]

    def __init__(self, **more: Any) -> None:
        super().__init__(ready=True, fallback=LONG, **more)
        self.answers = []

    def prepare(self, spans: Any, purpose: Purpose) -> Operation[Prepared]:  # type: ignore[override]
        operation = super().prepare(spans, purpose)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, EngineError):
                raise answer
            operation._events = iter((answer,))
        return operation

    def _write(self, *given: Any) -> Iterator[Any]:
        for event in super()._write(*given):
            yield (
                event.model_copy(update={"read_seconds": self.read_seconds}) if event.op == "done" else event
            )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "chats.db") as opened:
        yield opened


@pytest.fixture(autouse=True)
def mains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "on_battery", lambda: False)
    monkeypatch.setattr(idle, "AGAIN_SECONDS", 0.0)


def session(store: Store, context: int = 1024, **more: Any) -> tuple[Session, Engine]:
    data = {"name": "Samuel", "description": "A vampire.", "first_mes": "Good evening."}
    card = card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]
    engine = Engine(context=context)
    more = {"max_tokens": 100, "seed": 1, **more}
    return Session.begin(store, card, Persona("Alex"), LIMARP, Sampling(), engine=engine, **more), engine


def turn(one: Session, text: str = LONG) -> None:
    one.say(text)
    list(one.reply())


def until_prepared(one: Session, engine: Engine) -> int:
    """Turns until the session reads ahead for the first time."""
    for number in range(1, 20):
        turn(one)
        one.idle.work()
        if engine.prepared:
            return number
    raise AssertionError("nothing was ever read ahead")


# The next window --------------------------------------------------------------------------------------------


def test_nothing_is_read_while_the_context_has_room(store: Store) -> None:
    one, engine = session(store, context=16_384)
    for _ in range(4):
        turn(one)
        one.idle.work("and then")
    assert engine.prepared == []


def test_the_reply_that_slides_begins_with_what_was_read(store: Store) -> None:
    one, engine = session(store)
    until_prepared(one, engine)
    ahead = one.windows.ahead
    assert ahead is not None
    assert one.chat.window == Window()  # nothing is stored before it is used
    for _ in range(3):
        purpose, text = engine.prepared[-1]
        turn(one)
        if one.chat.window == ahead:
            break
        one.idle.work()
    assert one.chat.window == ahead
    assert purpose == "next"
    sent = engine.requests[-1].prompt
    assert sent.startswith(text)
    assert text.endswith("\n\n### Input:\nAlex: ")  # up to what the user will say
    assert sent[len(text) :].startswith(LONG.strip())


def test_it_is_read_before_the_turn_that_slides(store: Store) -> None:
    """The window moves only where something was read for it, in a chat whose turns are alike."""
    one, engine = session(store)
    for _ in range(40):
        before = one.chat.window
        read = [text for purpose, text in engine.prepared if purpose == "next"]
        turn(one)
        if one.chat.window != before:
            assert any(engine.requests[-1].prompt.startswith(text) for text in read[-1:])
        one.idle.work()
    assert one.chat.window != Window()


def test_the_window_stays_where_it_was_read_while_the_chat_goes_on(store: Store) -> None:
    one, engine = session(store, context=2048)
    until_prepared(one, engine)
    first, ahead = engine.prepared[-1][1], one.windows.ahead
    for _ in range(2):
        turn(one, "Yes.")
        one.idle.work()
        assert one.chat.window == Window()
        assert one.windows.ahead == ahead
        assert len(engine.prepared[-1][1]) > len(first)
        assert engine.prepared[-1][1].startswith(first)
        first = engine.prepared[-1][1]


def test_the_same_chat_is_not_looked_at_twice(store: Store) -> None:
    one, engine = session(store)
    until_prepared(one, engine)
    done, counted = len(engine.prepared), len(engine.counted)
    one.idle.work()
    assert (len(engine.prepared), len(engine.counted)) == (done, counted)


def test_what_a_branch_does_not_need_is_dropped(store: Store) -> None:
    one, engine = session(store)
    until_prepared(one, engine)
    one.delete(one.path()[3].id)
    one.idle.work()
    assert engine.prepared[-1] == ("next", "")
    assert one.windows.ahead is None


@pytest.mark.parametrize(
    ("cells", "options"),
    [(1024, {}), (4096, {"shift": "on"})],
    ids=["no room beside the chat", "shifted instead"],
)
def test_it_is_given_up(store: Store, cells: int, options: dict[str, str]) -> None:
    one, engine = session(store, options=options)
    loaded = engine.loaded
    assert isinstance(loaded, Loaded)
    engine.loaded = loaded.model_copy(update={"cells": cells})
    for _ in range(12):
        turn(one)
        one.idle.work()
    assert engine.prepared == []
    assert one.chat.window != Window()
    assert engine.requests[-1].shift == ("shift" in options)


def test_where_the_worker_finds_no_room_it_is_not_asked_again(store: Store) -> None:
    one, engine = session(store)
    engine.answers = [Prepared(id=0, evaluated=0, whole=False, room=False)]
    until_prepared(one, engine)
    turn(one)
    one.idle.work()
    assert len(engine.prepared) == 1


def test_what_was_interrupted_is_taken_up_again(store: Store) -> None:
    one, engine = session(store)
    engine.answers = [Prepared(id=0, evaluated=9, whole=False)] * 2
    until_prepared(one, engine)
    assert len(engine.prepared) == 3
    assert len(set(engine.prepared)) == 1


def test_a_worker_that_dies_meanwhile_is_the_next_replys_business(store: Store) -> None:
    one, engine = session(store)
    engine.answers = [EngineError("worker", "The model's process ended.")]
    until_prepared(one, engine)
    assert len(engine.prepared) == 1
    turn(one)
    assert one.path()[-1].text == LONG.strip()
    one.idle.work()  # what failed is not taken for read
    assert len(engine.prepared) == 2


def test_stopped_before_it_begins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, engine = session(store)
    while sum(engine.count([Span(text=one.prompt().text, trusted=True)])) < 700:
        turn(one)
    make = one.windows.with_window

    def stopping(*given: Any) -> Prompt:
        one.idle.stop()
        return make(*given)

    monkeypatch.setattr(one.windows, "with_window", stopping)
    one.idle.work()
    assert engine.prepared == []


# The draft --------------------------------------------------------------------------------------------------


def slow(store: Store, **more: Any) -> tuple[Session, Engine]:
    one, engine = session(store, context=16_384, **more)
    engine.read_seconds = 5.0
    turn(one)
    return one, engine


def test_the_draft_is_read_as_it_would_be_sent(store: Store) -> None:
    one, engine = slow(store)
    one.idle.work("Come with me.")
    ((purpose, text),) = engine.prepared
    turn(one, "Come with me.")
    assert purpose == "draft"
    assert engine.requests[-1].prompt == text


@pytest.mark.parametrize("draft", ["", "  \n"])
def test_an_empty_box_is_no_draft(store: Store, draft: str) -> None:
    one, engine = slow(store)
    one.idle.work(draft)
    assert engine.prepared == []


def test_drafts_are_not_read_where_reading_is_quick(store: Store) -> None:
    one, engine = slow(store)
    engine.read_seconds = 0.01
    for _ in range(idle.RATES):
        turn(one)
        rate = one.idle.reading_rate
    assert rate is not None
    assert rate > idle.SLOW
    one.idle.work("Come with me.")
    assert engine.prepared == []


def test_drafts_are_not_read_before_anything_tells_how_quick_it_is(store: Store) -> None:
    one, engine = session(store)
    one.idle.work("Come with me.")
    assert one.idle.reading_rate is None
    assert engine.prepared == []


def test_drafts_are_not_read_on_battery(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, engine = slow(store)
    monkeypatch.setattr(idle, "on_battery", lambda: True)
    one.idle.work("Come with me.")
    assert engine.prepared == []


def test_drafts_are_not_read_where_the_chat_says_so(store: Store) -> None:
    one, engine = slow(store, options={"read_ahead": "off"})
    one.idle.work("Come with me.")
    assert engine.prepared == []
    assert one.chat.options["read_ahead"] == "off"  # and it stays so


# The battery ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        pytest.param({}, False, id="a desktop"),
        pytest.param({"BAT0": {"type": "Battery", "status": "Discharging"}}, True, id="a phone's board"),
        pytest.param(
            {
                "AC": {"type": "Mains", "online": "0"},
                "BAT0": {"type": "Battery", "status": "Full"},
                "BAT1": {"type": "Battery", "status": "Discharging"},
            },
            True,
            id="the second battery",
        ),
        pytest.param(
            {
                "AC": {"type": "Mains", "online": "1"},
                "BAT0": {"type": "Battery", "status": "Discharging"},
            },
            False,
            id="plugged in, but it draws more",
        ),
        pytest.param(
            {
                "ucsi": {"type": "USB", "online": "1"},
                "BAT0": {"type": "Battery", "status": "Charging"},
            },
            False,
            id="USB-C",
        ),
        pytest.param(
            {"hid": {"type": "Battery", "status": "Discharging", "scope": "Device"}}, False, id="a mouse"
        ),
    ],
)
def test_batteries(tmp_path: Path, supplies: dict[str, dict[str, str]], expected: bool) -> None:
    for name, values in supplies.items():
        (tmp_path / name).mkdir()
        for key, value in values.items():
            (tmp_path / name / key).write_text(f"{value}\n")
    assert drains(tmp_path) == expected
    assert not drains(tmp_path / "nowhere")

"""When a session saves what was read of its chat, and when it brings it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cards.card import card_from_document
from chat import states
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.engine.shelf import Shelf
from chat.engine.surface import EngineError
from chat.events import Remark, ReplyFailed, ReplyFinished
from chat.session import Session
from chat.states import SavedState, shelf_of
from chat.store import Store
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

Open = Callable[..., Session]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data" / "chats.db") as opened:
        yield opened


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Open:
    """Opens a chat with a saved state."""

    def opened(engine: ScriptedEngine, *, read_only: bool = False) -> Session:
        data = {"name": "Samuel", "description": "A vampire.", "first_mes": "Good evening."}
        card = card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]
        format = PresetLibrary(None).format("limarp-v3")
        session = Session.begin(store, card, Persona("Alex"), format, Sampling(), engine=engine)
        session.saved = SavedState(Shelf(tmp_path / "states"), session.chat.id, read_only=read_only)
        return session

    return opened


def a_turn(session: Session) -> list[Any]:
    session.say("And then?")
    return list(session.reply())


def names(session: Session, engine: ScriptedEngine) -> list[str]:
    """What was done with states; all of this chat."""
    assert all(chat == session.chat.id for _, chat in engine.states)
    return [what for what, _ in engine.states]


def test_it_is_brought_back_once_and_saved_when_the_chat_is_left(opened: Open) -> None:
    engine = ScriptedEngine(ready=True)
    session = opened(engine)
    a_turn(session)
    a_turn(session)
    assert names(session, engine) == ["restore"]
    session.close()
    session.saved.wait()
    assert names(session, engine) == ["restore", "save"]
    session.close()
    assert names(session, engine) == ["restore", "save"]


def test_a_chat_that_was_only_looked_at_is_not_saved(opened: Open) -> None:
    engine = ScriptedEngine(ready=True)
    session = opened(engine)
    session.saved.bring(engine)
    session.close()
    assert names(session, engine) == ["restore"]


def test_a_reply_that_came_to_nothing_is_not_saved(opened: Open) -> None:
    engine = ScriptedEngine([ScriptedReply("Words", fail_after=0)], ready=True)
    session = opened(engine)
    assert isinstance(a_turn(session)[-1], ReplyFailed)
    session.close()
    assert "save" not in names(session, engine)


def test_an_idle_chat_is_saved_and_a_busy_one_is_not(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "IDLE_SECONDS", 0.3)
    engine = ScriptedEngine(
        ["One.", ScriptedReply("Two words and more.", hold_after=1), "Three."], ready=True
    )
    session = opened(engine)
    a_turn(session)
    held = threading.Thread(target=a_turn, args=(session,))
    held.start()
    time.sleep(0.6)
    assert names(session, engine) == ["restore"]  # a reply is under way
    engine.go.set()
    held.join()
    until = time.monotonic() + 5
    while names(session, engine) != ["restore", "save"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)
    session.close()
    assert names(session, engine) == ["restore", "save"]  # nothing is new since


def test_savings_while_idle_stand_apart(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "IDLE_SECONDS", 0.05)
    engine = ScriptedEngine(ready=True)
    session = opened(engine)
    for _ in range(3):
        a_turn(session)
        time.sleep(0.4)
    assert names(session, engine) == ["restore", "save"]
    session.close()
    session.saved.wait()
    assert names(session, engine) == ["restore", "save", "save"]  # leaving does not wait


def test_another_worker_and_other_adapters_need_it_again(opened: Open) -> None:
    engine = ScriptedEngine(ready=True)
    session = opened(engine)
    a_turn(session)
    engine.die()
    assert isinstance(a_turn(session)[-1], ReplyFinished)
    assert names(session, engine) == ["restore", "restore"]
    assert engine.loaded is not None
    engine.loaded = engine.loaded.model_copy()  # as a change of adapters does
    a_turn(session)
    assert names(session, engine) == ["restore", "restore", "restore"]


def test_what_could_not_be_saved_is_said_once(opened: Open) -> None:
    engine = ScriptedEngine(ready=True)
    engine.state_problem = "The state of this chat was not saved (the disk is full); the chat itself is."
    session = opened(engine)
    remarks = []
    for _ in range(4):
        remarks.append([event.text for event in a_turn(session) if isinstance(event, Remark)])
        session.saved._idle(engine)
        session.saved.wait()
    assert remarks == [[], [engine.state_problem], [], []]


def test_what_is_not_to_be_kept_is_only_read(opened: Open) -> None:
    engine = ScriptedEngine(ready=True)
    session = opened(engine, read_only=True)
    a_turn(session)
    session.close()
    assert names(session, engine) == ["restore"]


def test_a_worker_that_dies_of_a_state_takes_the_file_with_it(opened: Open, tmp_path: Path) -> None:
    engine = ScriptedEngine(ready=True)
    session = opened(engine)
    file = Shelf(tmp_path / "states").file(session.chat.id, "key")
    file.parent.mkdir()
    file.write_bytes(b"poison")

    def dies(folder: Path, chat: str) -> Any:
        engine.die()
        del engine.restore_state  # type: ignore[method-assign]
        raise EngineError("worker", "The model's process ended.")

    engine.restore_state = dies  # type: ignore[method-assign]
    assert isinstance(a_turn(session)[-1], ReplyFinished)
    assert not file.exists()


def test_without_a_shelf_nothing_happens(opened: Open) -> None:
    engine = ScriptedEngine(ready=True)
    session = opened(engine)
    session.saved = SavedState(None, session.chat.id)
    a_turn(session)
    session.close()
    assert engine.states == []


@pytest.mark.parametrize(("gigabytes", "limit"), [(None, None), (2.0, 2_000_000_000)])
def test_the_shelf_of_the_settings(tmp_path: Path, gigabytes: float | None, limit: int | None) -> None:
    shelf = shelf_of(tmp_path, gigabytes)
    assert shelf is not None
    assert (shelf.folder, shelf.limit) == (tmp_path, limit)
    assert shelf_of(tmp_path, 0) is None

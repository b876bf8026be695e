"""Texts that are sent or typed before the chat they are meant for is open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chat.engine.scripted import ScriptedEngine
from chat.launch import Launch
from chat.opening import Opening, OpeningError


class Gate:
    """Holds the opening of chats until a test lets it go on, or fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.error = ""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Every chat opens only when the gate does."""
    gate, session = Gate(), Opening.session

    def slowly(opening: Opening, engine: Any = None) -> Any:
        gate.open.wait(20)
        if gate.error:
            line, gate.error = gate.error, ""
            raise OpeningError(line)
        return session(opening, engine)

    monkeypatch.setattr(Opening, "session", slowly)
    yield gate
    gate.open.set()


async def test_what_is_sent_before_the_chat_is_open_is_said_and_answered(play: Any, gate: Gate) -> None:
    engine = ScriptedEngine(["I was waiting."], load_hold=True)
    async with play(engine=engine, wait=False) as p:
        await p.type("Hello")
        await p.press("enter")
        assert p.chat.composer.text == ""
        assert "sent as soon as the chat is open" in p.screen()
        await p.type("half a")
        gate.open.set()
        await p.until(lambda: p.app.desk.session is not None and p.texts[-1] == "Hello")
        await p.until(lambda: "  Hello" in p.lines())
        assert p.chat.composer.text == "half a"
        engine.go_load.set()
        await p.until(lambda: p.texts[-1] == "I was waiting.")
        assert "sent as soon" not in p.screen()


async def test_escape_takes_it_back(play: Any, gate: Gate) -> None:
    async with play(wait=False) as p:
        await p.type("Hello")
        await p.press("enter")
        await p.type("more")
        await p.press("escape")
        assert p.chat.composer.text == "Hello\nmore"
        gate.open.set()
        await p.until(lambda: p.app.desk.session is not None)
        assert len(p.texts) == 1
        assert p.chat.composer.text == "Hello\nmore"


async def test_without_a_model_it_is_in_the_box_again(play: Any, gate: Gate) -> None:
    async with play(model=None, wait=False) as p:
        await p.type("Hello")
        await p.press("enter")
        await p.until(lambda: p.app.engine_status.state == "none")
        gate.open.set()
        await p.until(lambda: p.app.desk.session is not None)
        assert p.chat.composer.text == "Hello"
        assert len(p.texts) == 1


async def test_a_chat_that_cannot_be_opened_gives_it_back(play: Any, gate: Gate) -> None:
    gate.open.set()
    async with play("ok") as p:
        first = p.session.chat.id
        await p.type("a draft")
        gate.open.clear()
        gate.error = "the disk is gone"
        await p.press("ctrl+n")
        assert p.chat.composer.text == ""
        await p.type("Hello")
        await p.press("enter")
        gate.open.set()
        await p.until(lambda: p.app.desk.session is not None)
        assert p.session.chat.id == first
        assert p.chat.composer.text == "a draft\nHello"
        assert "the disk is gone" in p.screen()


async def test_what_is_sent_during_a_change_of_chats_goes_to_the_new_one(play: Any, gate: Gate) -> None:
    gate.open.set()
    async with play("ok") as p:
        first = p.session.chat.id
        gate.open.clear()
        await p.press("ctrl+n")
        await p.type("Hello")
        await p.press("enter", "ctrl+r")
        gate.open.set()
        await p.until(lambda: p.app.desk.session is not None and p.texts[-1] == "ok")
        assert p.session.chat.id != first
        assert p.texts[1:] == ["Hello", "ok"]


async def test_a_start_that_fails_hands_the_text_over(play: Any) -> None:
    async with play(launch=Launch(card="nobody.png"), wait=False) as p:
        p.chat.composer.set_text("Hello")
        await p.until(lambda: p.app.failure)
        assert p.app.unsent == "Hello"

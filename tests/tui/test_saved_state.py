"""What was read of a chat is brought back when it is opened, and saved when it is left."""

from __future__ import annotations

import time
from typing import Any


async def test_it_is_brought_back_before_anything_is_said(play: Any) -> None:
    async with play("ok") as p:
        chat = p.session.chat.id
        await p.until(lambda: p.engine.states == [("restore", chat)])
        await p.say("Hi")
        assert p.engine.states == [("restore", chat)]


async def test_leaving_saves_it(play: Any) -> None:
    async with play("ok") as p:
        chat = p.session.chat.id
        await p.say("Hi")
        await p.press("ctrl+q")
        await p.until(lambda: not p.app.is_running)
        assert p.engine.states == [("restore", chat), ("save", chat)]


async def test_a_chat_that_was_only_read_is_left_at_once(play: Any) -> None:
    async with play("ok") as p:
        await p.until(lambda: p.engine.states)
        started = time.monotonic()
        await p.press("ctrl+q")
        await p.until(lambda: not p.app.is_running)
        assert time.monotonic() - started < 2
        assert [what for what, _ in p.engine.states] == ["restore"]


async def test_another_chat_has_its_own(play: Any) -> None:
    async with play("ok") as p:
        first = p.session.chat.id
        await p.say("Hi")
        p.app.desk.open_card("samuel", new=True)
        await p.until(lambda: p.app.desk.session is not None and p.session.chat.id != first)
        second = p.session.chat.id
        await p.until(lambda: ("restore", second) in p.engine.states)
        assert p.engine.states == [("restore", first), ("save", first), ("restore", second)]


async def test_a_state_that_could_not_be_saved_is_said_in_the_next_turn(play: Any) -> None:
    async with play("One.", "Two.") as p:
        p.engine.state_problem = "The state of this chat was not saved (full); the chat itself is."
        await p.say("Hi")
        p.session.saved._idle(p.engine)
        p.session.saved.wait()
        await p.say("And then?")
        await p.until(lambda: "was not saved" in p.screen())
        assert ".." not in p.screen()
        assert p.texts[-1] == "Two."


async def test_it_is_said_too_when_several_replies_are_next(play: Any) -> None:
    async with play("One.", "Two.", "Three.", size=(100, 30)) as p:
        p.engine.state_problem = "The state of this chat was not saved (full); the chat itself is."
        await p.say("Hi")
        p.session.saved._idle(p.engine)
        p.session.saved.wait()
        await p.type("/swipes 2")
        await p.press("enter")
        await p.until(lambda: "was not saved" in p.screen())

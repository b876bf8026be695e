"""What the screen has read ahead: when typing pauses, after a reply, and never what nobody would send."""

from __future__ import annotations

from typing import Any

import pytest

from chat import idle
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.tui import read_ahead

LONG = "The rain ran down the windows of the library all night long. " * 12


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "SLOW", float("inf"))
    monkeypatch.setattr(idle, "on_battery", lambda: False)
    monkeypatch.setattr(read_ahead, "PAUSE_SECONDS", 0.05)


def drafts(p: Any) -> list[str]:
    return [text for purpose, text in p.engine.prepared if purpose == "draft"]


async def test_what_is_typed_is_read_when_typing_pauses(play: Any) -> None:
    async with play("She smiled.", "She laughed.") as p:
        await p.say("Good evening.")
        await p.type("Come")
        await p.until(lambda: drafts(p))
        assert "Come" in drafts(p)[-1]
        await p.type(" with me.")
        await p.until(lambda: "Come with me." in drafts(p)[-1])
        await p.press("enter")
        await p.idle()
        assert p.engine.requests[-1].prompt == drafts(p)[-1]


async def test_commands_edits_and_an_empty_box_are_no_drafts(play: Any) -> None:
    async with play("She smiled.") as p:
        await p.say("Good evening.")
        await p.type("/note")
        await p.pilot.pause(0.2)
        await p.press("ctrl+c", "escape")
        await p.press("up")
        await p.press("k", "e")
        assert p.chat.actions.editing is not None
        await p.type("Good morning, all of you.")
        await p.pilot.pause(0.2)
        assert drafts(p) == []


async def test_nothing_is_read_ahead_while_a_reply_is_written(play: Any) -> None:
    async with play("She smiled.", ScriptedReply("one two three", hold_after=1)) as p:
        await p.say("Good evening.")
        await p.type("And then?")
        await p.press("enter")
        await p.until(lambda: "  one▌" in p.lines())
        before = len(p.engine.prepared)
        await p.type("I interrupt")
        await p.pilot.pause(0.2)
        assert len(p.engine.prepared) == before
        p.engine.go.set()
        await p.idle()
        await p.until(lambda: drafts(p) and "I interrupt" in drafts(p)[-1])


async def test_after_a_reply_a_full_context_is_prepared(play: Any) -> None:
    async with play(engine=ScriptedEngine([LONG] * 12, context=2048)) as p:
        for _ in range(8):
            await p.say(LONG)
            if any(purpose == "next" for purpose, _ in p.engine.prepared):
                break
        await p.until(lambda: any(purpose == "next" for purpose, _ in p.engine.prepared))
        assert p.session.windows.ahead is not None


async def test_what_was_given_up_for_memory_is_told(play: Any) -> None:
    async with play() as p:
        engine = p.chat.engine
        said = "Memory is short: when the context is full, turns are read as they are needed."
        p.chat.engine = type(engine)("loading")
        p.chat.show_engine(type(engine)("ready", notes=(said,)))
        await p.pilot.pause()
        assert said[:40] in p.screen()

"""What the first frame waits for, and what terminals really send."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from chat.tui.composer import NEW_LINE
from chat.tui.keys import Field, teach_alt_enter, unprinted
from chat.tui.screens.chats import ChatsScreen


def test_the_first_frame_waits_for_no_heavy_import() -> None:
    heavy = ("PIL", "llama_cpp", "numpy", "pydantic", "jinja2", "chat.session")
    script = f"import sys, chat.tui.app; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def keys(sequence: str) -> list[str]:
    parser = XTermParser()
    return [event.key for part in (sequence, "") for event in parser.feed(part)]


@pytest.mark.parametrize(
    ("sequence", "terminal"),
    [
        ("\n", "Ctrl+J everywhere"),
        ("\x1b\r", "Alt+Enter without the Kitty protocol"),
        ("\x1b[13;3u", "Alt+Enter with it"),
        ("\x1b[13;2u", "Shift+Enter with it"),
        ("\x1b[27;2;13~", "Shift+Enter with xterm's modifyOtherKeys"),
        ("\x1b[13;5u", "Ctrl+Enter with it"),
    ],
)
def test_keys_that_begin_a_line_arrive(sequence: str, terminal: str) -> None:
    teach_alt_enter()
    found = keys(sequence)
    assert len(found) == 1, terminal
    assert found[0] in NEW_LINE, terminal


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        ("\r", "enter"),
        ("\x1b[1;3D", "alt+left"),
        ("\x1b[1;3C", "alt+right"),
        ("\t", "tab"),
        ("\x1b[A", "up"),
        ("\x1b", "escape"),
        ("\x1bd", "alt+d"),
        ("\x1bu", "alt+u"),
        ("\x1by", "alt+y"),
        ("\x1b[100;3u", "alt+d"),
    ],
)
def test_keys_that_act_arrive(sequence: str, key: str) -> None:
    assert keys(sequence) == [key]


TYPED = (
    "👨\u200d👩\u200d👧",
    "می\u200cخواهم",
    "❤\ufe0f 1\ufe0f\u20e3",
    "e\u0301 क्\u200dष",
    "a\u00a0b\u3000c\u202fd",
    "a\u200eb\u200fc\u00ad",
    "🏴\U000e0067\U000e0062\U000e007f",
    "\U0001fae8",  # newer than the Unicode tables of Python 3.11
)


@pytest.mark.parametrize("text", TYPED)
async def test_every_character_of_a_text_can_be_typed(play: Any, text: str) -> None:
    parser = XTermParser()
    async with play() as p:
        for event in parser.feed(text):
            p.app.post_message(event)
        await p.until(lambda: p.chat.composer.text == text)


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x9b", "\ud800"])
def test_controls_are_not_typed(character: str) -> None:
    assert unprinted(events.Key("x", character)) == ""


async def test_other_fields_take_them_too(play: Any) -> None:
    async with play() as p:
        await p.press("ctrl+l")
        await p.until(lambda: isinstance(p.app.screen, ChatsScreen))
        for event in XTermParser().feed(TYPED[1]):
            p.app.post_message(event)
        await p.until(lambda: p.app.screen.query_one(Field).value == TYPED[1])

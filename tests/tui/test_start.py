"""What the first frame waits for, and what terminals really send."""

from __future__ import annotations

import subprocess
import sys

import pytest
from textual._xterm_parser import XTermParser

from chat.tui.composer import NEW_LINE
from chat.tui.keys import teach_alt_enter


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
    ],
)
def test_keys_that_act_arrive(sequence: str, key: str) -> None:
    assert keys(sequence) == [key]

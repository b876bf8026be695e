"""Nothing that a terminal would act on passes the gate; what people wrote does."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.display import cells, display_text

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text\n\twith lines", "plain text\n\twith lines"),
        (
            "*she smiles* “Good evening” — 你好 👩\u200d👧 שלום",
            "*she smiles* “Good evening” — 你好 👩\u200d👧 שלום",
        ),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("a\x1b]52;c;aGVsbG8=\x07b", "a␛]52;c;aGVsbG8=␇b"),
        ("a\x9d0;title\x9cb", "a\ufffd0;title\ufffdb"),
        ("a\x00b\x08c\x7fd", "a␀b␈c␡d"),
        ("over\rstrike\r\nline", "over␍strike\nline"),
        ("\u202egnp.exe\u202c", "\ufffdgnp.exe\ufffd"),
        ("a\ud83db", "a\ufffdb"),
        ("one\u2028two\u2029three", "one\ntwo\nthree"),
        (
            "[@click=app.quit]x[/] {{ 7*7 }} {% raw %} </s> <|im_end|>",
            "[@click=app.quit]x[/] {{ 7*7 }} {% raw %} </s> <|im_end|>",
        ),
    ],
)
def test_a_body_of_text_shows_what_was_written(text: str, shown: str) -> None:
    assert display_text(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # CSI: colours, cursor, screen; with and without its end
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b[?1049h\x1b[>4;1mx", "x"),
        ("\x9b31mred", "red"),
        ("end\x1b[38;5", "end"),
        ("end\x1b[", "end"),
        ("\x1b[31\nnext", "next"),
        # OSC: the clipboard, the title, links; ended by BEL, ST or C1 ST
        ("a\x1b]52;c;aGVsbG8=\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x9d0;title\x9cb", "ab"),
        ("\x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("a\x1b]52;c;over\nlines\x07b", "ab"),
        # unterminated control strings take their line, not the pages after it
        ("a\x1b]52;c;aGVsbG8=", "a"),
        ("a\x1b]0;evil\nthe rest", "a the rest"),
        ("a\x9d0;evil", "a"),
        # DCS, APC, PM, SOS
        ("a\x1bPq#0;2;0;0;0\x1b\\b", "ab"),
        ("a\x1b_Gf=100;AAAA\x1b\\b", "ab"),
        ("a\x1b^private\x1b\\b", "ab"),
        ("a\x1bXstart\x1b\\b", "ab"),
        ("a\x90dcs\x9cb\x98sos\x9cc\x9epm\x9cd\x9fapc\x9ce", "abcde"),
        # other escapes: reset, charset, keypad
        ("\x1bcafter", "after"),
        ("\x1b(0lqk", "lqk"),
        ("\x1b=x\x1b>y", "xy"),
        ("last\x1b", "last"),
        ("\x1b\x1b[31mx", "x"),
        # single controls
        ("a\x07b\x08c\x00d\x7fe\x85f", "abcdef"),
        ("over\rstrike\r\nline", "overstrike line"),
        ("a\x0bb\x0cc", "abc"),
        # direction and invisible tags
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("\u2066isolated\u2069", "isolated"),
        ("hi\U000e0041\U000e0042\U000e007f", "hi"),
        ("a\ud83db", "a\ufffdb"),
        ("one\u2028two\u2029three", "one two three"),
    ],
)
def test_a_name_loses_what_a_terminal_would_act_on(text: str, shown: str) -> None:
    assert display_text(text, single_line=True) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two\n\n lines\there ", "two lines here"),
        ("Z" + "\u0301" * 40 + "algo", "Z" + "\u0301" * 4 + "algo"),
        ("a" + "\u200b" * 50 + "b", "a\u200bb"),
        ("\x1b]0;x\x07", ""),
    ],
)
def test_a_single_line(text: str, shown: str) -> None:
    assert display_text(text, single_line=True) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("Samuel", 6, "Samuel"),
        ("Samuel", 5, "Samu…"),
        ("Sam uel", 5, "Sam…"),
        ("吸血鬼サミュエル", 5, "吸血…"),
        ("吸血鬼", 6, "吸血鬼"),
        ("x", 0, ""),
        ("e\u0301" * 4, 4, "e\u0301" * 4),
    ],
)
def test_the_limit_counts_cells(text: str, limit: int, shown: str) -> None:
    assert display_text(text, limit=limit) == shown
    assert cells(shown) <= limit


@given(
    st.text(alphabet=st.characters() | st.sampled_from("\x1b\x9b\x9d\x07[]\\;m\ud800\u202e\n"), max_size=60)
)
def test_nothing_dangerous_is_left_and_twice_is_once(text: str) -> None:
    for single_line in (False, True):
        shown = display_text(text, single_line=single_line)
        assert not CONTROL.search(shown)
        assert display_text(shown, single_line=single_line) == shown
    assert "\n" not in display_text(text, single_line=True)
    assert cells(display_text(text, single_line=True, limit=10)) <= 10


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=80))
def test_what_people_write_is_kept(text: str) -> None:
    assert display_text(text) == text


@pytest.mark.parametrize(
    "piece", ["\x1b]", "\x9d\n", "\x1b[", "\x1b]x\x1b[", "\u200b", "\u0301", "\x1bP\x07"]
)
def test_a_flood_takes_no_time(piece: str) -> None:
    begun = time.perf_counter()
    display_text(piece * 200_000, single_line=True, limit=80)
    assert time.perf_counter() - begun < 2

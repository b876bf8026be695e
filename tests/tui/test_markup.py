"""Which stretches of roleplay text are styled, and that nothing else ever happens to it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.tui.markup import Kind, marks


def styled(text: str, kind: Kind, *, growing: bool = False) -> list[str]:
    return [text[m.start : m.end] for m in marks(text, growing=growing) if m.kind == kind]


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("*He bowed.* Then", "action", ["*He bowed.*"]),
        ("a*b*c", "action", []),
        ("2 * 3 * 4", "action", []),
        ("*open", "action", []),
        ("*one\ntwo*", "action", []),
        ("**All** of it", "bold", ["**All**"]),
        ("**All** of it", "action", []),
        ("***loud***", "bold", ["***loud***"]),
        ("***loud***", "action", ["***loud***"]),
        ('"Late," he said. "Very."', "speech", ['"Late,"', '"Very."']),
        ("“Late,” he said", "speech", ["“Late,”"]),
        ("„Spät“, sagte er", "speech", ["„Spät“"]),
        ("«Tard», dit-il", "speech", ["«Tard»"]),
        ("「遅い」と言った", "speech", ["「遅い」"]),
        ('six feet 5" tall and 6" wide', "speech", []),
        ('"open', "speech", []),
        ('*says* "*softly* yes"', "speech", ['"*softly* yes"']),
        ('*says* "*softly* yes"', "action", ["*says*", "*softly*"]),
        ("`a *b* c`", "code", ["`a *b* c`"]),
        ("`a *b* c`", "action", []),
        ("``a ` b``", "code", ["``a ` b``"]),
        ("`open", "code", []),
        ("```\n*x*\n```\n*y*", "code", ["```\n*x*\n```"]),
        ("```\n*x*\n```\n*y*", "action", ["*y*"]),
        ("```\n*x*", "code", []),
        ("[bold]x[/bold] [@click=app.quit]y[/]", "bold", []),
        ("# no heading\n1) no list", "bold", []),
    ],
)
def test_finds(text: str, kind: Kind, found: list[str]) -> None:
    assert styled(text, kind) == found


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ('She said, "The ro', "speech", ['"The ro']),
        ("*shakes the ra", "action", ["*shakes the ra"]),
        ('"open\nnext', "speech", []),
        ("```\ncode so far", "code", ["```\ncode so far"]),
    ],
)
def test_a_growing_text_is_styled_from_its_first_letter(text: str, kind: Kind, found: list[str]) -> None:
    assert styled(text, kind, growing=True) == found


@given(st.text(alphabet='*"“”„`~ab \n«»', max_size=60), st.booleans())
def test_marks_lie_inside_the_text(text: str, growing: bool) -> None:
    for mark in marks(text, growing=growing):
        assert 0 <= mark.start < mark.end <= len(text)


@pytest.mark.parametrize(
    "text", ["**a " * 30_000, '"a ' * 30_000, "`" * 60_000, "*a" * 30_000, "```\n" * 3_000]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.process_time()
    marks(text)
    assert time.process_time() - start < 2

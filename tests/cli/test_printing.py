"""What the command line writes: harmless for terminals, exact for programs."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.display import display_text
from chat.cli.printing import DisplayStream, write_json

PIECES = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            ["\x1b", "\x1b]", "52;c;aGk=", "\x07", "\x1b[", "31", "m", "\x9b", "\x9d", "\n", "\\", "\x90"]
        ),
    ),
    max_size=12,
)
HARMFUL = {chr(code) for code in (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))}


@given(PIECES)
def test_pieces_of_an_escape_never_get_through(pieces: list[str]) -> None:
    stream = DisplayStream()
    shown = "".join([*(stream.feed(piece) for piece in pieces), stream.end()])
    assert not set(shown) & HARMFUL


@given(st.text(), st.lists(st.integers(0, 30)))
def test_text_comes_out_as_if_it_had_come_whole(text: str, cuts: list[int]) -> None:
    text = text.replace("\n", " ")
    stream = DisplayStream()
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[begin:end] for begin, end in itertools.pairwise(places)]
    assert "".join([*map(stream.feed, pieces), stream.end()]) == display_text(text)


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a\x1b", "]52;c;aGk=", "\x07b"], "ab"),
        (["a\x1b[3", "1mred"], "ared"),
        (["a\x1b]never closed", " still\nnext"], "a\nnext"),
        (["a\x9d0;title", "\x1b", "\\b"], "ab"),
        (["plain ", "text"], "plain text"),
        (["a\x1b"], "a"),
    ],
)
def test_an_escape_over_two_pieces_is_dropped(pieces: list[str], shown: str) -> None:
    stream = DisplayStream()
    assert "".join([*map(stream.feed, pieces), stream.end()]) == shown


def test_plain_text_is_never_held_back() -> None:
    stream = DisplayStream()
    assert stream.feed("He looked ") == "He looked "
    assert stream.feed("up [1] and") == "up [1] and"


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_json_is_exact_and_harmless(value: object) -> None:
    import click
    from click.testing import CliRunner

    @click.command()
    def command() -> None:
        write_json(value)

    data = CliRunner().invoke(command).stdout_bytes
    assert json.loads(data) == value
    assert not set(data.decode("utf-8").rstrip("\n")) & (HARMFUL - {"\n"})

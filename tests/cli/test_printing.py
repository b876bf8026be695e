"""What the command line writes: harmless for terminals, exact for programs."""

from __future__ import annotations

import json

import click
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from chat.cli.printing import stream, write_json

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


def printed(pieces: list[str]) -> str:
    """What `stream` writes for a text in pieces."""

    @click.command()
    def command() -> None:
        for piece in pieces:
            stream(piece)

    return CliRunner().invoke(command).stdout_bytes.decode("utf-8")


@given(PIECES)
def test_pieces_of_an_escape_never_get_through(pieces: list[str]) -> None:
    assert not set(printed(pieces)) & HARMFUL


def test_an_escape_over_two_pieces_shows_as_text() -> None:
    assert printed(["a\x1b", "]52;c;aGk=", "\x07b"]) == "a␛]52;c;aGk=␇b"


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_json_is_exact_and_harmless(value: object) -> None:
    @click.command()
    def command() -> None:
        write_json(value)

    data = CliRunner().invoke(command).stdout_bytes
    assert json.loads(data) == value
    assert not set(data.decode("utf-8").rstrip("\n")) & (HARMFUL - {"\n"})

"""Breaking text into screen rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from chat.tui.rows import wrap


def rows(text: str, width: int) -> list[str]:
    return [text[start:end] for start, end in wrap(text, width)]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("", 5, [""]),
        ("a\n\nb", 5, ["a", "", "b"]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("one     two", 5, ["one", "two"]),
        ("  indented text", 10, ["  indented", "text"]),
        ("supercalifragilistic", 6, ["superc", "alifra", "gilist", "ic"]),
        ("“Then,” he — said", 7, ["“Then,”", "he —", "said"]),
        ("日本語の文章", 5, ["日本", "語の", "文章"]),
        ("ab 日本語", 6, ["ab 日", "本語"]),
        ("👩‍👩‍👧 family", 8, ["👩‍👩‍👧", "family"]),
        ("e\u0301e\u0301e\u0301e\u0301", 2, ["e\u0301e\u0301", "e\u0301e\u0301"]),
    ],
)
def test_rows(text: str, width: int, expected: list[str]) -> None:
    assert rows(text, width) == expected


ALPHABET = "ab  d.é—“”日本👩\n中\u0301"


@given(st.text(alphabet=ALPHABET, max_size=80), st.integers(2, 14))
def test_rows_fit_and_lose_nothing_but_white_space(text: str, width: int) -> None:
    last = 0
    for start, end in wrap(text, width):
        assert last <= start <= end
        assert not text[last:start].strip()
        assert cell_len(text[start:end]) <= width
        last = end
    assert not text[last:].strip()


@given(st.text(alphabet="ab cd.,", max_size=80), st.integers(2, 14))
def test_both_ways_of_wrapping_agree(text: str, width: int) -> None:
    """A wide character on a line of its own sends only that line down the slow way."""
    from chat.tui.rows import _wrap_cells, _wrap_single

    fast: list[tuple[int, int]] = []
    slow: list[tuple[int, int]] = []
    _wrap_single(text, 0, width, fast)
    _wrap_cells(text, 0, width, slow)
    assert [text[a:b].strip() for a, b in fast if text[a:b].strip()] == [
        text[a:b].strip() for a, b in slow if text[a:b].strip()
    ]

"""Thinking told apart from the reply, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.reasoning import PAIRS, THINK, Pair, Piece, Splitter, listed, split, think_tokens


def sorted_pieces(pieces: list[str], inside: Pair | None = None) -> list[Piece]:
    splitter = Splitter(inside=inside)
    found = [piece for text in pieces for piece in splitter.push(text)]
    return [*found, *splitter.finish()]


def whole(found: list[Piece]) -> tuple[str, str]:
    """The text and the thinking of a stream."""
    text, thinking = "", ""
    for kind, piece in found:
        if kind == "all_thinking":
            text, thinking = "", text.strip()
        elif kind == "text":
            text += piece
        else:
            thinking += piece
    return text, thinking


CASES = [
    ("Hello.", "Hello.", ""),
    ("  Hello. \n", "  Hello. \n", ""),
    ("<think>\nHm.\n</think>\n\nHello.", "Hello.", "Hm."),
    ("\n<think>Hm.  Yes.</think>Hello.", "\nHello.", "Hm.  Yes."),
    ("Vesna: <think>Hm.</think> Hello.", "Vesna: Hello.", "Hm."),
    ("<think>\n\n</think>\n\nHello.", "Hello.", ""),
    ("<think>a</think><think>b</think>c", "c", "a\n\nb"),
    ("<think>a\n\nb", "", "a\n\nb"),
    ("Hm, so.\n</think>\n\nHello.", "Hello.", "Hm, so."),
    ("a < b <thin ice> c", "a < b <thin ice> c", ""),
    ("<think>a </thin b</think>c", "c", "a </thin b"),
    ("[THINK]a[/THINK]b", "b", "a"),
    ("<|channel|>analysis<|message|>a<|channel|>final<|message|>b", "b", "a"),
    ("<think>a </thinking> b</think>c", "c", "a </thinking> b"),
    ("<thinking>a</thinking>b", "b", "a"),
    ("b</", "b</", ""),
]


@pytest.mark.parametrize(("stream", "text", "thinking"), CASES)
def test_whole_and_letter_by_letter(stream: str, text: str, thinking: str) -> None:
    assert whole(sorted_pieces([stream])) == (text, thinking)
    assert whole(sorted_pieces(list(stream))) == (text, thinking)
    assert (split(stream).text, split(stream).thinking) == (text, thinking)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.open)
def test_every_known_pair(pair: Pair) -> None:
    assert split(f"{pair.open}\na\n{pair.close}\nb").thinking == "a"
    assert split(f"{pair.open}\na\n{pair.close}\nb").text == "b"


def test_a_block_that_the_prompt_opened() -> None:
    assert sorted_pieces(["\nHm", ".\n</thi", "nk>\n\nHello."], inside=PAIRS[0]) == [
        ("thinking", "Hm"),
        ("thinking", "."),
        ("text", "Hello."),
    ]


def test_thinking_without_an_end() -> None:
    splitter = Splitter()
    assert splitter.push("<think>on and") == [("thinking", "on and")]
    assert splitter.thinking
    assert splitter.finish() == []
    assert splitter.thinking
    assert not split("<think>on and").closed
    assert split("<think>on</think>").closed


def test_nothing_that_may_become_a_marker_is_given_early() -> None:
    splitter = Splitter()
    assert splitter.push("Yes. <thi") == [("text", "Yes. ")]
    assert splitter.push("s>") == [("text", "<this>")]
    assert splitter.push("<think") == []
    assert splitter.push(">x") == [("thinking", "x")]


def test_text_before_a_close_alone_is_called_thinking_once() -> None:
    assert sorted_pieces(["a", "</think>b", "</think>c"]) == [
        ("text", "a"),
        ("all_thinking", ""),
        ("text", "b"),
        ("text", "</think>c"),
    ]


MARKERS = [marker for pair in PAIRS for marker in (pair.open, pair.close)]


@given(
    st.lists(st.sampled_from([*MARKERS, "<th", "ink>", "a", " b", "\n\n", "</", "<|"]), max_size=12),
    st.lists(st.integers(1, 30), max_size=20),
    st.sampled_from([None, *PAIRS]),
)
def test_where_the_stream_is_cut_makes_no_difference(
    parts: list[str], cuts: list[int], inside: Pair | None
) -> None:
    stream, pieces = "".join(parts), []
    rest = stream
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    pieces.append(rest)
    assert whole(sorted_pieces(pieces, inside)) == whole(sorted_pieces([stream], inside))


@given(st.text())
def test_a_text_without_markers_stays_itself(text: str) -> None:
    if not any(marker in text for marker in MARKERS):
        assert split(text).text == text


def test_think_takes_a_number() -> None:
    assert all(value in THINK for value in ("off", "on", "200", "1"))
    assert all(value not in THINK for value in ("N", "0", "-1", "1.5", "maybe", "", "9999999", "²"))
    assert think_tokens("200") == 200
    assert listed(THINK) == "off, on or a number of tokens"
    assert listed(("a", "b")) == "a, b"

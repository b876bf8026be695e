"""Stop strings, trimming and whole characters, however the reply is cut into tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.engine.worker.stream import ReplyStream, StopMatcher


def feed(stream: ReplyStream, pieces: list[bytes], *, ended: bool = True) -> tuple[list[str], str]:
    shown, stop = [], ""
    for piece in pieces:
        text, stop = stream.push(piece)
        shown.append(text)
        if stop:
            break
    shown.append(stream.finish(stopped=bool(stop), ended=ended))
    return shown, stop


def cut(text: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


def expected(text: str, stops: list[str]) -> tuple[str, str]:
    """The earliest stop in the text, the longest of those that begin there: the plain definition."""
    found = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, ""
    place, _, stop = min(found)
    return text[:place], stop


@pytest.mark.parametrize(
    ("pieces", "stops", "text", "stop"),
    [
        (["Hello", "\nUs", "er:", " hi"], ["\nUser:"], "Hello", "\nUser:"),
        (["Hello", "\nUs", "ually"], ["\nUser:"], "Hello\nUsually", ""),
        (["a ABC", "X"], ["ABCD", "BC"], "a A", "BC"),
        (["a ABC", "D"], ["ABCD", "BC"], "a", "ABCD"),
        (["one two three"], ["three", "two"], "one", "two"),
        (["### Inp", "ut:"], ["### Input", "### Inpu"], "", "### Input"),
        (["a", "a", "b"], ["aab", "ab"], "", "aab"),
        (["no stops at all "], [], "no stops at all", ""),
    ],
)
def test_stops_match_in_the_text_not_in_the_tokens(
    pieces: list[str], stops: list[str], text: str, stop: str
) -> None:
    stream = ReplyStream(stops)
    shown, hit = feed(stream, [piece.encode() for piece in pieces])
    assert (stream.text, hit) == (text, stop)
    assert "".join(shown) == text


@given(
    text=st.text("ab\nU:ü🦙", max_size=40),
    stops=st.lists(st.text("ab\nU:", min_size=1, max_size=4), max_size=3),
    places=st.lists(st.integers(0, 200), max_size=12),
)
def test_any_cutting_gives_the_earliest_stop(text: str, stops: list[str], places: list[int]) -> None:
    stream = ReplyStream(stops, keep_leading_space=True)
    shown, _stop = feed(stream, cut(text.encode(), places))
    assert stream.text == expected(text, stops)[0].rstrip()
    assert "".join(shown) == stream.text


@given(
    text=st.text("ab\nU:", max_size=30), stops=st.lists(st.text("ab\nU:", min_size=1, max_size=4), min_size=1)
)
def test_nothing_shown_is_ever_part_of_a_stop(text: str, stops: list[str]) -> None:
    matcher, free = StopMatcher(stops), ""
    for character in text:
        released, stop = matcher.push(character)
        free += released
        assert expected(text, stops)[0].startswith(free)
        if stop:
            break


@given(st.text(max_size=30), st.lists(st.integers(0, 200), max_size=20))
def test_characters_are_never_torn(text: str, places: list[int]) -> None:
    stream = ReplyStream([], keep_leading_space=True)
    shown, _stop = feed(stream, cut(text.encode(), places))
    assert "".join(shown) == text.rstrip()


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    stream = ReplyStream([])
    shown, _stop = feed(stream, [b"Hi ", "🦙".encode()[:3]], ended=False)
    assert "".join(shown) == stream.text == "Hi"


@pytest.mark.parametrize(
    ("pieces", "names", "text"),
    [
        ([" Samuel", ": ", "Good evening"], ["Samuel:"], "Good evening"),
        (["\n\nSam", "uel:\nHello"], ["Samuel:"], "Hello"),
        (["Samuel smiled."], ["Samuel:"], "Samuel smiled."),
        (["Sam"], ["Samuel:"], "Sam"),
        (["Samuel:"], ["Samuel:"], ""),
        (["Samuel smiled."], ["Samuel"], "Samuel smiled."),
        (["  \n Hello"], [], "Hello"),
        (["Hello  ", "\n", " "], [], "Hello"),
        (["Hello  ", "\n", "you"], [], "Hello  \nyou"),
    ],
)
def test_the_opening_and_the_end_are_trimmed(pieces: list[str], names: list[str], text: str) -> None:
    stream = ReplyStream([], names)
    shown, _stop = feed(stream, [piece.encode() for piece in pieces])
    assert "".join(shown) == stream.text == text


def test_a_continued_text_keeps_its_space_but_not_the_one_the_prompt_had() -> None:
    kept, skipped = (
        ReplyStream([], keep_leading_space=True),
        ReplyStream([], keep_leading_space=True, skip_spaces=1),
    )
    feed(kept, [b" and", b" on"])
    feed(skipped, [b" and", b" on"])
    assert (kept.text, skipped.text) == (" and on", "and on")


@pytest.mark.parametrize(
    ("stops", "text", "shown", "stop"),
    [
        (["\nUser:"], "User: hi", "", "\nUser:"),
        (["\nUser:"], "Users: hi", "Users: hi", ""),
        (["\n"], "Hello\nyou", "Hello", "\n"),
        (["\n\n"], "\nHello", "Hello", ""),
    ],
)
def test_a_prompt_that_ended_a_line_counts_for_a_stop_at_the_start(
    stops: list[str], text: str, shown: str, stop: str
) -> None:
    stream = ReplyStream(stops, after_newline=True)
    _shown, hit = feed(stream, [text.encode()])
    assert (stream.text, hit) == (shown, stop)


def test_a_reply_cut_by_its_limit_does_not_leave_half_a_stop() -> None:
    stream = ReplyStream(["\nUser:"])
    feed(stream, [b"Hello", b"\nUs"], ended=False)
    assert stream.text == "Hello"


def test_the_bytes_behind_what_was_shown() -> None:
    stream = ReplyStream(["\nUser:"])
    feed(stream, [" Héllo".encode(), b" \n", b"User:"])
    assert stream.text == "Héllo"
    assert stream.solid_bytes == len(" Héllo".encode())

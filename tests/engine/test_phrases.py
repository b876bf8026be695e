"""Banned phrases, on a vocabulary of single characters and a few words; no model."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.engine.worker.phrases import TRIES, PhraseGuard, fold

PIECES = [bytes([byte]) for byte in range(256)] + [b" shivers", b" down", b"down her", "’".encode()]


def guard_of(*phrases: str, strength: float = 1.0, before: str = "") -> PhraseGuard:
    return PhraseGuard(phrases, strength, len(PIECES), PIECES.__getitem__, before)


def push(guard: PhraseGuard, text: str | list[int], start: int = 0) -> tuple[str, int | None]:
    """What is let out of a text, one byte a token, and where to go back to."""
    tokens = list(text.encode()) if isinstance(text, str) else text
    shown = b""
    for place, token in enumerate(tokens, start):
        back = guard.push(place, token)
        if back is not None:
            return shown.decode(), back
        shown += b"".join(PIECES[held.token] for held in guard.free())
    return shown.decode(), None


def test_harmless_text_is_let_out_at_once() -> None:
    guard = guard_of("shivers down")
    assert push(guard, "a cold wind") == ("a cold wind", None)
    assert guard.flush() == []


@pytest.mark.parametrize("text", ["xshivers down", "xSHIVERS Down", "xsshivers down", "xshishivers down"])
def test_a_phrase_is_held_back_and_taken_back(text: str) -> None:
    guard = guard_of("Shivers down")
    shown, back = push(guard, text)
    begin = text.lower().rindex("shivers")
    assert shown == text[:begin]
    assert back == begin
    assert guard.biases(begin) == {ord(text[begin]): -math.inf}
    assert guard.biases(begin + 1) is None


def test_what_only_began_like_a_phrase_is_let_out() -> None:
    guard = guard_of("shivers down")
    assert push(guard, "shivers") == ("", None)
    assert push(guard, " up", 7) == ("shivers up", None)


def test_the_whole_token_in_which_a_phrase_begins_is_taken_back() -> None:
    guard = guard_of("shivers down")
    assert push(guard, [ord("x"), 256, 257]) == ("x", 1)
    assert guard.biases(1) == {256: -math.inf}


def test_quotation_marks_are_alike_and_characters_may_come_in_parts() -> None:
    guard = guard_of("can't", "’no")
    assert push(guard, "I can’t")[1] == 2
    guard = guard_of("’no")
    assert push(guard, list("a’no".encode())) == ("a", 1)
    assert push(guard_of("ÄÖ"), "xäö")[1] == 1
    assert fold("İZ’") == "İz'"


def test_a_dead_end_is_left_after_a_few_tries() -> None:
    guard = guard_of("ab", "cb", "db", "eb", "fb", "gb")
    banned: list[int] = []
    for first in "abcdefg"[:1] + "cdef":
        assert push(guard, first) == ("", None)
        assert push(guard, "b", 1) == ("", 0)
        banned.append(ord(first))
    assert len(banned) == TRIES
    assert guard.biases(0) == dict.fromkeys(banned, -math.inf)
    assert push(guard, "g") == ("", None)
    assert push(guard, "b", 1) == ("", 1)  # now the beginning stands, and no token may complete it
    assert guard.biases(1) == {ord("b"): -math.inf, ord("B"): -math.inf}
    assert push(guard, "x", 1) == ("gx", None)


def test_every_token_that_would_complete_a_phrase_is_banned_in_a_dead_end() -> None:
    guard = guard_of("shivers d")
    for _ in range(TRIES):
        assert push(guard, [256, 257]) == ("", 0)
    assert push(guard, [256]) == ("", None)
    assert push(guard, [257], 1) == ("", 1)
    assert set(guard.biases(1) or {}) == {257}
    assert push(guard, [ord(" "), ord("D")], 1) == ("", 2)
    assert set(guard.biases(2) or {}) == {ord("d"), ord("D"), 258}


def test_less_strength_makes_less_likely_once() -> None:
    guard = guard_of("ab", strength=0.75)
    assert push(guard, "xab") == ("x", 1)
    assert (guard.biases(1) or {})[ord("a")] == pytest.approx(math.log(0.25))
    assert push(guard, "ab", 1) == ("ab", None)
    assert push(guard, "ab", 3) == ("", 3)


def test_a_phrase_may_begin_in_the_text_that_is_continued() -> None:
    guard = guard_of("shivers down her", before="She felt shivers do")
    assert push(guard, "wn he") == ("", None)
    assert push(guard, "r", 5) == ("", 5)
    assert set(guard.biases(5) or {}) == {ord("r"), ord("R")}
    assert push(guard, "y", 5) == ("wn hey", None)
    soft = guard_of("shivers down her", strength=0.5, before="She felt shivers do")
    assert push(soft, "wn her") == ("wn her", None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ab", "b", "aab", "ba ", "A"]), min_size=1, max_size=3), st.data())
def test_no_phrase_is_ever_let_out(phrases: list[str], data: st.DataObject) -> None:
    guard, shown, place = guard_of(*phrases), "", 0
    letters = [ord(letter) for letter in "abB c"]
    for _ in range(40):
        allowed = [token for token in letters if token not in (guard.biases(place) or {})]
        if not allowed:
            break
        back = guard.push(place, data.draw(st.sampled_from(allowed)))
        if back is not None:
            assert back <= place
            place = back
            continue
        place += 1
        shown += b"".join(PIECES[held.token] for held in guard.free()).decode()
    shown += b"".join(PIECES[held.token] for held in guard.flush()).decode()
    assert not any(phrase.lower() in shown.lower() for phrase in phrases)

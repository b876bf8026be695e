"""Cleaning a reply's end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.output.trimming import trimmed

STOPS = ("\nAlex:", "<|im_end|>", "### Input:")


@pytest.mark.parametrize(
    ("text", "more", "result"),
    [
        ("She left.\nAl", {}, "She left."),
        ("She left.\nAlex", {}, "She left."),
        ("She left. <|im_", {}, "She left."),
        ("She left. <", {}, "She left. <"),
        ("She left. <", {"cut": True}, "She left."),
        ("*She left*", {"cut": True}, "*She left*"),
        ("She left.\n\n### Inp", {}, "She left."),
        ("She left.\nAlex: Bye.", {"user_names": ["Alex"]}, "She left."),
        ("Alex: Bye.", {"user_names": ["Alex"]}, "Alex: Bye."),
        ("She left.\nSamuel: Good.\nSamuel:  Yes.", {"own_name": "Samuel"}, "She left.\nGood.\nYes."),
        ("She left. He was", {"sentences": True}, "She left."),
        ("She left. He was", {}, "She left. He was"),
        ("### Inpu", {}, "### Inpu"),
        ("", {}, ""),
    ],
)
def test_trimming(text: str, more: dict[str, object], result: str) -> None:
    assert trimmed(text, stops=STOPS, **more) == result  # type: ignore[arg-type]


@given(st.text("Alex:<|im_end> \n*.", max_size=40), st.booleans(), st.booleans())
def test_never_empty_and_nothing_but_less(text: str, cut: bool, sentences: bool) -> None:
    result = trimmed(text, stops=STOPS, user_names=["Alex"], own_name="Sam", cut=cut, sentences=sentences)
    assert bool(result.strip()) == bool(text.strip())
    assert len(result) <= len(text) + 3  # at most a mark is closed

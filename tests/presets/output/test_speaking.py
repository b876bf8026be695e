"""Sentences that have the user's persona act or speak."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.output.speaking import UserFinder, is_second_person

ALEX = UserFinder(["Alex"])
YOU = UserFinder(["Alex"], second_person=True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She smiles. Alex nods and sits down. She waits.", ["Alex nods and sits down."]),
        ("*Alex steps back.* She frowns.", ["*Alex steps back.*"]),
        ('"I am fine," Alex says. She laughs.', ['"I am fine," Alex says.']),
        ('She laughs. "No. Never," said Alex quietly.', ['"No. Never," said Alex quietly.']),
        ('Alex says, "Hello there. Good day." She bows.', ['Alex says, "Hello there. Good day."']),
        ("Alex: Hello there.\nShe nods.", ["Alex: Hello there."]),
        ("Slowly Alex turned around.", ["Slowly Alex turned around."]),
        ("She watches as Alex finally opens the door.", ["She watches as Alex finally opens the door."]),
        ("Turning away, Alex drew the map.", ["Turning away, Alex drew the map."]),
        ("Alex was slowly walking home.", ["Alex was slowly walking home."]),
        # Not the persona's doing:
        ("She looks at Alex and smiles.", []),
        ("Alex is tall. Alex has a map.", []),
        ('"Alex runs like a deer," she says.', []),
        ("*She nods.* Alex looks like a ghost today, she thought", []),
        ("She hands Alex the cup.", []),
        ("Alex's coat is wet.", []),
        ("Alexandra nods.", []),
        ("If only Alex would stay.", []),
        ("You nod. You walk away.", []),
        ('"Alex runs, she says\nand falls.', []),
    ],
)
def test_by_name(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in ALEX.spans(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The door creaks. You step inside. It is dark.", ["You step inside."]),
        ('"Fine," you say. She nods.', ['"Fine," you say.']),
        ("You quickly draw your sword.", ["You quickly draw your sword."]),
        ("You see a cave. You are tired. You can go left.", []),
        ('"You promised me," she says to you.', []),
        ("*She smiles.* You came back!", []),
        ("She looks at you and smiles.", []),
        ("You don't know the place.", []),
    ],
)
def test_by_you_in_second_person_cards(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in YOU.spans(text)] == found


def test_the_last_word_of_a_growing_text_waits() -> None:
    assert YOU.spans("You st", growing=True) == []
    assert YOU.spans("You step ", growing=True) == [(0, 8)]


@pytest.mark.parametrize(
    "piece", [" ", "Alex ", "Alex is ", ". ", "...", '"', "as ", "*", "(", ", and ", "lyly"]
)
def test_hostile_text_takes_no_time(piece: str) -> None:
    text = "Alex" + piece * (20_000 // len(piece)) + "x"
    began = time.perf_counter()
    YOU.spans(text)
    YOU.spans(text, growing=True)
    is_second_person([text], ["Alex"])
    assert time.perf_counter() - began < 3


def test_first_and_whole_name() -> None:
    finder = UserFinder(["Alex Morgan"])
    assert len(finder.spans("Alex Morgan bows.\nAlex bows.")) == 2


@pytest.mark.parametrize(
    ("texts", "second"),
    [
        (['*She meets you at the gate and takes your bag.* "Welcome."'], True),
        (['*She meets Alex at the gate.* "You are late. You always are."'], False),
        (["You wake in a cell. You remember nothing."], True),
        (["Hello! How are you? Did you sleep?"], False),
        ([], False),
    ],
)
def test_whether_a_card_says_you(texts: list[str], second: bool) -> None:
    assert is_second_person(texts, ["Alex"]) == second


PROSE = st.lists(
    st.sampled_from(
        ["Alex", " nods", ".", "!", '"', "*", "\n", " ", "You", " said", ",", " and", ":", "“", "”"]
    ),
    max_size=25,
).map("".join)


@given(PROSE)
def test_spans_lie_in_the_text_apart_and_within_lines(text: str) -> None:
    spans = YOU.spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    assert all("\n" not in text[start:end] for start, end in spans)

"""Sentence ends, and closing what a cut leaves open."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.output.sentences import close, next_end, sentence_spans, trim_incomplete


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("She left. He stayed.", ["She left.", "He stayed."]),
        ('"Stop!" he said. "Now."', ['"Stop!" he said.', '"Now."']),
        ("*She nods.* Fine.", ["*She nods.*", "Fine."]),
        ("I... don't know. Well", ["I... don't know.", "Well"]),
        ("Mr. Vale came at 3.14 sharp. He sat.", ["Mr. Vale came at 3.14 sharp.", "He sat."]),
        ("One line\n\nTwo lines", ["One line", "Two lines"]),
        ('"Wait—" She froze.', ['"Wait—"', "She froze."]),
        ("她走了。「好！」他说。", ["她走了。", "「好！」", "他说。"]),
        ("", []),
    ],
)
def test_sentences(text: str, ends: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == ends


def test_an_end_is_certain_only_when_what_follows_is_seen() -> None:
    assert next_end('"Stop!') is None
    assert next_end('"Stop!"') is None
    assert next_end('"Stop!" he') is None
    assert next_end('"Stop!" He') == 7
    assert next_end('"Stop!"', final=True) == 7
    assert next_end("Gone.\n") == 5
    assert next_end("One. Two. Three", 5) == 9


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("*She turns", "*She turns*"),
        ('"Come here', '"Come here"'),
        ('*She says, "Come', '*She says, "Come"*'),
        ("**Bold and *both", "**Bold and *both***"),
        ("“Komm", "“Komm”"),
        ("He nods. *", "He nods."),
        ('He nods. "', "He nods."),
        ("*One* and two", "*One* and two"),
        ("*open line\nnext", "*open line\nnext"),
        ("5'10\" tall", "5'10\" tall"),
        ("2 * 3 is 6", "2 * 3 is 6"),
        ("", ""),
    ],
)
def test_closing(text: str, closed: str) -> None:
    assert close(text) == closed


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("She left. He was go", "She left."),
        ('"I am. I was', '"I am."'),
        ("He nods. *She walks to", "He nods."),
        ("no end at all", "no end at all"),
        ("Don’t go and", "Don’t go and"),
        ("Done.", "Done."),
        ("Fine 🙂 and then", "Fine 🙂"),
        ("I saw Mr. Vale", "I saw Mr. Vale"),
    ],
)
def test_trimming_an_incomplete_sentence(text: str, trimmed: str) -> None:
    assert trim_incomplete(text) == trimmed


PROSE = st.lists(
    st.sampled_from(["She", " nods", ".", "!", '"', "*", "**", "\n", " ", "“", "”", "…", "a", "。", "—"]),
    max_size=30,
).map("".join)


@given(PROSE)
def test_closing_twice_changes_nothing_more(text: str) -> None:
    assert close(close(text)) == close(text)


@given(PROSE)
def test_sentences_hold_every_letter_in_order(text: str) -> None:
    spans = sentence_spans(text)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert "".join("".join(text[s:e] for s, e in spans).split()) == "".join(text.split())


@given(PROSE, st.integers(0, 40))
def test_more_text_never_moves_a_certain_end(text: str, start: int) -> None:
    whole = next_end(text, start)
    for length in range(len(text)):
        early = next_end(text[:length], start)
        assert early is None or early == whole


@given(PROSE)
def test_trimming_keeps_something(text: str) -> None:
    assert bool(trim_incomplete(text)) == bool(text.rstrip())

"""What is shown of a reply while it comes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.output.speaking import UserFinder
from presets.output.stream import Limits, OutputStream
from presets.reasoning import PAIRS


def words(text: str) -> int:
    return len(text.split())


def run(text: str, *, size: int | None = None, **more: object) -> OutputStream:
    stream = OutputStream(count=words, **more)  # type: ignore[arg-type]
    pieces = re.findall(r"\s*\S+|\s+", text) if size is None else re.findall(rf"(?s).{{1,{size}}}", text)
    shown = ""
    for piece in pieces:
        for kind, part in stream.push(piece):
            shown = "" if kind == "all_thinking" else shown + part if kind == "text" else shown
        assert stream.text == shown
        if stream.ended:
            return stream
    for kind, part in stream.finish():
        shown += part if kind == "text" else ""
    assert stream.text == shown
    return stream


STORY = (
    'She sat down. *He watched her, and then he said, "Stay with me. Please." And left.* The end came. More'
)


@pytest.mark.parametrize(
    ("target", "text", "ended"),
    [
        (1, "She sat down.", "reply_length"),
        (3, "She sat down.", "reply_length"),
        (5, 'She sat down. *He watched her, and then he said, "Stay with me."*', "reply_length"),
        (15, 'She sat down. *He watched her, and then he said, "Stay with me. Please."*', "reply_length"),
        (21, STORY, ""),
        (None, STORY, ""),
    ],
)
def test_a_soft_target_ends_at_a_sentence_and_closes_it(target: int | None, text: str, ended: str) -> None:
    stream = run(STORY, limits=Limits(target=target))
    assert (stream.text, stream.ended) == (text, ended)


def test_a_sentence_without_an_end_gets_80_tokens_more() -> None:
    stream = run('*She said, "' + "on and " * 200, limits=Limits(target=10))
    assert stream.ended == "overtime"
    assert 80 <= words(stream.text) <= 91
    assert stream.text.endswith('"*')


def test_a_paragraph_is_an_end_too() -> None:
    stream = run("one two three\n\nfour five", limits=Limits(target=3))
    assert (stream.text, stream.ended) == ("one two three", "reply_length")


def test_thinking_is_not_text_and_does_not_count() -> None:
    stream = run(
        "<think>\n" + "hm " * 50 + "</think>\n\nSam: She sat. He went.", limits=Limits(4), own_name="Sam"
    )
    assert stream.thinking == ("hm " * 50).strip()
    assert stream.text == "She sat. He went."
    assert stream.raw.startswith("<think>")


def test_a_block_that_the_prompt_opened() -> None:
    stream = run("well</think>She sat.", inside=PAIRS[0])
    assert (stream.thinking, stream.text) == ("well", "She sat.")


def test_text_before_a_lone_close_was_thinking() -> None:
    stream = run("Let me see. So </think> She sat.")
    assert (stream.thinking, stream.text) == ("Let me see. So", "She sat.")


def test_a_hard_limit_counts_the_text_alone() -> None:
    stream = run("<think>a b c d</think>one two three four", limits=Limits(hard=3))
    assert (stream.text, stream.ended) == ("one two three", "limit")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("She smiles. Alex nods and sits. She waits.", "She smiles."),
        ('She smiles. "I am here. Now," Alex says. She waits.', "She smiles."),
        ('*She smiles and says, "Well." Alex sits.*', '*She smiles and says, "Well."*'),
        ("She smiles. She waits.", "She smiles. She waits."),
        ("Alex nods. She waits.", "Alex nods. She waits."),
        ("She smiles.\n\nAlex: Hello", "She smiles."),
        ("She smiles. Alex nods", "She smiles."),
    ],
)
def test_the_reply_ends_before_the_user_acts(text: str, shown: str) -> None:
    stream = run(text, finder=UserFinder(["Alex"]))
    if stream.ended == "":
        stream.finish()
    assert stream.text == shown
    assert run(text, finder=UserFinder(["Alex"]), size=1).text == shown


PROSE = st.lists(
    st.sampled_from(
        ["She", " nods", ".", " ", '"', "*", "\n", " Alex nods.", "</think>", "<think>", " and", ", ", "Sam:"]
    ),
    max_size=30,
).map("".join)


@given(PROSE, st.integers(1, 9), st.sampled_from([None, 3, 10]), st.booleans())
def test_what_was_shown_is_only_added_to_and_raw_is_whole(
    text: str, size: int, target: int | None, finds: bool
) -> None:
    finder = UserFinder(["Alex"]) if finds else None
    stream = run(text, size=size, limits=Limits(target), finder=finder, own_name="Sam")
    assert text.startswith(stream.raw)
    assert stream.ended or stream.raw == text
    assert "think>" not in stream.text or text.count("think>") > 1


@given(PROSE)
def test_without_limits_all_text_is_shown(text: str) -> None:
    if "think>" not in text:
        assert run(text).text == text.rstrip()

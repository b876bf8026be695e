"""The repetition watch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.output.repetition import Repetition, find_repetition, longest_shared_run, remark
from presets.sampling import Sampling

RUN = "the rain drummed softly on the old tin roof of the shed"


@pytest.mark.parametrize(
    ("text", "earlier", "found"),
    [
        (f"Then {RUN}, again.", [f"Once, {RUN.upper()}!"], Repetition("words", 12)),
        ("She tilts her head slowly and grins.", ["She tilts her head. No."] * 2, Repetition("opening", 2)),
        ("She tilts her head slowly and grins.", ["She tilts her head. No."], None),
        ('*a*\n"b"\nc', ['*d*\n"e"\nf', '*g*\n\n"h"\n\ni', '*j*\n"k"\nl'], Repetition("skeleton", 3)),
        ("She nodded.", ["She nodded."] * 10, None),
        ("Fresh words.", [], None),
        ("", ["", "", ""], None),
    ],
)
def test_what_is_found(text: str, earlier: list[str], found: Repetition | None) -> None:
    assert find_repetition(text, earlier) == found


def test_only_the_last_ten_count() -> None:
    assert find_repetition(RUN, [RUN, *["x"] * 9]) is not None
    assert find_repetition(RUN, [RUN, *["x"] * 10]) is None


@pytest.mark.parametrize(
    ("kind", "sampling", "help"),
    [
        ("words", Sampling(), "dry_multiplier=0.8"),
        ("words", Sampling(dry_multiplier=0.8), "repeat_penalty=1.1"),
        ("opening", Sampling(), "xtc_probability=0.5"),
        ("skeleton", Sampling(xtc_probability=0.5), "reply_length=short"),
    ],
)
def test_the_remark_names_a_setting_that_is_not_on(kind: str, sampling: Sampling, help: str) -> None:
    line = remark(Repetition(kind, 3), sampling)  # type: ignore[arg-type]
    assert help in line
    assert "\n" not in line


WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@given(WORDS, st.lists(WORDS, max_size=3))
def test_the_longest_run_is_the_longest(words: list[str], others: list[list[str]]) -> None:
    runs = [
        n
        for other in others
        for i in range(len(words))
        for n in range(1, len(words) - i + 1)
        if any(other[j : j + n] == words[i : i + n] for j in range(len(other)))
    ]
    assert longest_shared_run(words, others) == max(runs, default=0)

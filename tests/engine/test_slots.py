"""The sequences beside each other in one cache: what each holds, what they share, who has to go."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.engine.worker.llama import Context
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.slots import Slots
from chat.engine.worker.tokens import Tokenized, Vocabulary


class Cells:
    """The bookkeeping of llama.cpp's unified cache, cell by cell."""

    def __init__(self, cells: int = 1000, sequences: int = 4, *, goes_back: bool = True) -> None:
        self.cells, self.sequences, self.goes_back = cells, sequences, goes_back
        self._new = count()
        self.held: dict[int, list[int]] = {number: [] for number in range(sequences)}

    def fill(self, number: int, tokens: int) -> None:
        self.held[number] += [next(self._new) for _ in range(tokens)]

    def copy(self, source: int, target: int, end: int) -> None:
        assert not self.held[target]
        self.held[target] = self.held[source][: None if end < 0 else end]

    def remove(self, number: int, start: int) -> bool:
        if not self.goes_back and start < len(self.held[number]):
            return False
        del self.held[number][start:]
        return True

    def clear(self, number: int) -> None:
        self.held[number] = []

    @property
    def used(self) -> int:
        return len({cell for cells in self.held.values() for cell in cells})


def slots(cells: Cells) -> Slots:
    return Slots(cast(Context, cells), cast(Vocabulary, None))


def fill(sequence: LiveSequence, text: str) -> LiveSequence:
    """A token a letter."""
    cast(Any, sequence.context).fill(sequence.number, len(text))
    sequence.cache.add([ord(letter) for letter in text], [letter.encode() for letter in text])
    sequence.cache.solid = sequence.length
    return sequence


def text(sequence: LiveSequence) -> str:
    return b"".join(sequence.cache.images).decode()


def prompt(text: str) -> Tokenized:
    tokens = Tokenized()
    for place, letter in enumerate(text):
        tokens.add(ord(letter), letter.encode(), place)
    return tokens


STEPS = st.lists(
    st.tuples(st.sampled_from(["fill", "keep", "fork", "fresh", "promote", "drop"]), st.integers(0, 30)),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_shared_cells_count_once_whatever_happened(steps: list[tuple[str, int]], dice: Any) -> None:
    cells = Cells()
    held = slots(cells)
    for step, number in steps:
        sequence = dice.choice([held.main, *held.others])
        match step:
            case "fill":
                fill(sequence, "x" * number)
            case "keep":
                sequence.keep(min(number, sequence.length))
            case "fork":
                end = min(number, sequence.length)
                assert held.fork(sequence, end).length == end
            case "fresh":
                assert held.fresh().length == 0
            case "promote":
                held.promote(sequence)
            case "drop":
                held.drop(sequence)
        assert held.cells_used == cells.used
        assert held.cells_free == cells.cells - cells.used
        assert {one.number: one.length for one in (held.main, *held.others)} == {
            one.number: len(cells.held[one.number]) for one in (held.main, *held.others)
        }
    assert len(held.others) <= cells.sequences - 1


def test_the_best_sequence_is_the_one_that_keeps_most_and_the_chats_own_on_a_tie() -> None:
    held = slots(Cells())
    fill(held.main, "header, old, new")
    fork = fill(held.fork(held.main, len("header, ")), "new and more")
    assert held.best(prompt("header, old, new!")) is held.main
    assert held.best(prompt("header, new and so on")) is fork
    assert held.best(prompt("header, ")) is held.main
    assert held.best(prompt("something else")) is held.main


def test_what_was_used_longest_ago_goes_first() -> None:
    held = slots(Cells(cells=100))
    fill(held.main, "m" * 40)
    first, second, third = (fill(held.fork(held.main, 40), letter * 10) for letter in "abc")
    assert held.cells_free == 30
    held.best(prompt("m" * 40 + "aaa"))
    assert held.make_room(35)
    assert held.others == (third, first)
    assert not held.make_room(90, spared=(first,))
    assert held.others == (first,)
    assert second.length == third.length == 0
    assert text(held.main) == "m" * 40


def test_where_all_numbers_are_taken_the_oldest_gives_its_own() -> None:
    held = slots(Cells(sequences=3))
    fill(held.main, "main")
    first, second = held.fork(held.main, 4), held.fork(held.main, 2)
    third = held.fork(first, 3)  # the source of a fork is never dropped for it
    assert held.others == (first, third)
    assert second.length == 0
    with pytest.raises(RuntimeError, match="no sequence left"):
        held.fresh(spared=(first, third))


def test_what_becomes_the_chats_leaves_the_old_one_beside_it() -> None:
    held = slots(Cells())
    before = fill(held.main, "before")
    fork = fill(held.fork(before, 2), "tter")
    assert held.promote(fork) is before
    assert (held.main, held.others) == (fork, (before,))
    held.drop(held.main)
    assert text(held.main) == "better"
    held.drop(before)
    assert (held.others, held.cells_used) == ((), 6)


def test_a_fork_of_a_model_that_cannot_go_back_is_whole_or_empty() -> None:
    held = slots(Cells(goes_back=False))
    fill(held.main, "state")
    assert text(held.fork(held.main, 5)) == "state"
    assert held.fork(held.main, 3).length == 0

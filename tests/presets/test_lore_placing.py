"""Cache-friendly lore: where entries stand, and how much of a prompt is read again because of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.card import Card, card_from_document
from chat.lore import LoreMemory
from chat.prompting import prompt_of
from presets.library import PresetLibrary
from presets.lore_placing import LoreScan, moving_depth, settled_lore
from presets.values import AuthorsNote, Budget, LoreInsertion, Persona, Prompt, Segment, Turn, Window

LIBRARY = PresetLibrary(None)
WORDS = [f"w{number}" for number in range(400)]
TURNS = 60


def count(segments: Sequence[Segment]) -> list[int]:
    """Tokens: a word with the space before it, a mark alone; each belongs where it begins."""
    counts = [0] * len(segments)
    ends: list[int] = []
    for segment in segments:
        ends.append((ends[-1] if ends else 0) + len(segment.text))
    at = 0
    for token in re.finditer(r" ?\w+|\s+|.", "".join(s.text for s in segments), re.DOTALL):
        while token.start() >= ends[at]:
            at += 1
        counts[at] += 1
    return counts


def tokens(text: str) -> list[str]:
    return re.findall(r" ?\w+|\s+|.", text, re.DOTALL)


def card_with_book(entries: list[dict[str, Any]]) -> Card:
    book = {"name": "Isles", "entries": entries}
    data = {"name": "Vesna", "description": "A keeper of the light. " * 10, "character_book": book}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def a_book(number: int, size: int) -> list[dict[str, Any]]:
    """Half of the entries stand before the character, half at depth 4; each has a key of its own."""
    return [
        {
            "keys": [f"key{n}"],
            "content": f"fact {n} " + " ".join(Random(n).choices(WORDS, k=size)),
            "name": f"entry {n}",
            "enabled": True,
            "insertion_order": n,
            "extensions": {"position": 0 if n % 2 else 4, "depth": 4},
        }
        for n in range(number)
    ]


def spoken(number: int, length: int, dice: Random, keys: float) -> Turn:
    """A message; now and then it names a key of the book."""
    said = dice.choices(WORDS, k=length)
    if dice.random() < keys:
        said[dice.randrange(length)] = f"key{dice.randrange(60)}"
    return Turn("char" if number % 2 == 0 else "user", "", " ".join(said), f"message {number}")


def common(one: str, other: str) -> str:
    shorter = min(len(one), len(other))
    end = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    return one[:end]


def read_again(way: str, keys: float, size: int, *, length: int = 40, room: int = 1800) -> list[int]:
    """Tokens read in each of 60 prompts of a full context beyond what stood in the one before.

    A prompt whose history left in a block is compared with the one before without those turns, as it is read
    ahead while the user writes.
    """
    card, dice = card_with_book(a_book(60, size)), Random(7)
    format, persona, memory = LIBRARY.format("chatml"), Persona("Alex"), LoreMemory()
    options = {"lore": way, "note": "Keep it short and dry.", "note_depth": "4"}
    budget = Budget(room, count)
    turns = [spoken(n, length, dice, keys) for n in range(80)]
    window = Window()
    read: list[int] = []

    def made(turns: list[Turn], window: Window) -> Prompt:
        return prompt_of(
            card, persona, format, turns, options=options, budget=budget, window=window, memory=memory
        )

    before = made(turns, window)
    for _ in range(TURNS):
        window = before.window
        number = len(turns)
        reply = spoken(number, length, dice, keys)
        turns = [*turns, reply, spoken(number + 1, length, dice, keys)]
        prompt = made(turns, window)
        cached = f"{before.text} {reply.text}"
        if prompt.window != window:
            cached = made([*turns[:-1]], prompt.window).text
        read.append(len(tokens(prompt.text)) - len(tokens(common(prompt.text, cached))))
        before = prompt
    return read


def p95(values: Sequence[int]) -> int:
    return sorted(values)[int(len(values) * 0.95) - 1]


EIGHT_MESSAGES = 8 * len(tokens("<|im_start|>user\nAlex: " + " ".join(WORDS[:40]) + "<|im_end|>\n"))


@pytest.mark.parametrize(("keys", "size"), [(0.3, 30), (0.7, 30), (1.0, 15)])
def test_little_is_read_again(keys: float, size: int) -> None:
    """Sixty turns of a full context, an author's note at depth 4, sixty entries, half of them at depth 4."""
    friendly, faithful = read_again("cache-friendly", keys, size), read_again("faithful", keys, size)
    assert p95(friendly) <= EIGHT_MESSAGES
    assert p95(faithful) > 2 * EIGHT_MESSAGES
    assert sum(friendly) < sum(faithful) / 1.2


# Where entries stand ------------------------------------------------------------------------------------


def entry(name: str, position: Any = "before_char", depth: int = 4, **more: Any) -> LoreInsertion:
    return LoreInsertion(f"{name} says", f"lore a/{name}", position, depth, **more)


def stands(
    *fired: tuple[int, str], sizes: int = 10, moving: int = 0, room: int | None = None, first: int = 0
) -> dict[str, str]:
    """Where each entry stands after scans (chat's length, names that fire): `head`, or `N` turns before the
    end."""
    scans = [LoreScan(length, [ENTRIES[name] for name in names.split()], moving) for length, names in fired]
    placed = settled_lore(scans, [sizes] * scans[-1].length, len, first=first, room=room)
    return {
        one.source.removeprefix("lore a/"): str(one.depth) + ("" if one.settled else " moving")
        if one.position == "depth"
        else one.position
        for one in placed
    }


ENTRIES = {
    "a": entry("a"),
    "b": entry("b", "after_char"),
    "d": entry("d", "depth"),
    "end": entry("end", "depth", 0),
    "c": entry("c", "depth", 3, constant=True),
    "n": entry("n", "note_top"),
    "o": entry("o", "outlet"),
    "x": entry("x", "examples_bottom"),
}

PLACES: list[tuple[str, list[tuple[int, str]], dict[str, Any], dict[str, str]]] = [
    (
        "at first each has its own place",
        [(5, "a b d x n o")],
        {},
        {
            "a": "before_char",
            "b": "after_char",
            "d": "4",
            "x": "examples_bottom",
            "n": "note_top",
            "o": "outlet",
        },
    ),
    ("one in the head stays", [(2, "a"), (4, ""), (6, "")], {}, {"a": "before_char"}),
    ("one that fires late stands before the last turn", [(2, ""), (4, "a")], {}, {"a": "1"}),
    ("and stays between its two messages", [(2, ""), (4, "a"), (6, "a"), (8, "")], {}, {"a": "5"}),
    ("lore of the examples too", [(2, ""), (4, "x")], {}, {"x": "1"}),
    ("one at a depth no less", [(2, ""), (4, "d"), (6, ""), (8, "")], {}, {"d": "5"}),
    ("with a note that moves it stands beside it", [(2, ""), (8, "a")], {"moving": 4}, {"a": "4"}),
    ("never deeper than four", [(2, ""), (8, "a")], {"moving": 9}, {"a": "4"}),
    ("taken out where that costs nothing", [(2, ""), (8, "a"), (10, "")], {"moving": 4}, {}),
    ("kept where it costs more", [(2, ""), (8, "a"), (10, "a"), (12, "")], {"moving": 4}, {"a": "8"}),
    ("taken out where turns are short", [(2, ""), (4, "a"), (6, "")], {"sizes": 1}, {}),
    ("what comes and goes", [(2, ""), (8, "a"), (10, ""), (12, "a")], {"moving": 4}, {"a": "4"}),
    ("always at the end", [(2, "end c"), (4, "end c")], {}, {"end": "0 moving", "c": "3 moving"}),
    ("on the note only while it fires", [(2, "n o"), (4, "")], {}, {}),
    (
        "no room: the latest goes first",
        [(2, "a"), (4, "b"), (6, "d")],
        {"room": 12},
        {
            "a": "before_char",
            "d": "1",
        },
    ),
    ("no room: what fires stays all the same", [(2, ""), (4, "a b")], {"room": 3}, {"a": "1", "b": "1"}),
]


@pytest.mark.parametrize(("case", "fired", "more", "where"), PLACES, ids=[case for case, *_ in PLACES])
def test_places(case: str, fired: list[tuple[int, str]], more: dict[str, Any], where: dict[str, str]) -> None:
    assert stands(*fired, **more) == where


@given(
    fired=st.lists(st.tuples(st.integers(1, 4), st.sets(st.sampled_from(sorted(ENTRIES)))), max_size=12),
    sizes=st.integers(0, 30),
    moving=st.integers(0, 6),
    room=st.none() | st.integers(0, 40),
)
def test_what_fires_stands_once_and_what_stands_keeps_its_place(
    fired: list[tuple[int, set[str]]], sizes: int, moving: int, room: int | None
) -> None:
    length, scans = 0, []
    for step, names in fired:
        length += step
        scans.append(LoreScan(length, [ENTRIES[name] for name in sorted(names)], moving))
    before: dict[str, LoreInsertion] = {}
    ever: set[str] = set()
    for end in range(1, len(scans) + 1):
        found = settled_lore(scans[:end], [sizes] * length, len, first=0, room=room)
        assert found == settled_lore(scans[:end], [sizes] * length, len, first=0, room=room)
        now = {one.source: one for one in found}
        assert len(now) == len(found)
        fires = {one.source for one in scans[end - 1].fired}
        ever |= fires
        assert fires <= now.keys() <= ever
        if room is not None and now.keys() != fires:
            assert sum(len(one.text) for one in found) <= room
        for source, one in now.items():
            known = before.get(source)
            if known is None or not (one.settled and known.settled):
                continue
            place, stood = scans[end - 1].length - one.depth, scans[end - 2].length - known.depth
            assert place == stood or place >= scans[end - 1].length - 4
        before = now


def test_what_moves() -> None:
    card = card_with_book([])
    assert moving_depth(card, Persona(), AuthorsNote(), []) == 0
    assert moving_depth(card, Persona(), AuthorsNote("x", 3), []) == 3
    assert moving_depth(card, Persona(), AuthorsNote("", 3), [ENTRIES["n"]]) == 3
    assert moving_depth(card, Persona("A", "x", "depth", 6), AuthorsNote("x", 3), []) == 6
    assert moving_depth(card, Persona("A", " ", "depth", 6), AuthorsNote(), []) == 0
    assert moving_depth(card, Persona("A", "", "note_top"), AuthorsNote(), []) == 0
    assert moving_depth(card, Persona("A", "x", "note_top"), AuthorsNote("", 5), []) == 5
    assert moving_depth(card, Persona("A", "x"), AuthorsNote(), [ENTRIES["c"], ENTRIES["d"]]) == 3
    noted = card.edited("data.extensions.depth_prompt", {"prompt": "p", "depth": 7})
    assert moving_depth(noted, Persona(), AuthorsNote(), []) == 7


# In prompts ---------------------------------------------------------------------------------------------


def test_late_lore_stands_between_messages_and_the_head_stays() -> None:
    card = card_with_book(a_book(4, 3))
    turns = [Turn("char", "", "Hm.", "message 0"), Turn("user", "", "Hello.", "message 1")]

    def made(turns: list[Turn], way: str) -> str:
        return prompt_of(card, Persona("Alex"), LIBRARY.format("chatml"), turns, options={"lore": way}).text

    first = made(turns, "cache-friendly")
    assert first == made(turns, "faithful")
    turns += [Turn("char", "", "Yes?", "message 2"), Turn("user", "", "What of key1?", "message 3")]
    second = made(turns, "cache-friendly")
    assert second.startswith(first + " Yes?<|im_end|>\n<|im_start|>system\nfact 1 ")
    assert not made(turns, "faithful").startswith(first)
    turns += [Turn("char", "", "A long story. " * 5, "message 4"), Turn("user", "", "And?", "message 5")]
    turns += [Turn("char", "", "Long ago. " * 5, "message 6"), Turn("user", "", "Go on, go on.", "message 7")]
    assert made(turns, "cache-friendly").startswith(second)
    assert "fact 1" not in made(turns, "faithful")


def test_a_text_that_comes_and_goes_at_the_note_moves_nothing_else() -> None:
    """An entry above the author's note fires now and then: what has its place keeps it."""
    book = [*a_book(4, 3), {**a_book(1, 3)[0], "keys": ["sea"], "name": "sea", "content": "The sea."}]
    book[-1]["extensions"] = {"position": 2}
    card = card_with_book(book)
    turns = [spoken(n, 20, Random(n), 0) for n in range(2)]
    for number in range(2, 14, 2):
        more = {2: "key1 key2", 6: "sea", 10: "sea"}.get(number, "")
        turns.append(Turn("char", "", "word " * 20, f"message {number}"))
        turns.append(Turn("user", "", f"{more} " + "word " * 20, f"message {number + 1}"))
        prompt = prompt_of(
            card, Persona("Alex"), LIBRARY.format("chatml"), turns, options={"lore": "cache-friendly"}
        )
        text = prompt.text.split("fact 1")
        assert len(text) == 2
        assert text[0].count("word") == 20
        assert ("The sea." in prompt.text) == (more == "sea")


def test_memory_changes_nothing_and_branches_have_lore_of_their_own() -> None:
    card = card_with_book(a_book(60, 5))
    memory, dice = LoreMemory(), Random(3)
    trunk = [spoken(n, 8, dice, 1.0) for n in range(11)]
    branches = [[*trunk, *(spoken(n, 8, dice, 1.0) for n in range(11, 20))] for _ in range(2)]
    shared = [[Turn(t.role, "", t.text, f"{t.source}/{k}") for t in b] for k, b in enumerate(branches)]
    seen = set()
    for turns in (*branches, *shared, *branches):
        for end in (len(turns), 16, 12):
            made = [
                prompt_of(
                    card,
                    Persona("Alex"),
                    LIBRARY.format("chatml"),
                    turns[:end],
                    options={"lore": "cache-friendly"},
                    budget=Budget(2000, count),
                    memory=known,
                )
                for known in (memory, None)
            ]
            assert made[0] == made[1]
            seen.add(made[0].text)
    assert len(seen) >= 5

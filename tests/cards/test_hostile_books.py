"""Books of thousands of entries: each is read once, and looked at again only where something changed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from entries_read import count_entries
from hypothesis import given, settings
from hypothesis import strategies as st

from cards import activation, limits
from cards.book import Lorebook
from cards.lore_values import Activation, LoreSettings
from cards.reading import read_card

WORDS = tuple("abcdefgh")


def entry(*keys: str, content: str = "text", **more: Any) -> dict[str, Any]:
    return {"keys": list(keys), "content": content, "enabled": True, "insertion_order": 1, **more}


def test_an_entry_of_a_card_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {
            "name": "A",
            "first_mes": "hello",
            "character_book": {"entries": [entry(f"k{n}") for n in range(50)]},
        },
    }
    read = count_entries(monkeypatch)
    card, _ = read_card(json.dumps(document).encode(), "a.json")
    assert card.character_book is not None
    assert len(card.character_book.entries) == 50
    assert read == list(range(50))


def test_a_chain_looks_at_what_each_link_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    links = [entry(f"key{n}x", content=f"key{n + 1}x") for n in range(400)]
    judged: list[Any] = []
    real = activation._Scan._judge
    monkeypatch.setattr(activation._Scan, "_judge", lambda scan, at: (judged.append(at), real(scan, at))[1])
    found = activation.activate(Lorebook.read({"entries": links}), ["key0x"], dice=Random(0))
    assert len(found.fired) == limits.LORE_STEPS + 1
    assert len(judged) < len(links) + 3 * limits.LORE_STEPS


def test_what_has_no_room_is_not_expanded() -> None:
    expanded: list[str] = []
    constants = [entry(content=f"{{{{roll:6}}}} {n}", constant=True) for n in range(200)]
    found = activation.activate(
        Lorebook.read({"entries": constants}),
        [],
        settings=LoreSettings(budget=10),
        expand=lambda text: expanded.append(text) or text,  # type: ignore[func-returns-value]
        count=lambda text: 5,
    )
    assert set(expanded) == {"{{roll:6}} 0", "{{roll:6}} 1"}
    assert [one.why for one in found.skipped] == ["over budget by 5 tokens"] * 198


def test_many_quick_patterns_are_slow_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGEX_BOOK_SECONDS", 0.0)
    monkeypatch.setattr(limits, "REGEX_TEXT_SECONDS", 1e-9)
    read = Lorebook.read({"entries": [entry(f"/x+{n}$/") for n in range(50)]})
    said = ["x" * 60 + str(number) for number in range(20)]
    found = activation.activate(read, said, settings=LoreSettings(scan_depth=20), dice=Random(0))
    assert "its book's patterns take too long" in {one.why for one in found.skipped}


def test_patterns_of_a_usual_book_are_all_used() -> None:
    read = Lorebook.read({"entries": [entry(f"/north {n}$/i") for n in range(100)]})
    said = [f"He went North {number}" for number in range(100)]
    found = activation.activate(read, said, settings=LoreSettings(scan_depth=100), dice=Random(0))
    assert len(found.fired) == 100


words = st.lists(st.sampled_from(WORDS), max_size=3)
extensions = st.fixed_dictionaries(
    {},
    optional={
        "delay_until_recursion": st.sampled_from([True, 1, 2, 4]),
        "exclude_recursion": st.booleans(),
        "prevent_recursion": st.booleans(),
        "group": st.sampled_from(["g", "h", "g,h"]),
        "use_group_scoring": st.booleans(),
        "scan_depth": st.integers(0, 5),
        "probability": st.sampled_from([0, 50]),
        "selectiveLogic": st.integers(0, 3),
        "sticky": st.integers(0, 2),
    },
)
heads = st.sampled_from(["", "", "@@additional_keys a,b\n", "@@exclude_keys c\n"])
entries = st.builds(
    lambda keys, second, head, said, constant, more: entry(
        *keys,
        content=head + " ".join(said),
        secondary_keys=second,
        selective=bool(second),
        constant=constant,
        extensions=more,
    ),
    words,
    words,
    heads,
    words,
    st.sampled_from([False, False, False, True]),
    extensions,
)
books = st.builds(
    lambda found, recursive: Lorebook.read({"entries": found, "recursive_scanning": recursive}),
    st.lists(entries, max_size=10),
    st.sampled_from([True, True, None, False]),
)
choices = st.builds(
    LoreSettings,
    scan_depth=st.integers(0, 3),
    min_activations=st.sampled_from([0, 3]),
    max_recursion_steps=st.sampled_from([0, 1, 2]),
    budget=st.sampled_from([None, 3]),
)


@given(st.lists(books, min_size=1, max_size=2), st.lists(words, max_size=6), choices, st.integers(0, 9))
@settings(max_examples=400)
def test_looking_only_where_something_changed_finds_the_same(
    read: list[Lorebook], said: list[list[str]], chosen: LoreSettings, seed: int
) -> None:
    def scanned() -> Activation:
        return activation.activate(read, list(map(" ".join, said)), settings=chosen, dice=Random(seed))

    few = scanned()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activation._Scan, "_touched", lambda scan, heard, more: scan.order)
        every = scanned()
    assert (few.fired, few.timers, few.tokens) == (every.fired, every.timers, every.tokens)
    if not chosen.min_activations:
        assert few.skipped == every.skipped

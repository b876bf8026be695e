"""Of the entries whose keys are found: which fire, in which order, and why the others do not."""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any

import pytest
from lore_scans import HERE, book, ext, fired, scan, why

from cards import limits
from cards.lorebook import LoreSettings, activate

# Who comes first ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "messages", "reason"),
    [
        ({"enabled": False, "constant": True}, [HERE], "disabled"),
        ({"enabled": False, "content": "@@activate\nx"}, [HERE], "disabled"),
        ({"content": "@@activate\n@@dont_activate\nx"}, ["no"], "@@activate"),
        ({"content": "@@dont_activate\nx", "constant": True}, [HERE], "@@dont_activate"),
        ({"constant": True}, ["no"], "constant"),
        ({"constant": True, **ext(delay=2)}, ["no"], "delayed until message 2"),
        ({"constant": True, **ext(delay=2)}, ["no", "no"], "constant"),
        ({"constant": True, **ext(delay_until_recursion=True)}, [HERE], "waits for another entry"),
        ({"content": ""}, [HERE], "it has no text"),
        ({"content": "@@depth 3\n"}, [HERE], "it has no text"),
        ({}, ["no"], "no key"),
        ({}, [HERE], 'key "dragon"'),
        ({"keys": ["Samuel", "DRAGON"]}, [HERE], 'key "DRAGON"'),
    ],
)
def test_reasons(entry: dict[str, Any], messages: list[str], reason: str) -> None:
    result = scan(book(entry), *messages)
    assert [one.why for one in (*result.fired, *result.skipped)] == [reason]


def test_higher_order_stands_later() -> None:
    lore = book(
        {"insertion_order": 50}, {"insertion_order": -1}, {"insertion_order": 50}, {"insertion_order": 7}
    )
    assert fired(scan(lore)) == ["e1", "e3", "e0", "e2"]


def test_the_lowest_priority_is_left_out_first_and_without_one_the_lowest_order() -> None:
    three = book({"priority": 5}, {"priority": 1}, {"priority": 9})
    assert fired(scan(three, settings=LoreSettings(budget=12), count=len)) == ["e0", "e2"]
    orders = book({"insertion_order": 3}, {"insertion_order": 1}, {"insertion_order": 2})
    assert fired(scan(orders, settings=LoreSettings(budget=12), count=len)) == ["e2", "e0"]


# Budget ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "given", "fires", "within"),
    [
        (None, None, 3, None),
        (0, None, 3, None),
        (12, None, 2, (12, "book")),
        (None, 12, 2, (12, "settings")),
        (6, 12, 1, (6, "book")),
        (12, 6, 1, (6, "settings")),
        (12, 12, 2, (12, "settings")),
        (5, 12, 0, (5, "book")),
        (12, 0, 0, (0, "settings")),
    ],
)
def test_of_two_budgets_the_smaller_wins(
    own: int | None, given: int | None, fires: int, within: tuple[int, str] | None
) -> None:
    lore, settings = book({}, {}, {}, token_budget=own), LoreSettings(budget=given)
    result = scan(lore, settings=settings, count=len)
    assert (len(result.fired), result.tokens) == (fires, 6 * fires)
    assert lore.budget_under(settings) == within


def test_books_share_the_settings_budget_and_keep_to_their_own() -> None:
    small, large = book({}, {}, token_budget=6), book({}, {})
    result = activate([small, large], [HERE], settings=LoreSettings(budget=13), count=len, dice=Random(1))
    assert result.tokens == 12
    assert len(result.fired) == 2
    assert Counter(reason.why for reason in result.skipped)["over budget by 5 tokens"] == 1


# Groups ---------------------------------------------------------------------------------------------------


def test_weights_decide_how_often_a_member_wins() -> None:
    lore = book(
        ext(group="g", group_weight=10), ext(group="g", group_weight=30), ext(group="g", group_weight=0)
    )
    wins = Counter(fired(scan(lore, dice=Random(seed)))[0] for seed in range(800))
    assert 120 < wins["e0"] < 280
    assert wins["e0"] + wins["e1"] == 800


def test_the_highest_order_wins_among_those_that_override() -> None:
    lore = book(
        ext(group="g", group_override=True),
        ext(group="g", group_override=True),
        ext(group="g", group_weight=10**9),
    )
    assert fired(scan(lore)) == ["e1"]


@pytest.mark.parametrize(
    ("entries", "message", "winner"),
    [
        ([{"keys": ["dragon", "fire"]}, {"keys": ["dragon", "ice"]}], "dragon fire", "e0"),
        ([{"keys": ["dragon"], "secondary_keys": ["fire"], "selective": True}, {}], "dragon fire", "e0"),
        (
            [
                {"keys": ["dragon"], "secondary_keys": ["fire", "ice"], "selective": True, "logic": 3},
                {"keys": ["dragon", "fire"]},
            ],
            "dragon fire ice",
            "e0",
        ),
        (
            [
                {"keys": ["dragon"], "secondary_keys": ["x", "y"], "selective": True, "logic": 2},
                {"keys": ["dragon", "fire"]},
            ],
            "dragon fire",
            "e1",
        ),
    ],
)
def test_scoring_counts_keys(entries: list[dict[str, Any]], message: str, winner: str) -> None:
    """The one that finds most keys stays, whatever the dice say."""
    listed = [
        {**entry, **ext(group="g", use_group_scoring=True, selectiveLogic=entry.get("logic", 0))}
        for entry in entries
    ]
    assert {fired(scan(book(*listed), message, dice=Random(seed)))[0] for seed in range(20)} == {winner}
    loose = [{**entry, **ext(group="g", selectiveLogic=entry.get("logic", 0))} for entry in entries]
    settings = LoreSettings(group_scoring=True)
    found = {
        fired(scan(book(*loose), message, dice=Random(seed), settings=settings))[0] for seed in range(20)
    }
    assert found == {winner}


def test_a_sticky_member_keeps_its_group() -> None:
    lore = book(ext(group="g", sticky=5), {"keys": ["wolf"], **ext(group="g", group_override=True)})
    timers = scan(lore, "dragon").timers
    result = scan(lore, "dragon", "wolf", timers=timers)
    assert (fired(result), why(result)) == (["e0"], {"e1": "lost its group g to e0"})


def test_a_group_that_is_filled_takes_no_more() -> None:
    lore = book(
        {"content": "gold", **ext(group="g")},
        {"keys": ["gold"], **ext(group="g", group_override=True)},
        recursive_scanning=True,
    )
    assert why(scan(lore)) == {"e1": "lost its group g to e0"}


# Chance ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [0, 10, 50, 90, 100])
def test_probability_is_a_percentage(percent: int) -> None:
    lore = book(ext(probability=percent, useProbability=True))
    hits = sum(bool(scan(lore, dice=Random(seed)).fired) for seed in range(1_000))
    assert abs(hits - 10 * percent) < 60
    assert percent not in (0, 100) or hits == 10 * percent


def test_an_entry_that_lost_its_throw_is_not_thrown_again() -> None:
    """Passes over other entries' text give no second chance."""
    lore = book(
        {"constant": True, "content": "a b"},
        {"keys": ["a"], "content": "b"},
        ext(probability=50),
        recursive_scanning=True,
    )
    hits = sum("e2" in fired(scan(lore, dice=Random(seed))) for seed in range(1_000))
    assert 430 < hits < 570


def test_what_sticks_is_not_thrown_for() -> None:
    lore = book(ext(sticky=10, probability=50))
    seed = next(seed for seed in range(20) if fired(scan(lore, dice=Random(seed))))
    timers = scan(lore, dice=Random(seed)).timers
    assert all(fired(scan(lore, HERE, "no", timers=timers, dice=Random(n))) == ["e0"] for n in range(30))


# Recursion ------------------------------------------------------------------------------------------------

CHAIN = ({"content": "a wolf"}, {"keys": ["wolf"], "content": "a bear"}, {"keys": ["bear"], "content": "end"})


@pytest.mark.parametrize(
    ("steps", "names"), [(0, ["e0", "e1", "e2"]), (1, ["e0", "e1"]), (2, ["e0", "e1", "e2"])]
)
def test_steps_of_recursion(steps: int, names: list[str]) -> None:
    settings = LoreSettings(max_recursion_steps=steps)
    assert fired(scan(book(*CHAIN, recursive_scanning=True), settings=settings)) == names


def test_a_chain_without_end_ends() -> None:
    links = [{"keys": [f"k{n}z"], "content": f"k{n + 1}z"} for n in range(2_000)]
    begun = time.process_time()
    result = scan(book(*links, recursive_scanning=True), "k0z")
    assert len(result.fired) == limits.LORE_STEPS + 1
    assert time.process_time() - begun < 2


def test_many_groups_are_settled_at_once() -> None:
    shared = [ext(group=",".join(f"g{n}_{m}" for m in range(20))) for n in range(1_000)]
    begun = time.process_time()
    assert len(scan(book(*shared)).fired) == 1_000
    assert time.process_time() - begun < 1


def test_the_settings_decide_where_a_book_is_silent() -> None:
    for recursive, names in ((True, ["e0", "e1", "e2"]), (False, ["e0"])):
        lore = book(*CHAIN, recursive_scanning=None)
        assert fired(scan(lore, settings=LoreSettings(recursive=recursive))) == names


def test_flags_of_recursion() -> None:
    silent = book(
        {"content": "wolf", **ext(prevent_recursion=True)}, {"keys": ["wolf"]}, recursive_scanning=True
    )
    assert why(scan(silent)) == {"e1": "no key"}
    deaf = book(
        {"content": "wolf"}, {"keys": ["wolf"], **ext(exclude_recursion=True)}, recursive_scanning=True
    )
    assert why(scan(deaf)) == {"e1": "no key"}
    assert fired(scan(deaf, "dragon wolf")) == ["e0", "e1"]


def test_what_is_over_budget_makes_nothing_else_fire() -> None:
    lore = book({"content": "wolf " * 50}, {"keys": ["wolf"]}, recursive_scanning=True)
    result = scan(lore, settings=LoreSettings(budget=100), count=len)
    assert why(result) == {"e0": "over budget by 150 tokens", "e1": "no key"}


def test_levels_of_delay_open_one_after_the_other() -> None:
    """What waits for a level hears only when the levels before it have nothing more to say."""
    lore = book(
        {"content": "wolf"},
        {"keys": ["wolf"], "content": "bear", **ext(delay_until_recursion=1)},
        {"keys": ["bear"], "content": "hawk", **ext(delay_until_recursion=3)},
        {"keys": ["wolf"], "content": "fish", **ext(delay_until_recursion=2)},
        {"keys": ["never"], **ext(delay_until_recursion=4)},
        recursive_scanning=True,
    )
    result = scan(lore)
    assert fired(result) == ["e0", "e1", "e2", "e3"]
    for steps, names in ((1, ["e0", "e1"]), (3, ["e0", "e1", "e3"])):
        assert fired(scan(lore, settings=LoreSettings(max_recursion_steps=steps))) == names, steps
    assert (
        why(scan(lore, settings=LoreSettings(max_recursion_steps=1)))["e2"] == "waits for recursion level 3"
    )
    assert why(scan(lore, "nothing"))["e1"] == "waits for another entry"


@pytest.mark.parametrize(
    ("minimum", "furthest", "names"),
    [(0, 0, []), (1, 0, ["e1"]), (2, 0, ["e0", "e1"]), (9, 0, ["e0", "e1"]), (2, 3, ["e1"]), (1, 2, [])],
)
def test_minimum_activations(minimum: int, furthest: int, names: list[str]) -> None:
    lore = book({"keys": ["wolf"]}, {"keys": ["bear"]})
    messages = ("no", "wolf", "no", "bear", "no", "no")
    settings = LoreSettings(scan_depth=2, min_activations=minimum, max_depth=furthest)
    assert fired(scan(lore, *messages, settings=settings)) == names


def test_minimum_activations_do_not_move_a_depth_that_an_entry_sets_itself() -> None:
    lore = book({"keys": ["wolf"], **ext(scan_depth=1)})
    assert fired(scan(lore, "wolf", "no", settings=LoreSettings(min_activations=1))) == []

"""What entries remember: the same whether the timers are handed on, stored or found from the chat's path."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cards.lorebook import (
    Activation,
    Lorebook,
    Timer,
    Timers,
    activate,
    keeps_time,
    replayed,
)


def entry(name: str, keys: list[str], head: str = "", **extensions: Any) -> dict[str, Any]:
    return {"keys": keys, "content": f"{head}text of {name}", "name": name, "extensions": extensions}


def book(*entries: dict[str, Any]) -> Lorebook:
    return Lorebook.read({"name": "b", "entries": list(entries), "scan_depth": 1})


def scan(lore: Lorebook, messages: list[str], timers: Timers) -> Activation:
    return activate(lore, messages, timers=timers, dice=Random(len(messages)))


def fired(result: Activation) -> list[str]:
    return [one.entry.name for one in result.fired]


BOOK = book(
    entry("sticky", ["dragon"], sticky=3),
    entry("cooling", ["dragon"], cooldown=4),
    entry("both", ["dragon"], sticky=2, cooldown=4),
    entry("kept", ["wolf"], "@@keep_activate_after_match\n"),
    entry("once", ["wolf"], "@@dont_activate_after_match\n"),
    entry("late", ["dragon"], delay=5),
    entry("plain", ["dragon"]),
)


def timers_at(messages: list[str], replies: list[int], known: dict[Any, Timers] | None = None) -> Timers:
    """What the turns before the next one leave, found from the path."""
    names = [f"{place} {text}" for place, text in enumerate(messages)]
    return replayed(
        lambda length, timers: scan(BOOK, messages[:length], timers).timers, names, replies, known
    )


CHAT = ["greeting", "dragon", "r", "x", "r", "wolf", "r", "dragon", "r", "x", "r", "dragon", "r", "x"]
REPLIES = [0, 2, 4, 6, 8, 10, 12]


def test_turn_for_turn_what_stays_and_what_waits() -> None:
    seen = {}
    for length in (2, 4, 6, 8, 10, 12, 14):
        timers = timers_at(CHAT[:length], [place for place in REPLIES if place < length])
        seen[length] = fired(scan(BOOK, CHAT[:length], timers))
    assert seen == {
        2: ["sticky", "cooling", "both", "plain"],
        4: ["sticky"],
        6: ["kept", "once"],
        8: ["sticky", "cooling", "both", "kept", "late", "plain"],
        10: ["sticky", "kept"],
        12: ["sticky", "cooling", "kept", "late", "plain"],
        14: ["sticky", "kept"],
    }


def test_a_reply_made_anew_is_asked_as_the_first_time() -> None:
    """Timers that the last scan left do not count at the length they were made at."""
    first = scan(BOOK, CHAT[:2], {})
    again = scan(BOOK, CHAT[:2], first.timers)
    assert fired(again) == fired(first)
    assert again.timers == first.timers


def test_deleted_messages_take_their_timers_along() -> None:
    timers = scan(BOOK, CHAT[:8], {}).timers
    assert timers
    assert fired(scan(BOOK, ["dragon"], timers)) == ["sticky", "cooling", "both", "plain"]


def test_a_cooldown_after_a_sticky_time_is_kept_until_it_ends() -> None:
    lore = book(entry("both", ["dragon"], sticky=2, cooldown=4))
    timers = scan(lore, ["dragon"], {}).timers
    for length in (3, 4, 5, 6):
        result = scan(lore, ["x"] * (length - 1) + ["dragon"], timers)
        timers = result.timers
        assert fired(result) == []
        assert timers == {"b/0": Timer("cooldown", 1, 7)}
    assert fired(scan(lore, ["x"] * 6 + ["dragon"], timers)) == ["both"]


def test_entries_that_share_an_id_have_a_timer_each() -> None:
    lore = book(
        entry("a", ["dragon"], sticky=4) | {"id": 1},
        entry("b", ["wolf"], sticky=4) | {"id": 1},
    )
    timers = scan(lore, ["dragon"], {}).timers
    assert fired(scan(lore, ["dragon", "x"], timers)) == ["a"]


def test_a_turn_more_costs_one_scan_more() -> None:
    asked: list[int] = []

    def counted(length: int, timers: Timers) -> Timers:
        asked.append(length)
        return scan(BOOK, CHAT[:length], timers).timers

    known: dict[Any, Timers] = {}
    for length in (8, 10, 12):
        replies = [place for place in REPLIES if place < length]
        replayed(counted, [f"m{place}" for place in range(length)], replies, known)
    assert asked == [2, 4, 6, 8, 10]
    branch = [f"m{place}" for place in range(6)] + ["other", "reply", "next"]
    replayed(counted, branch, [2, 4, 7], known)
    assert asked[5:] == [7]


def test_who_keeps_time() -> None:
    assert keeps_time(BOOK.entries)
    assert not keeps_time(book(entry("late", ["a"], delay=3), entry("plain", ["b"])).entries)


MESSAGES = st.lists(st.sampled_from(["dragon", "wolf", "x", "dragon wolf"]), min_size=1, max_size=24)


@given(MESSAGES)
def test_replayed_and_handed_on_are_the_same(messages: list[str]) -> None:
    replies = list(range(2, len(messages), 2))
    handed: Timers = {}
    for place in replies:
        handed = scan(BOOK, messages[:place], handed).timers
    assert timers_at(messages, replies) == handed
    known: dict[Any, Timers] = {}
    for end in range(len(replies) + 1):
        step = timers_at(messages, replies[:end], known)
    assert step == handed

"""What entries remember between turns: sticky ones stay, cooling ones wait.

The timers of a turn follow from the turns before it on its path through the chat. `replayed` finds them from
the path alone, so a chat has nothing to store, and a branch or a new version of a reply finds its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cards.lore_entry import Entry

__all__ = [
    "Timer",
    "Timers",
    "advanced",
    "keeps_time",
    "replayed",
    "started",
]

Kind = Literal["sticky", "cooldown", "kept", "spent"]
"""`kept` and `spent` are V3's keep_activate_after_match and dont_activate_after_match: they do not end."""


@dataclass(frozen=True, slots=True)
class Timer:
    """One entry's state, counted in messages of the chat."""

    kind: Kind
    start: int
    """The chat's length when the entry fired."""
    end: int | None = None
    """The chat's length at which it ends; None: never."""


Timers = Mapping[str, Timer]
"""By `book/uid`. A plain value: `activate` takes one and gives the next one."""


def advanced(timers: Timers, length: int, entries: Iterable[tuple[str, Entry]]) -> dict[str, Timer]:
    """The timers at a chat of `length` messages.

    One that ended is gone, a sticky one turning into the entry's cooldown. Where the chat is not longer than
    when the entry fired (messages were deleted, the reply is made anew, or this is another branch), it never
    happened.
    """
    cooldowns = {key: entry.cooldown for key, entry in entries if entry.cooldown}
    alive: dict[str, Timer] = {}
    for key, timer in timers.items():
        if length <= timer.start:
            continue
        if timer.end is None or length < timer.end:
            alive[key] = timer
        elif timer.kind == "sticky" and key in cooldowns and length < timer.end + cooldowns[key]:
            alive[key] = Timer("cooldown", timer.start, timer.end + cooldowns[key])
    return alive


def started(key: str, entry: Entry, length: int, timers: dict[str, Timer]) -> None:
    """Notes in `timers` that the entry fired in a chat of `length` messages."""
    if key in timers:
        return
    if entry.decorators.keep_activate_after_match:
        timers[key] = Timer("kept", length)
    elif entry.decorators.dont_activate_after_match:
        timers[key] = Timer("spent", length)
    elif entry.sticky:
        timers[key] = Timer("sticky", length, length + entry.sticky)
    elif entry.cooldown:
        timers[key] = Timer("cooldown", length, length + entry.cooldown)


def keeps_time(entries: Iterable[Entry]) -> bool:
    """Whether any entry remembers that it fired; without one there is nothing to replay."""
    return any(
        entry.sticky
        or entry.cooldown
        or entry.decorators.keep_activate_after_match
        or entry.decorators.dont_activate_after_match
        for entry in entries
    )


def replayed(
    scan: Callable[[int, Timers], Timers],
    path: Sequence[Hashable],
    replies: Iterable[int],
    known: MutableMapping[Hashable, Timers] | None = None,
) -> Timers:
    """The timers that the earlier turns of a path leave to its next one.

    `path` names the chat's messages, oldest first, each name unique (its row in the store). `replies` are the
    places in it that the model wrote, ascending: before each of them the book was asked about all that stood
    earlier, and `scan(length, timers)` asks it again, about the first `length` messages; before a greeting it
    was not asked. `known` keeps the timers after each reply by its name, so that a turn more costs one scan
    more; empty it when the book or its settings change.
    """
    known = {} if known is None else known
    asked = [place for place in replies if place > 0]
    done = next((place for place in reversed(range(len(asked))) if path[asked[place]] in known), -1)
    timers: Timers = known[path[asked[done]]] if done >= 0 else {}
    for place in asked[done + 1 :]:
        timers = known[path[place]] = scan(place, timers)
    return timers

"""What entries remember between turns: sticky ones stay, cooling ones wait. A value that the chat stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from cards.lore_entry import Entry

__all__ = ["Timer", "Timers", "advanced", "started"]

Kind = Literal["sticky", "cooldown", "kept", "spent"]
"""`kept` and `spent` are V3's keep_activate_after_match and dont_activate_after_match: they do not end."""


@dataclass(frozen=True, slots=True)
class Timer:
    """One entry's state, counted in messages of the chat."""

    kind: Kind
    start: int
    end: int | None = None
    """The chat's length at which it ends; None: never."""


Timers = Mapping[str, Timer]
"""By `book/uid`."""


def advanced(timers: Timers, length: int, entries: Iterable[tuple[str, Entry]]) -> dict[str, Timer]:
    """The timers at a chat of `length` messages.

    One that ended is gone, a sticky one turning into the entry's cooldown. Where the chat is shorter than
    when a timer began (messages were deleted, or this is another branch), it never happened.
    """
    cooldowns = {key: entry.cooldown for key, entry in entries if entry.cooldown}
    alive: dict[str, Timer] = {}
    for key, timer in timers.items():
        if length < timer.start:
            continue
        if timer.end is None or length < timer.end:
            alive[key] = timer
        elif timer.kind == "sticky" and key in cooldowns and length < timer.end + cooldowns[key]:
            alive[key] = Timer("cooldown", timer.end, timer.end + cooldowns[key])
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

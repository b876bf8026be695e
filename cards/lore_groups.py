"""Inclusion groups: of the entries of one group that would fire, one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

from cards.lore_entry import Entry

__all__ = ["group_losers"]

Place = TypeVar("Place", bound=tuple[int, int])


def group_losers(
    candidates: Sequence[tuple[Place, Entry]],
    taken: Mapping[str, str],
    sticking: Callable[[Place], bool],
    score: Callable[[Place], int],
    scoring: bool,
    dice: Random,
) -> dict[Place, str]:
    """Which candidates lose their group, and to whom.

    `taken` are groups that an earlier pass has filled, with the winner's label. Sticky entries stay; then,
    where scoring is on, the most keys win; then the highest order among those that override; then weights and
    dice.
    """
    losers: dict[Place, str] = {}
    groups: dict[str, list[tuple[Place, Entry]]] = {}
    for at, entry in candidates:
        for name in dict.fromkeys(entry.groups):
            groups.setdefault(name, []).append((at, entry))
    for name, everyone in groups.items():
        members = [(at, entry) for at, entry in everyone if at not in losers]
        if name in taken:
            losers |= {at: f"lost its group {name} to {taken[name]}" for at, _ in members if not sticking(at)}
            continue
        if len(members) < 2:
            continue
        stuck = [member for member in members if sticking(member[0])]
        keep = stuck or [_winner(_best(members, score, scoring), dice)]
        kept = {at for at, _ in keep}
        losers |= {at: f"lost its group {name} to {keep[0][1].label}" for at, _ in members if at not in kept}
    return losers


def _best(
    members: list[tuple[Place, Entry]], score: Callable[[Place], int], scoring: bool
) -> list[tuple[Place, Entry]]:
    if not any(scoring if entry.group_scoring is None else entry.group_scoring for _, entry in members):
        return members
    best = max(score(at) for at, _ in members)
    return [
        (at, entry)
        for at, entry in members
        if score(at) == best or not (scoring if entry.group_scoring is None else entry.group_scoring)
    ]


def _winner(members: list[tuple[Place, Entry]], dice: Random) -> tuple[Place, Entry]:
    overriding = [member for member in members if member[1].group_override]
    if overriding:
        return max(overriding, key=lambda member: member[1].order)
    weights = [entry.group_weight for _, entry in members]
    if sum(weights) <= 0:
        return members[0]
    return dice.choices(members, weights)[0]

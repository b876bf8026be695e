"""Conditions of a lorebook entry that its keys have no part in, and the logic of its secondary keys."""

from __future__ import annotations

from collections.abc import Sequence, Set

from cards.lore_entry import Entry, Logic
from cards.lore_values import LoreScene

__all__ = ["condition_against", "logic_holds"]


def condition_against(entry: Entry, scene: LoreScene, length: int) -> str:
    """Why an entry may not fire in this scene, in a chat of `length` messages; "" when nothing stands
    against it."""
    if entry.only_for or entry.not_for:
        here = {scene.character, *scene.tags}
        if (entry.only_for and not here & set(entry.only_for)) or here & set(entry.not_for):
            return "not for this character"
    if entry.triggers and scene.trigger not in entry.triggers:
        return f"not for this kind of turn ({scene.trigger})"
    marks = entry.decorators
    replies = length // 2 if scene.replies is None else scene.replies
    if marks.activate_only_after is not None and replies < marks.activate_only_after:
        return f"only after {marks.activate_only_after} replies"
    if marks.activate_only_every is not None and replies % marks.activate_only_every:
        return f"only every {marks.activate_only_every} replies"
    if marks.is_greeting is not None and scene.greeting != marks.is_greeting:
        return f"only for greeting {marks.is_greeting}"
    if marks.is_user_icon is not None and scene.user_icon != marks.is_user_icon:
        return "not for this user icon"
    return ""


def logic_holds(logic: Logic, secondary: Sequence[int], found: Set[int]) -> bool:
    """Whether the secondary keys that were found satisfy the entry's logic."""
    hits = sum(number in found for number in secondary)
    if logic == "and_any":
        return hits > 0
    if logic == "and_all":
        return hits == len(secondary)
    return hits == 0 if logic == "not_any" else hits < len(secondary)

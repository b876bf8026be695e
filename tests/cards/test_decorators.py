"""Decorators of V3 entries: when they let an entry fire, where they put it, and that no prompt sees them."""

from __future__ import annotations

from typing import Any

import pytest
from lore_scans import HERE, book, fired, scan

from cards.decorators import split_decorators
from cards.lorebook import LoreScene, LoreSettings

# Decorators -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "scene", "messages", "fires"),
    [
        ("@@activate_only_after 3", {"replies": 2}, [HERE], False),
        ("@@activate_only_after 3", {"replies": 3}, [HERE], True),
        ("@@activate_only_after 0", {"replies": 0}, [HERE], True),
        ("@@activate_only_every 2", {"replies": 4}, [HERE], True),
        ("@@activate_only_every 2", {"replies": 5}, [HERE], False),
        ("@@activate_only_every 0", {"replies": 5}, [HERE], True),
        ("@@scan_depth 3", {}, ["dragon", "x", "y"], True),
        ("@@scan_depth 1", {}, ["dragon", "x"], False),
        ("@@is_greeting 0", {"greeting": 0}, [HERE], True),
        ("@@is_greeting 0", {"greeting": 1}, [HERE], False),
        ("@@is_greeting 0", {}, [HERE], False),
        ("@@is_greeting 2", {"greeting": 2}, [HERE], True),
        ("@@additional_keys wolf, bear", {}, ["dragon bear"], True),
        ("@@additional_keys wolf, bear", {}, ["bear"], False),
        ("@@additional_keys wolf\n@@additional_keys bear", {}, ["dragon wolf"], False),
        ("@@additional_keys wolf\n@@additional_keys bear", {}, ["dragon wolf bear"], True),
        ("@@exclude_keys wolf", {}, ["dragon wolf"], False),
        ("@@exclude_keys wolf\n@@exclude_keys bear", {}, ["dragon bear"], False),
        ("@@exclude_keys wolf", {}, ["dragon"], True),
        ("@@is_user_icon knight", {"user_icon": "knight"}, [HERE], True),
        ("@@is_user_icon knight", {"user_icon": "rogue"}, [HERE], False),
        ("@@activate", {}, ["no"], True),
        ("@@dont_activate", {}, [HERE], False),
        ("@@dont_activate\n@@activate", {}, ["no"], True),
        ("@@instruct_depth 3\n@@reverse_instruct_depth 1\n@@instruct_scan_depth 9", {}, [HERE], True),
        ("@@activate_only_after many", {"replies": 0}, [HERE], True),
        ("@@unknown\n@@@activate", {}, ["no"], True),
        ("@@depth 1\n@@@activate", {}, ["no"], False),
        ("@@a\n@@@b\n@@@c\n@@@d\n@@@e\n@@@activate", {}, ["no"], True),
        ("@@a\n@@@depth 2\n@@@activate", {}, ["no"], False),
    ],
)
def test_a_decorator(head: str, scene: dict[str, Any], messages: list[str], fires: bool) -> None:
    result = scan(book({"content": f"{head}\n\ntext\n"}), *messages, scene=LoreScene(**scene))
    assert bool(result.fired) is fires
    assert [one.text for one in result.fired] == (["text"] if fires else [])


@pytest.mark.parametrize(
    ("head", "place"),
    [
        ("@@depth 2", ("depth", 2, "system")),
        ("@@depth 0\n@@role assistant", ("depth", 0, "char")),
        ("@@depth -3", ("depth", 0, "system")),
        ("@@depth 5\n@@depth 1", ("depth", 5, "system")),
        ("@@depth 2\n@@position after_desc", ("after_char", 4, "system")),
        ("@@reverse_depth 1\n@@position before_desc", ("before_char", 4, "system")),
        ("@@reverse_depth 1", ("depth", 3, "system")),
        ("@@reverse_depth 9", ("depth", 0, "system")),
        ("@@reverse_depth 1\n@@depth 2", ("depth", 2, "system")),
        ("@@position personality", ("after_char", 4, "system")),
        ("@@position scenario", ("after_char", 4, "system")),
        ("@@position nowhere", ("before_char", 4, "system")),
        ("@@role user", ("before_char", 4, "user")),
        ("@@role wizard", ("before_char", 4, "system")),
    ],
)
def test_where_a_decorator_puts_an_entry(head: str, place: tuple[str, int, str]) -> None:
    entry = scan(book({"content": f"{head}\nx"}), "a", "b", "c", HERE).fired[0].entry
    assert (entry.position, entry.depth, entry.role) == place


def test_what_decorators_say_to_others() -> None:
    text, marks = split_decorators(
        "@@disable_ui_prompt system_prompt\n@@disable_ui_prompt post_history_instructions\n"
        "@@ignore_on_max_context\ntext"
    )
    assert (text, marks.disable_ui_prompt, marks.ignore_on_max_context) == (
        "text",
        ("system_prompt", "post_history_instructions"),
        True,
    )


def test_what_gives_way_when_the_context_is_full() -> None:
    lore = book({"content": "@@ignore_on_max_context\nxxxx", "insertion_order": 99}, {"content": "yyyy"})
    assert fired(scan(lore, settings=LoreSettings(budget=4), count=len)) == ["e1"]
    assert fired(scan(lore, settings=LoreSettings(budget=8), count=len)) == ["e1", "e0"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("@@depth 2\r\ntext", "text"),
        ("\n\n@@depth 2\n\n\ntext\n\n", "text"),
        ("@@depth 2", ""),
        ("text\n@@depth 2", "text\n@@depth 2"),
        ("@ @depth 2\ntext", "@ @depth 2\ntext"),
        ("@@@depth 2\ntext", "text"),
        ("@@depth 2\ntext\n@@depth 3", "text\n@@depth 3"),
    ],
)
def test_decorators_never_reach_a_prompt(content: str, text: str) -> None:
    assert split_decorators(content)[0] == text

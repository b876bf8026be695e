"""Decorators: lines `@@name value` at the head of a V3 lorebook entry's content.

Source: Character Card V3, Lorebook decorators. The first of two equal ones counts; an unknown or invalid one
is ignored; `@@@name` is a fallback that counts only when the one above it was ignored. The lines never reach
a prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from cards import limits
from cards.coercion import split_at_commas

__all__ = ["DecoratorPosition", "Decorators", "split_decorators"]

DecoratorPosition = Literal["after_desc", "before_desc", "personality", "scenario"]


@dataclass(frozen=True, slots=True)
class Decorators:
    """What an entry's decorators ask for; None and empty: nothing."""

    activate: bool = False
    dont_activate: bool = False
    activate_only_after: int | None = None
    """Assistant messages that there must be."""
    activate_only_every: int | None = None
    keep_activate_after_match: bool = False
    dont_activate_after_match: bool = False
    depth: int | None = None
    reverse_depth: int | None = None
    role: Literal["system", "user", "char"] | None = None
    scan_depth: int | None = None
    is_greeting: int | None = None
    position: DecoratorPosition | None = None
    ignore_on_max_context: bool = False
    additional_keys: tuple[tuple[str, ...], ...] = ()
    """Each line is a list of which one must be there too."""
    exclude_keys: tuple[str, ...] = ()
    is_user_icon: str | None = None
    disable_ui_prompt: tuple[str, ...] = ()


_FLAGS: Final = (
    "activate",
    "dont_activate",
    "keep_activate_after_match",
    "dont_activate_after_match",
    "ignore_on_max_context",
)
_NUMBERS: Final = (
    "activate_only_after",
    "activate_only_every",
    "depth",
    "reverse_depth",
    "scan_depth",
    "is_greeting",
)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}")
_ROLES: Final = {"assistant": "char", "system": "system", "user": "user"}
_POSITIONS: Final = ("after_desc", "before_desc", "personality", "scenario")
_PROMPTS: Final = ("system_prompt", "post_history_instructions")
# Understood, and without effect in a chat.
_ELSEWHERE: Final = ("instruct_depth", "reverse_instruct_depth", "instruct_scan_depth", "end")


def split_decorators(content: str) -> tuple[str, Decorators]:
    """The content without its head of decorators, and what they say."""
    if not content.lstrip().startswith("@@"):
        return content, Decorators()
    found: dict[str, Any] = {}
    lines = content.lstrip().split("\n")
    count = 0
    ignored = False
    for line in lines:
        if not line.startswith("@@"):
            break
        count += 1
        if count > limits.DECORATORS:
            continue
        fallback = line.startswith("@@@")
        if fallback and not ignored:
            continue
        name, _, value = line.lstrip("@").strip().partition(" ")
        ignored = not _accept(found, name.strip(), value.strip())
    return "\n".join(lines[count:]).strip("\n"), Decorators(**found)


def _accept(found: dict[str, Any], name: str, value: str) -> bool:
    """Whether the decorator is known and valid; then it is in `found`, unless one like it stood above."""
    if name in _FLAGS:
        found.setdefault(name, True)
    elif name in _NUMBERS:
        if not _NUMBER.fullmatch(value) or (name == "activate_only_every" and int(value) < 1):
            return False
        found.setdefault(name, int(value))
    elif name == "role" and value in _ROLES:
        found.setdefault(name, _ROLES[value])
    elif name == "position" and value in _POSITIONS:
        found.setdefault(name, value)
    elif name in ("additional_keys", "exclude_keys"):
        words = tuple(word.strip() for word in split_at_commas(value) if word.strip())[: limits.LORE_KEYS]
        if not words:
            return False
        found[name] = found.get(name, ()) + ((words,) if name == "additional_keys" else words)
    elif name == "disable_ui_prompt" and value in _PROMPTS:
        found[name] = (*found.get(name, ()), value)
    elif name == "is_user_icon":
        found.setdefault(name, value)
    else:
        return name in _ELSEWHERE
    return True

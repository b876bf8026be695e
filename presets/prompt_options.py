"""The options of a chat's prompt that every format has: author's note, prefill, lore.

They are given as all options are, `--set NAME=VALUE`; a chat keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from presets.output.options import OUTPUT_OPTIONS
from presets.values import NOTE_DEPTH, AuthorsNote, Role

__all__ = [
    "CHAT_OPTIONS",
    "PROMPT_OPTIONS",
    "READING_OPTIONS",
    "AnyText",
    "Numbers",
    "PromptOptions",
    "written_role",
]

LoreWay = Literal["faithful", "cache-friendly"]

DEEPEST = 9_999
"""Messages from the end; SillyTavern's slider ends there too."""


class AnyText(tuple[str, ...]):
    """The values of an option that takes any text, which cannot be listed; the default is its one item."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str)


class Numbers(tuple[str, ...]):
    """The values of an option that takes a whole number; the default comes first."""

    lowest: int
    highest: int

    def __new__(cls, default: int, lowest: int, highest: int) -> Numbers:
        made = super().__new__(cls, (str(default),))
        made.lowest, made.highest = lowest, highest
        return made

    def __contains__(self, value: object) -> bool:
        text = str(value)
        return (
            text.isascii() and text.isdecimal() and len(text) < 9 and self.lowest <= int(text) <= self.highest
        )

    def __str__(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"


PROMPT_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "note": AnyText(("",)),
    "note_depth": Numbers(NOTE_DEPTH, 0, DEEPEST),
    "note_role": ("system", "user", "char"),
    "note_interval": Numbers(1, 1, DEEPEST),
    "prefill": AnyText(("",)),
    "lore": ("faithful", "cache-friendly"),
    "lore_budget": Numbers(25, 0, 100),
}
"""Their values, the default first."""

READING_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "read_ahead": ("on", "off"),
    "shift": ("off", "on"),
}
"""How prompts are read: what is being typed is read ahead where reading is slow; when the oldest turns leave,
what stays is moved up in the cache instead of being read again, which is approximate."""

CHAT_OPTIONS: Final[dict[str, tuple[str, ...]]] = {**OUTPUT_OPTIONS, **PROMPT_OPTIONS, **READING_OPTIONS}
"""All options that do not depend on the format."""

_ROLES: Final[dict[str, Role]] = {"assistant": "char", "model": "char", "narrator": "system"}


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """The options in force."""

    note: AuthorsNote
    prefill: str
    """How every reply begins; empty: as the model likes."""
    lore: LoreWay
    """`cache-friendly`: what fires late stands near the end and keeps its place, so that little is read
    again."""
    lore_share: float
    """Of a prompt's budget, what lorebooks may take at most."""

    @classmethod
    def read(cls, options: Mapping[str, str]) -> PromptOptions:
        """From options as `--set` gives them; what is missing or cannot be has its default."""
        chosen = {
            name: options[name] if options.get(name) in values else values[0]
            for name, values in PROMPT_OPTIONS.items()
        }
        return cls(
            note=AuthorsNote(
                chosen["note"],
                int(chosen["note_depth"]),
                cast("Role", chosen["note_role"]),
                int(chosen["note_interval"]),
            ),
            prefill=chosen["prefill"],
            lore=cast("LoreWay", chosen["lore"]),
            lore_share=int(chosen["lore_budget"]) / 100,
        )


def written_role(value: str) -> str:
    """A role as this program calls it: `assistant` is the character."""
    return _ROLES.get(value, value)

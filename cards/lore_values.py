"""What a lorebook scan takes and gives: settings, the scene, what fired and what did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cards.lore_entry import Entry, Told
from cards.lore_timers import Timer

if TYPE_CHECKING:
    from cards.card import Card

__all__ = ["Activation", "Budget", "Fired", "LoreScene", "LoreSettings", "Skipped"]


@dataclass(frozen=True, slots=True)
class LoreSettings:
    """What a user chooses for all books; a book's or an entry's own word comes first."""

    scan_depth: int = 2
    """Messages from the end in which keys are looked for."""
    recursive: bool = True
    case_sensitive: bool = False
    whole_words: bool = True
    budget: int | None = None
    """Tokens of all that fires, of all books together; None: no limit. A book's own `token_budget` bounds its
    own entries besides, so that the smaller of the two counts."""
    min_activations: int = 0
    """Look further back until so many fire."""
    max_depth: int = 0
    """How far back `min_activations` looks; 0: to the chat's beginning."""
    max_recursion_steps: int = 0
    """Passes over other entries' text; 0: as many as it takes, up to `limits.LORE_STEPS`."""
    group_scoring: bool = False


@dataclass(frozen=True, slots=True)
class LoreScene:
    """What entries may ask about the chat besides its text."""

    character: str = ""
    tags: tuple[str, ...] = ()
    replies: int | None = None
    """Messages of the character; None: half of all."""
    greeting: int | None = None
    """Which greeting the chat began with, 0 being the first message."""
    user_icon: str | None = None
    also: str = ""
    """Text that is always scanned: an author's note, a persona."""
    told: Mapping[Told, str] = field(default_factory=dict)
    """Texts that only those entries are scanned against that ask for them."""
    trigger: str = "normal"
    """The kind of turn that is asked for: `normal`, `continue`, `impersonate`, `swipe`, `regenerate`,
    `quiet`."""

    @classmethod
    def for_card(cls, card: Card, persona: str = "", **more: Any) -> LoreScene:
        """The scene of a chat with `card`, `persona` being what the user says of themselves."""
        told: dict[Told, str] = {
            "persona_description": persona,
            "character_description": card.description,
            "character_personality": card.personality,
            "character_depth_prompt": card.depth_prompt.prompt if card.depth_prompt else "",
            "scenario": card.scenario,
            "creator_notes": card.creator_notes,
        }
        return cls(card.name, tuple(card.tags), told=told, **more)


class Budget(NamedTuple):
    """How many tokens a book's entries may take, and who says so."""

    tokens: int
    of: Literal["book", "settings"]


class Fired(NamedTuple):
    """An entry for the prompt."""

    entry: Entry
    why: str
    text: str
    """Its content with macros expanded."""
    book: str


class Skipped(NamedTuple):
    """An entry that stays out."""

    entry: Entry
    why: str
    book: str


@dataclass(frozen=True, slots=True)
class Activation:
    """What a scan found."""

    fired: list[Fired] = field(default_factory=list)
    """In the order in which they stand in the prompt: within a position, lower order first."""
    skipped: list[Skipped] = field(default_factory=list)
    tokens: int = 0
    timers: Mapping[str, Timer] = field(default_factory=dict)
    """To hand in with the chat's next scan."""

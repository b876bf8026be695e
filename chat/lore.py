"""What a card's lorebook fires in a chat, turn by turn.

Nothing of it is stored: sticky and cooling entries, and where cache-friendly lore stands, follow from the
path. So a swipe, a branch or an edit has the lore of its own past.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

from cards.activation import activate
from cards.card import Card
from cards.lore_entry import Entry
from cards.lore_timers import Timers, keeps_time, replayed
from cards.lore_values import LoreScene, LoreSettings, Skipped
from cards.macros import Macros
from presets.lore_placing import LoreScan, moving_depth, settled_lore
from presets.prompt_options import PromptOptions
from presets.values import Budget, Dropped, LoreAt, LoreInsertion, Mode, Persona, Segment, Turn

KEPT = 4096
"""Scans that are kept for a chat; drafts make some that nobody asks for again."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a prompt needs of a scan."""

    fired: tuple[LoreInsertion, ...]
    over_budget: tuple[Skipped, ...]
    timers: Timers


@dataclass(slots=True)
class LoreMemory:
    """What was found for one chat, so that a turn more costs one scan more. May be emptied at any time."""

    of: tuple[object, ...] = ()
    """What the scans depend on beside the turns."""
    scans: dict[Hashable, Scan] = field(default_factory=dict)
    timers: dict[Hashable, Timers] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Tokens of a text by itself."""

    def kept_for(self, of: tuple[object, ...]) -> LoreMemory:
        """Itself, emptied when something else than the turns has changed."""
        if self.of != of:
            self.of = of
            for known in (self.scans, self.timers, self.sizes):
                known.clear()
        return self


class LoreWatch:
    """The lore of one prompt. `turns` are the whole chat as the prompt sees it."""

    def __init__(
        self,
        card: Card,
        persona: Persona,
        turns: Sequence[Turn],
        macros: Macros,
        chosen: PromptOptions,
        *,
        dice: int = 0,
        clock: datetime | None = None,
        budget: Budget | None = None,
        memory: LoreMemory | None = None,
        mode: Mode = "reply",
    ) -> None:
        """`macros` are the book's own: what it throws must not move the dice of the card's texts."""
        self._card = card
        self._persona = persona
        self._macros = macros
        self._chosen = chosen
        self._dice = dice
        self._budget = budget
        self._room = int(budget.tokens * chosen.lore_share) if budget else None
        of = (card, persona, clock, dice, self._room, budget is None)
        self._memory = (memory or LoreMemory()).kept_for(of)
        # Without a book nothing is looked at, in a chat of any length.
        self._turns: Sequence[Turn] = turns if card.character_book is not None else ()
        names = {"char": card.call_name, "user": persona.name or "User", "system": ""}
        self._texts = [f"{turn.name or names[turn.role]}: {turn.text}" for turn in self._turns]
        self._path = _path(self._turns)
        self._replies = [place for place, turn in enumerate(self._turns) if turn.role == "char" and place]
        self._greeting = self._which_greeting()
        if self._path and mode != "reply":
            # What only answers such a turn must not be taken for what the next reply is made with.
            self._path[-1] = hash((self._path[-1], mode))
        self._mode = mode

    def lore(self) -> Sequence[LoreInsertion] | LoreAt:
        """What `presets.prompt.build` takes; macros are not expanded yet."""
        if self._card.character_book is None:
            return ()
        if self._chosen.lore == "faithful":
            return self._at(len(self._turns)).fired
        return self._settled

    def dropped(self) -> list[Dropped]:
        """Entries that fired and found no room in what lore may take."""
        if self._card.character_book is None or self._budget is None:
            return []
        over = self._at(len(self._turns)).over_budget
        return [
            Dropped(
                "lore", _source(one.book or self._card.name, one.entry), one.why, self._size_of(one.entry)
            )
            for one in over
        ]

    def _settled(self, first: int) -> list[LoreInsertion]:
        lengths = [place for place in self._replies if place > first]
        each = ((length, self._at(length).fired) for length in (*lengths, len(self._turns)))
        note = self._chosen.note
        scans = [
            LoreScan(length, fired, moving_depth(self._card, self._persona, note, fired))
            for length, fired in each
        ]
        # A guess will do, and costs a long chat nothing.
        sizes = [_guess(turn.text) if self._budget else len(turn.text) for turn in self._turns]
        return settled_lore(scans, sizes, self._size, first=first, room=self._room)

    # Scans --------------------------------------------------------------------------------------------------

    def _at(self, length: int) -> Scan:
        """What the book says after the first `length` turns."""
        book, memory = self._card.character_book, self._memory
        assert book is not None
        if self._path[length] not in memory.scans:
            timers: Timers = {}
            if keeps_time(book.entries):
                before = [place for place in self._replies if place < length]
                timers = replayed(
                    lambda n, known: self._scan(n, known).timers, self._path, before, memory.timers
                )
            return self._scan(length, timers)
        return memory.scans[self._path[length]]

    def _scan(self, length: int, timers: Timers) -> Scan:
        """Chance is drawn from the chat's dice and the last turn: asked again, the book answers the same."""
        book, turns = self._card.character_book, self._turns
        assert book is not None
        last, macros = turns[length - 1].source if length else "", self._thrown_anew()
        found = activate(
            book,
            self._texts[:length],
            settings=LoreSettings(budget=self._room),
            scene=self._scene(length),
            timers=timers,
            dice=Random(f"{self._dice} {last}"),
            count=self._size,
            expand=macros.expand,
            expand_for_scan=lambda text: macros.expand(text, view="scan"),
        )
        fired = (_insertion(one.book or self._card.name, one.entry) for one in found.fired)
        over = (one for one in found.skipped if one.why.startswith("over budget"))
        scan, scans = Scan(tuple(fired), tuple(over), found.timers), self._memory.scans
        scans[self._path[length]] = scan
        while len(scans) > KEPT:
            del scans[next(iter(scans))]
        return scan

    def _thrown_anew(self) -> Macros:
        """The macros with dice and variables of their own: no scan may change what another finds."""
        own, everywhere = dict(self._macros.variables), dict(self._macros.global_variables)
        return replace(self._macros, dice=Random(self._dice), variables=own, global_variables=everywhere)

    def _scene(self, length: int) -> LoreScene:
        persona = self._persona
        said = sum(turn.role == "char" for turn in self._turns[:length])
        now = length == len(self._turns) and self._mode != "reply"
        return LoreScene.for_card(
            self._card,
            persona.description,
            replies=said,
            greeting=self._greeting,
            # A persona between the messages is read like them.
            also=self._thrown_anew().expand(persona.description) if persona.position == "depth" else "",
            trigger=self._mode if now else "normal",
        )

    def _which_greeting(self) -> int | None:
        """Which of the card's greetings the chat began with; None for a text of its own."""
        book, turns = self._card.character_book, self._turns
        if book is None or not turns or turns[0].role != "char":
            return None
        # As they were expanded when the chat began: one after the other, with the chat's dice.
        macros, greetings = self._thrown_anew(), self._card.greetings
        each = zip(self._card.greeting_numbers, greetings, map(macros.expand, greetings), strict=True)
        return next((n for n, *texts in each if turns[0].text in texts), None)

    # Sizes --------------------------------------------------------------------------------------------------

    def _size(self, text: str) -> int:
        """Tokens of a text by itself; characters where nobody counts."""
        if self._budget is None:
            return len(text)
        sizes = self._memory.sizes
        if text not in sizes:
            sizes[text] = sum(self._budget.count([Segment("lore", "", text, False)]))
        return sizes[text]

    def _size_of(self, entry: Entry) -> int:
        return self._size(self._thrown_anew().expand(entry.content))


def _path(turns: Sequence[Turn]) -> list[Hashable]:
    """A name for what was said before each turn, and for the whole chat."""
    path: list[Hashable] = [0]
    for turn in turns:
        path.append(hash((path[-1], turn.role, turn.name, turn.text, turn.source)))
    return path


def _guess(text: str) -> int:
    """Tokens of a text, uncounted."""
    return (len(text) + 3) // 4


def _source(book: str, entry: Entry) -> str:
    return f"lore {book}/{entry.label}"


def _insertion(book: str, entry: Entry) -> LoreInsertion:
    return LoreInsertion(
        entry.content,
        _source(book, entry),
        entry.position,
        entry.depth,
        entry.role,
        outlet=entry.outlet,
        constant=entry.constant,
    )

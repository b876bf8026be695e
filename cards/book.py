"""Lorebooks: the value and how it is read. Which entries fire is `activate`'s to say, in activation.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cards import limits
from cards.agnai import memory_entry
from cards.coercion import Coercion, type_name
from cards.errors import CardWarning
from cards.lore_entry import Entry, read_book_entry, read_world_entry
from cards.lore_keys import KeyIndex
from cards.lore_values import Budget, LoreSettings

__all__ = ["Lorebook"]


@dataclass(frozen=True)
class Lorebook:
    """A book of entries. What it leaves open (None) is the reader's choice."""

    name: str = ""
    description: str = ""
    entries: tuple[Entry, ...] = ()
    scan_depth: int | None = None
    """Messages from the end in which keys are looked for."""
    token_budget: int | None = None
    """Tokens of its entries together; None and 0: no limit of its own."""
    recursive: bool | None = None
    _indexes: dict[tuple[bool, bool], KeyIndex] = field(default_factory=dict, repr=False, compare=False)

    def index(self, *, case_sensitive: bool, whole_words: bool) -> KeyIndex:
        """The book's keys, compiled once for each choice of defaults."""
        choice = (case_sensitive, whole_words)
        if choice not in self._indexes:
            self._indexes[choice] = KeyIndex(
                self.entries, case_sensitive=case_sensitive, whole_words=whole_words
            )
        return self._indexes[choice]

    def budget_under(self, settings: LoreSettings) -> Budget | None:
        """The smaller of the book's own budget and the settings'; None where neither sets one."""
        if self.token_budget and (settings.budget is None or self.token_budget < settings.budget):
            return Budget(self.token_budget, "book")
        return None if settings.budget is None else Budget(settings.budget, "settings")

    @classmethod
    def read(
        cls, raw: Mapping[str, Any], place: str = "", warnings: list[CardWarning] | None = None
    ) -> Lorebook:
        """A book from a V2 or V3 `character_book`, a World Info file's object or an Agnai memory book."""
        warnings = [] if warnings is None else warnings
        book = Coercion(raw, place, warnings)
        book.within("extensions", nullable=True)
        depth, budget = book.optional_number("scan_depth"), book.optional_number("token_budget")
        return cls(
            name=book.text("name"),
            description=book.text("description"),
            entries=_entries(book, raw.get("kind") == "memory"),
            scan_depth=None if depth is None else max(0, int(depth)),
            token_budget=None if budget is None or budget < 0 else int(budget),
            recursive=book.optional_flag("recursive_scanning"),
        )


def _entries(book: Coercion, agnai: bool) -> tuple[Entry, ...]:
    found = book.source.get("entries")
    if isinstance(found, Mapping):
        listed = list(found.items())
        if book.place or not _is_world_info(found):
            book.warn("entries", "an object where a list belongs")
    elif isinstance(found, list):
        listed = [(str(index), raw) for index, raw in enumerate(found)]
    else:
        if "entries" in book.source:
            book.warn("entries", f"{type_name(found)} where a list belongs")
        return ()
    if len(listed) > limits.LORE_ENTRIES:
        book.warn("entries", f"only the first {limits.LORE_ENTRIES} of {len(listed)} entries are used")
    entries: list[Entry] = []
    for index, (key, raw) in enumerate(listed[: limits.LORE_ENTRIES]):
        place = f"{book.field('entries')}[{key}]"
        if not isinstance(raw, Mapping):
            message = f"{type_name(raw)} where an object belongs; left out"
            book.warnings.append(CardWarning("type", message, place))
            continue
        read = read_world_entry if "key" in raw and "keys" not in raw else read_book_entry
        entries.append(read(memory_entry(raw) if agnai else raw, index, place, book.warnings))
    return tuple(entries)


def _is_world_info(entries: Mapping[str, Any]) -> bool:
    """SillyTavern's own files have an object there."""
    return all("key" in entry for entry in entries.values() if isinstance(entry, Mapping))

"""Lorebooks: the value, and which entries fire on a chat, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cards import limits
from cards.agnai import memory_entry
from cards.coercion import Coercion
from cards.errors import CardWarning
from cards.lore_entry import Entry, read_book_entry, read_world_entry

__all__ = ["Activation", "Entry", "Lorebook", "activate"]


@dataclass(frozen=True, slots=True)
class Lorebook:
    """A book of entries. What it leaves open (None) is the reader's choice."""

    name: str = ""
    description: str = ""
    entries: tuple[Entry, ...] = ()
    scan_depth: int | None = None
    """Messages from the end in which keys are looked for."""
    token_budget: int | None = None
    recursive: bool | None = None

    @classmethod
    def read(
        cls, raw: Mapping[str, Any], place: str = "", warnings: list[CardWarning] | None = None
    ) -> Lorebook:
        """A book from a V2 or V3 `character_book`, a World Info file's object or an Agnai memory book."""
        warnings = [] if warnings is None else warnings
        book = Coercion(raw, place, warnings)
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
    elif isinstance(found, list):
        listed = [(str(index), raw) for index, raw in enumerate(found)]
    else:
        if found is not None:
            book.warn("entries", "neither a list nor an object")
        return ()
    if len(listed) > limits.LORE_ENTRIES:
        book.warn("entries", f"only the first {limits.LORE_ENTRIES} of {len(listed)} entries are used")
    entries: list[Entry] = []
    for index, (key, raw) in enumerate(listed[: limits.LORE_ENTRIES]):
        place = f"{book.field('entries')}[{key}]"
        if not isinstance(raw, Mapping):
            book.warnings.append(CardWarning("type", "not an object; left out", place))
            continue
        read = read_world_entry if "key" in raw and "keys" not in raw else read_book_entry
        entries.append(read(memory_entry(raw) if agnai else raw, index, place, book.warnings))
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class Activation:
    """What a scan found: entries that fired, in the order in which they stand in the prompt, and why the
    rest did not."""

    fired: list[tuple[Entry, str]] = field(default_factory=list)
    """Each with what made it fire: `constant`, `key "tower"`."""
    skipped: list[tuple[Entry, str]] = field(default_factory=list)


def activate(
    book: Lorebook,
    messages: Sequence[str],
    *,
    scan_depth: int = 2,
    budget: int | None = None,
    count: Callable[[str], int] = len,
    dice: Random | None = None,
) -> Activation:
    """Which entries fire on `messages` (newest last, each as `Name: text`)."""
    result = Activation()
    spent = 0
    for entry in sorted(book.entries, key=lambda entry: entry.order):
        depth = entry.scan_depth if entry.scan_depth is not None else book.scan_depth
        reason = _reason(
            entry, messages[-depth:] if (depth := scan_depth if depth is None else depth) else []
        )
        if not entry.enabled:
            result.skipped.append((entry, "disabled"))
        elif not reason:
            result.skipped.append((entry, "no key"))
        elif dice is not None and entry.probability < 100 and dice.random() * 100 > entry.probability:
            result.skipped.append((entry, "probability"))
        elif budget is not None and spent + count(entry.content) > budget:
            result.skipped.append((entry, f"over budget by {spent + count(entry.content) - budget} tokens"))
        else:
            spent += count(entry.content)
            result.fired.append((entry, reason))
    return result


def _reason(entry: Entry, messages: Sequence[str]) -> str:
    if entry.constant:
        return "constant"
    text = "\n".join(messages).casefold()
    return next((f'key "{key}"' for key in entry.keys if key.casefold() in text), "")

"""One lorebook entry as a value, read from a card's book or from a SillyTavern World Info file.

Formats: Character Card V2 `character_book.entries`, V3 with its decorators, SillyTavern's `entry.extensions`
and its World Info files, whose keys are the same things in camel case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar, get_args

from cards import limits
from cards.coercion import Coercion, split_at_commas, type_name
from cards.decorators import DecoratorPosition, Decorators, split_decorators
from cards.errors import CardWarning

__all__ = [
    "TOLD",
    "WORLD_NAMES",
    "Entry",
    "Logic",
    "LoreRole",
    "Position",
    "Told",
    "read_book_entry",
    "read_world_entry",
]

Logic = Literal["and_any", "not_all", "not_any", "and_all"]
"""How secondary keys decide: one is there, not all are, none is, all are."""

Position = Literal[
    "before_char",
    "after_char",
    "note_top",
    "note_bottom",
    "depth",
    "examples_top",
    "examples_bottom",
    "outlet",
]
LoreRole = Literal["system", "user", "char"]
Told = Literal[
    "persona_description",
    "character_description",
    "character_personality",
    "character_depth_prompt",
    "scenario",
    "creator_notes",
]
"""Texts about the persona and the character that an entry may ask to be scanned too."""

TOLD: Final[tuple[Told, ...]] = get_args(Told)

_T = TypeVar("_T")
_LOGICS: Final[tuple[Logic, ...]] = ("and_any", "not_all", "not_any", "and_all")
_POSITIONS: Final[tuple[Position, ...]] = (
    "before_char",
    "after_char",
    "note_top",
    "note_bottom",
    "depth",
    "examples_top",
    "examples_bottom",
    "outlet",
)
_ROLES: Final[tuple[LoreRole, ...]] = ("system", "user", "char")
_ROLE_NAMES: Final[dict[str, LoreRole]] = {
    "": "system",
    "system": "system",
    "user": "user",
    "assistant": "char",
    "char": "char",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: when it fires, what it says and where that goes. `None` leaves a choice to the book or
    the user."""

    index: int
    """Its place in the book, which names it when nothing else does."""
    keys: tuple[str, ...] = ()
    content: str = ""
    """What goes into the prompt, decorators taken off, macros not yet expanded."""
    name: str = ""
    comment: str = ""
    uid: str = ""
    enabled: bool = True
    constant: bool = False
    order: float = 100
    """Lower stands earlier within a position."""
    priority: float | None = None
    """Lower is left out first when the budget is short; without one, `order` decides."""
    selective: bool = False
    secondary_keys: tuple[str, ...] = ()
    logic: Logic = "and_any"
    use_regex: bool = False
    """Keys are patterns without slashes. A key `/pattern/flags` is one in any case."""
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    scan_depth: int | None = None
    probability: float = 100
    position: Position = "before_char"
    depth: int = 4
    role: LoreRole = "system"
    outlet: str = ""
    groups: tuple[str, ...] = ()
    group_override: bool = False
    group_weight: float = 100
    group_scoring: bool | None = None
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    exclude_recursion: bool = False
    """Fires on messages only, never on another entry's text."""
    prevent_recursion: bool = False
    """Its own text makes no other entry fire."""
    delay_until_recursion: int = 0
    """0: at once; N: only on another entry's text, in level N of those that wait."""
    ignore_budget: bool = False
    only_for: tuple[str, ...] = ()
    """Names and tags of characters that it fires for; empty: for all."""
    not_for: tuple[str, ...] = ()
    also_in: tuple[Told, ...] = ()
    """What its keys are looked for in besides the chat."""
    triggers: tuple[str, ...] = ()
    """The kinds of turn that it fires for, in SillyTavern's words (`normal`, `continue`, `impersonate`,
    `swipe`, `regenerate`, `quiet`); empty: for all."""
    decorators: Decorators = field(default_factory=Decorators)

    @property
    def label(self) -> str:
        """What people call it: its name or comment, else its first key, else its number."""
        return self.name or self.comment or (self.keys[0] if self.keys else "") or f"entry {self.index + 1}"


def read_book_entry(raw: Mapping[str, Any], index: int, place: str, warnings: list[CardWarning]) -> Entry:
    """An entry of a V2 or V3 book; SillyTavern's extensions are honoured."""
    entry = Coercion(raw, place, warnings)
    more = entry.within("extensions")
    entry.warn_of_null("enabled", "true or false")
    entry.warn_of_null("insertion_order", "a number")
    content, decorators = split_decorators(entry.text("content"))
    return _decorated(
        Entry(
            index=index,
            keys=_keys(entry, "keys"),
            content=content,
            name=entry.text("name"),
            comment=entry.text("comment"),
            uid=_uid(entry, "id", index),
            enabled=entry.flag("enabled", True),
            constant=entry.flag("constant", False),
            order=entry.number("insertion_order", 100),
            priority=entry.optional_number("priority"),
            selective=entry.flag("selective", False),
            secondary_keys=_keys(entry, "secondary_keys"),
            use_regex=entry.flag("use_regex", False) and not _written_by_sillytavern(more.source),
            case_sensitive=_first(
                entry.optional_flag("case_sensitive"), more.optional_flag("case_sensitive")
            ),
            position=_book_position(entry, more),
            outlet=more.text("outlet_name"),
            **_shared(more, _SNAKE),
            decorators=decorators,
        )
    )


def read_world_entry(raw: Mapping[str, Any], index: int, place: str, warnings: list[CardWarning]) -> Entry:
    """An entry of a SillyTavern World Info file."""
    entry = Coercion(raw, place, warnings)
    content, decorators = split_decorators(entry.text("content"))
    only_for, not_for = _character_filter(entry)
    return _decorated(
        Entry(
            index=index,
            keys=_keys(entry, "key"),
            content=content,
            comment=entry.text("comment"),
            uid=_uid(entry, "uid", index),
            enabled=not entry.flag("disable", False),
            constant=entry.flag("constant", False),
            order=entry.number("order", 100),
            selective=entry.flag("selective", True),
            secondary_keys=_keys(entry, "keysecondary"),
            case_sensitive=entry.optional_flag("caseSensitive"),
            position=_picked(_POSITIONS, entry, "position"),
            outlet=entry.text("outletName"),
            **_shared(entry, WORLD_NAMES),
            only_for=only_for,
            not_for=not_for,
            decorators=decorators,
        )
    )


def _character_filter(entry: Coercion) -> tuple[tuple[str, ...], tuple[str, ...]]:
    wanted = entry.within("characterFilter", nullable=True)
    names = (*wanted.texts("names"), *wanted.texts("tags"))
    return ((), names) if wanted.flag("isExclude", False) else (names, ())


_DECORATED: Final[dict[DecoratorPosition, Position]] = {
    "before_desc": "before_char",
    "after_desc": "after_char",
    "personality": "after_char",
    "scenario": "after_char",
}


def _decorated(entry: Entry) -> Entry:
    """The entry as its decorators change it; `reverse_depth` waits until the chat's length is known."""
    marks = entry.decorators
    changes: dict[str, Any] = {}
    if marks.position is not None:
        changes["position"] = _DECORATED[marks.position]
    elif marks.depth is not None:
        changes |= {"position": "depth", "depth": max(0, marks.depth)}
    elif marks.reverse_depth is not None:
        changes["position"] = "depth"
    if marks.role is not None:
        changes["role"] = marks.role
    if marks.scan_depth is not None:
        changes["scan_depth"] = max(0, marks.scan_depth)
    return replace(entry, **changes) if changes else entry


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


_SNAKE: Final = {
    name: name
    for name in (
        "selectiveLogic",
        "match_whole_words",
        "scan_depth",
        "probability",
        "useProbability",
        "depth",
        "role",
        "group",
        "group_override",
        "group_weight",
        "use_group_scoring",
        "sticky",
        "cooldown",
        "delay",
        "exclude_recursion",
        "prevent_recursion",
        "delay_until_recursion",
        "ignore_budget",
        *(f"match_{told}" for told in TOLD),
    )
}
WORLD_NAMES: Final = {name: _camel(name) for name in _SNAKE}
"""A World Info file spells the same settings in camel case."""


def _shared(source: Coercion, key: Mapping[str, str]) -> dict[str, Any]:
    """What SillyTavern keeps in an entry's extensions, or in a World Info entry itself."""
    scan_depth = source.optional_number(key["scan_depth"])
    probability = source.number(key["probability"], 100)
    waits = source.source.get(key["delay_until_recursion"])
    level = int(waits) if isinstance(waits, bool) else source.whole(key["delay_until_recursion"], 0)
    return {
        "logic": _picked(_LOGICS, source, key["selectiveLogic"]),
        "whole_words": source.optional_flag(key["match_whole_words"]),
        "scan_depth": None if scan_depth is None else max(0, int(scan_depth)),
        "probability": probability if source.flag(key["useProbability"], True) else 100,
        "depth": max(0, source.whole(key["depth"], 4)),
        "role": _role(source, key["role"]),
        "groups": tuple(part.strip() for part in split_at_commas(source.text(key["group"])) if part.strip()),
        "group_override": source.flag(key["group_override"], False),
        "group_weight": max(0.0, source.number(key["group_weight"], 100)),
        "group_scoring": source.optional_flag(key["use_group_scoring"]),
        "sticky": max(0, source.whole(key["sticky"], 0)),
        "cooldown": max(0, source.whole(key["cooldown"], 0)),
        "delay": max(0, source.whole(key["delay"], 0)),
        "exclude_recursion": source.flag(key["exclude_recursion"], False),
        "prevent_recursion": source.flag(key["prevent_recursion"], False),
        # A boolean in old files, a level in new ones.
        "delay_until_recursion": max(0, level),
        "ignore_budget": source.flag(key["ignore_budget"], False),
        "also_in": tuple(told for told in TOLD if source.flag(key[f"match_{told}"], False)),
        "triggers": tuple(source.texts("triggers")) if source.source.get("triggers") is not None else (),
    }


def _keys(entry: Coercion, key: str) -> tuple[str, ...]:
    keys = [text for text in entry.texts(key, split=True) if text.strip()]
    if len(keys) > limits.LORE_KEYS:
        entry.warn(key, f"only the first {limits.LORE_KEYS} of {len(keys)} keys are used")
    return tuple(keys[: limits.LORE_KEYS])


def _uid(entry: Coercion, key: str, index: int) -> str:
    """What the entry is called by: a number in V2, a number or text in V3."""
    value = entry.source.get(key)
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # more digits than Python turns into text
            return str(index)
    if value is not None:
        entry.warn(key, f"{type_name(value)} where a number or text belongs")
    return str(index)


def _book_position(entry: Coercion, more: Coercion) -> Position:
    if more.source.get("position") is not None:
        return _picked(_POSITIONS, more, "position")
    written = entry.source.get("position")
    if isinstance(written, str) and written in _POSITIONS:
        return written
    if isinstance(written, (int, float)) and not isinstance(written, bool):
        entry.warn("position", "a number where before_char or after_char belongs")
        return _pick(_POSITIONS, int(written))
    if written in (None, ""):
        return "before_char"
    what = "an unknown word" if isinstance(written, str) else type_name(written)
    entry.warn("position", f"{what} where before_char or after_char belongs")
    return "after_char"


def _written_by_sillytavern(extensions: Mapping[str, Any]) -> bool:
    """SillyTavern sets use_regex on all that it exports and means by it nothing."""
    return "selectiveLogic" in extensions or "useProbability" in extensions


def _role(source: Coercion, key: str) -> LoreRole:
    value = source.source.get(key)
    if value is None:
        return "system"
    if isinstance(value, str) and value.lower() in _ROLE_NAMES:
        return _ROLE_NAMES[value.lower()]
    return _picked(_ROLES, source, key)


def _picked(choices: tuple[_T, ...], source: Coercion, key: str) -> _T:
    """The choice that a number means; the first, with a warning, where it means none."""
    number = source.whole(key, 0)
    if not 0 <= number < len(choices):
        source.warn(key, f"{number} means nothing; taken as 0")
    return _pick(choices, number)


def _pick(choices: tuple[_T, ...], number: int) -> _T:
    return choices[number] if 0 <= number < len(choices) else choices[0]


def _first(one: bool | None, other: bool | None) -> bool | None:
    return other if one is None else one

"""One lorebook entry as a value, read from a card's book or from a SillyTavern World Info file.

Formats: Character Card V2 `character_book.entries`, V3 with its decorators, SillyTavern's `entry.extensions`
and its World Info files, whose keys are the same things in camel case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
# SillyTavern writes these three as numbers: the places in the lists above.
_LOGICS: Final[tuple[Logic, ...]] = get_args(Logic)
_POSITIONS: Final[tuple[Position, ...]] = get_args(Position)
_ROLES: Final[tuple[LoreRole, ...]] = get_args(LoreRole)
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
    content, marks = split_decorators(entry.text("content"))
    position = _book_position(entry, more)
    only_for, not_for = _character_filter(more)
    said: dict[str, Any] = {"position": position, **_shared(more, _SNAKE), **_decorated(marks)}
    return Entry(
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
        case_sensitive=_first(entry.optional_flag("case_sensitive"), more.optional_flag("case_sensitive")),
        outlet=more.text("outlet_name"),
        only_for=only_for,
        not_for=not_for,
        **said,
    )


def read_world_entry(raw: Mapping[str, Any], index: int, place: str, warnings: list[CardWarning]) -> Entry:
    """An entry of a SillyTavern World Info file."""
    entry = Coercion(raw, place, warnings)
    content, marks = split_decorators(entry.text("content"))
    position = _picked(_POSITIONS, entry, "position")
    said: dict[str, Any] = {"position": position, **_shared(entry, WORLD_NAMES), **_decorated(marks)}
    only_for, not_for = _character_filter(entry)
    return Entry(
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
        outlet=entry.text("outletName"),
        only_for=only_for,
        not_for=not_for,
        **said,
    )


def _character_filter(entry: Coercion) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if "characterFilter" not in entry.source:
        return (), ()
    wanted = entry.within("characterFilter", nullable=True)
    names = (*wanted.texts("names"), *wanted.texts("tags"))
    return ((), names) if wanted.flag("isExclude", False) else (names, ())


_DECORATED: Final[dict[DecoratorPosition, Position]] = {
    "before_desc": "before_char",
    "after_desc": "after_char",
    "personality": "after_char",
    "scenario": "after_char",
}


def _decorated(marks: Decorators) -> dict[str, Any]:
    """What an entry's decorators say of it; `reverse_depth` waits until the chat's length is known."""
    said: dict[str, Any] = {"decorators": marks}
    if marks.position is not None:
        said["position"] = _DECORATED[marks.position]
    elif marks.depth is not None:
        said |= {"position": "depth", "depth": max(0, marks.depth)}
    elif marks.reverse_depth is not None:
        said["position"] = "depth"
    if marks.role is not None:
        said["role"] = marks.role
    if marks.scan_depth is not None:
        said["scan_depth"] = max(0, marks.scan_depth)
    return said


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
    """What SillyTavern says of an entry, in its extensions or in a World Info entry: only what is there."""
    there = source.source
    found = {field: read(source, key[name]) for name, (field, read) in _READ.items() if key[name] in there}
    if not source.flag(key["useProbability"], True):
        found["probability"] = 100
    if told := tuple(told for told in TOLD if source.flag(key[f"match_{told}"], False)):
        found["also_in"] = told
    if there.get("triggers") is not None:
        found["triggers"] = tuple(source.texts("triggers"))
    return found


def _off(source: Coercion, key: str) -> bool:
    return source.flag(key, False)


def _messages(source: Coercion, key: str) -> int:
    return max(0, source.whole(key, 0))


def _own_scan_depth(source: Coercion, key: str) -> int | None:
    depth = source.optional_number(key)
    return None if depth is None else max(0, int(depth))


def _level(source: Coercion, key: str) -> int:
    """A boolean in old files, a level in new ones."""
    waits = source.source.get(key)
    return max(0, int(waits) if isinstance(waits, bool) else source.whole(key, 0))


def _groups(source: Coercion, key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in split_at_commas(source.text(key)) if part.strip())


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
        return _pick(_POSITIONS, entry.whole("position", 0))
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


_READ: Final[Mapping[str, tuple[str, Callable[[Coercion, str], Any]]]] = {
    "selectiveLogic": ("logic", lambda source, key: _picked(_LOGICS, source, key)),
    "match_whole_words": ("whole_words", Coercion.optional_flag),
    "scan_depth": ("scan_depth", _own_scan_depth),
    "probability": ("probability", lambda source, key: source.number(key, 100)),
    "depth": ("depth", lambda source, key: max(0, source.whole(key, 4))),
    "role": ("role", _role),
    "group": ("groups", _groups),
    "group_override": ("group_override", _off),
    "group_weight": ("group_weight", lambda source, key: max(0.0, source.number(key, 100))),
    "use_group_scoring": ("group_scoring", Coercion.optional_flag),
    "sticky": ("sticky", _messages),
    "cooldown": ("cooldown", _messages),
    "delay": ("delay", _messages),
    "exclude_recursion": ("exclude_recursion", _off),
    "prevent_recursion": ("prevent_recursion", _off),
    "delay_until_recursion": ("delay_until_recursion", _level),
    "ignore_budget": ("ignore_budget", _off),
}
"""SillyTavern's settings: the field of `Entry` that each is, and how its value is read."""

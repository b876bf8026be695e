"""Card: a typed, read-only view over the document as it was found.

The document is never changed. What has a wrong type is coerced for use and stays as it was for export; an
edit makes a new Card whose document differs in the edited path only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Final, Literal

from cards import limits
from cards.agnai import persona_text
from cards.book import Lorebook
from cards.coercion import Coercion
from cards.errors import CardWarning
from cards.lore_entry import LoreRole
from cards.paths import value_at, with_value
from cards.shapes import FIELD_ALIASES, TEXT_FIELDS, Shape, Spec, detect_shape
from cards.v3_fields import Asset, read_assets, read_date, read_favourite, read_talkativeness

__all__ = ["COMPARED", "Card", "Container", "DepthPrompt", "card_from_document", "differing_fields"]

Container = Literal["png", "json", "yaml", "charx", "jpeg", "webp", "byaf", "markdown"]
"""How the card lay in its file; `jpeg` is a CHARX behind a JPEG."""


@dataclass(frozen=True, slots=True)
class DepthPrompt:
    """The character's note: text that is inserted some messages from the end."""

    prompt: str
    depth: int = 4
    role: LoreRole = "system"


@dataclass(frozen=True, eq=False)
class Card:
    """A character card. Two cards are equal when their documents are."""

    document: dict[str, Any]
    """The original JSON object, with everything in it. Never change it; `edited` makes a changed copy."""
    shape: Shape
    fallback_name: str = ""
    """The name of a card that has none: its file's stem."""
    container: Container = "json"
    source: bytes | None = field(default=None, repr=False)
    """The file it was read from, for an export that changes nothing; None for a card that was edited or
    made."""
    avatar: bytes | None = field(default=None, repr=False)
    """The picture it came with (a PNG where the card is one), never decoded here."""
    original: Card | None = field(default=None, repr=False)
    """The card as it was read, where this one is an edit of it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Card) and self.document == other.document and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((self.name, self.shape.spec, len(self.document)))

    @property
    def spec(self) -> Spec:
        """What the document is: `v1`, `v2`, `v3`, `pygmalion`, or another program's own form."""
        return self.shape.spec

    @cached_property
    def name(self) -> str:
        """The card's name as written; its file's name when it has none."""
        return self._text("name") if self._text("name").strip() else self.fallback_name or "Unnamed"

    @cached_property
    def description(self) -> str:
        return self._text("description")

    @cached_property
    def personality(self) -> str:
        return self._text("personality")

    @cached_property
    def scenario(self) -> str:
        return self._text("scenario")

    @cached_property
    def first_mes(self) -> str:
        return self._text("first_mes")

    @cached_property
    def mes_example(self) -> str:
        return self._text("mes_example")

    @cached_property
    def creator_notes(self) -> str:
        """For people, never for a prompt. A V3 card's English notes stand for an empty one."""
        notes = self._text("creator_notes")
        multilingual = self._fields.within("creator_notes_multilingual")
        for language in islice(multilingual.source, limits.LANGUAGES):
            multilingual.text(language)
        return multilingual.text("en") or notes

    @cached_property
    def system_prompt(self) -> str:
        return self._text("system_prompt")

    @cached_property
    def post_history_instructions(self) -> str:
        return self._text("post_history_instructions")

    @cached_property
    def creator(self) -> str:
        return self._text("creator")

    @cached_property
    def character_version(self) -> str:
        return self._text("character_version")

    @cached_property
    def nickname(self) -> str:
        return self._text("nickname")

    @cached_property
    def alternate_greetings(self) -> list[str]:
        return self._fields.texts("alternate_greetings")

    @cached_property
    def tags(self) -> list[str]:
        return self._fields.texts("tags", split=True)

    @cached_property
    def extensions(self) -> dict[str, Any]:
        return dict(self._extensions.source)

    @cached_property
    def character_book(self) -> Lorebook | None:
        """The book inside the card, None when there is none."""
        fields, key = self._fields, self.shape.book_key
        if not isinstance(fields.source.get(key), Mapping):
            fields.mapping(key, nullable=not self._has_data)
            return None
        return Lorebook.read(fields.source[key], fields.field(key), fields.warnings)

    @cached_property
    def depth_prompt(self) -> DepthPrompt | None:
        """`extensions.depth_prompt`, None when its text is blank."""
        note = self._extensions.within("depth_prompt", nullable=True)
        prompt = note.text("prompt")
        if not prompt.strip():
            return None
        role: LoreRole = {"user": "user", "assistant": "char"}.get(note.text("role"), "system")  # type: ignore[assignment]
        return DepthPrompt(prompt, max(0, note.whole("depth", 4)), role)

    @cached_property
    def group_only_greetings(self) -> list[str]:
        return self._fields.texts("group_only_greetings") if self._has_data else []

    @cached_property
    def sources(self) -> list[str]:
        """V3's `source`: where the card comes from, ids and addresses."""
        return self._fields.texts("source") if self._has_data else []

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """Pictures and other files of the card, as it names them; its own picture where it names none."""
        return read_assets(self._fields if self._has_data else Coercion({}, "", []))

    @cached_property
    def creation_date(self) -> int:
        """Seconds since 1970; 0 for unknown."""
        return read_date(self._fields, "creation_date") if self._has_data else 0

    @cached_property
    def modification_date(self) -> int:
        return read_date(self._fields, "modification_date") if self._has_data else 0

    @cached_property
    def talkativeness(self) -> float:
        """How readily the character speaks up in a group, 0 to 1; SillyTavern's."""
        return read_talkativeness(self._extensions if self._has_data else self._fields)

    @cached_property
    def favourite(self) -> bool:
        """SillyTavern's mark of the user's favourites."""
        return read_favourite(self._extensions if self._has_data else self._fields)

    @property
    def greetings(self) -> list[str]:
        """The first message and its alternates, empty ones left out: what a new chat can begin with."""
        return [text for text in (self.first_mes, *self.alternate_greetings) if text.strip()]

    @property
    def greeting_numbers(self) -> list[int]:
        """The number of each of `greetings`, as a lorebook's `@@is_greeting` counts: 0 is the first message,
        and empty ones count."""
        every = (self.first_mes, *self.alternate_greetings)
        return [number for number, text in enumerate(every) if text.strip()]

    @property
    def call_name(self) -> str:
        """What {{char}} stands for: the V3 nickname when there is one, else the name."""
        return self.nickname if self.nickname.strip() else self.name

    @cached_property
    def _fields(self) -> Coercion:
        """The object that holds the fields: `data`, or the document itself. Its warnings are `warnings`."""
        found = value_at(self.document, self.shape.fields)
        return Coercion(found if isinstance(found, Mapping) else {}, ".".join(self.shape.fields), [])

    @cached_property
    def _extensions(self) -> Coercion:
        return self._fields.within("extensions", nullable=not self._has_data)

    @property
    def _has_data(self) -> bool:
        return self.spec in ("v2", "v3")

    def _text(self, name: str) -> str:
        if name == "description" and self.shape.spec == "agnai":
            return persona_text(self._fields)
        fields = self._fields
        keys = self.shape.aliases(name)
        for key in keys:
            if key in fields.source:
                text = fields.text(key)
                if text.strip() or key == keys[-1]:
                    return text
        if self.shape.fields and not any(key in fields.source for key in keys):
            # A V2 card whose `data` lacks a field: the V1 mirror at the root has it, when anything has.
            root = value_at(self.document, self.shape.prefix)
            if isinstance(root, Mapping) and name in FIELD_ALIASES and isinstance(root.get(name), str):
                return str(root[name])
        return fields.text(keys[0])

    def found_in(
        self, container: Container, *, source: bytes | None = None, avatar: bytes | None = None
    ) -> Card:
        """This card with word of the file that it lay in: `source`, `avatar`. What was read of its document
        is not read again: a book has thousands of entries."""
        card = replace(self, container=container, source=source, avatar=avatar)
        card.__dict__.update(
            {name: value for name, value in self.__dict__.items() if name not in card.__dict__}
        )
        return card

    def field_warnings(self) -> list[CardWarning]:
        """Every field read once; what had to be coerced, in the order of the fields, one warning a field."""
        for name in (*COMPARED, *_MORE):
            getattr(self, name)
        once = list({(warning.field, warning.message): warning for warning in self._fields.warnings}.values())
        if len(once) > limits.WARNINGS:
            over = "over " if len(self._fields.warnings) >= limits.WARNINGS_COUNTED else ""
            more = f"{over}{len(once) - limits.WARNINGS} more values are odd"
            return [*once[: limits.WARNINGS], CardWarning("type", more)]
        return once

    def path_of(self, name: str) -> tuple[str, ...]:
        """Where a field stands in this card's document: `description` is at `data.description` of a V2
        card."""
        holder = value_at(self.document, self.shape.fields)
        keys = self.shape.aliases(name)
        present = [key for key in keys if isinstance(holder, Mapping) and key in holder]
        # As in `_text`: where a field has several names, the first that is not empty is the one in use.
        used = [key for key in present if str(value_at(holder, (key,)) or "").strip()]
        return (*self.shape.fields, [*used, *present, *keys][0])

    def edited(self, path: str | Sequence[str | int], value: Any) -> Card:
        """A card whose document differs at one path: a field's name, a dotted path, or the path's parts.

        `edited("description", ...)` finds the field wherever this kind of card keeps it; the V1 mirror at the
        root of a V2 or V3 document follows. Objects on the way are made where they are missing. Raises
        KeyError for a list index that does not exist.
        """
        parts: tuple[str | int, ...] = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
        if len(parts) == 1:
            # Also where a key of that name is there: Pygmalion's own names count before the others.
            parts = self.path_of(str(parts[0]))
        if self.shape.spec == "agnai" and path == "description" and isinstance(value, str):
            # Agnai's own word for a persona that is plain text.
            parts, value = (*self.shape.fields, "persona"), {"kind": "text", "attributes": {"text": [value]}}
        document = with_value(self.document, parts, value)
        mirror = (*self.shape.prefix, *parts[-1:])
        if parts[:-1] == self.shape.fields and parts[-1] in FIELD_ALIASES and self.shape.fields:
            present = value_at(self.document, mirror)
            if present is not None:
                document = with_value(document, mirror, value)
        return Card(
            document, self.shape, self.fallback_name, self.container, None, self.avatar, self.original or self
        )


COMPARED: Final = (
    *TEXT_FIELDS,
    "alternate_greetings",
    "tags",
    "extensions",
    "character_book",
    "depth_prompt",
)
"""The fields in which two copies of a card may differ."""


_MORE: Final = (
    "group_only_greetings",
    "sources",
    "assets",
    "creation_date",
    "modification_date",
    "talkativeness",
    "favourite",
)
_V3_FIELDS: Final = ("nickname",)


def differing_fields(one: Card, other: Card) -> list[str]:
    """The fields in which two copies of a card differ; of a V2 and a V3 copy, only what V2 holds."""
    alike = one.spec == other.spec
    names = [name for name in COMPARED if alike or name not in (*_V3_FIELDS, "creator_notes")]
    differ = [name for name in names if getattr(one, name) != getattr(other, name)]
    # A V3 card's notes in several languages stand for those that V2 has too.
    if not alike and one._text("creator_notes") != other._text("creator_notes"):
        differ.append("creator_notes")
    return differ


def card_from_document(document: dict[str, Any], fallback_name: str = "") -> tuple[Card, list[CardWarning]]:
    """A card from its JSON object, and what was odd about it. Raises CardError when it is not a card's."""
    shape, warnings = detect_shape(document)
    card = Card(document, shape, fallback_name)
    if not card._text("name").strip():
        warnings.append(CardWarning("name", f"the card has no name; called {card.name!r}", "name"))
    return card, warnings + card.field_warnings()

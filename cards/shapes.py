"""What kind of card a JSON object is, judged by its shape: the word in `spec` is one witness among others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cards.errors import CardError, CardWarning

__all__ = ["FIELD_ALIASES", "TEXT_FIELDS", "Shape", "Spec", "detect_shape", "looks_like"]

TEXT_FIELDS: Final = (
    "name",
    "description",
    "personality",
    "scenario",
    "first_mes",
    "mes_example",
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "creator",
    "character_version",
    "nickname",
)
"""The fields that hold one text each; V1 has the first six, V2 all but the last."""

Spec = Literal["v1", "v2", "v3", "pygmalion", "agnai", "webui", "byaf"]
"""`webui` is text-generation-webui's YAML or JSON; `agnai` and `byaf` are those programs' own documents."""

FIELD_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("name", "char_name", "bot", "<|bot|>"),
    "description": ("description", "char_persona", "context", "persona"),
    "personality": ("personality",),
    "scenario": ("scenario", "world_scenario"),
    "first_mes": ("first_mes", "char_greeting", "greeting"),
    "mes_example": ("mes_example", "example_dialogue", "sampleChat"),
}
"""The six V1 fields and what other programs call them; the first that is not empty counts."""

_SPEC_ALIASES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "v1": {"creator_notes": ("creator_notes", "creatorcomment")},
    "pygmalion": {"creator_notes": ("creator_notes", "creatorcomment")},
    "agnai": {"creator_notes": ("description",), "alternate_greetings": ("alternateGreetings",)},
}
_BOOK_KEYS: Final[Mapping[str, str]] = {"agnai": "characterBook"}
_ENVELOPES: Final = ("card", "character", "chara_card")
_V3_ONLY: Final = ("assets", "nickname", "creator_notes_multilingual", "source", "creation_date")


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a document keeps its card."""

    spec: Spec
    prefix: tuple[str, ...] = ()
    """The envelope around the card: `("card",)`, mostly empty."""
    fields: tuple[str, ...] = ()
    """The object with the fields: the prefix, and `data` for V2 and V3."""

    def aliases(self, name: str) -> tuple[str, ...]:
        """Keys that may hold a field, in the order in which they count."""
        own = _SPEC_ALIASES.get(self.spec, {}).get(name)
        if own:
            return own
        if self.spec == "pygmalion" and name in FIELD_ALIASES:
            # Pygmalion's own names count first, also in a file that carries both sets.
            return FIELD_ALIASES[name][1:] + FIELD_ALIASES[name][:1]
        if self.spec in ("v2", "v3"):
            return (name,)
        return FIELD_ALIASES.get(name, (name,))

    @property
    def book_key(self) -> str:
        return _BOOK_KEYS.get(self.spec, "character_book")


def detect_shape(document: Mapping[str, Any]) -> tuple[Shape, list[CardWarning]]:
    """The document's shape, and what was odd. Raises CardError with what it looks like instead of a card."""
    warnings: list[CardWarning] = []
    shape = _shape(document, (), warnings)
    if shape is None:
        for key in _ENVELOPES:
            inner = document.get(key)
            if isinstance(inner, Mapping) and (shape := _shape(inner, (key,), warnings)):
                return shape, warnings
        kind, hint = looks_like(document)
        raise CardError(kind, hint)
    return shape, warnings


def _shape(root: Mapping[str, Any], prefix: tuple[str, ...], warnings: list[CardWarning]) -> Shape | None:
    spec = root.get("spec")
    data = root.get("data")
    word = spec.strip().lower() if isinstance(spec, str) else ""
    if isinstance(data, Mapping) and (word.startswith("chara_card") or _is_flat_card(data)):
        return Shape(_declared(root, word, data, warnings), prefix, (*prefix, "data"))
    if word.startswith("chara_card") and _is_flat_card(root, generous=True):
        if word != "chara_card_v1":
            warnings.append(
                CardWarning("shape", "the card has no data object; its root is read instead", "data")
            )
        return Shape("v1", prefix, prefix)
    if _is_agnai(root):
        return Shape("agnai", prefix, prefix)
    if any(isinstance(root.get(key), str) for key in ("char_name", "char_persona", "char_greeting")):
        return Shape("pygmalion", prefix, prefix)
    if (
        "context" in root
        and not any(key in root for key in ("description", "first_mes"))
        and _is_flat_card(root)
    ):
        return Shape("webui", prefix, prefix)
    if _is_flat_card(root):
        return Shape("v1", prefix, prefix)
    return None


def _declared(
    root: Mapping[str, Any], word: str, data: Mapping[str, Any], warnings: list[CardWarning]
) -> Spec:
    if word in ("chara_card_v2", "chara_card_v3"):
        found: Spec = "v3" if word.endswith("3") else "v2"
    elif word.startswith("chara_card_v") and word != "chara_card_v1":
        found = "v3"
        warnings.append(CardWarning("newer", f"the card says that it is {word}; read as V3", "spec"))
    else:
        found = "v3" if any(key in data for key in _V3_ONLY) else "v2"
        warnings.append(
            CardWarning("shape", f"the card does not say its spec; read as {found.upper()}", "spec")
        )
    version = root.get("spec_version")
    if version is not None and not isinstance(version, str):
        warnings.append(CardWarning("type", "spec_version should be text", "spec_version"))
    try:
        newer = float(version) > 3.0 if isinstance(version, (str, int, float)) else False
    except (ValueError, OverflowError):
        newer = False
    if newer:
        warnings.append(
            CardWarning("newer", f"spec_version {str(version)[:20]} is newer than 3.0", "spec_version")
        )
    return found


def _is_flat_card(root: Mapping[str, Any], *, generous: bool = False) -> bool:
    """Whether an object holds a card's fields. `entries` or a prompt's sequences make it something else."""
    names = ("first_mes", "mes_example", "char_greeting", "char_persona", "world_scenario")
    more = (
        "description",
        "personality",
        "scenario",
        "greeting",
        "context",
        "example_dialogue",
        "system_prompt",
    )
    strong = sum(key in root for key in names)
    weak = sum(key in root for key in more)
    named = any(key in root for key in FIELD_ALIASES["name"])
    if generous:
        return strong + weak + named > 0
    if "entries" in root and not strong:
        return False
    return strong + weak >= 2 or (named and strong + weak >= 1)


def _is_agnai(root: Mapping[str, Any]) -> bool:
    persona = root.get("persona")
    return isinstance(persona, Mapping) and ("attributes" in persona or "kind" in persona)


def looks_like(document: Any) -> tuple[str, str]:
    """A code and a sentence on what a JSON value is, when it is not a card."""
    if isinstance(document, list):
        return "not-a-card", "not a card: the JSON is a list, a card is an object"
    if not isinstance(document, Mapping):
        return "not-a-card", "not a card: the JSON is a single value, a card is an object"
    spec = document.get("spec")
    if spec == "lorebook_v3" or _looks_like_lorebook(document):
        return (
            "lorebook",
            "this is a lorebook, not a card; import it as one with `rpchat card lore REF --add FILE`",
        )
    if ("user_name" in document and "character_name" in document) or "chat_metadata" in document:
        return "chat", "this is a chat, not a card; import it with `rpchat chat import`"
    if any(key in document for key in ("input_sequence", "story_string", "instruct", "sysprompt")):
        return "preset", "this is a prompt preset, not a card; import it with `rpchat preset import`"
    if any(key in document for key in ("temp", "rep_pen", "temperature", "top_k", "prompt_order")):
        return "preset", "this is a sampling preset, not a card; import it with `rpchat preset import`"
    if (
        any(key in document for key in ("voxta", "voxtaVersion", "Voxta"))
        or document.get("$type") == "package"
    ):
        return (
            "unsupported",
            "this is a Voxta package, which rpchat does not read; export the character as a card",
        )
    return "not-a-card", "not a character card: none of a card's fields is in it"


def _looks_like_lorebook(document: Mapping[str, Any]) -> bool:
    entries = document.get("entries")
    if isinstance(entries, Mapping):
        entries = list(entries.values())
    if not isinstance(entries, list):
        return False
    wanted = ("keys", "key", "keywords", "keysecondary", "content", "entry")
    return document.get("kind") == "memory" or any(
        isinstance(entry, Mapping) and any(key in entry for key in wanted) for entry in entries[:5]
    )

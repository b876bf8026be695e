"""Backyard AI's archive (BYAF) as a V2 document. What has no place in a card is kept in `extensions.byaf`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from cards.coercion import split_at_commas
from cards.errors import CardError

__all__ = ["document_from_byaf"]

_SPEAKER: Final = re.compile(r"#\{(character|user)\}:", re.IGNORECASE)
_MACRO: Final = re.compile(r"(?<!\{)\{(character|user)\}(?!\})", re.IGNORECASE)
_USED: Final = {"name", "displayName", "persona", "loreItems", "images"}


def document_from_byaf(
    manifest: Mapping[str, Any], document: Callable[[str], dict[str, Any] | None]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """A V2 document and the names of the character's pictures, each as it is written and as it lies beside
    the character. `document` reads a JSON member by name.

    Raises CardError when the manifest names no character that is there.
    """
    names = manifest.get("characters")
    found = next(((name, character) for name in _texts(names) if (character := document(name))), None)
    if found is None:
        raise CardError("no-card", "this zip's manifest.json names no character that is in the file")
    home, character = PurePosixPath(found[0]).parent, found[1]
    scenarios = list(filter(None, map(document, _texts(manifest.get("scenarios"))[:100])))
    first: Mapping[str, Any] = scenarios[0] if scenarios else {}
    greetings = [greeting for greeting in map(_greeting, scenarios) if greeting]
    author = manifest.get("author")
    data: dict[str, Any] = {
        "name": _text(character.get("displayName")) or _text(character.get("name")),
        "description": _text(character.get("persona")),
        "personality": "",
        "scenario": _text(first.get("narrative")),
        "first_mes": greetings[0] if greetings else "",
        "mes_example": _examples(first.get("exampleMessages")),
        "creator_notes": "",
        "system_prompt": _text(first.get("formattingInstructions")),
        "post_history_instructions": "",
        "alternate_greetings": greetings[1:],
        "tags": [],
        "creator": _text(author.get("name")) if isinstance(author, Mapping) else "",
        "character_version": "",
        "extensions": {
            "byaf": {
                "manifest": dict(manifest),
                "character": {key: value for key, value in character.items() if key not in _USED},
                "scenarios": scenarios,
            }
        },
    }
    entries = [_lore(item) for item in _objects(character.get("loreItems"))]
    if entries:
        data["character_book"] = {"entries": entries, "extensions": {}}
    pictures = [item.get("path") for item in _objects(character.get("images"))]
    return (
        {"spec": "chara_card_v2", "spec_version": "2.0", "data": data},
        [(path, str(home / path)) for path in pictures if isinstance(path, str)],
    )


def _greeting(scenario: Mapping[str, Any]) -> str:
    messages = _objects(scenario.get("firstMessages"))
    return _text(messages[0].get("text")) if messages else ""


def _examples(messages: Any) -> str:
    texts = [_text(item.get("text")) for item in _objects(messages)]
    return "".join(f"<START>\n{text}\n" for text in texts if text)


def _lore(item: Mapping[str, Any]) -> dict[str, Any]:
    keys = [key.strip() for key in split_at_commas(_text(item.get("key"))) if key.strip()]
    return {
        "keys": keys,
        "content": _text(item.get("value")),
        "extensions": {},
        "enabled": True,
        "insertion_order": 100,
    }


def _text(value: Any) -> str:
    """Text with Backyard's macros as ours."""
    if not isinstance(value, str):
        return ""
    names = {"character": "{{char}}", "user": "{{user}}"}
    text = _SPEAKER.sub(lambda found: names[found[1].lower()] + ":", value)
    return _MACRO.sub(lambda found: names[found[1].lower()], text)


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

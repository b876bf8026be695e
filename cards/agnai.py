"""Agnai's own documents: a persona of attributes becomes the text that Agnai itself makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from cards import limits
from cards.coercion import Coercion

__all__ = ["persona_text"]


def persona_text(fields: Coercion) -> str:
    """The description of an Agnai character, joined as its persona's kind says: W++, SBF, boostyle or
    text."""
    persona = fields.within("persona")
    attributes = persona.within("attributes")
    values = {key: attributes.texts(key) for key in islice(attributes.source, limits.ATTRIBUTES)}
    kind = persona.text("kind")
    name = fields.text("name")
    if kind == "wpp":
        lines = [f"{key}({_quoted(texts, ' + ')})" for key, texts in values.items()]
        return "\n".join([f'[character("{name}") {{', *lines, "}]"]) if lines else ""
    if kind == "sbf":
        parts = [f"{key}: {_quoted(texts, ', ')}" for key, texts in values.items()]
        return f'[ character: "{name}"; {"; ".join(parts)} ]' if parts else ""
    if kind == "boostyle":
        return " + ".join([name, *(text for texts in values.values() for text in texts)]) if values else ""
    if kind == "attributes":
        return "\n".join(f"{key}: {', '.join(texts)}" for key, texts in values.items())
    return "\n".join(text for texts in values.values() for text in texts)


def _quoted(texts: list[str], joint: str) -> str:
    return joint.join(f'"{text}"' for text in texts)


def memory_entry(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of an Agnai memory book in the words of a V2 book."""
    return {
        "keys": raw.get("keywords", []),
        "content": raw.get("entry", ""),
        "name": raw.get("name", ""),
        "enabled": raw.get("enabled", True),
        "priority": raw.get("priority"),
        "insertion_order": raw.get("weight", 0),
        "extensions": {},
    }

"""A short chat in a format, for people who want to see what a format writes."""

from __future__ import annotations

from cards.card import card_from_document
from presets.format import PromptFormat
from presets.prompt import build
from presets.values import Persona, Prompt, Turn

__all__ = ["example"]

_CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Mira",
        "description": "{{char}} keeps the ferry at the river's mouth.",
        "personality": "patient, dry",
        "scenario": "An evening in autumn, at the landing.",
        "mes_example": "<START>\n{{user}}: Is the water deep?\n{{char}}: Deep enough to be polite to.",
        "post_history_instructions": "",
    },
}
_CHAT = (
    ("char", '"Last crossing," Mira says.'),
    ("user", "I hold up two coins."),
    ("char", "She takes one of them."),
    ("user", '"And the other?"'),
)


def example(format: PromptFormat) -> Prompt:
    """The prompt of a short chat in `format`, the same every time. Raises ValueError where a model's own chat
    template does not take it."""
    card, _ = card_from_document(_CARD)
    turns = [Turn("user" if role == "user" else "char", "", text, "example") for role, text in _CHAT]
    told = turns[1:] if format.begins_with_reply else turns
    return build(card, Persona("Alex", "A traveller with little luggage."), format, told)

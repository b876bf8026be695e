"""A small scene by which a format can be seen at work."""

from __future__ import annotations

from cards.card import Card, card_from_document
from presets.format import PromptFormat
from presets.prompt import build
from presets.values import Persona, Prompt, Turn

PERSONA = Persona("Alex", "A sailor who has lost the way.")

TURNS = (
    Turn("char", "", 'Mira lifts the lantern. "You\'re late, Alex."'),
    Turn("user", "", '"The fog was thick."'),
)


def example_card() -> Card:
    """Who speaks in the example."""
    data = {
        "name": "Mira",
        "description": "{{char}} keeps a lighthouse and a grudge.",
        "scenario": "A storm comes up.",
        "mes_example": "<START>\n{{user}}: Is anyone here?\n{{char}}: Nobody but me.",
    }
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def example_prompt(format: PromptFormat) -> Prompt:
    """What the model receives in that scene: header, examples, two turns and the open one."""
    return build(example_card(), PERSONA, format, TURNS)

"""What other programs call the six fields: every name is read, the first that is not empty counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cards.reading import read_card
from cards.writing import export_card

V1 = ("name", "description", "personality", "scenario", "first_mes", "mes_example")


def fields_of(document: Any) -> dict[str, str]:
    data = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    card, _ = read_card(data, "file.json")
    return {name: getattr(card, name) for name in V1 if getattr(card, name)}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        (
            {
                "char_name": "N",
                "char_persona": "D",
                "world_scenario": "S",
                "char_greeting": "G",
                "example_dialogue": "E",
            },
            {"name": "N", "description": "D", "scenario": "S", "first_mes": "G", "mes_example": "E"},
        ),
        ({"char_name": "", "name": "N", "char_persona": "D"}, {"name": "N", "description": "D"}),
        (
            {
                "char_name": "New",
                "name": "Old",
                "char_persona": "New",
                "description": "Old",
                "char_greeting": "G",
            },
            {"name": "New", "description": "New", "first_mes": "G"},
        ),
        (
            "name: N\ncontext: D\ngreeting: G\nexample_dialogue: E\nyour_name: You\n",
            {"name": "N", "description": "D", "first_mes": "G", "mes_example": "E"},
        ),
        ("bot: N\ncontext: D\ngreeting: G\n", {"name": "N", "description": "D", "first_mes": "G"}),
        ("<|bot|>: N\ncontext: D\ngreeting: G\n", {"name": "N", "description": "D", "first_mes": "G"}),
        (
            "char_name: N\nchar_persona: D\nchar_greeting: G\n",
            {"name": "N", "description": "D", "first_mes": "G"},
        ),
        (
            "name: yes\ngreeting: on\ncontext: 2024-01-01\n",
            {"name": "yes", "first_mes": "on", "description": "2024-01-01"},
        ),
        (
            {
                "name": "N",
                "persona": {"kind": "text", "attributes": {"text": ["D"]}},
                "greeting": "G",
                "sampleChat": "E",
                "scenario": "S",
            },
            {"name": "N", "description": "D", "first_mes": "G", "mes_example": "E", "scenario": "S"},
        ),
        (
            {"name": "N", "first_mes": "", "greeting": "G", "description": "D"},
            {"name": "N", "first_mes": "G", "description": "D"},
        ),
    ],
)
def test_every_name_of_a_field(document: Any, fields: dict[str, str]) -> None:
    assert fields_of(document) == fields


def test_the_creators_comment_of_an_old_card() -> None:
    card, _ = read_card(
        json.dumps({"name": "N", "first_mes": "x", "description": "d", "creatorcomment": "C"}).encode()
    )
    assert card.creator_notes == "C"


@pytest.mark.parametrize(
    "persona",
    ['[character("A") {\nMind("kind" + "dry")\n}]', "[A's persona: kind; tags: x]", "A + kind + dry"],
)
def test_formats_inside_a_description_are_kept(persona: str) -> None:
    assert fields_of({"name": "A", "description": persona, "first_mes": "x"})["description"] == persona


@pytest.mark.parametrize("value", ["Another.", ""])
@pytest.mark.parametrize(
    ("document", "field", "key"),
    [
        (
            {"char_name": "N", "char_persona": "D", "name": "N", "description": "E"},
            "description",
            "char_persona",
        ),
        (
            {"char_name": "N", "char_persona": "", "name": "N", "description": "E"},
            "description",
            "description",
        ),
        ({"char_name": "N", "char_persona": "", "char_greeting": ""}, "description", "char_persona"),
        ({"name": "N", "description": "D", "first_mes": "", "greeting": "G"}, "first_mes", "greeting"),
        ({"name": "N", "description": "D", "first_mes": ""}, "first_mes", "first_mes"),
        ({"name": "N", "context": "D", "greeting": "G"}, "description", "context"),
        (
            {"name": "N", "persona": {"kind": "text"}, "alternate_greetings": 1, "description": "C"},
            "creator_notes",
            "description",
        ),
    ],
)
def test_an_edit_of_a_field_is_one_of_the_key_that_is_read(
    document: dict[str, Any], field: str, key: str, value: str
) -> None:
    card, _ = read_card(json.dumps(document).encode(), "file.json")
    edited = card.edited(field, value)
    assert edited.document == {**document, key: value}
    if value or document.get("description") != "E":
        assert getattr(read_card(export_card(edited), "file.json")[0], field) == value

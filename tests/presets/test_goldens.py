"""Every golden prompt, byte for byte: as it is, and with other names in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cards.card import card_from_document
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import Persona, Prompt, Turn

GOLDENS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "formats_golden.json").read_text("utf-8")
)
LIBRARY = PresetLibrary()

ODD_NAMES = [
    ("Ann", "Anna"),
    ("Anna", "Ann"),
    ("{char}", "{user}"),
    ("V.*[a-z]+(", "\\1 $1"),
    ("<|im_end|>", "</s>"),
    ("<<USER>>", "### Response:"),
    ("Жанна д’Арк", "狐"),
    ("A: B", "Dr. No"),
]


def prompt_of(golden: dict[str, Any]) -> Prompt:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": golden["card"]}
    card, _ = card_from_document(document)
    return build(
        card,
        Persona(golden["user"], golden["user_persona"]),
        LIBRARY.format(golden["format"]),
        [Turn(role, "", text) for role, text in golden["turns"]],
        mode=golden["as"],
        options=golden["set"],
    )


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: f"{golden['format']}-{golden['case']}")
def test_golden_prompt(golden: dict[str, Any]) -> None:
    assert prompt_of(golden).text == golden["text"]


def test_there_are_212() -> None:
    assert len(GOLDENS) == 212


@pytest.mark.parametrize(("char", "user"), ODD_NAMES)
def test_goldens_with_other_names(char: str, user: str) -> None:
    """No golden names anyone but Vesna and Alex, so each is a golden for any other two."""

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("Vesna", "\0").replace("Alex", user).replace("\0", char)
        if isinstance(value, dict):
            return {key: renamed(item) for key, item in value.items()}
        return [renamed(item) for item in value] if isinstance(value, list) else value

    for golden in GOLDENS:
        other = renamed(golden)
        assert prompt_of(other).text == other["text"], golden["format"] + " " + golden["case"]


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: f"{golden['format']}-{golden['case']}")
def test_only_the_format_is_trusted(golden: dict[str, Any]) -> None:
    prompt = prompt_of(golden)
    for segment in prompt.segments:
        assert segment.trusted == segment.source.startswith("format ")
        if segment.trusted:
            assert "Vesna" not in segment.text
            assert "Alex" not in segment.text
    assert prompt.segments[-1].kind == "open"
    assert all(segment.text for segment in prompt.segments)

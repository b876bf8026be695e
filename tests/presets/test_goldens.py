"""Every golden prompt, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cards.reading import read_card
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import Persona, Turn

GOLDENS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "formats_golden.json").read_text("utf-8")
)
LIBRARY = PresetLibrary()


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: f"{golden['format']}-{golden['case']}")
def test_golden_prompt(golden: dict[str, Any]) -> None:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": golden["card"]}
    card, _ = read_card(json.dumps(document).encode(), "card.json")
    prompt = build(
        card,
        Persona(golden["user"], golden["user_persona"]),
        LIBRARY.format(golden["format"]),
        [Turn(role, "", text) for role, text in golden["turns"]],
        mode=golden["as"],
        options=golden["set"],
    )
    assert prompt.text == golden["text"]


def test_there_are_212() -> None:
    assert len(GOLDENS) == 212

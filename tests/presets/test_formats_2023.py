"""Airoboros 2.2 and Pygmalion with names, byte for byte; the texts are written out by hand."""

from __future__ import annotations

import pytest

from cards.card import card_from_document
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import Mode, Persona, Prompt, Turn

LIBRARY = PresetLibrary()
FIELDS = {"name": "Vesna", "description": "Keeper.", "personality": "Calm.", "scenario": "A lighthouse."}


def made(
    format: str,
    said: str,
    mode: Mode = "reply",
    options: dict[str, str] | None = None,
    user_persona: str = "A sailor.",
    **fields: str,
) -> Prompt:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**FIELDS, **fields}}
    turns = [Turn("user" if letter in "uv" else "char", "", letter) for letter in said]
    card = card_from_document(document)[0]
    return build(
        card, Persona("Alex", user_persona), LIBRARY.format(format), turns, mode=mode, options=options
    )


HEAD_22 = (
    "A chat between Alex (aka USER) and Vesna (aka ASSISTANT). Keeper.\nVesna's personality: Calm.\n"
    "Alex's Persona: A sailor.\nScenario: A lighthouse.\n"
)
HEAD_PYGMALION = (
    "<|system|>Enter RP mode. Pretend to be Vesna whose persona follows:\n"
    "Keeper.\nVesna's personality: Calm.\n"
    "Alex's Persona: A sailor.\nScenario: A lighthouse.\n\n"
    "You shall reply to the user while staying in character, and generate long responses."
)

PROMPTS: list[tuple[str, str, Mode, dict[str, str], str]] = [
    (
        "airoboros-2.2",
        "gu",
        "reply",
        {},
        HEAD_22 + "ASSISTANT: Vesna: g\nUSER: Alex: u\nASSISTANT: Vesna:",
    ),
    ("airoboros-2.2", "gu", "reply", {"names": "off"}, HEAD_22 + "ASSISTANT: g\nUSER: u\nASSISTANT: "),
    ("airoboros-2.2", "ug", "continue", {}, HEAD_22 + "USER: Alex: u\nASSISTANT: Vesna: g"),
    ("airoboros-2.2", "g", "impersonate", {}, HEAD_22 + "ASSISTANT: Vesna: g\nUSER: Alex:"),
    (
        "pygmalion",
        "gu",
        "reply",
        {},
        HEAD_PYGMALION + "<|model|>Vesna: g<|user|>Alex: u<|model|>Vesna:",
    ),
    ("pygmalion", "gu", "reply", {"names": "off"}, HEAD_PYGMALION + "<|model|>g<|user|>u<|model|>"),
    ("pygmalion", "ug", "continue", {}, HEAD_PYGMALION + "<|user|>Alex: u<|model|>Vesna: g"),
    ("pygmalion", "g", "impersonate", {}, HEAD_PYGMALION + "<|model|>Vesna: g<|user|>Alex:"),
]


@pytest.mark.parametrize(("format", "said", "mode", "options", "text"), PROMPTS)
def test_bytes(format: str, said: str, mode: Mode, options: dict[str, str], text: str) -> None:
    assert made(format, said, mode, options).text == text


def test_airoboros_without_a_card_and_with_its_own_words() -> None:
    bare = made("airoboros-2.2", "u", description="", personality="", scenario="", user_persona="")
    head = "A chat between Alex (aka USER) and Vesna (aka ASSISTANT).\n"
    assert bare.text == head + "USER: Alex: u\nASSISTANT: Vesna:"
    last = made(
        "airoboros-2.2", "u", post_history_instructions="Be brief.", system_prompt="Two friends talk."
    )
    assert last.text.startswith("Two friends talk. Keeper.\n")
    assert last.text.endswith("USER: Alex: u\nBe brief.\nASSISTANT: Vesna:")


def test_stops() -> None:
    assert made("airoboros-2.2", "u").stops == ("\nUSER:", "USER:", "</s>", "\nAlex:")
    assert made("airoboros-2.2", "u", "impersonate").stops[-2:] == ("\nAlex:", "\nVesna:")
    assert made("pygmalion", "u").stops == ("<|user|>", "<|system|>", "<|model|>", "\nAlex:")
    assert made("pygmalion", "u").strip_names == ("Vesna:",)

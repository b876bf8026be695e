"""The formats beyond the five model cards, written out by hand: S the system block, g u c v the turns."""

from __future__ import annotations

import pytest

from cards.card import Card, card_from_document
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import Mode, Persona, Turn

LIBRARY = PresetLibrary()
SENTENCE = "Write Vesna's next reply in a chat between Alex and Vesna. Write a single reply only."


def card_of(post_history: str = "") -> Card:
    fields = {"name": "Vesna", "description": "Keeper.", "post_history_instructions": post_history}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": fields})[0]


def text_of(format: str, said: str, mode: Mode = "reply", names: str = "off", post_history: str = "") -> str:
    turns = [Turn("user" if letter in "uv" else "char", "", letter) for letter in said]
    prompt = build(
        card_of(post_history),
        Persona("Alex"),
        LIBRARY.format(format),
        turns,
        mode=mode,
        options={"names": names},
    )
    return prompt.text.replace(f"{SENTENCE}\n\nVesna's Persona: Keeper.", "S")


CHAT = {
    "llama3": (
        "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\ng<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "llama2-chat": "[INST] S [/INST] g </s><s>[INST] u [/INST]",
    "mistral-v1": " [INST] S [/INST] g</s> [INST] u [/INST]",
    "mistral-v3": "[INST] S[/INST] g</s>[INST] u[/INST]",
    "mistral-v3-tekken": "[INST]S[/INST]g</s>[INST]u[/INST]",
    "mistral-v7": "[INST] S[/INST] g</s>[INST] u[/INST]",
    "mistral-v7-tekken": "[INST]S[/INST]g</s>[INST]u[/INST]",
    "vicuna-1.1": "S ASSISTANT: g</s>USER: u ASSISTANT:",
    "gemma": (
        "<start_of_turn>user\nS<end_of_turn>\n<start_of_turn>model\ng<end_of_turn>\n"
        "<start_of_turn>user\nu<end_of_turn>\n<start_of_turn>model\n"
    ),
    "command-r": (
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>g<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>u<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    ),
    "phi-3": "<|system|>\nS<|end|>\n<|assistant|>\ng<|end|>\n<|user|>\nu<|end|>\n<|assistant|>\n",
    "phi-4": (
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>assistant<|im_sep|>g<|im_end|>"
        "<|im_start|>user<|im_sep|>u<|im_end|><|im_start|>assistant<|im_sep|>"
    ),
    "deepseek": "S\n\n<｜Assistant｜>g<｜end▁of▁sentence｜><｜User｜>u<｜Assistant｜>",
}

USER_FIRST = {
    "llama2-chat": "[INST] <<SYS>>\nS\n<</SYS>>\n\nu [/INST] c </s><s>[INST] v [/INST]",
    "mistral-v1": " [INST] S\n\nu [/INST] c</s> [INST] v [/INST]",
    "mistral-v3": "[INST] S\n\nu[/INST] c</s>[INST] v[/INST]",
    "mistral-v3-tekken": "[INST]S\n\nu[/INST]c</s>[INST]v[/INST]",
    "mistral-v7": "[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] u[/INST] c</s>[INST] v[/INST]",
    "mistral-v7-tekken": "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]u[/INST]c</s>[INST]v[/INST]",
    "vicuna-1.1": "S USER: u ASSISTANT: c</s>USER: v ASSISTANT:",
    "gemma": (
        "<start_of_turn>user\nS\n\nu<end_of_turn>\n<start_of_turn>model\nc<end_of_turn>\n"
        "<start_of_turn>user\nv<end_of_turn>\n<start_of_turn>model\n"
    ),
}

NAMED = {
    "mistral-v1": " [INST] S [/INST] Vesna: g</s> [INST] Alex: u [/INST] Vesna:",
    "mistral-v3": "[INST] S[/INST] Vesna: g</s>[INST] Alex: u[/INST] Vesna:",
    "mistral-v3-tekken": "[INST]S[/INST]Vesna: g</s>[INST]Alex: u[/INST]Vesna:",
    "llama2-chat": "[INST] S [/INST] Vesna: g </s><s>[INST] Alex: u [/INST] Vesna:",
    "vicuna-1.1": "S ASSISTANT: Vesna: g</s>USER: Alex: u ASSISTANT: Vesna:",
}


@pytest.mark.parametrize(("format", "text"), CHAT.items())
def test_greeting_first(format: str, text: str) -> None:
    assert text_of(format, "gu") == text


@pytest.mark.parametrize(("format", "text"), USER_FIRST.items())
def test_user_first(format: str, text: str) -> None:
    assert text_of(format, "ucv") == text


@pytest.mark.parametrize(("format", "text"), NAMED.items())
def test_named(format: str, text: str) -> None:
    assert text_of(format, "gu", names="on") == text


def test_continue_and_impersonate() -> None:
    assert text_of("mistral-v3", "ug", "continue") == "[INST] S\n\nu[/INST] g"
    assert text_of("mistral-v3-tekken", "ug", "continue", "on") == "[INST]S\n\nAlex: u[/INST]Vesna: g"
    assert text_of("vicuna-1.1", "ug", "continue") == "S USER: u ASSISTANT: g"
    impersonating = "[INST] S [/INST] Vesna: g </s><s>[INST] Alex:"
    assert text_of("llama2-chat", "g", "impersonate", "on") == impersonating


def test_post_history_takes_the_system_turn_or_a_users() -> None:
    assert text_of("mistral-v3", "u", post_history="P") == "[INST] S\n\nu[/INST][INST] P[/INST]"
    assert text_of("mistral-v7-tekken", "u", post_history="P").endswith(
        "[INST]u[/INST][SYSTEM_PROMPT]P[/SYSTEM_PROMPT]"
    )
    assert text_of("gemma", "", post_history="P").startswith("<start_of_turn>user\nS\n\nP<end_of_turn>\n")


@pytest.mark.parametrize("format", [format.id for format in LIBRARY.formats()])
def test_a_format_says_where_it_comes_from(format: str) -> None:
    found = LIBRARY.format(format)
    assert found.title
    assert found.source
    assert LIBRARY.sampling(found.sampling)

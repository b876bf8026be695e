"""Files of the shapes that most model families have, and the prompts that those families document."""

from __future__ import annotations

from typing import Any

import pytest

from cards.card import Card, card_from_document
from presets.format import PromptFormat
from presets.prompt import build
from presets.sillytavern.exporting import exported_format
from presets.sillytavern.importing import FormatFiles, Part, format_document
from presets.values import Mode, Persona, Turn

PARTS = "{{#if system}}{{system}}\n{{/if}}{{#if description}}{{description}}\n{{/if}}"
OPEN = PARTS + "{{trim}}"

Family = tuple[dict[str, Any], dict[str, Any]]


def way(user: str, char: str, **more: Any) -> dict[str, Any]:
    """An instruct file of the newer kind; `wrap` is off unless it is said."""
    plain = {"wrap": False, "macro": True, "names_behavior": "none"}
    return {"name": "Own", "input_sequence": user, "output_sequence": char, **plain, **more}


def both(end: str) -> dict[str, str]:
    return {"input_suffix": end, "output_suffix": end, "system_suffix": end}


def story(text: str, **more: Any) -> dict[str, Any]:
    return {"name": "Own", "story_string": text, "example_separator": "", "chat_start": "", **more}


def around(prefix: str, suffix: str) -> dict[str, str]:
    """The wrap of 1.13.3 and later."""
    return {"story_string_prefix": prefix, "story_string_suffix": suffix}


CHATML = way("<|im_start|>user", "<|im_start|>assistant", wrap=True, **both("<|im_end|>\n"))
LLAMA3 = way(
    "<|start_header_id|>user<|end_header_id|>\n\n",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    **both("<|eot_id|>"),
)
COMMAND_R = way(
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    **both("<|END_OF_TURN_TOKEN|>"),
)
MISTRAL = {"output_suffix": "</s>"}
GEMMA = way("<start_of_turn>user", "<start_of_turn>model", wrap=True, **both("<end_of_turn>\n"))

# Files, and the prompt of: system text S, description D, then U1, C1 and U2.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "chatml, old": (
        CHATML,
        story(f"<|im_start|>system\n{OPEN}<|im_end|>"),
        "<|im_start|>system\nS\nD<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
        "<|im_start|>assistant\nC1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n",
    ),
    "chatml, new": (
        {**CHATML, **around("<|im_start|>system", "<|im_end|>\n")},
        story(OPEN, story_string_position=0),
        "<|im_start|>system\nS\nD<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
        "<|im_start|>assistant\nC1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n",
    ),
    "chatml with names in its markers": (
        {**CHATML, "input_sequence": "<|im_start|>[{{name}}]", "output_sequence": "<|im_start|>[{{name}}]"},
        story(f"<|im_start|>system\n{OPEN}<|im_end|>"),
        "<|im_start|>system\nS\nD<|im_end|>\n<|im_start|>[Alex]\nU1<|im_end|>\n"
        "<|im_start|>[Vesna]\nC1<|im_end|>\n<|im_start|>[Alex]\nU2<|im_end|>\n<|im_start|>[Vesna]\n",
    ),
    "alpaca": (
        way("### Instruction:", "### Response:", wrap=True, input_suffix="\n\n", output_suffix="\n\n"),
        story(OPEN + "\n\n"),
        "S\nD\n### Instruction:\nU1\n\n### Response:\nC1\n\n### Instruction:\nU2\n\n### Response:\n",
    ),
    "alpaca of 2023": (
        {
            "name": "Own",
            "system_prompt": "S",
            "input_sequence": "\n### Instruction:",
            "output_sequence": "\n### Response:",
            "last_output_sequence": "\n### Response (2 paragraphs, engaging):",
            "separator_sequence": "",
            "stop_sequence": "",
            "wrap": True,
            "macro": True,
            "names": False,
            "names_force_groups": True,
            "activation_regex": "",
        },
        story(PARTS),
        "S\nD\n\n### Instruction:\nU1\n\n### Response:\nC1\n\n### Instruction:\nU2\n\n"
        "### Response (2 paragraphs, engaging):\n",
    ),
    "alpaca, the reply alone": (
        way(
            "", "", wrap=True, first_output_sequence="<START OF CHAT>", last_output_sequence="\n### Response:"
        ),
        story(PARTS),
        "S\nD\nU1\nC1\nU2\n\n### Response:\n",
    ),
    "lightning": (
        way(
            "### Instruction:",
            "### Response: (length = unlimited)",
            wrap=True,
            system_same_as_user=True,
        ),
        story(PARTS, chat_start="This is the history of the roleplay:"),
        "S\nD\nThis is the history of the roleplay:\n### Instruction:\nU1\n"
        "### Response: (length = unlimited)\nC1\n### Instruction:\nU2\n### Response: (length = unlimited)\n",
    ),
    "a proxy's": (
        way(
            "### Instruction:\n#### {{name}}:",
            "### Response:\n#### {{name}}:",
            wrap=True,
            last_output_sequence="### Response (2 paragraphs):\n#### {{name}}:",
        ),
        story(PARTS),
        "S\nD\n### Instruction:\n#### Alex:\nU1\n### Response:\n#### Vesna:\nC1\n"
        "### Instruction:\n#### Alex:\nU2\n### Response (2 paragraphs):\n#### Vesna:\n",
    ),
    "llama 2": (
        way("[INST] ", "", input_suffix=" [/INST]\n", output_suffix="\n"),
        story("[INST] <<SYS>>\n{{system}}\n<</SYS>>\n\n{{description}}\n{{trim}} [/INST]\n"),
        "[INST] <<SYS>>\nS\n<</SYS>>\n\nD [/INST]\n[INST] U1 [/INST]\nC1\n[INST] U2 [/INST]\n",
    ),
    "llama 3": (
        LLAMA3,
        story(f"<|start_header_id|>system<|end_header_id|>\n\n{OPEN}<|eot_id|>"),
        "<|start_header_id|>system<|end_header_id|>\n\nS\nD<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nC1<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "llama 4": (
        way(
            "<|header_start|>user<|header_end|>\n\n",
            "<|header_start|>assistant<|header_end|>\n\n",
            **both("<|eot|>"),
            **around("<|header_start|>system<|header_end|>\n\n", "<|eot|>"),
        ),
        story(OPEN, story_string_position=0),
        "<|header_start|>system<|header_end|>\n\nS\nD<|eot|><|header_start|>user<|header_end|>\n\nU1<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\nC1<|eot|><|header_start|>user<|header_end|>\n\nU2<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\n",
    ),
    "mistral v1": (
        way(" [INST] ", " [/INST] ", last_output_sequence=" [/INST]", **MISTRAL),
        story(f" [INST] {OPEN} [/INST] Understood.</s>"),
        " [INST] S\nD [/INST] Understood.</s> [INST] U1 [/INST] C1</s> [INST] U2 [/INST]",
    ),
    "mistral v3": (
        way("[INST] ", "[/INST] ", last_output_sequence="[/INST]", **MISTRAL),
        story(f"[INST] {OPEN}[/INST] Understood.</s>"),
        "[INST] S\nD[/INST] Understood.</s>[INST] U1[/INST] C1</s>[INST] U2[/INST]",
    ),
    "mistral v3-tekken": (
        way("[INST]", "[/INST]", **MISTRAL),
        story(f"[INST]{OPEN}[/INST]Understood.</s>"),
        "[INST]S\nD[/INST]Understood.</s>[INST]U1[/INST]C1</s>[INST]U2[/INST]",
    ),
    "mistral v7": (
        way(
            "[INST] ",
            "[/INST] ",
            last_output_sequence="[/INST]",
            **MISTRAL,
            **around("[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"),
        ),
        story(OPEN, story_string_position=0),
        "[SYSTEM_PROMPT] S\nD[/SYSTEM_PROMPT][INST] U1[/INST] C1</s>[INST] U2[/INST]",
    ),
    "mistral v7-tekken": (
        way("[INST]", "[/INST]", **MISTRAL, **around("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")),
        story(OPEN, story_string_position=0),
        "[SYSTEM_PROMPT]S\nD[/SYSTEM_PROMPT][INST]U1[/INST]C1</s>[INST]U2[/INST]",
    ),
    "gemma": (
        {**GEMMA, "system_same_as_user": True, "stop_sequence": "<end_of_turn>"},
        story(f"<start_of_turn>user\n{OPEN}<end_of_turn>"),
        "<start_of_turn>user\nS\nD<end_of_turn>\n<start_of_turn>user\nU1<end_of_turn>\n"
        "<start_of_turn>model\nC1<end_of_turn>\n<start_of_turn>user\nU2<end_of_turn>\n<start_of_turn>model\n",
    ),
    "command-r": (
        COMMAND_R,
        story(f"<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{OPEN}<|END_OF_TURN_TOKEN|>"),
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S\nD<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>U1<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>C1<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>U2<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ),
    "metharme": (
        way("<|user|>", "<|model|>", system_sequence_prefix="<|system|>", system_same_as_user=True),
        story(OPEN),
        "<|system|>S\nD<|user|>U1<|model|>C1<|user|>U2<|model|>",
    ),
    "vicuna 1.0": (
        way("### Human:", "### Assistant:", wrap=True),
        story(PARTS),
        "S\nD\n### Human:\nU1\n### Assistant:\nC1\n### Human:\nU2\n### Assistant:\n",
    ),
    "vicuna 1.1": (
        way(
            "\nUSER: ",
            "\nASSISTANT: ",
            output_suffix="</s>",
            system_sequence_prefix="BEGINNING OF CONVERSATION:",
        ),
        story(OPEN),
        "BEGINNING OF CONVERSATION:S\nD\nUSER: U1\nASSISTANT: C1</s>\nUSER: U2\nASSISTANT: ",
    ),
    "koala": (
        way("USER: ", "GPT: ", output_suffix="</s>", system_sequence_prefix="BEGINNING OF CONVERSATION: "),
        story("{{system}} {{description}} "),
        "BEGINNING OF CONVERSATION: S D USER: U1GPT: C1</s>USER: U2GPT: ",
    ),
    "wizardlm": (
        way("USER: ", "ASSISTANT: ", wrap=True),
        story(PARTS),
        # The space of an open turn goes with the line that ends there.
        "S\nD\nUSER: \nU1\nASSISTANT: \nC1\nUSER: \nU2\nASSISTANT:\n",
    ),
    "synthia": (
        way("USER: ", "ASSISTANT: ", **both("\n"), system_sequence_prefix="SYSTEM: "),
        story(PARTS),
        "SYSTEM: S\nD\nUSER: U1\nASSISTANT: C1\nUSER: U2\nASSISTANT: ",
    ),
    "openchat": (
        way("GPT4 Correct User: ", "GPT4 Correct Assistant:", **both("<|end_of_turn|>")),
        story(f"{OPEN}<|end_of_turn|>"),
        "S\nD<|end_of_turn|>GPT4 Correct User: U1<|end_of_turn|>GPT4 Correct Assistant:C1<|end_of_turn|>"
        "GPT4 Correct User: U2<|end_of_turn|>GPT4 Correct Assistant:",
    ),
    "tulu": (
        way("<|user|>\n", "<|assistant|>\n", input_suffix="\n", output_suffix="<|endoftext|>\n"),
        story(f"<|system|>\n{PARTS}"),
        "<|system|>\nS\nD\n<|user|>\nU1\n<|assistant|>\nC1<|endoftext|>\n<|user|>\nU2\n<|assistant|>\n",
    ),
    "phi": (
        way("<|user|>\n", "<|assistant|>\n", system_sequence="<|system|>\n", **both("<|end|>\n")),
        story(f"<|system|>\n{OPEN}<|end|>\n"),
        "<|system|>\nS\nD<|end|>\n<|user|>\nU1<|end|>\n<|assistant|>\nC1<|end|>\n<|user|>\nU2<|end|>\n<|assistant|>\n",
    ),
    "deepseek": (
        way("<｜User｜>", "<｜Assistant｜>", output_suffix="<｜end▁of▁sentence｜>"),
        story("{{system}}\n{{description}}\n\n"),
        "S\nD\n\n<｜User｜>U1<｜Assistant｜>C1<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜>",
    ),
    "glm-4": (
        way("<|user|>\n", "<|assistant|>\n", **around("[gMASK]<sop><|system|>\n", "")),
        story(OPEN, story_string_position=0),
        "[gMASK]<sop><|system|>\nS\nD<|user|>\nU1<|assistant|>\nC1<|user|>\nU2<|assistant|>\n",
    ),
    "dreamgen": (
        way(
            "<|im_end|>\n<|im_start|>text names= {{user}}\n",
            "<|im_end|>\n<|im_start|>text names= {{char}}\n",
        ),
        story(f"<|im_start|>system\n{OPEN}"),
        "<|im_start|>system\nS\nD<|im_end|>\n<|im_start|>text names= Alex\nU1"
        "<|im_end|>\n<|im_start|>text names= Vesna\nC1<|im_end|>\n<|im_start|>text names= Alex\nU2"
        "<|im_end|>\n<|im_start|>text names= Vesna\n",
    ),
    "limarp": (
        way(
            "\n### Input:",
            "\n### Response:",
            last_output_sequence="\n### Response: (length = medium)",
            system_sequence_prefix="### Instruction:",
            stop_sequence="### Input:",
            wrap=True,
        ),
        story(PARTS),
        "### Instruction:\nS\nD\n\n### Input:\nU1\n\n### Response:\nC1\n\n### Input:\nU2\n\n"
        "### Response: (length = medium)\n",
    ),
}


def card_of(**fields: Any) -> Card:
    data = {"name": "Vesna", "description": "D", **fields}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def format_of(instruct: dict[str, Any], context: dict[str, Any]) -> PromptFormat:
    sysprompt = None if "system_prompt" in instruct else Part("sysprompt", "Own", "s", {"content": "S"})
    files = FormatFiles("Own", Part("instruct", "Own", "i", instruct), Part("context", "Own", "c", context))
    files.sysprompt = sysprompt
    document, notes = format_document(files, "own")
    assert not notes
    return PromptFormat.model_validate(document)


def text_of(format: PromptFormat, mode: Mode, *turns: tuple[str, str], **fields: Any) -> str:
    history = [Turn(role, "", text) for role, text in turns]  # type: ignore[arg-type]
    return build(card_of(**fields), Persona("Alex"), format, history, mode=mode).text


CHAT = (("user", "U1"), ("char", "C1"), ("user", "U2"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_preset_writes_what_its_model_was_trained_with(family: str) -> None:
    instruct, context, expected = FAMILIES[family]
    assert text_of(format_of(instruct, context), "reply", *CHAT) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_preset_goes_out_as_it_came_in(family: str) -> None:
    instruct, context, _ = FAMILIES[family]
    documents, notes = exported_format(format_of(instruct, context))
    assert (documents["instruct"], documents["context"], notes) == (instruct, context, [])


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("chatml, new", "<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nC1"),
        ("alpaca", "### Instruction:\nU1\n\n### Response:\nC1"),
        ("alpaca of 2023", "\n### Instruction:\nU1\n\n### Response (2 paragraphs, engaging):\nC1"),
        ("llama 2", "[INST] U1 [/INST]\nC1"),
        # The message that goes on has the sequence of the last one, here without its space.
        ("mistral v3", "[INST] U1[/INST]C1"),
        ("mistral v3-tekken", "[INST]U1[/INST]C1"),
        ("metharme", "<|user|>U1<|model|>C1"),
        ("vicuna 1.1", "\nUSER: U1\nASSISTANT: C1"),
        ("limarp", "\n### Input:\nU1\n\n### Response: (length = medium)\nC1"),
        ("a proxy's", "### Instruction:\n#### Alex:\nU1\n### Response (2 paragraphs):\n#### Vesna:\nC1"),
    ],
)
def test_a_message_goes_on(family: str, expected: str) -> None:
    instruct, context, reply = FAMILIES[family]
    head = reply[: reply.index("U1")]
    head = head[: len(head) - (expected.index("U1"))]
    assert text_of(format_of(instruct, context), "continue", *CHAT[:2]) == head + expected


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("chatml, new", "<|im_start|>assistant\nC1<|im_end|>\n<|im_start|>user\n"),
        ("alpaca", "### Response:\nC1\n\n### Instruction:\n"),
        ("llama 2", "C1\n[INST] "),
        ("mistral v1", " [/INST] C1</s> [INST] "),
        ("metharme", "<|model|>C1<|user|>"),
        ("wizardlm", "ASSISTANT: \nC1\nUSER:\n"),
        ("a proxy's", "### Response:\n#### Vesna:\nC1\n### Instruction:\n#### Alex:\n"),
        ("dreamgen", "text names= Vesna\nC1<|im_end|>\n<|im_start|>text names= Alex\n"),
    ],
)
def test_the_user_is_impersonated(family: str, expected: str) -> None:
    instruct, context, _ = FAMILIES[family]
    format = format_of(instruct, context)
    prompt = build(
        card_of(),
        Persona("Alex"),
        format,
        [Turn("user", "", "U1"), Turn("char", "", "C1")],
        mode="impersonate",
    )
    assert prompt.text.endswith("U1" + prompt.text.rsplit("U1", 1)[1])
    assert prompt.text.endswith(expected)
    assert prompt.stops[:2] == ("\nVesna:", "\nAlex:")


@pytest.mark.parametrize(
    ("family", "named", "expected"),
    [
        (
            "llama 3",
            "always",
            "\n\nAlex: U2<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nVesna:",
        ),
        # The space that the last sequence lacks stands before the name.
        ("mistral v1", "always", "C1</s> [INST] Alex: U2 [/INST] Vesna:"),
        ("mistral v3", "always", "C1</s>[INST] Alex: U2[/INST] Vesna:"),
        ("mistral v3-tekken", "always", "C1</s>[INST]Alex: U2[/INST]Vesna:"),
        ("phi", "always", "<|user|>\nAlex: U2<|end|>\n<|assistant|>\nVesna:"),
        ("metharme", "always", "<|user|>Alex: U2<|model|>Vesna:"),
        ("vicuna 1.0", "always", "### Human:\nAlex: U2\n### Assistant:\nVesna:"),
        ("limarp", "always", "\n### Input:\nAlex: U2\n\n### Response: (length = medium)\nVesna:"),
        ("chatml, old", "force", "<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n"),
    ],
)
def test_names(family: str, named: str, expected: str) -> None:
    instruct, context, _ = FAMILIES[family]
    format = format_of({**instruct, "names_behavior": named}, context)
    assert text_of(format, "reply", *CHAT).endswith(expected)


def test_force_names_the_user_in_examples_alone() -> None:
    instruct, context, _ = FAMILIES["metharme"]
    format = format_of({**instruct, "names_behavior": "force"}, context)
    text = text_of(format, "reply", *CHAT, mes_example="<START>\n{{user}}: Q\n{{char}}: A")
    assert text == "<|system|>S\nD<|user|>Alex: Q<|model|>A<|user|>U1<|model|>C1<|user|>U2<|model|>"


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llama 2", "D [/INST]\n[INST] Begin. [/INST]\nG\n[INST] U [/INST]\n"),
        ("mistral v3", "Understood.</s>[INST] Begin.[/INST] G</s>[INST] U[/INST]"),
        ("synthia", "D\nUSER: Begin.\nASSISTANT: G\nUSER: U\nASSISTANT: "),
    ],
)
def test_a_greeting_follows_a_message_that_the_user_never_wrote(family: str, expected: str) -> None:
    instruct, context, _ = FAMILIES[family]
    format = format_of({**instruct, "user_alignment_message": "Begin."}, context)
    assert text_of(format, "reply", ("char", "G"), ("user", "U")).endswith(expected)
    assert "Begin." not in text_of(format, "reply", *CHAT)


@pytest.mark.parametrize(
    ("user", "char"), [("A.*", "B(x"), ("Al", "Alex"), ("$&", "\\1"), ("[Al]", "{x}"), ("O'Neil {", "D%s}")]
)
@pytest.mark.parametrize("mode", ["reply", "impersonate", "continue"])
def test_names_of_any_characters_stand_as_they_are(user: str, char: str, mode: Mode) -> None:
    instruct = way("[{{name}}] ", "<{{name}}> ", names_behavior="always")
    format = format_of(instruct, story("{{user}}+{{char}}|", chat_start="{{char}} & {{user}}"))
    card = card_of(name=char, mes_example="<START>\n{{user}}: Q\n{{char}}: A")
    turns = [Turn("user", "", "U"), Turn("char", "", "C")]
    opened = {"reply": f"<{char}> {char}:", "impersonate": f"[{user}] {user}:", "continue": ""}[mode]
    assert build(card, Persona(user), format, turns, mode=mode).text == (
        f"{user}+{char}|[{user}] {user}: Q<{char}> {char}: A{char} & {user}\n"
        f"[{user}] {user}: U<{char}> {char}: C{opened}"
    )


def test_a_chat_that_nobody_began() -> None:
    """Only the message that the user never wrote stands there; it loses its last newline as any last one."""
    format = format_of(way("IN", "OUT", wrap=True, user_alignment_message="Begin."), story(PARTS))
    assert text_of(format, "reply") == "S\nD\nIN\nBegin.\nOUT\n"

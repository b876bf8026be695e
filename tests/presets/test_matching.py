"""The right format for a model by itself, or an honest guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.format import PromptFormat
from presets.library import PresetLibrary
from presets.matching import Match, ModelFacts, match

LIBRARY = PresetLibrary()

# What the templates of real models say, cut down to the lines that tell them apart.
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN3 = CHATML + "{%- if enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
LLAMA3 = (
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
    "message['content'] | trim + '<|eot_id|>' %}"
)
LLAMA2 = (
    "{{ bos_token + '[INST] ' + '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + content + ' [/INST]' }}"
)
MISTRAL_OLD = (
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
)
MISTRAL_V1 = "{{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}"
MISTRAL_V3 = '{{- "[AVAILABLE_TOOLS] [" }}{{- "[INST] " + message["content"] + "[/INST]" }}'
NEMO = '{{- "[AVAILABLE_TOOLS][" }}{{- "[INST]" + message["content"] + "[/INST]" }}'
MISTRAL_V7 = "{{- '[SYSTEM_PROMPT] ' + system + '[/SYSTEM_PROMPT]' }}{{- '[INST] ' + content + '[/INST]' }}"
SMALL_3 = "{{- '[SYSTEM_PROMPT]' + system + '[/SYSTEM_PROMPT]' }}{{- '[INST]' + content + '[/INST]' }}"
GEMMA = "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
PHI3 = "{{'<|user|>' + '\\n' + message['content'] + '<|end|>' + '\\n' + '<|assistant|>' + '\\n'}}"
PHI3_SMALL = (
    "{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{{ '<|assistant|>\n' }}"
)
PHI4_MINI = "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{{ '<|assistant|>' }}"
PHI4 = "{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}"
COMMAND_R = "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
COMMAND_R7B = COMMAND_R + "{{ '<|START_RESPONSE|>' }}"
DEEPSEEK = "{{'<｜User｜>' + message['content']}}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}"
ZEPHYR = "{{ '<|user|>\\n' + message['content'] + eos_token }}{{ '<|assistant|>' }}"
KIMI = "{{'<|im_user|>' + name + '<|im_middle|>' + content + '<|im_end|><|im_start|>'}}"

LLAMA2_VOCABULARY = {"architecture": "llama", "tokenizer_model": "llama", "vocabulary": 32000}
NEMO_VOCABULARY = {
    "architecture": "llama",
    "tokenizer_model": "gpt2",
    "tokenizer_pre": "tekken",
    "vocabulary": 131072,
}
LLAMA3_VOCABULARY = {
    "architecture": "llama",
    "tokenizer_model": "gpt2",
    "tokenizer_pre": "llama-bpe",
    "vocabulary": 128256,
}
SMOLLM_VOCABULARY = {
    "architecture": "llama",
    "tokenizer_model": "gpt2",
    "tokenizer_pre": "smollm",
    "vocabulary": 49152,
}


def found(file_name: str, template: str = "", facts: dict[str, object] | None = None, **more: str) -> Match:
    known = {"file_name": file_name, "chat_template": template, **(facts or {}), **more}
    return match(ModelFacts(**known), LIBRARY)  # type: ignore[arg-type]


SEEDS = [
    ("calliopeds-l2-13b.Q4_K_M.gguf", "limarp-v2", ("metharme-calliope", "calliope-system-only")),
    ("airolima-chronos-grad-l2-13b.Q4_K_M.gguf", "alpaca", ("airoboros-2.0", "limarp-v1")),
    ("pygmalion-2-13b-supercot-weighed.Q4_K_M.gguf", "metharme", ("alpaca-tight", "metharme-adventure")),
    ("limarp-llama2-13b.ggmlv3.q4_0.bin", "limarp-v1", ("limarp-v1-human",)),
    ("pygmalion-2-7b.Q4_K_M.gguf", "metharme", ()),
]


@pytest.mark.parametrize(("name", "format", "others"), SEEDS)
@pytest.mark.parametrize("facts", [{}, LLAMA2_VOCABULARY])
def test_the_five_model_cards(
    name: str, format: str, others: tuple[str, ...], facts: dict[str, object]
) -> None:
    result = found(name, facts=facts)
    assert (result.format, result.certain, result.alternatives) == (format, True, others)
    assert result.why.startswith("its file name says ")


NAMES_OF_2023 = [
    ("CalliopeDS-v2-L2-13B.Q5_K_M.gguf", "limarp-v3"),
    ("chronolima-airo-grad-l2-13b.Q4_0.gguf", "alpaca"),
    ("limarp-llama2-7b-v3.gguf", "limarp-v3"),
    ("LimaRP-Llama2-13B-v3-EXPERIMENT.q4.gguf", "limarp-v3"),
    ("Mistral-ClaudeLimaRP-v3-7B.Q4_K_M.gguf", "limarp-v3"),
    ("AshhLimaRP-Mistral-7B.Q4_K_M.gguf", "limarp-v3"),
    ("llama-2-13b-chat-limarp-v2-merged.Q4_K_M.gguf", "limarp-v2"),
    ("limarp-13b-merged.gguf", "limarp-v1"),
    ("hermeslimarp-l2-7b.Q4_K_M.gguf", "alpaca"),
    ("NH-Limarp_mix.gguf", "alpaca"),
    ("mythalion-13b.Q4_K_M.gguf", "metharme"),
    ("metharme-13b.gguf", "metharme"),
    ("pygmalion_2 7b.gguf", "metharme"),
    ("airoboros-l2-13b-3.1.Q4_K_M.gguf", "llama2-chat"),
    ("airoboros-l2-13b-2.2.1.Q4_K_M.gguf", "airoboros-2.2"),
    ("spicyboros-13b-2.2.Q4_K_M.gguf", "airoboros-2.2"),
    ("airoboros-l2-13b-gpt4-2.0.Q4_K_M.gguf", "airoboros-2.0"),
    ("mythomax-l2-13b.Q4_K_M.gguf", "alpaca"),
    ("MythoLogic-L2-13b.gguf", "alpaca"),
    ("nous-hermes-llama2-13b.Q4_0.gguf", "alpaca"),
    ("LLaMA2-13B-Tiefighter.Q4_K_M.gguf", "alpaca"),
    ("psyfighter-13b.gguf", "alpaca"),
    ("stheno-l2-13b.gguf", "alpaca"),
    ("Kuchiki-1.1-L2-7B.gguf", "alpaca"),
]


@pytest.mark.parametrize(("name", "format"), NAMES_OF_2023)
def test_models_of_2023(name: str, format: str) -> None:
    result = found(name, facts=LLAMA2_VOCABULARY)
    assert (result.format, result.certain) == (format, True)


def test_the_name_in_the_header_counts_too() -> None:
    assert found("model.gguf", name="MythoMax L2 13B").format == "alpaca"
    assert found("model.gguf", finetune="limarp-v3").format == "limarp-v3"
    early = found("limarp-llama2-13b.gguf", name="LLaMA v2", basename="v3")
    assert early.format == "limarp-v1", "two names are not one"


@pytest.mark.parametrize("name", ["pygmalion-2.7b.gguf", "pygmalion-13b.Q4_K_M.gguf", "pygmalion-6b.bin"])
def test_the_first_pygmalions_are_not_the_second(name: str) -> None:
    result = found(name)
    assert (result.format, result.certain) == ("alpaca", False)
    assert "guess" in result.why


def test_a_newer_vocabulary_is_not_asked_for_its_name() -> None:
    result = found("pygmalion-2-remake.gguf", facts=LLAMA3_VOCABULARY)
    assert (result.format, result.certain) == ("llama3", False)


def test_old_merges_outrank_the_template_that_a_requant_gave_them() -> None:
    for name, format, _ in SEEDS:
        result = found(name, LLAMA2, LLAMA2_VOCABULARY)
        assert (result.format, result.certain) == (format, True)
        assert "llama2-chat" in result.alternatives
    assert found("mythomax-l2-13b.gguf", LLAMA2, LLAMA2_VOCABULARY).format == "llama2-chat"
    assert found("mythomax-l2-13b.gguf", CHATML, LLAMA2_VOCABULARY).format == "chatml"


NEWER = [
    (
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        CHATML,
        {"tokenizer_model": "gpt2", "tokenizer_pre": "smollm"},
        "chatml",
    ),
    ("L3-8B-Stheno-v3.2-Q4_K_M.gguf", LLAMA3, LLAMA3_VOCABULARY, "llama3"),
    ("L3-8B-Lunaris-v1.gguf", LLAMA3, LLAMA3_VOCABULARY, "llama3"),
    ("Chronos-Gold-12B-1.0.Q4_K_M.gguf", CHATML, NEMO_VOCABULARY, "chatml"),
    ("Chronos-Gold-12B-1.0.Q4_K_M.gguf", NEMO, NEMO_VOCABULARY, "mistral-v3-tekken"),
    ("Rocinante-12B-v1.1.gguf", NEMO, NEMO_VOCABULARY, "mistral-v3-tekken"),
    ("MN-12B-Mag-Mell-R1.gguf", CHATML, NEMO_VOCABULARY, "chatml"),
    ("Noromaid-v0.4-Mixtral-Instruct-8x7b.gguf", MISTRAL_OLD, LLAMA2_VOCABULARY, "mistral-v1"),
    ("Noromaid-v0.4-Mixtral-Instruct-8x7b.gguf", CHATML, LLAMA2_VOCABULARY, "chatml"),
    ("Cydonia-22B-v1.gguf", MISTRAL_V3, {"tokenizer_model": "llama", "vocabulary": 32768}, "mistral-v3"),
    ("Cydonia-24B-v2.gguf", SMALL_3, NEMO_VOCABULARY, "mistral-v7-tekken"),
    ("Mistral-Large-2411.gguf", MISTRAL_V7, {"tokenizer_model": "llama", "vocabulary": 32768}, "mistral-v7"),
    ("Mistral-7B-Instruct-v0.2.gguf", MISTRAL_V1, LLAMA2_VOCABULARY, "mistral-v1"),
    ("gemma-2-9b-it.gguf", GEMMA, {"tokenizer_model": "llama", "vocabulary": 256000}, "gemma"),
    ("Phi-3-mini-4k-instruct.gguf", PHI3, {"tokenizer_model": "llama", "vocabulary": 32064}, "phi-3"),
    ("Phi-3-small.gguf", PHI3_SMALL, {"architecture": "phi3"}, "phi-3"),
    ("phi-4-Q4_K_M.gguf", PHI4, {"architecture": "phi3", "tokenizer_pre": "dbrx"}, "phi-4"),
    ("c4ai-command-r-v01.gguf", COMMAND_R, {"tokenizer_pre": "command-r"}, "command-r"),
    ("DeepSeek-R1-Distill-Llama-8B.gguf", DEEPSEEK, LLAMA3_VOCABULARY, "deepseek"),
    ("Llama-2-7b-chat.gguf", LLAMA2, LLAMA2_VOCABULARY, "llama2-chat"),
]


FAMILIES = {
    "L3-8B-Stheno-v3.2-Q4_K_M.gguf": "llama3-roleplay",
    "L3-8B-Lunaris-v1.gguf": "llama3-roleplay",
    "Chronos-Gold-12B-1.0.Q4_K_M.gguf": "mistral-nemo",
    "Rocinante-12B-v1.1.gguf": "mistral-nemo",
    "MN-12B-Mag-Mell-R1.gguf": "mistral-nemo",
    "Cydonia-22B-v1.gguf": "mistral-small",
    "Cydonia-24B-v2.gguf": "mistral-small",
    "Llama-2-7b-chat.gguf": "alpaca",
}


@pytest.mark.parametrize(("name", "template", "facts", "format"), NEWER)
def test_newer_models_by_their_template(
    name: str, template: str, facts: dict[str, object], format: str
) -> None:
    result = found(name, template, facts)
    assert (result.format, result.certain) == (format, True)
    assert result.sampling == FAMILIES.get(name, "modern")


def test_a_template_that_thinks_is_still_its_format_and_says_so() -> None:
    result = found("Qwen3-8B.gguf", QWEN3, {"tokenizer_pre": "qwen2", "tokenizer_model": "gpt2"})
    assert (result.format, result.certain) == ("chatml", True)
    assert "think" in result.why


UNKNOWN = [
    ("zephyr-7b-beta.gguf", ZEPHYR, LLAMA2_VOCABULARY, "alpaca"),
    ("kimi.gguf", KIMI, {"tokenizer_model": "gpt2"}, "alpaca"),
    ("c4ai-command-r7b.gguf", COMMAND_R7B, {"tokenizer_pre": "command-r"}, "command-r"),
    ("Phi-4-mini.gguf", PHI4_MINI, {"architecture": "phi3", "tokenizer_pre": "gpt-4o"}, "alpaca"),
    ("a-nemo.gguf", "{{ strange }}", NEMO_VOCABULARY, "mistral-v3-tekken"),
]


@pytest.mark.parametrize(("name", "template", "facts", "format"), UNKNOWN)
def test_an_unknown_template_is_an_honest_guess(
    name: str, template: str, facts: dict[str, object], format: str
) -> None:
    result = found(name, template, facts)
    assert (result.format, result.certain) == (format, False)
    assert "none that is known" in result.why


@pytest.mark.parametrize(
    ("facts", "format"),
    [
        (LLAMA3_VOCABULARY, "llama3"),
        (NEMO_VOCABULARY, "mistral-v3-tekken"),
        ({"tokenizer_pre": "qwen2"}, "chatml"),
        ({"architecture": "gemma3"}, "gemma"),
        ({"architecture": "phi3", "tokenizer_pre": "dbrx"}, "phi-4"),
        ({"architecture": "phi3", "tokenizer_model": "llama"}, "phi-3"),
        (LLAMA2_VOCABULARY, "alpaca"),
        ({}, "alpaca"),
    ],
)
def test_with_nothing_but_a_tokenizer_it_is_a_guess(facts: dict[str, object], format: str) -> None:
    result = found("model.gguf", facts=facts)
    assert (result.format, result.certain) == (format, False)
    assert "guess" in result.why
    assert "\n" not in result.why


def test_a_format_that_is_not_at_hand_falls_to_the_next_and_says_so() -> None:
    class Without(PresetLibrary):
        def formats(self) -> list[PromptFormat]:
            return [format for format in super().formats() if format.id != "airoboros-2.2"]

    result = match(ModelFacts("airoboros-l2-13b-2.2.1.Q4_K_M.gguf"), Without())
    assert (result.format, result.sampling, result.certain) == ("airoboros-2.0", "airoboros", False)
    assert "airoboros-2.2 is not at hand" in result.why


def test_sampling_follows_the_family() -> None:
    families = {format.id: format.sampling for format in LIBRARY.formats()}
    assert families["limarp-v1-human"] == "limarp-v1"
    assert families["metharme-adventure"] == "metharme"
    assert families["alpaca-tight"] == "alpaca"
    assert families["airoboros-2.0-inline"] == "airoboros"
    assert families["calliope-system-only"] == "calliope"
    assert families["chatml"] == "modern"


def test_a_users_format_that_is_like_another_does_not_take_its_models(tmp_path: Path) -> None:
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "mine.yaml").write_text("like: chatml\ntitle: Mine\nsource: me\n")
    library = PresetLibrary(tmp_path)
    assert library.format("mine").turns == library.format("chatml").turns
    assert match(ModelFacts("x.gguf", chat_template=CHATML), library).format == "chatml"

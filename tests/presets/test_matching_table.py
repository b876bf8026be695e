"""Detection on models as they are published: file names and headers of real ones, right or a said guess.

The templates are ours: what the real ones say that tells them apart, in templates that render.
"""

from __future__ import annotations

import pytest

from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.matching import ModelFacts, format_for, match, sampling_for

LIBRARY = PresetLibrary()


def each(user: str, assistant: str, system: str = "", end: str = "", before: str = "") -> str:
    """A template from what it writes for each role; `content` is the message's."""
    rest = f"{{% else %}}{system}" if system else ""
    return (
        f"{before}{{% for message in messages %}}{{% set content = message['content'] %}}"
        f"{{% if message['role'] == 'user' %}}{user}{{% elif message['role'] == 'assistant' %}}{assistant}"
        f"{rest}{{% endif %}}{{% endfor %}}{{% if add_generation_prompt %}}{end}{{% endif %}}"
    )


NO_SYSTEM = "{{ raise_exception('System role not supported') }}"
CHATML = each(
    "{{ '<|im_start|>user\\n' + content + '<|im_end|>\\n' }}",
    "{{ '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}",
    "{{ '<|im_start|>system\\n' + content + '<|im_end|>\\n' }}",
    "{{ '<|im_start|>assistant\\n' }}",
)
QWEN3 = CHATML.removesuffix("{% endif %}") + (
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
LLAMA3 = each(
    "{{ '<|start_header_id|>user<|end_header_id|>\\n\\n' + content + '<|eot_id|>' }}",
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' + content + '<|eot_id|>' }}",
    "{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' + content + '<|eot_id|>' }}",
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}",
)
LLAMA2 = each(
    "{{ bos_token + '[INST] ' + '<<SYS>>\\n' + content + ' [/INST]' }}", "{{ ' ' + content + eos_token }}"
)
MISTRAL_V1 = each("{{ ' [INST] ' + content + ' [/INST]' }}", "{{ ' ' + content + eos_token }}", NO_SYSTEM)
MISTRAL_V3 = each('{{ "[INST] " + content + "[/INST]" }}', '{{ " " + content + eos_token }}', NO_SYSTEM)
NEMO = each('{{ "[INST]" + content + "[/INST]" }}', "{{ content + eos_token }}", NO_SYSTEM)
SMALL_3 = each(
    "{{ '[INST]' + content + '[/INST]' }}",
    "{{ content + eos_token }}",
    "{{ '[SYSTEM_PROMPT]' + content + '[/SYSTEM_PROMPT]' }}",
)
LARGE_V7 = each(
    "{{ '[INST] ' + content + '[/INST]' }}",
    "{{ ' ' + content + eos_token }}",
    "{{ '[SYSTEM_PROMPT] ' + content + '[/SYSTEM_PROMPT]' }}",
)
GEMMA = each(
    "{{ '<start_of_turn>user\\n' + content | trim + '<end_of_turn>\\n' }}",
    "{{ '<start_of_turn>model\\n' + content | trim + '<end_of_turn>\\n' }}",
    NO_SYSTEM,
    "{{ '<start_of_turn>model\\n' }}",
)
PHI3 = each(
    "{{ '<|user|>\\n' + content + '<|end|>\\n' }}",
    "{{ '<|assistant|>\\n' + content + '<|end|>\\n' }}",
    "{{ '<|system|>\\n' + content + '<|end|>\\n' }}",
    "{{ '<|assistant|>\\n' }}",
)
PHI4 = each(
    "{{ '<|im_start|>user<|im_sep|>' + content + '<|im_end|>' }}",
    "{{ '<|im_start|>assistant<|im_sep|>' + content + '<|im_end|>' }}",
    "{{ '<|im_start|>system<|im_sep|>' + content + '<|im_end|>' }}",
    "{{ '<|im_start|>assistant<|im_sep|>' }}",
)
TURN = "<|START_OF_TURN_TOKEN|>"
COMMAND_R = each(
    f"{{{{ '{TURN}<|USER_TOKEN|>' + content + '<|END_OF_TURN_TOKEN|>' }}}}",
    f"{{{{ '{TURN}<|CHATBOT_TOKEN|>' + content + '<|END_OF_TURN_TOKEN|>' }}}}",
    f"{{{{ '{TURN}<|SYSTEM_TOKEN|>' + content + '<|END_OF_TURN_TOKEN|>' }}}}",
    f"{{{{ '{TURN}<|CHATBOT_TOKEN|>' }}}}",
)
DEEPSEEK = each(
    "{{ '<｜User｜>' + content }}",
    "{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}",
    "{{ content }}",
    "{{ '<｜Assistant｜><think>\\n' }}",
)
COHERE_TEXT = COMMAND_R.replace(
    "_TOKEN|>' + content + '", "_TOKEN|><|START_TEXT|>' + content + '<|END_TEXT|>"
)
APRIEL = PHI3.replace("content + '<|end|>", "content + '\\n<|end|>") + "{# [BEGIN FINAL RESPONSE] #}"
FUNCTIONARY = LLAMA3.replace("assistant<|end_header_id|>\\n\\n", "assistant<|end_header_id|>\\n\\n>>>all\\n")
GLM4 = each(
    "{{ '<|user|>\\n' + content }}",
    "{{ '<|assistant|>\\n' + content }}",
    "{{ '<|system|>\\n' + content }}",
    "{{ '<|assistant|>' }}",
    "{{ '[gMASK]<sop>' }}",
)
ZEPHYR = each(
    "{{ '<|user|>\\n' + content + eos_token + '\\n' }}",
    "{{ '<|assistant|>\\n' + content + eos_token + '\\n' }}",
    "{{ '<|system|>\\n' + content + eos_token + '\\n' }}",
    "{{ '<|assistant|>\\n' }}",
)
GRANITE = each(
    "{{ '<|start_of_role|>user<|end_of_role|>' + content + '<|end_of_text|>\\n' }}",
    "{{ '<|start_of_role|>assistant<|end_of_role|>' + content + '<|end_of_text|>\\n' }}",
    "{{ '<|start_of_role|>system<|end_of_role|>' + content + '<|end_of_text|>\\n' }}",
    "{{ '<|start_of_role|>assistant<|end_of_role|>' }}",
)
VICUNA = each(
    "{{ 'USER: ' + content + ' ' }}", "{{ 'ASSISTANT: ' + content + eos_token }}", "{{ content + ' ' }}"
)

# architecture, tokenizer.ggml.model, tokenizer.ggml.pre, tokens
L2 = ("llama", "llama", "default", 32000)
L2_CHATML = ("llama", "llama", "default", 32002)
L3 = ("llama", "gpt2", "llama-bpe", 128256)
TEKKEN = ("llama", "gpt2", "tekken", 131072)
MISTRAL_SPM = ("llama", "llama", "default", 32768)
QWEN2 = ("qwen2", "gpt2", "qwen2", 152064)
QWEN_3 = ("qwen3", "gpt2", "qwen2", 151936)
QWEN_3_MOE = ("qwen3moe", "gpt2", "qwen2", 151936)
GEMMA_2 = ("gemma2", "llama", "default", 256000)
GEMMA_3 = ("gemma3", "llama", "default", 262144)
PHI_3 = ("phi3", "llama", "default", 32064)
PHI_4 = ("phi3", "gpt2", "dbrx", 100352)
COHERE = ("command-r", "gpt2", "command-r", 256000)

TABLE: list[tuple[str, str, tuple[str, str, str, int], str, str, bool, str]] = [
    # file name, general.name, vocabulary, template -> format, certain, sampling
    # Merges and tunes of 2023, as TheBloke and others quantized them then: no template.
    ("mythomax-l2-13b.Q4_K_M.gguf", "gryphe_mythomax-l2-13b", L2, "", "alpaca", True, "alpaca"),
    ("mythalion-13b.Q5_K_M.gguf", "pygmalionai_mythalion-13b", L2, "", "metharme", True, "metharme"),
    ("pygmalion-2-13b.Q4_K_M.gguf", "pygmalionai_pygmalion-2-13b", L2, "", "metharme", True, "metharme"),
    ("chronos-hermes-13b-v2.Q4_K_M.gguf", "LLaMA v2", L2, "", "alpaca", True, "alpaca"),
    ("nous-hermes-llama2-13b.Q4_K_M.gguf", "nous-hermes-llama2-13b", L2, "", "alpaca", True, "alpaca"),
    (
        "airoboros-l2-13b-2.2.1.Q4_K_M.gguf",
        "jondurbin_airoboros-l2-13b-2.2.1",
        L2,
        "",
        "airoboros-2.2",
        True,
        "airoboros",
    ),
    ("airoboros-l2-70b-gpt4-2.0.Q4_K_M.gguf", "LLaMA v2", L2, "", "airoboros-2.0", True, "airoboros"),
    ("airoboros-l2-13b-3.1.1.Q4_K_M.gguf", "", L2, "", "llama2-chat", True, "alpaca"),
    ("LLaMA2-13B-Psyfighter2.Q4_K_M.gguf", "", L2, "", "alpaca", True, "alpaca"),
    ("Noromaid-13b-v0.3.q4_k_m.gguf", "", L2, "", "alpaca", True, "alpaca"),
    ("limarpv3-llama2-70b.Q4_K_M.gguf", "", L2, "", "limarp-v3", True, "limarp-v3"),
    ("zararp-l2-7b.Q4_K_M.gguf", "", L2, "", "alpaca", True, "alpaca"),
    ("spicyboros-13b-2.2.Q4_K_M.gguf", "", L2, "", "airoboros-2.2", True, "airoboros"),
    # A new quantization of an old merge with a template that is none of its own.
    ("calliopeds-l2-13b.i1-Q4_K_M.gguf", "CalliopeDS L2 13B", L2, LLAMA2, "limarp-v2", True, "limarp-v2"),
    ("Pygmalion-2-7b.i1-Q6_K.gguf", "Pygmalion 2 7b", L2, CHATML, "metharme", True, "metharme"),
    # Known to nobody.
    ("my-own-merge-13b.Q4_K_M.gguf", "LLaMA v2", L2, "", "alpaca", False, "alpaca"),
    ("pygmalion-6b.Q4_K_M.gguf", "", ("gptj", "gpt2", "gpt-2", 50400), "", "alpaca", False, "alpaca"),
    # Llama 2 and Mixtral.
    ("llama-2-13b-chat.Q4_K_M.gguf", "LLaMA v2", L2, LLAMA2, "llama2-chat", True, "alpaca"),
    (
        "mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf",
        "mistralai_mixtral-8x7b",
        L2,
        MISTRAL_V1,
        "mistral-v1",
        True,
        "modern",
    ),
    (
        "Noromaid-v0.4-Mixtral-Instruct-8x7b-Zloss.Q4_K_M.gguf",
        "",
        L2_CHATML,
        CHATML,
        "chatml",
        True,
        "modern",
    ),
    ("BagelMIsteryTour-v2-8x7B.Q4_K_M.gguf", "", L2, LLAMA2, "llama2-chat", True, "alpaca"),
    ("mistral-7b-instruct-v0.2.Q4_K_M.gguf", "", L2, MISTRAL_V1, "mistral-v1", True, "modern"),
    ("Mistral-7B-Instruct-v0.3.Q4_K_M.gguf", "", MISTRAL_SPM, MISTRAL_V3, "mistral-v3", True, "modern"),
    # Llama 3 and 3.1.
    (
        "L3-8B-Stheno-v3.2-Q4_K_M-imat.gguf",
        "L3-8B-Stheno-v3.2",
        L3,
        LLAMA3,
        "llama3",
        True,
        "llama3-roleplay",
    ),
    ("L3-8B-Lunaris-v1-Q5_K_M.gguf", "L3-8B-Lunaris-v1", L3, LLAMA3, "llama3", True, "llama3-roleplay"),
    ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "", L3, LLAMA3, "llama3", True, "llama3-roleplay"),
    ("Llama-3.3-70B-Euryale-v2.3.i1-Q4_K_M.gguf", "", L3, LLAMA3, "llama3", True, "llama3-roleplay"),
    (
        "Hermes-3-Llama-3.1-8B.Q4_K_M.gguf",
        "Hermes 3 Llama 3.1 8B",
        L3,
        CHATML,
        "chatml",
        True,
        "llama3-roleplay",
    ),
    ("L3.1-8B-some-base.Q4_K_M.gguf", "", L3, "", "llama3", False, "llama3-roleplay"),
    ("llama-3-airoboros-remix.gguf", "", L3, "", "llama3", False, "llama3-roleplay"),
    # Nemo.
    (
        "Mistral-Nemo-Instruct-2407-Q4_K_M.gguf",
        "Mistral Nemo Instruct 2407",
        TEKKEN,
        NEMO,
        "mistral-v3-tekken",
        True,
        "mistral-nemo",
    ),
    (
        "Rocinante-12B-v1.1-Q4_K_M.gguf",
        "Rocinante 12B v1.1",
        TEKKEN,
        NEMO,
        "mistral-v3-tekken",
        True,
        "mistral-nemo",
    ),
    ("Rocinante-12B-v1.1-Q4_K_M.gguf", "Rocinante 12B v1.1", TEKKEN, CHATML, "chatml", True, "mistral-nemo"),
    ("MN-12B-Mag-Mell-R1.Q6_K.gguf", "MN 12B Mag Mell R1", TEKKEN, CHATML, "chatml", True, "mistral-nemo"),
    (
        "Chronos-Gold-12B-1.0-Q4_K_M.gguf",
        "Chronos Gold 12B 1.0",
        TEKKEN,
        CHATML,
        "chatml",
        True,
        "mistral-nemo",
    ),
    ("NemoMix-Unleashed-12B-Q4_K_M.gguf", "", TEKKEN, NEMO, "mistral-v3-tekken", True, "mistral-nemo"),
    ("nemo-without-template.gguf", "", TEKKEN, "", "mistral-v3-tekken", False, "mistral-nemo"),
    # Mistral Small.
    (
        "Cydonia-22B-v1.2-Q4_K_M.gguf",
        "Cydonia 22B v1.2",
        MISTRAL_SPM,
        MISTRAL_V3,
        "mistral-v3",
        True,
        "mistral-small",
    ),
    (
        "Cydonia-24B-v2-Q4_K_M.gguf",
        "Cydonia 24B v2",
        TEKKEN,
        SMALL_3,
        "mistral-v7-tekken",
        True,
        "mistral-small",
    ),
    (
        "Mistral-Small-24B-Instruct-2501-Q4_K_M.gguf",
        "",
        TEKKEN,
        SMALL_3,
        "mistral-v7-tekken",
        True,
        "mistral-small",
    ),
    ("Pantheon-RP-1.8-24b-Small-3.1.gguf", "", TEKKEN, CHATML, "chatml", True, "mistral-small"),
    ("Mistral-Large-Instruct-2411.Q4_K_M.gguf", "", MISTRAL_SPM, LARGE_V7, "mistral-v7", True, "modern"),
    # Qwen.
    ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "Qwen2.5 7B Instruct", QWEN2, CHATML, "chatml", True, "modern"),
    ("EVA-Qwen2.5-32B-v0.2-Q4_K_M.gguf", "", QWEN2, CHATML, "chatml", True, "modern"),
    ("Qwen3-8B-Q4_K_M.gguf", "Qwen3 8B", QWEN_3, QWEN3, "chatml", True, "qwen3"),
    ("Qwen3-30B-A3B-Q4_K_M.gguf", "", QWEN_3_MOE, QWEN3, "chatml", True, "qwen3"),
    ("Qwen2.5-14B-base.gguf", "", QWEN2, "", "chatml", False, "modern"),
    # Gemma.
    ("gemma-2-9b-it-Q4_K_M.gguf", "gemma 2 9b it", GEMMA_2, GEMMA, "gemma", True, "modern"),
    ("Gemma-2-Ataraxy-9B.Q4_K_M.gguf", "", GEMMA_2, GEMMA, "gemma", True, "modern"),
    ("gemma-3-12b-it-Q4_K_M.gguf", "Gemma 3 12b It", GEMMA_3, GEMMA, "gemma", True, "gemma3"),
    ("gemma-3-base.gguf", "", GEMMA_3, "", "gemma", False, "gemma3"),
    # Phi, Command R, DeepSeek.
    ("Phi-3.5-mini-instruct-Q4_K_M.gguf", "", PHI_3, PHI3, "phi-3", True, "modern"),
    ("phi-4-Q4_K_M.gguf", "Phi 4", PHI_4, PHI4, "phi-4", True, "modern"),
    ("c4ai-command-r-08-2024-Q4_K_M.gguf", "", COHERE, COMMAND_R, "command-r", True, "modern"),
    ("DeepSeek-R1-Distill-Llama-8B-Q4_K_M.gguf", "", L3, DEEPSEEK, "deepseek", True, "modern"),
    # None of the shipped formats': the model's own template.
    (
        "GLM-4-9B-0414-Q4_K_M.gguf",
        "GLM 4 9B 0414",
        ("glm4", "gpt2", "glm4", 151552),
        GLM4,
        "gguf-jinja",
        True,
        "modern",
    ),
    ("zephyr-7b-beta.Q4_K_M.gguf", "huggingfaceh4_zephyr-7b-beta", L2, ZEPHYR, "gguf-jinja", True, "modern"),
    (
        "granite-3.3-8b-instruct-Q4_K_M.gguf",
        "",
        ("granite", "gpt2", "refact", 49152),
        GRANITE,
        "gguf-jinja",
        True,
        "modern",
    ),
    # Markers of a shipped format, and something else between them.
    ("command-a-moe-Q4_K_M.gguf", "", COHERE, COHERE_TEXT, "gguf-jinja", True, "modern"),
    ("Apriel-1.5-15b-Thinker-Q4_K_M.gguf", "", TEKKEN, APRIEL, "gguf-jinja", True, "mistral-nemo"),
    ("functionary-medium-v3.2-Q4_0.gguf", "", L3, FUNCTIONARY, "gguf-jinja", True, "llama3-roleplay"),
    ("wizard-vicuna-new-quant.gguf", "", L2, VICUNA, "gguf-jinja", True, "modern"),
    # A template that cannot be used.
    ("Broken-12B.gguf", "", TEKKEN, "{% for m in messages %}", "mistral-v3-tekken", False, "mistral-nemo"),
]


def facts_of(row: tuple[str, str, tuple[str, str, str, int], str, str, bool, str]) -> ModelFacts:
    file_name, name, (architecture, model, pre, tokens), template = row[:4]
    return ModelFacts(
        file_name,
        name,
        architecture=architecture,
        tokenizer_model=model,
        tokenizer_pre=pre,
        vocabulary=tokens,
        chat_template=template,
        bos="<s>",
        eos="</s>",
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[4]}")
def test_published_models(row: tuple[str, str, tuple[str, str, str, int], str, str, bool, str]) -> None:
    found = match(facts_of(row), LIBRARY)
    assert (found.format, found.certain, found.sampling) == row[4:]
    assert ("guess" in found.why) == (not found.certain)
    assert "\n" not in found.why


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[4]}")
def test_what_is_found_can_be_used(
    row: tuple[str, str, tuple[str, str, str, int], str, str, bool, str],
) -> None:
    facts = facts_of(row)
    found = match(facts, LIBRARY)
    assert format_for(found.format, facts, LIBRARY).id == found.format
    assert sampling_for(found.sampling, facts, LIBRARY).id == found.sampling


def test_the_table_has_forty_models_and_more() -> None:
    assert len({row[0] for row in TABLE}) >= 40


def test_parents_never_decide() -> None:
    """A merge names its parents in `general.base_model.*`: no fact holds them."""
    assert not [name for name in ModelFacts.__dataclass_fields__ if "base_model" in name]


def test_the_reason_says_what_is_wrong_with_a_template() -> None:
    found = match(facts_of(TABLE[-1]), LIBRARY)
    assert "cannot be used: line 1: Unexpected end of template" in found.why


def test_own_template_by_id() -> None:
    row = next(row for row in TABLE if row[0].startswith("GLM"))
    own = format_for("gguf-jinja", facts_of(row), LIBRARY)
    assert own.source == "tokenizer.chat_template of GLM-4-9B-0414-Q4_K_M.gguf"
    assert own.stops == ("<|user|>",)
    with pytest.raises(PresetError, match="needs a model whose file has a chat template"):
        format_for("gguf-jinja", None, LIBRARY)
    with pytest.raises(PresetError, match=r"x\.gguf: .* choose another format"):
        format_for("gguf-jinja", ModelFacts("x.gguf", chat_template="{% if %}"), LIBRARY)
    with pytest.raises(PresetError, match="there is no format"):
        format_for("chatnl", None, LIBRARY)


def test_a_format_learns_how_the_model_thinks() -> None:
    qwen = next(row for row in TABLE if row[0].startswith("Qwen3-8B"))
    thinking = format_for("chatml", facts_of(qwen), LIBRARY).thinking
    assert thinking is not None
    assert thinking.off == "<think>\n\n</think>\n\n"
    assert format_for("chatml", None, LIBRARY).thinking is None
    plain = next(row for row in TABLE if row[0].startswith("Qwen2.5"))
    assert format_for("chatml", facts_of(plain), LIBRARY) == LIBRARY.format("chatml")


def test_what_the_file_recommends() -> None:
    told = {"temp": 0.699999988079071, "top_k": 20, "penalty_last_n": -1, "min_p": 7.0, "sequence": "kT"}
    facts = ModelFacts("x.gguf", chat_template=GLM4, sampling=told)
    assert match(facts, LIBRARY).sampling == "model"
    preset = sampling_for("model", facts, LIBRARY)
    assert (preset.sampling.temperature, preset.sampling.top_k) == (0.7, 20)
    assert preset.sampling.repeat_last_n > 1_000_000
    assert preset.source.endswith("without effect here: min_p=7.0, sequence=kT")
    assert preset.notes == (
        "the model's file asks for min_p=7.0, which has no effect here",
        "the model's file asks for sequence=kT, which has no effect here",
    )
    assert sampling_for("model", None, LIBRARY).values == {}
    assert sampling_for("modern", facts, LIBRARY) == LIBRARY.sampling("modern")
    family = ModelFacts("x.gguf", architecture="qwen3", chat_template=QWEN3, sampling=told)
    assert match(family, LIBRARY).sampling == "qwen3"


def test_the_names_that_files_have_for_settings() -> None:
    told = {
        "sequence": "penalties;top_k;typ_p;min_p;xtc;temperature",
        "temp": 0.8,
        "penalty_repeat": 1.100000023841858,
        "penalty_last_n": 64,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.1,
    }
    preset = sampling_for("model", ModelFacts("x.gguf", sampling=told), LIBRARY)
    assert preset.notes == ()
    assert preset.values == {
        "samplers": "penalties;top_k;typ_p;min_p;xtc;temperature",
        "temperature": 0.8,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.1,
    }
    order = ("penalties", "top_k", "typical_p", "min_p", "xtc", "temperature")
    assert preset.sampling.samplers == order
    assert preset.sampling.mirostat == 2

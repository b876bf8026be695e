"""SillyTavern's files told apart, put together to formats and samplings, and written again without loss."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cards.card import Card, card_from_document
from presets.errors import PresetError
from presets.format import PromptFormat
from presets.library import PresetLibrary
from presets.prompt import build
from presets.sampling import Sampling
from presets.sillytavern.exporting import exported_format
from presets.sillytavern.importing import (
    FormatFiles,
    Part,
    format_document,
    format_ids,
    grouped,
    id_of,
    read_parts,
)
from presets.sillytavern.sampler_lists import banned, banned_text, biases
from presets.sillytavern.samplings import exported_sampling, sampling_document
from presets.sillytavern.yaml_text import yaml_text
from presets.values import Mode, Persona, Turn

INSTRUCT = {"name": "One", "input_sequence": "IN", "output_sequence": "OUT", "wrap": True}
CONTEXT = {"name": "One", "story_string": "{{system}}\n{{description}}", "chat_start": "***"}
SYSPROMPT = {"name": "One", "content": "Be {{char}}."}
TEXTGEN = {"temp": 0.7, "rep_pen": 1.1, "top_p": 0.9, "top_k": 40}


def parts_of(*documents: dict[str, Any], origin: str = "") -> list[Part]:
    found: list[Part] = []
    for number, document in enumerate(documents):
        name = origin or f"{number}.json"
        found += read_parts(json.dumps(document).encode(), name, f"file {number}")
    return found


# Telling apart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "kind", "name"),
    [
        (INSTRUCT, "instruct", "One"),
        (CONTEXT, "context", "One"),
        (SYSPROMPT, "sysprompt", "One"),
        ({"content": "x"}, "sysprompt", "file 0"),
        (TEXTGEN, "sampling", "file 0"),
        ({"temp": 1, "rep_pen": 1, "typical": 1, "sampler_order": [6, 0]}, "sampling", "file 0"),
        ({"name": " ", "output_sequence": ""}, "instruct", "file 0"),
    ],
)
def test_a_file_is_told_by_what_it_holds(document: dict[str, Any], kind: str, name: str) -> None:
    [part] = parts_of(document)
    assert (part.kind, part.name, part.document) == (kind, name, document)


def test_a_master_export_holds_several() -> None:
    bundle = {
        "instruct": INSTRUCT,
        "context": CONTEXT,
        "sysprompt": SYSPROMPT,
        "preset": TEXTGEN,
        "reasoning": {},
    }
    assert [part.kind for part in parts_of(bundle)] == ["instruct", "context", "sysprompt", "sampling"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "line 1: not JSON"),
        (b'{"a": 1,\n}', "line 2: not JSON"),
        (b"[1]", "a preset is a JSON object, this is a list"),
        (b"\xff{}", "not UTF-8"),
        (b"{}", "not a preset of SillyTavern's"),
        (b'{"entries": {}}', "a lorebook"),
        (b'{"spec": "chara_card_v2", "data": {}}', "a card, not a preset"),
        (b'{"chat_completion_source": "x", "temperature": 1, "top_p": 1}', "a chat-completion preset"),
        (b'{"story_string": ' + b"[" * 100 + b"]" * 100 + b"}", "more than 50 deep"),
        (b'{"story_string": ' + b"[" * 200_000, "not JSON"),
        (b" " * 2_000_000, "2000000 bytes is no preset"),
        (b'{"story_string": "' + b"x" * 300_000 + b'"}', "300000 characters are no context preset"),
        (b'{"name": "D", "prefix": "a", "suffix": "b", "separator": ""}', "a reasoning preset"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(data: bytes, problem: str) -> None:
    with pytest.raises(PresetError, match=r"^bad\.json") as raised:
        read_parts(data, "bad.json", "bad")
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


# Putting together ---------------------------------------------------------------------------------------


def names(formats: list[FormatFiles]) -> list[tuple[str | None, ...]]:
    def name(part: Part | None) -> str | None:
        return part.name if part else None

    return [(f.name, name(f.instruct), name(f.context), name(f.sysprompt)) for f in formats]


def called(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {**document, "name": name}


@pytest.mark.parametrize(
    ("documents", "formats", "left"),
    [
        # One of each is one format, whatever they are called.
        (
            [called(INSTRUCT, "I"), called(CONTEXT, "C"), called(SYSPROMPT, "S")],
            [("I", "I", "C", "S")],
            [],
        ),
        ([INSTRUCT], [("One", "One", None, None)], []),
        ([CONTEXT], [("One", None, "One", None)], []),
        ([SYSPROMPT], [], ["One"]),
        # Of several, those of one name.
        (
            [INSTRUCT, called(INSTRUCT, "Two"), called(CONTEXT, "two"), CONTEXT, called(SYSPROMPT, "TWO")],
            [("One", "One", "One", None), ("Two", "Two", "two", "TWO")],
            [],
        ),
        # One without a namesake serves all.
        (
            [INSTRUCT, called(INSTRUCT, "Two"), called(CONTEXT, "C"), called(SYSPROMPT, "S")],
            [("One", "One", "C", "S"), ("Two", "Two", "C", "S")],
            [],
        ),
        (
            [INSTRUCT, called(CONTEXT, "A"), called(CONTEXT, "B")],
            [("A", "One", "A", None), ("B", "One", "B", None)],
            [],
        ),
        # One with a namesake does not.
        (
            [INSTRUCT, called(INSTRUCT, "Two"), CONTEXT, SYSPROMPT],
            [("One", "One", "One", "One"), ("Two", "Two", None, None)],
            [],
        ),
        (
            [INSTRUCT, CONTEXT, called(SYSPROMPT, "A"), called(SYSPROMPT, "B")],
            [("One", "One", "One", None)],
            ["A", "B"],
        ),
    ],
)
def test_files_become_formats(documents: Any, formats: Any, left: list[str]) -> None:
    made, over = grouped(parts_of(*documents))
    assert names(made) == formats
    assert [part.name for part in over] == left


def test_a_master_export_is_one_format_beside_others() -> None:
    bundle = parts_of({"instruct": called(INSTRUCT, "B"), "context": CONTEXT}, origin="bundle")
    made, _ = grouped([*bundle, *parts_of(INSTRUCT, called(CONTEXT, "One"))])
    assert names(made) == [("B", "B", "One", None), ("One", "One", "One", None)]


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Llama 3 Instruct", "llama-3-instruct"),
        ("Mistral V2 & V3", "mistral-v2-v3"),
        ("Vicuna 1.1", "vicuna-1.1"),
        ("Ünïcode", "unicode"),
        ("日本語", "preset"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "preset"),
        ("x" * 200, "x" * 60),
    ],
)
def test_an_id_is_made_of_a_name(name: str, id: str) -> None:
    assert id_of(name) == id


def test_no_id_is_given_twice_nor_a_shipped_ones() -> None:
    assert format_ids(["A", "a", "B", "A"], {"b"}) == ["a", "a-2", "b-st", "a-3"]


# As ours ------------------------------------------------------------------------------------------------


def document_of(*documents: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    [files] = grouped(parts_of(*documents))[0]
    return format_document(files, "own")


CHATML = {
    "name": "M",
    "input_sequence": "<|im_start|>user",
    "output_sequence": "<|im_start|>assistant",
    "system_sequence": "<|im_start|>system",
    "wrap": True,
    "names_behavior": "none",
}
OLD_STORY = {"name": "M", "story_string": "<|im_start|>system\n{{description}}<|im_end|>"}
NEW_STORY = {"name": "M", "story_string": "{{description}}", "story_string_position": 0}
NEW_WRAP = {"story_string_prefix": "<|im_start|>system", "story_string_suffix": "<|im_end|>\n"}


@pytest.mark.parametrize(
    ("way", "story", "start", "note"),
    [
        (CHATML, OLD_STORY, "<|im_start|>system\nD<|im_end|>\n<|im_start|>user\n", None),
        ({**CHATML, **NEW_WRAP}, NEW_STORY, "<|im_start|>system\nD<|im_end|>\n<|im_start|>user\n", None),
        (
            {**CHATML, **NEW_WRAP},
            OLD_STORY,
            "<|im_start|>system\nD<|im_end|>\n<|im_start|>user\n",
            "wraps it again",
        ),
        (CHATML, NEW_STORY, "D\n<|im_start|>user\n", "stands outside any turn"),
        (
            {**CHATML, "system_sequence_prefix": "<|im_start|>system"},
            OLD_STORY,
            "<|im_start|>system\nD<|im_end|>\n<|im_start|>user\n",
            "both are written",
        ),
        # Files of two model families.
        (
            {**CHATML, "input_sequence": "[INST]", "output_sequence": "[/INST]", "system_sequence": ""},
            OLD_STORY,
            "<|im_start|>system\nD<|im_end|>\n[INST]\n",
            "of another format",
        ),
        (
            {**CHATML, "system_sequence": "", "input_sequence": "<|user|>", "output_sequence": "<|model|>"},
            {**OLD_STORY, "story_string": "<|system|>{{description}}"},
            "<|system|>D\n<|user|>\n",
            None,
        ),
    ],
)
def test_schemas_that_do_not_fit_are_explained(
    way: dict[str, Any], story: dict[str, Any], start: str, note: str | None
) -> None:
    document, notes = document_of(way, story)
    assert prompt_of(PromptFormat.model_validate(document)).startswith(start)
    assert note is None or any(note in line for line in notes)
    assert (note is None) == (not any("role tokens" in line for line in notes))


def test_known_markers_must_be_control_tokens() -> None:
    format = PromptFormat.model_validate(document_of(CHATML, OLD_STORY)[0])
    assert set(format.control) == {"<|im_start|>", "<|im_end|>"}
    metharme = {**INSTRUCT, "input_sequence": "<|user|>", "output_sequence": "<|model|>"}
    assert PromptFormat.model_validate(document_of(metharme, CONTEXT)[0]).control == ()


def test_a_story_string_that_handlebars_refuses_is_refused() -> None:
    with pytest.raises(PresetError, match=r"0\.json: story_string: \{\{#if system\}\} is never closed"):
        document_of({**CONTEXT, "story_string": "{{#if system}}x"})


def test_a_system_prompt_of_old_moves_out_of_the_instruct_file() -> None:
    old = {**INSTRUCT, "system_prompt": "Old {{char}}."}
    assert "Old Vesna." in prompt_of(PromptFormat.model_validate(document_of(old, CONTEXT)[0]))
    both = PromptFormat.model_validate(document_of(old, CONTEXT, SYSPROMPT)[0])
    assert "Be Vesna." in prompt_of(both)
    assert "Old" not in prompt_of(both)


def test_what_has_no_effect_is_said() -> None:
    notes = document_of({**INSTRUCT, "activation_regex": "/x/"}, {**CONTEXT, "trim_sentences": True})[1]
    assert any("trim_sentences" in note for note in notes)
    assert any("activation_regex" in note for note in notes)


def test_a_format_carries_its_name_rule() -> None:
    document, _ = document_of(INSTRUCT, CONTEXT)
    assert document["names"] == "as-sillytavern"
    format = PromptFormat.model_validate(document)
    assert format.names.default == "as-sillytavern"
    assert format.turns.user.prefix == "IN\n"


INSTRUCT_KEYS = (
    *("input_sequence", "output_sequence", "input_suffix", "output_suffix", "system_sequence"),
    *("first_output_sequence", "last_output_sequence", "stop_sequence", "separator_sequence", "wrap"),
    *("macro", "names", "names_behavior", "names_force_groups", "user_alignment_message", "skip_examples"),
    *("story_string_prefix", "system_sequence_prefix", "activation_regex", "system_prompt", "name"),
)
CONTEXT_KEYS = (
    *("story_string", "chat_start", "example_separator", "use_stop_strings", "allow_jailbreak", "name"),
    *("story_string_position", "story_string_depth", "story_string_role", "custom_stopping_strings"),
    *("single_line", "always_force_name2", "names_as_stop_strings", "trim_sentences"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text(max_size=10), VALUES, max_size=5),
    st.dictionaries(st.sampled_from([*INSTRUCT, "wrap", "names", "names_behavior", "stop_sequence"]), VALUES),
    st.dictionaries(st.sampled_from([*CONTEXT, "single_line", "custom_stopping_strings"]), VALUES),
)
def test_files_come_out_as_they_went_in(
    unknown: dict[str, Any], way: dict[str, Any], frame: dict[str, Any]
) -> None:
    instruct = {**unknown, **INSTRUCT, **way}
    context = {**unknown, **CONTEXT, **frame}
    files = FormatFiles("N", Part("instruct", "N", "i", instruct), Part("context", "N", "c", context))
    try:
        document, _ = format_document(files, "own")
    except PresetError:  # only a story string can be wrong
        assert isinstance(context["story_string"], str)
        return
    kept = yaml.safe_load(yaml_text(document))
    format = PromptFormat.model_validate(kept)
    documents, notes = exported_format(format)
    assert documents == {"instruct": instruct, "context": context}
    assert not notes
    assert prompt_of(format)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*INSTRUCT_KEYS, "from_the_future"]), VALUES),
    st.dictionaries(st.sampled_from(CONTEXT_KEYS), VALUES),
    st.dictionaries(st.sampled_from(["name", "content", "post_history"]), VALUES),
    st.sampled_from(["reply", "continue", "impersonate"]),
)
def test_values_of_wrong_types_are_no_trouble(
    way: dict[str, Any], frame: dict[str, Any], system: dict[str, Any], mode: Mode
) -> None:
    problem, notes = "", list[str]()
    documents = {**way, "input_sequence": way.get("input_sequence", "IN")}, {"story_string": 7, **frame}
    try:
        parts = parts_of(*documents, *([{**system, "content": "S"}] if system else []))
        [files] = grouped(parts)[0]
        document, notes = format_document(files, "own")
    except PresetError as error:
        problem = str(error)
    assert all("\n" not in line for line in [problem, *notes])
    if problem:
        return
    assert prompt_of(PromptFormat.model_validate(document), mode)


def test_a_file_of_strange_characters_is_written_and_read() -> None:
    strange = {"name": "\ud800 \x85 \u2028 \x07 \ufeff é 日 : # ' \" \\ \t", "output_sequence": "- on"}
    kept = yaml.safe_load(yaml_text({"sillytavern": strange}).encode("utf-8").decode("utf-8"))
    assert kept == {"sillytavern": strange}


# Our own formats, there and back --------------------------------------------------------------------------


def card_of(**fields: Any) -> Card:
    data = {"name": "Vesna", "description": "D", **fields}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def prompt_of(format: PromptFormat, mode: Mode = "reply", **fields: Any) -> str:
    turns = [Turn("user", "", "U"), Turn("char", "", "C")]
    turns = turns if mode == "continue" else [*turns, Turn("user", "", "V")]
    return build(card_of(**fields), Persona("Alex", "P"), format, turns, mode=mode).text


@pytest.mark.parametrize("mode", ["reply", "continue", "impersonate"])
@pytest.mark.parametrize(
    "id", ["chatml", "llama3", "phi-3", "phi-4", "command-r", "metharme", "deepseek", "pygmalion"]
)
def test_a_shipped_format_means_the_same_in_sillytavern(id: str, mode: Mode) -> None:
    format = PresetLibrary().format(id)
    documents, _ = exported_format(format)
    again = PromptFormat.model_validate({"id": id, "title": id, "source": "x", "sillytavern": documents})
    fields = {"scenario": "S", "personality": "Q"}
    assert prompt_of(again, mode, **fields) == prompt_of(format, mode, **fields)


@pytest.mark.parametrize("format", PresetLibrary().formats(), ids=lambda format: format.id)
def test_every_format_can_be_exported_and_imported(format: PromptFormat) -> None:
    documents, _ = exported_format(format)
    bundle = parts_of(json.loads(json.dumps(documents)))
    document, _ = format_document(grouped(bundle)[0][0], "own")
    text = prompt_of(PromptFormat.model_validate(document))
    assert "D" in text
    assert "{{" not in text


# Samplings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "values"),
    [
        (
            {"temp": 1.25, "min_p": 0.1, "rep_pen": 1, "top_k": 0, "top_p": 1},
            {"temperature": 1.25, "min_p": 0.1},
        ),
        (
            {"temp": 0.7, "rep_pen": 1.1, "typical": 0.9, "tfs": 0.95},
            {"temperature": 0.7, "repeat_penalty": 1.1, "typical_p": 0.9, "tfs_z": 0.95},
        ),
        ({"rep_pen": 1.2, "rep_pen_range": 512, "top_k": -1}, {"repeat_penalty": 1.2, "repeat_last_n": 512}),
        (
            {"freq_pen": 0.1, "presence_pen": 0.2, "temp": 1},
            {"frequency_penalty": 0.1, "presence_penalty": 0.2},
        ),
        (
            {"temp": 1, "dry_multiplier": 0.8, "dry_sequence_breakers": '["\\n", "*"]', "top_k": 0},
            {"dry_multiplier": 0.8, "dry_sequence_breakers": ["\n", "*"]},
        ),
        ({"temp": 1, "top_k": 0, "dry_sequence_breakers": '"a", "b"'}, {"dry_sequence_breakers": ["a", "b"]}),
        (
            {
                "temp": 1,
                "top_k": 0,
                "xtc_probability": 0.5,
                "xtc_threshold": 0.15,
                "nsigma": 1.5,
                "ban_eos_token": True,
            },
            {"xtc_probability": 0.5, "xtc_threshold": 0.15, "top_n_sigma": 1.5, "ban_eos": True},
        ),
    ],
)
def test_a_textgen_file_becomes_a_sampling(document: dict[str, Any], values: dict[str, Any]) -> None:
    made, notes = sampling_document(document, "own", "Own")
    assert made["values"] == values
    assert made["sillytavern"] == document
    assert not notes
    Sampling.model_validate(made["values"])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"temp": 1, "top_k": 0, "guidance_scale": 1.5}, "guidance_scale 1.5"),
        ({"temp": 1, "top_k": 0, "num_beams": 4}, "num_beams 4"),
        ({"temp": 1, "top_k": 0, "add_bos_token": False, "min_keep": 3}, "min_keep 3, add_bos_token false"),
        ({"temp": 1, "top_k": 0, "skip_special_tokens": False}, "skip_special_tokens false"),
        ({"temp": 1, "top_k": 0, "genamt": 350}, "genamt 350"),
        ({"temp": 99, "top_k": 0}, "temp 99 is impossible"),
        ({"temp": "warm", "top_k": 0}, 'temp "warm" is impossible'),
        ({"temp": 1, "rep_pen": 1.1, "rep_pen_range": 0}, "rep_pen_range 0 looks back on all of the context"),
        ({"temp": 1, "epsilon_cutoff": 1, "negative_prompt": "x" * 200}, "negative_prompt"),
    ],
)
def test_what_a_sampling_cannot_do_is_said(document: dict[str, Any], said: str) -> None:
    made, notes = sampling_document(document, "own", "Own")
    assert any(said in note for note in notes)
    assert all("\n" not in note and len(note) < 300 for note in notes)
    assert made["sillytavern"] == document


def test_neutral_settings_are_not_said() -> None:
    neutral = """{"temp": 1, "top_k": 0, "guidance_scale": 1, "mirostat_mode": 0, "mirostat_tau": 5,
        "temperature_last": true, "sampler_order": [6, 0, 1, 3, 4, 2, 5], "streaming": true, "seed": -1,
        "json_schema": {}, "min_keep": 0, "rep_pen_decay": 0, "add_bos_token": true, "length_penalty": 1,
        "rep_pen": 1, "rep_pen_range": 0, "dynatemp": false, "min_temp": 0, "max_temp": 2}"""
    document = json.loads(neutral)
    assert sampling_document(document, "own", "Own")[1] == []


KEYS = st.sampled_from(
    [*TEXTGEN, "typical_p", "typical", "dry_sequence_breakers", "rep_pen_range", "seed", "own", "dynatemp"]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_a_sampling_comes_out_as_it_went_in(document: dict[str, Any]) -> None:
    made, _ = sampling_document(document, "own", "Own")
    kept = yaml.safe_load(yaml_text(made))
    Sampling.model_validate(kept["values"])
    assert exported_sampling(kept["values"], kept["sillytavern"]) == document


def test_a_changed_value_is_written_under_their_name() -> None:
    kobold = {"temp": 0.7, "typical": 1.0, "own": [1]}
    changed = exported_sampling({"temperature": 0.9, "typical_p": 0.8, "min_p": 0.05}, kobold)
    assert changed == {"temp": 0.9, "typical": 0.8, "own": [1], "min_p": 0.05}


def test_a_shipped_sampling_is_written_whole_and_read_again() -> None:
    for sampling in PresetLibrary().samplings():
        written = json.loads(json.dumps(exported_sampling(sampling.values, None)))
        [part] = parts_of(written)
        assert part.kind == "sampling"
        values = sampling_document(part.document, "own", "Own")[0]["values"]
        again = Sampling.model_validate(values)
        assert again.temperature == sampling.sampling.temperature
        assert again.tfs_z == sampling.sampling.tfs_z
        assert again.dry_sequence_breakers == sampling.sampling.dry_sequence_breakers


def test_bans_are_lines_of_words_tokens_and_phrases() -> None:
    text = 'word\n[1, 2, -3, "x"]\n"a phrase"\n\n[broken\n""'
    held = banned({"banned_tokens": text})
    assert held == {"banned_tokens": ["word", 1, 2, "[broken", '""'], "banned_strings": ["a phrase"]}
    again = banned({"banned_tokens": banned_text(held["banned_tokens"], held["banned_strings"])})
    assert set(again["banned_tokens"]) == set(held["banned_tokens"])
    assert again["banned_strings"] == held["banned_strings"]
    assert banned({"banned_tokens": 3}) == {}


def test_biases_are_by_text() -> None:
    assert biases([{"text": "a", "value": -5}, {"text": "", "value": 1}, {"text": "b", "value": "x"}, 3]) == {
        "a": -5
    }
    assert biases("no list") is None

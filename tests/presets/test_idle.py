"""Settings that are on and yet change nothing are named, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from presets.idle import idle_settings
from presets.library import PresetLibrary
from presets.sampling import DEFAULT_ORDER, Sampling

GREEDY = "temperature 0 takes the likeliest token"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, {}),
        ({"samplers": []}, {}),
        ({"temperature": 0.7, "samplers": ["top_p"]}, {"temperature": "samplers leaves temperature out"}),
        (
            {"repeat_penalty": 1.1, "frequency_penalty": 0.5, "samplers": ["temperature"]},
            {
                "repeat_penalty": "samplers leaves penalties out",
                "frequency_penalty": "samplers leaves penalties out",
            },
        ),
        (
            {"dynatemp_range": 0.5, "samplers": ["min_p"]},
            {"dynatemp_range": "samplers leaves temperature out"},
        ),
        (
            {"mirostat": 2, "top_k": 40, "temperature": 0.8, "dry_multiplier": 1},
            {"top_k": "mirostat 2 takes its place"},
        ),
        ({"mirostat": 2, "temperature": 0}, {"mirostat": GREEDY}),
        ({"mirostat": 1, "adaptive_target": 0.5}, {"adaptive_target": "mirostat 1 draws"}),
        ({"adaptive_target": 0.5, "temperature": 0}, {"adaptive_target": GREEDY}),
        (
            {"adaptive_target": 0.5, "temperature": 0, "samplers": ["min_p"]},
            {"temperature": "samplers leaves temperature out"},
        ),
        ({"repeat_penalty": 1.1, "repeat_last_n": 0}, {"repeat_penalty": "repeat_last_n is 0"}),
        ({"dry_multiplier": 0.8, "dry_penalty_last_n": 0}, {"dry_multiplier": "dry_penalty_last_n is 0"}),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.5}, {}),
        (
            {"xtc_probability": 0.5, "xtc_threshold": 0.51},
            {"xtc_probability": "xtc_threshold 0.51 is above 0.5: two tokens cannot reach it"},
        ),
        ({"smoothing_factor": 0.2, "temperature": 0}, {"smoothing_factor": GREEDY}),
        ({"banned_strings": ["a b"], "banned_strength": 0}, {"banned_strings": "banned_strength is 0"}),
    ],
)
def test_what_has_no_effect_and_why(values: dict[str, Any], said: dict[str, str]) -> None:
    found = [sentence.partition(" has no effect: ") for sentence in idle_settings(Sampling(**values))]
    assert {name.partition("=")[0]: why for name, _, why in found} == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"xtc_threshold": 0.2}, "xtc_threshold=0.2 has no effect: xtc_probability is off"),
        ({"xtc_threshold": 0.1}, "xtc_threshold=0.1 has no effect: xtc_probability is off"),
        ({"xtc_threshold": 0.2, "xtc_probability": 0.5}, ""),
        ({"tfs_variant": "reference"}, "tfs_variant=reference has no effect: tfs_z is off"),
        ({"tfs_min_keep": 2, "tfs_z": 0.9}, ""),
        (
            {"dry_sequence_breakers": ["x"]},
            "dry_sequence_breakers=['x'] has no effect: dry_multiplier is off",
        ),
        (
            {"repeat_last_n": 64},
            "repeat_last_n=64 has no effect: repeat_penalty, frequency_penalty, presence_penalty are off",
        ),
        ({"repeat_last_n": 64, "presence_penalty": 0.2}, ""),
        ({"mirostat_tau": 4}, "mirostat_tau=4 has no effect: mirostat is off"),
        ({"adaptive_decay": 0.5}, "adaptive_decay=0.5 has no effect: adaptive_target is off"),
        ({"banned_strength": 0.5}, "banned_strength=0.5 has no effect: banned_strings is off"),
    ],
)
def test_a_setting_of_a_sampler_that_is_off_is_said_to_who_gave_it(values: dict[str, Any], said: str) -> None:
    sampling = Sampling(**values)
    assert idle_settings(sampling) == ()
    first = next(iter(values)).replace("_", "-")
    assert idle_settings(sampling, [first, "temperature"]) == ((said,) if said else ())


def test_a_sentence_says_the_value() -> None:
    assert idle_settings(Sampling(top_k=40, mirostat=2)) == (
        "top_k=40 has no effect: mirostat 2 takes its place",
    )


def test_each_sampler_that_is_left_out_is_told() -> None:
    on: dict[str, Any] = {
        "repeat_penalty": 1.1,
        "dry_multiplier": 0.8,
        "top_n_sigma": 1.5,
        "top_k": 40,
        "top_a": 0.2,
        "tfs_z": 0.9,
        "typical_p": 0.9,
        "top_p": 0.9,
        "min_p": 0.05,
        "xtc_probability": 0.5,
        "temperature": 0.7,
        "smoothing_factor": 0.2,
    }
    for name in DEFAULT_ORDER:
        order = [other for other in DEFAULT_ORDER if other != name]
        (said,) = idle_settings(Sampling.model_validate({**on, "samplers": order}))
        assert said.endswith(f"has no effect: samplers leaves {name} out")
    assert len(idle_settings(Sampling.model_validate({**on, "samplers": []}))) == len(DEFAULT_ORDER)


def test_no_shipped_preset_asks_for_something_in_vain() -> None:
    for preset in PresetLibrary(None).samplings():
        assert idle_settings(preset.sampling) == (), preset.id

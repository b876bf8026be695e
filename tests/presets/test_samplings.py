"""The sampling presets that are shipped: each with its source, within what its family bears."""

from __future__ import annotations

import pytest

from presets.library import NamedSampling, PresetLibrary

LIBRARY = PresetLibrary()
NEWER = (
    "modern",
    "mistral-nemo",
    "mistral-small",
    "llama3-roleplay",
    "qwen3",
    "gemma3",
    "creative",
    "precise",
)
WANTED = (
    *("neutral", "limarp-v1", "limarp-v2", "limarp-v3", "metharme", "alpaca", "model"),
    *NEWER,
)


@pytest.mark.parametrize("id", WANTED)
def test_a_preset_says_where_it_comes_from_and_what_it_is(id: str) -> None:
    preset = LIBRARY.sampling(id)
    assert preset.source
    assert preset.title


@pytest.mark.parametrize("id", NEWER)
def test_what_is_newer_than_llama_2_has_dry_and_no_repetition_penalty(id: str) -> None:
    sampling = LIBRARY.sampling(id).sampling
    assert (sampling.dry_multiplier, sampling.dry_base, sampling.dry_allowed_length) == (0.8, 1.75, 2)
    assert sampling.repeat_penalty == 1.0


@pytest.mark.parametrize("preset", LIBRARY.samplings(), ids=lambda preset: preset.id)
def test_what_a_file_writes_is_what_is_in_force(preset: NamedSampling) -> None:
    in_force = preset.sampling.model_dump()
    assert {name: in_force[name] for name in preset.values} == preset.values


def test_the_documented_values() -> None:
    nemo = LIBRARY.sampling("mistral-nemo").sampling
    assert 0.5 <= nemo.temperature <= 0.8
    assert nemo.min_p == 0.05
    qwen = LIBRARY.sampling("qwen3").sampling
    assert (qwen.temperature, qwen.top_p, qwen.top_k, qwen.min_p) == (0.7, 0.8, 20, 0)
    gemma = LIBRARY.sampling("gemma3").sampling
    assert (gemma.temperature, gemma.top_k, gemma.top_p) == (1.0, 64, 0.95)
    assert LIBRARY.sampling("creative").sampling.xtc_probability == 0.5
    assert LIBRARY.sampling("precise").sampling.temperature < 0.7
    assert LIBRARY.sampling("model").values == {}

"""The settings that hold texts, lists and orders: how they are given, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.sampling import DEFAULT_ORDER, Sampling
from presets.settings import apply_settings

CHATML = PresetLibrary().format("chatml")


def given(*settings: tuple[str, str]) -> Sampling:
    return apply_settings(Sampling(), CHATML, settings)[0]


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ([("logit_bias", '{"blood": -3, " night": 2.5}')], "logit_bias", {"blood": -3.0, " night": 2.5}),
        ([("logit_bias", "blood:-3"), ("logit_bias", ":):1")], "logit_bias", {"blood": -3.0, ":)": 1.0}),
        ([("banned_tokens", '["a", 7]')], "banned_tokens", ("a", 7)),
        ([("banned_strings", "x y"), ("banned-strings", '["a b"]')], "banned_strings", ("x y", "a b")),
        ([("samplers", "min_p;temp")], "samplers", ("min_p", "temperature")),
        ([("samplers", "typ_p, dry")], "samplers", ("typical_p", "dry")),
        ([("mirostat", "2")], "mirostat", 2),
        ([("grammar", 'root ::= "a"\n')], "grammar", 'root ::= "a"\n'),
        ([("min_tokens", "20")], "min_tokens", 20),
    ],
)  # fmt: skip
def test_texts_lists_and_orders(settings: list[tuple[str, str]], field: str, value: object) -> None:
    assert getattr(given(*settings), field) == value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("logit_bias", "blood", "give TEXT:BIAS"),
        ("logit_bias", "{", "not JSON"),
        ("logit_bias", "blood:101", "less than or equal to 100"),
        ("samplers", "min_p,tmperature", "there is no sampler 'tmperature'; did you mean temperature?"),
        ("samplers", "min_p,min_p", "min_p stands twice"),
        ("mirostat", "3", "mirostat=3: "),
        ("mirostat_mode", "2", "did you mean mirostat?"),
        ("min_length", "2", "did you mean min_tokens?"),
        ("smoothing_facto", "2", "did you mean smoothing_factor?"),
        ("banned_strings", '[""]', "at least 1 character"),
        ("banned_strength", "1.5", "less than or equal to 1"),
    ],
)
def test_refused_in_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(PresetError) as caught:
        given((name, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{"dynatemp_exponent": 0}, {"top_a": 2}, {"adaptive_decay": 1}, {"samplers": 3}]
)
def test_impossible_values(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sampling.model_validate(values)


def test_a_sampling_survives_json() -> None:
    sampling = Sampling(
        logit_bias={"é": -5}, banned_tokens=("a", 3), samplers=("min_p",), banned_strings=("x y",)
    )
    assert Sampling.model_validate(sampling.model_dump(mode="json")) == sampling
    assert Sampling().samplers == DEFAULT_ORDER


def test_a_value_that_is_not_known_is_kept_and_said(tmp_path: Path) -> None:
    file = tmp_path / "samplings" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("title: Mine\nsource: me\nvalues: {temprature: 0.7, min_p: 0.1, skew: 2}\n")
    library = PresetLibrary(tmp_path)
    mine = library.sampling("mine")
    assert mine.sampling == Sampling(min_p=0.1)
    assert mine.values["skew"] == 2
    assert len(mine.notes) == 2
    assert "did you mean temperature?" in mine.notes[0]
    assert "mine.yaml: values.skew is kept" in mine.notes[1]
    assert library.problems() == []

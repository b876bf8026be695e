"""`--set`: settings by name, refused with the nearest one."""

from __future__ import annotations

import pytest

from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.settings import apply_settings

LIBRARY = PresetLibrary()
LIMARP = LIBRARY.sampling("limarp-v1").sampling


def test_values_and_options_by_one_name() -> None:
    sampling, options = apply_settings(
        LIMARP,
        LIBRARY.format("metharme"),
        {
            "temperature": "0.9",
            "top-k": "40",
            "names": "on",
            "length": "Short",
            "ban_eos": "off",
            "dry_sequence_breakers": r"\n",
        },
    )
    assert sampling == LIMARP.model_copy(
        update={"temperature": 0.9, "top_k": 40, "ban_eos": False, "dry_sequence_breakers": ("\n",)}
    )
    assert options == {"names": "on", "length": "short", "ban_eos": "off"}
    assert LIMARP.temperature == 0.7


def test_nothing_set_changes_nothing() -> None:
    assert apply_settings(LIMARP, LIBRARY.format("chatml"), {}) == (LIMARP, {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperatur", "1", "no setting 'temperatur'; did you mean temperature?"),
        ("temp", "1", "did you mean temperature?"),
        ("rep_pen", "1", "did you mean repeat_penalty?"),
        ("nmaes", "on", "did you mean names?"),
        ("xyzzy", "1", "there are adaptive_decay, adaptive_target"),
        ("temperature", "99", "temperature=99: input should be less than or equal to 10"),
        ("temperature", "-1", "temperature=-1: "),
        ("temperature", "nan", "temperature=nan: "),
        ("temperature", "hot", "temperature=hot: input should be a valid number"),
        ("temperature", "", "temperature=: "),
        ("top_k", "4.5", "top_k=4.5: "),
        ("dry_multiplier", "inf", "dry_multiplier=inf: "),
        ("tfs_variant", "other", "tfs_variant=other: "),
        ("ban_eos", "perhaps", "ban_eos=perhaps: format metharme takes off, on"),
        ("length", "lng", "length=lng: format metharme takes long, short, medium"),
        ("names", "maybe", "names=maybe: format metharme takes off, on"),
        ("reply_length", "40", "reply_length=40: reply_length takes free, short, medium, long"),
        ("logit_bias", '{"a":' + "[" * 3000, "not JSON"),
        ("banned_strings", "[" * 3000, "string should have at most 400 characters"),
        ("mirostat", "1" * 5000, "mirostat=1"),
        ("reply_length", "lang", "reply_length takes free, short, medium, long; did you mean long?"),
    ],
)
def test_refused_in_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(PresetError) as failure:
        apply_settings(LIMARP, LIBRARY.format("metharme"), {name: value})
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


def test_an_option_that_the_format_lacks() -> None:
    with pytest.raises(PresetError, match="no setting 'length'"):
        apply_settings(LIMARP, LIBRARY.format("chatml"), {"length": "long"})


@pytest.mark.parametrize(
    ("written", "meant"), [("always", "on"), ("none", "off"), ("groups", "off"), ("ON", "on")]
)
def test_sillytaverns_words_for_names(written: str, meant: str) -> None:
    _, options = apply_settings(LIMARP, LIBRARY.format("metharme"), {"names": written})
    assert options == {"names": meant}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("seed", "rpchat is started with --seed for that"),
        ("max_tokens", "rpchat is started with --max-tokens for that"),
        ("n-ctx", "rpchat is started with --ctx for that"),
        ("guidance_scale", "rpchat has nothing like it"),
        ("min_temp", "did you mean dynatemp_range?"),
        ("length", "did you mean reply_length?"),
        ("xtc_treshold", "did you mean xtc_threshold?"),
    ],
)
def test_names_of_other_programs(name: str, hint: str) -> None:
    with pytest.raises(PresetError) as caught:
        apply_settings(LIMARP, LIBRARY.format("chatml"), {name: "1"})
    assert hint in str(caught.value)

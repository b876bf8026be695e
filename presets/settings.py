"""`--set KEY=VALUE`: sampler settings and options of the format and the chat, by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from presets.errors import PresetError, nearest
from presets.format import PromptFormat
from presets.prompt_options import CHAT_OPTIONS, AnyText, Numbers, written_role
from presets.reasoning import listed
from presets.sampling import Sampling

_ELSEWHERE = {
    "temp": "temperature",
    "rep_pen": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "rep_pen_range": "repeat_last_n",
    "repetition_penalty_range": "repeat_last_n",
    "tfs": "tfs_z",
    "typical": "typical_p",
    "freq_pen": "frequency_penalty",
    "presence_pen": "presence_penalty",
    "nsigma": "top_n_sigma",
    "ban_eos_token": "ban_eos",
    "rep_pen_slope": "repeat_penalty_slope",
    "mirostat_mode": "mirostat",
    "min_length": "min_tokens",
    "grammar_string": "grammar",
    "sampler_order": "samplers",
    "dynatemp": "dynatemp_range",
    "min_temp": "dynatemp_range",
    "max_temp": "dynatemp_range",
    "custom_token_bans": "banned_tokens",
    "length": "reply_length",
}
"""What other programs call a setting, or other formats an option."""

_OWN = {
    "seed": "--seed",
    "max_tokens": "--max-tokens",
    "max_length": "--max-tokens",
    "max_new_tokens": "--max-tokens",
    "n_predict": "--max-tokens",
    "genamt": "--max-tokens",
    "ctx": "--ctx",
    "n_ctx": "--ctx",
}
"""What the command line has for itself."""

_NOT_HERE = (
    *("epsilon_cutoff", "eta_cutoff", "penalty_alpha", "num_beams", "length_penalty", "early_stopping"),
    *("no_repeat_ngram_size", "encoder_rep_pen", "encoder_repetition_penalty", "guidance_scale"),
    *("negative_prompt", "skew", "rep_pen_decay"),
)
"""Samplers of other programs that have no equal here."""

_SWITCHES = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False}


_NAMES = {"always": "on", "none": "off", "groups": "off"}
"""SillyTavern's words for names before turns; a chat with one character is no group."""

_LISTS = ("dry_sequence_breakers", "banned_tokens", "banned_strings")
"""Settings of many texts: a JSON list, or one text; what is given several times is all meant."""

Settings = Mapping[str, str] | Iterable[tuple[str, str]]
"""Names and what was given for them; as pairs, a name may come several times."""


def apply_settings(
    sampling: Sampling, format: PromptFormat, settings: Settings
) -> tuple[Sampling, dict[str, str]]:
    """`sampling` with these settings, and the options of the format and of the chat among them.

    Raises PresetError, in one line, for a name that neither knows and for a value that cannot be.
    """
    known = {**format.options(), **CHAT_OPTIONS}
    values: dict[str, Any] = {}
    options: dict[str, str] = {}
    written: dict[str, str] = {}
    for given, value in settings.items() if isinstance(settings, Mapping) else settings:
        name = given.strip().replace("-", "_")
        written[name] = value.strip()
        if name in Sampling.model_fields:
            _set(values, name, value)
        elif name not in known:
            names = sorted({*Sampling.model_fields, *known})
            raise PresetError(f"there is no setting {given!r}{_hint(name, names)}")
        if name in known:
            options[name] = _choice(name, value, known[name], format)
    try:
        return Sampling.model_validate({**sampling.model_dump(), **values}), options
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        said = first["msg"].removeprefix("Value error, ")
        problem = said[0].lower() + said[1:]
        raise PresetError(f"{name}={written.get(name, '')}: {problem}") from error


def _hint(name: str, names: list[str]) -> str:
    if name in _OWN:
        return f"; rpchat is started with {_OWN[name]} for that"
    if name in _NOT_HERE:
        return ": rpchat has nothing like it"
    return f"; did you mean {_ELSEWHERE[name]}?" if name in _ELSEWHERE else nearest(name, names)


def _set(values: dict[str, Any], name: str, value: str) -> None:
    plain = value.strip()
    if name == "ban_eos":
        values[name] = _SWITCHES.get(plain.lower(), plain)
    elif name == "mirostat":
        values[name] = int(plain) if plain in ("0", "1", "2") else plain
    elif name in _LISTS:
        values[name] = [*values.get(name, ()), *_texts(value)]
    elif name == "logit_bias":
        values[name] = {**values.get(name, {}), **_biases(value)}
    else:
        values[name] = value if name == "grammar" else plain


def _biases(value: str) -> dict[str, Any]:
    """A JSON object, or `TEXT:BIAS`."""
    if value.strip().startswith("{"):
        try:
            biases = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise PresetError(f"logit_bias={value}: not JSON: {error}") from error
        return dict(biases)
    text, colon, bias = value.rpartition(":")
    if not colon or not text:
        raise PresetError(f'logit_bias={value}: give TEXT:BIAS, or JSON such as {{"text": -5}}')
    return {text: bias.strip()}


def _texts(value: str) -> list[Any]:
    """A JSON list, or one string with its escapes."""
    is_list = value.strip().startswith("[")
    try:
        texts = json.loads(value if is_list else f'["{value}"]')
    except (ValueError, RecursionError):
        return [value]
    return texts if isinstance(texts, list) else [value]


def _choice(name: str, value: str, allowed: tuple[str, ...], format: PromptFormat) -> str:
    if isinstance(allowed, AnyText):
        return value
    written = value.strip().lower()
    if isinstance(allowed, Numbers):
        if written not in allowed:
            raise PresetError(f"{name}={value}: {name} takes {allowed}")
        return str(int(written))
    if name == "note_role":
        written = written_role(written)
    elif name == "names" and written not in allowed:
        written = _NAMES.get(written, written)
    if allowed and set(allowed) <= {"on", "off"} and written in _SWITCHES:
        written = "on" if _SWITCHES[written] else "off"
    if written not in allowed:
        known = format.options().get(name)
        taker = f"format {format.id}" if known == allowed else name
        hint = nearest(written, list(allowed)) if len(allowed) > 3 else ""
        near = hint if "did you mean" in hint else ""
        raise PresetError(f"{name}={value}: {taker} takes {listed(allowed)}{near}")
    return written

"""`--set KEY=VALUE`: sampler settings and format options by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from presets.errors import PresetError, nearest
from presets.format import PromptFormat
from presets.output.options import OUTPUT_OPTIONS
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
}
"""What other programs call a setting."""

_SWITCHES = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False}


def apply_settings(
    sampling: Sampling, format: PromptFormat, settings: Mapping[str, str]
) -> tuple[Sampling, dict[str, str]]:
    """`sampling` with these settings, and the options of the format and of the output among them.

    Raises PresetError, in one line, for a name that neither knows and for a value that cannot be.
    """
    known = {**format.options(), **OUTPUT_OPTIONS}
    values: dict[str, Any] = {}
    options: dict[str, str] = {}
    for given, value in settings.items():
        name = given.strip().replace("-", "_")
        value = value.strip()
        if name in Sampling.model_fields:
            values[name] = _value(name, value)
        elif name not in known:
            names = sorted({*Sampling.model_fields, *known})
            hint = f"; did you mean {_ELSEWHERE[name]}?" if name in _ELSEWHERE else nearest(name, names)
            raise PresetError(f"there is no setting {given!r}{hint}")
        if name in known:
            options[name] = _choice(name, value, known[name], format)
    try:
        return Sampling.model_validate({**sampling.model_dump(), **values}), options
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise PresetError(f"{name}={settings_value(settings, name)}: {problem}") from error


def settings_value(settings: Mapping[str, str], name: str) -> str:
    """What was given for `name`, however its name was written."""
    return next((v for key, v in settings.items() if key.strip().replace("-", "_") == name), "")


def _value(name: str, value: str) -> Any:
    if name == "ban_eos":
        return _SWITCHES.get(value.lower(), value)
    if name == "dry_sequence_breakers":
        return _texts(value)
    return value


def _texts(value: str) -> Any:
    """A JSON list of strings, or one string with its escapes."""
    try:
        return json.loads(value if value.startswith("[") else f'["{value}"]')
    except ValueError:
        return [value]


def _choice(name: str, value: str, allowed: tuple[str, ...], format: PromptFormat) -> str:
    written = value.lower()
    if allowed and set(allowed) <= {"on", "off"} and written in _SWITCHES:
        written = "on" if _SWITCHES[written] else "off"
    if written not in allowed:
        raise PresetError(
            f"{name}={value}: format {format.id} takes {listed(allowed)}"
            + (nearest(written, list(allowed)) if len(allowed) > 3 else "")
        )
    return written

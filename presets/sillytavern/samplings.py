"""SillyTavern's textgen and KoboldAI presets as samplings of ours, and back. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from presets.sampling import Sampling
from presets.sillytavern.sampler_lists import banned, banned_text, biases, order_of

__all__ = ["exported_sampling", "sampling_document"]

Document = Mapping[str, Any]

_SAME = {
    "temp": "temperature",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "top_a": "top_a",
    "tfs": "tfs_z",
    "typical_p": "typical_p",
    "typical": "typical_p",
    "rep_pen": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "rep_pen_range": "repeat_last_n",
    "repetition_penalty_range": "repeat_last_n",
    "rep_pen_slope": "repeat_penalty_slope",
    "freq_pen": "frequency_penalty",
    "presence_pen": "presence_penalty",
    "nsigma": "top_n_sigma",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "dry_multiplier": "dry_multiplier",
    "dry_base": "dry_base",
    "dry_allowed_length": "dry_allowed_length",
    "dry_penalty_last_n": "dry_penalty_last_n",
    "dry_sequence_breakers": "dry_sequence_breakers",
    "smoothing_factor": "smoothing_factor",
    "smoothing_curve": "smoothing_curve",
    "dynatemp_exponent": "dynatemp_exponent",
    "mirostat_mode": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
    "adaptive_target": "adaptive_target",
    "adaptive_decay": "adaptive_decay",
    "min_length": "min_tokens",
    "grammar_string": "grammar",
    "logit_bias": "logit_bias",
    "ban_eos_token": "ban_eos",
}
"""Their name -> ours."""

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "top_a": (0,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "rep_pen_slope": (0, 1),
    "no_repeat_ngram_size": (0,),
    "encoder_rep_pen": (1,),
    "penalty_alpha": (0,),
    "num_beams": (1,),
    "min_length": (0,),
    "skew": (0,),
    "do_sample": (True,),
    "early_stopping": (False,),
    "dynatemp": (False,),
    "smoothing_factor": (0,),
    "mirostat_mode": (0,),
    "guidance_scale": (1,),
    "seed": (-1,),
    "min_keep": (0, 1),
    "rep_pen_decay": (0,),
    "rep_pen_size": (0,),
    "length_penalty": (1,),
    "add_bos_token": (True,),
    "skip_special_tokens": (True,),
    "max_tokens_second": (0,),
    "ignore_eos_token": (False,),
    "temperature_last": (True,),
    "grammar_string": ("",),
    "json_schema": ("", None, {}),
    "banned_tokens": ("",),
    "negative_prompt": ("",),
    "logit_bias": ([], None),
    "sampler_order": ([6, 0, 1, 3, 4, 2, 5],),
    "n": (1,),
    "genamt": (),
    "max_length": (),
    "adaptive_target": (-1, 0),
}
"""Settings that change replies, with the values at which they do not. Said where a file has another."""


def sampling_document(document: Document, id: str, name: str) -> tuple[dict[str, Any], list[str]]:
    """The sampling's file as a document, and what of it has no effect here, a line each.

    The whole of SillyTavern's file is kept in it, under `sillytavern`.
    """
    values: dict[str, Any] = {}
    notes: list[str] = []
    for theirs, ours in _SAME.items():
        if theirs not in document or ours in values:
            continue
        value = _value(theirs, document[theirs])
        if theirs in ("rep_pen_range", "dry_penalty_last_n") and value == 0:
            if _in_force(document, theirs):
                notes.append(f"{theirs} 0 looks back on all of the context; here the default range is used")
            continue
        if _possible(ours, value):
            values[ours] = value
        elif value is not None:
            notes.append(f"{theirs} {_shown(document[theirs])} is impossible here and was left out")
    _dynamic_temperature(document, values)
    values |= {ours: value for ours, value in banned(document).items() if _possible(ours, value)}
    if (order := order_of(document)) is not None and _possible("samplers", order):
        values["samplers"] = order
    unused = [
        f"{key} {_shown(document[key])}"
        for key, neutral in _NEUTRAL.items()
        if key in document and not _does(key, values) and document[key] not in neutral
    ]
    if unused:
        notes.append(f"kept in the file, without effect here: {', '.join(unused)}")
    changed = {name: value for name, value in values.items() if value != _default(name)}
    return {
        "id": id,
        "title": name,
        "source": f"imported from SillyTavern: {name!r}",
        "values": changed,
        "sillytavern": dict(document),
    }, notes


def exported_sampling(values: Document, kept: Document | None) -> dict[str, Any]:
    """A textgen preset with these values of ours. `kept` is the file that they came from: of it only what
    has been changed since is written anew."""
    result = dict(kept or {})
    before = sampling_document(kept, "", "")[0]["values"] if kept is not None else {}
    written: set[str] = set()
    for theirs, ours in _SAME.items():
        if ours in written:
            continue
        name = next((key for key, of in _SAME.items() if of == ours and key in result), theirs)
        written.add(ours)
        value = values.get(ours, _default(ours))
        if kept is None or value != before.get(ours, _default(ours)):
            result[name] = _theirs(ours, value)
    spread = values.get("dynatemp_range", 0)
    if spread != before.get("dynatemp_range", 0):
        middle = values.get("temperature", 1.0)
        result |= {"dynatemp": spread > 0, "min_temp": middle - spread, "max_temp": middle + spread}
    words = [list(values.get(ours, ())) for ours in ("banned_tokens", "banned_strings")]
    if words != [list(before.get(ours, ())) for ours in ("banned_tokens", "banned_strings")]:
        result["banned_tokens"] = banned_text(*words)
    if list(values.get("samplers", ())) != list(before.get("samplers", ())):
        result["samplers"] = list(values.get("samplers", ()))
    return result


def _theirs(ours: str, value: Any) -> Any:
    if ours == "dry_sequence_breakers":
        return json.dumps(value, ensure_ascii=False)
    if ours == "logit_bias":
        return [{"text": text, "value": bias} for text, bias in value.items()]
    return value


def _value(theirs: str, value: object) -> Any:
    """As ours writes it: a negative count is none."""
    if theirs == "dry_sequence_breakers":
        return _breakers(value)
    if theirs == "logit_bias":
        return biases(value)
    if theirs in ("top_k", "rep_pen_range", "dry_penalty_last_n") and isinstance(value, (int, float)):
        return max(int(value), 0) if abs(value) < 1e9 else None
    return value


def _breakers(value: object) -> list[str] | None:
    """A JSON list in a string, or such a list without its brackets, or a list."""
    if isinstance(value, str):
        try:
            text = value.strip()
            value = json.loads(text if text.startswith("[") else f"[{text}]")
        except (ValueError, RecursionError):
            return None
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else None


def _dynamic_temperature(document: Document, values: dict[str, Any]) -> None:
    """A range from `min_temp` to `max_temp` is their middle, so much up and down."""
    low, high = document.get("min_temp"), document.get("max_temp")
    if not document.get("dynatemp"):
        values.pop("dynatemp_exponent", None)
        return
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and high >= low:
        middle, spread = (low + high) / 2, (high - low) / 2
        if _possible("temperature", middle) and _possible("dynatemp_range", spread):
            values |= {"temperature": middle, "dynatemp_range": spread}


def _does(theirs: str, values: Document) -> bool:
    """Whether the program does what this setting asks for."""
    if theirs == "dynatemp":
        return "dynatemp_range" in values
    if theirs == "banned_tokens":
        return "banned_tokens" in values or "banned_strings" in values
    if theirs == "sampler_order":
        return True
    return _SAME.get(theirs) in values


def _in_force(document: Document, theirs: str) -> bool:
    strength, neutral = ("rep_pen", 1) if theirs == "rep_pen_range" else ("dry_multiplier", 0)
    return bool(document.get(strength, neutral) != neutral)


def _possible(ours: str, value: object) -> bool:
    if value is None:
        return False
    try:
        Sampling.model_validate({ours: value})
    except ValidationError:
        return False
    return True


def _default(ours: str) -> Any:
    value = Sampling.model_fields[ours].default
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."

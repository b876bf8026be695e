"""What a model's file recommends for sampling: `general.sampling.*` of its GGUF header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from presets.library import NamedSampling
from presets.sampling import Sampling

__all__ = ["OWN_SAMPLING", "recommended"]

OWN_SAMPLING = "model"
"""The id of the preset that is filled in."""

_NAMES = {
    "temp": "temperature",
    "penalty_repeat": "repeat_penalty",
    "penalty_last_n": "repeat_last_n",
    "sequence": "samplers",
}
"""llama.cpp's names in the header -> ours, where they differ."""


def recommended(preset: NamedSampling, values: Mapping[str, Any]) -> NamedSampling:
    """`preset` with what the model's file says; `source` and `notes` tell what of it is no setting here or
    cannot be."""
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for given, value in values.items():
        name = _NAMES.get(given, given)
        if isinstance(value, float):
            # Headers hold single precision: 0.7 is stored as 0.699999988.
            value = float(f"{value:.6g}")
        if name == "repeat_last_n" and value == -1:
            # llama.cpp's word for the whole context, which is what a range beyond any context is.
            value = 1 << 20
        try:
            Sampling.model_validate({name: value})
        except ValidationError:
            left_out.append(f"{given}={value}")
        else:
            kept[name] = value
    source = preset.source + (f"; without effect here: {', '.join(left_out)}" if left_out else "")
    notes = tuple(f"the model's file asks for {one}, which has no effect here" for one in left_out)
    return preset.model_copy(
        update={
            "values": kept,
            "sampling": Sampling.model_validate(kept),
            "source": source,
            "notes": (*preset.notes, *notes),
        }
    )

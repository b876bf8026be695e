"""What SillyTavern's sampler presets hold in lists: biases, bans and the order of the samplers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KOBOLD = ("top_k", "top_a", "top_p", "tfs_z", "typical_p", "temperature", "penalties")
"""KoboldAI's numbers of the samplers."""

_NAMES = {
    "typ_p": "typical_p",
    "tfs": "tfs_z",
    "temp": "temperature",
    "dynamic_temperature": "temperature",
    "quadratic_sampling": "smoothing",
    "repetition_penalty": "penalties",
    "nsigma": "top_n_sigma",
}
"""Other names of llama.cpp's and text-generation-webui's lists."""


def biases(value: object) -> dict[str, float] | None:
    """`[{"text", "value"}]` as text -> bias; None where it is something else."""
    if not isinstance(value, list):
        return None
    pairs = [(entry.get("text"), entry.get("value")) for entry in value if isinstance(entry, dict)]
    return {
        text: float(bias)
        for text, bias in pairs
        if isinstance(text, str) and text and isinstance(bias, (int, float)) and abs(bias) <= 100
    }


def banned(document: Mapping[str, Any]) -> dict[str, Any]:
    """The lines of `banned_tokens`: `[1, 2]` are tokens, `"a phrase"` is a phrase, the rest words."""
    text = document.get("banned_tokens")
    tokens: list[str | int] = []
    phrases: list[str] = []
    for line in text.splitlines() if isinstance(text, str) else ():
        if not line.strip():
            continue
        if line.startswith('"') and line.endswith('"') and len(line) > 2:
            phrases.append(line[1:-1])
        elif line.startswith("[") and line.endswith("]"):
            tokens += _numbers(line)
        else:
            tokens.append(line)
    return {name: held for name, held in (("banned_tokens", tokens), ("banned_strings", phrases)) if held}


def _numbers(line: str) -> list[int]:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return [n for n in held if isinstance(n, int) and not isinstance(n, bool) and n >= 0]


def banned_text(tokens: Sequence[str | int], phrases: Sequence[str]) -> str:
    """Bans as the lines that `banned` reads."""
    numbers = [token for token in tokens if isinstance(token, int)]
    lines = [token for token in tokens if isinstance(token, str)]
    lines += [json.dumps(numbers)] if numbers else []
    return "\n".join([*lines, *(f'"{phrase}"' for phrase in phrases)])


def order_of(document: Mapping[str, Any]) -> list[str] | None:
    """The order of our samplers where a file asks for another than ours; None: ours.

    A file names only some: those take each other's places, the others keep theirs.
    """
    from presets import sampling

    ours: Sequence[str] = getattr(sampling, "DEFAULT_ORDER", ())
    asked = [name for name in _asked(document) if name in ours]
    asked = list(dict.fromkeys(asked))
    if asked == [name for name in ours if name in asked]:
        return None
    turns = iter(asked)
    return [next(turns) if name in asked else name for name in ours]


def _asked(document: Mapping[str, Any]) -> list[str]:
    """The samplers that a file lists: llama.cpp's names, else KoboldAI's numbers."""
    names = document.get("samplers")
    if isinstance(names, list):
        return [_NAMES.get(name, name) for name in names if isinstance(name, str)]
    numbers = document.get("sampler_order")
    if isinstance(numbers, list):
        return [_KOBOLD[n] for n in numbers if isinstance(n, int) and 0 <= n < len(_KOBOLD)]
    return []

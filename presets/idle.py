"""Sampler settings that are on and yet change nothing, because of another setting."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from presets.sampling import Sampler, Sampling

__all__ = ["idle_settings"]

_SAMPLERS: dict[str, Sampler] = {
    "repeat_penalty": "penalties",
    "frequency_penalty": "penalties",
    "presence_penalty": "penalties",
    "dry_multiplier": "dry",
    "top_n_sigma": "top_n_sigma",
    "top_k": "top_k",
    "top_a": "top_a",
    "tfs_z": "tfs_z",
    "typical_p": "typical_p",
    "top_p": "top_p",
    "min_p": "min_p",
    "xtc_probability": "xtc",
    "temperature": "temperature",
    "dynatemp_range": "temperature",
    "smoothing_factor": "smoothing",
}
"""A setting whose neutral value is off -> the sampler in which it works."""

_BESIDE_MIROSTAT = ("penalties", "dry", "temperature", "smoothing")
"""Samplers that work before mirostat draws; it takes the place of the others."""

_NEEDS: dict[str, tuple[str, ...]] = {
    "dynatemp_exponent": ("dynatemp_range",),
    "smoothing_curve": ("smoothing_factor",),
    "tfs_variant": ("tfs_z",),
    "tfs_min_keep": ("tfs_z",),
    "xtc_threshold": ("xtc_probability",),
    "repeat_last_n": ("repeat_penalty", "frequency_penalty", "presence_penalty"),
    "repeat_penalty_slope": ("repeat_penalty",),
    "dry_base": ("dry_multiplier",),
    "dry_allowed_length": ("dry_multiplier",),
    "dry_penalty_last_n": ("dry_multiplier",),
    "dry_sequence_breakers": ("dry_multiplier",),
    "mirostat_tau": ("mirostat",),
    "mirostat_eta": ("mirostat",),
    "adaptive_decay": ("adaptive_target",),
    "banned_strength": ("banned_strings",),
}
"""A setting that shapes a sampler -> those of which one must be on for it."""

_NEUTRAL = Sampling()


def idle_settings(sampling: Sampling, named: Collection[str] = ()) -> tuple[str, ...]:
    """A sentence for each setting that was turned on and has no effect, and why.

    A preset may shape what it leaves off, for whoever turns it on; of the settings `named`, which somebody
    has just given, that is said too.
    """
    given = {name.strip().replace("-", "_") for name in named}
    idle = [*_idle(sampling), *((name, why) for name, why in _waiting(sampling) if name in given)]
    return tuple(f"{name}={_shown(sampling, name)} has no effect: {why}" for name, why in idle)


def _waiting(s: Sampling) -> Iterator[tuple[str, str]]:
    for name, needs in _NEEDS.items():
        if all(getattr(s, need) == getattr(_NEUTRAL, need) for need in needs):
            yield name, f"{', '.join(needs)} {'is' if len(needs) == 1 else 'are'} off"


def _idle(s: Sampling) -> Iterator[tuple[str, str]]:
    greedy = s.temperature == 0 and s.dynatemp_range == 0 and "temperature" in s.samplers
    for name, sampler in _SAMPLERS.items():
        if getattr(s, name) == getattr(_NEUTRAL, name):
            continue
        if sampler not in s.samplers:
            yield name, f"samplers leaves {sampler} out"
        elif s.mirostat and not greedy and sampler not in _BESIDE_MIROSTAT:
            yield name, f"mirostat {s.mirostat} takes its place"
        elif sampler == "penalties" and s.repeat_last_n == 0:
            yield name, "repeat_last_n is 0"
        elif sampler == "dry" and s.dry_penalty_last_n == 0:
            yield name, "dry_penalty_last_n is 0"
        elif sampler == "xtc" and s.xtc_threshold > 0.5:
            yield name, f"xtc_threshold {s.xtc_threshold:g} is above 0.5: two tokens cannot reach it"
        elif sampler == "smoothing" and greedy:
            yield name, "temperature 0 takes the likeliest token"
    if greedy and s.mirostat:
        yield "mirostat", "temperature 0 takes the likeliest token"
    if s.adaptive_target >= 0 and (greedy or s.mirostat):
        why = "temperature 0 takes the likeliest token" if greedy else f"mirostat {s.mirostat} draws"
        yield "adaptive_target", why
    if s.banned_strings and s.banned_strength == 0:
        yield "banned_strings", "banned_strength is 0"


def _shown(sampling: Sampling, name: str) -> str:
    value = getattr(sampling, name)
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, (int, float)) else str(list(value))

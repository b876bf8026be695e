"""Sampling: how the next token is chosen. Settings are named as llama.cpp names them, neutral by default."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from presets.errors import nearest

__all__ = ["DEFAULT_ORDER", "Sampler", "Sampling"]

Sampler = Literal[
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "top_a",
    "tfs_z",
    "typical_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
    "smoothing",
]

DEFAULT_ORDER: tuple[Sampler, ...] = get_args(Sampler)
"""llama.cpp's classic order, with TFS and top-a where KoboldCpp has them, and smoothing on the temperature's
logits."""

_ALSO_CALLED = {
    "typ_p": "typical_p",
    "typical": "typical_p",
    "tfs": "tfs_z",
    "temp": "temperature",
    "nsigma": "top_n_sigma",
    "quadratic_sampling": "smoothing",
    "repetition_penalty": "penalties",
}
"""What llama.cpp and text-generation-webui call a sampler in their own lists."""


def _order(value: Any) -> Any:
    """A list of samplers, or their names with commas or semicolons between; each at most once."""
    if isinstance(value, str):
        value = [name for name in value.replace(";", ",").split(",") if name.strip()]
    if not isinstance(value, (list, tuple)):
        return value
    written = [name.strip().replace("-", "_") if isinstance(name, str) else name for name in value]
    names = tuple(_ALSO_CALLED.get(name, name) if isinstance(name, str) else name for name in written)
    strange = next((name for name in names if name not in DEFAULT_ORDER), None)
    if strange is not None:
        raise ValueError(f"there is no sampler {strange!r}{nearest(str(strange), list(DEFAULT_ORDER))}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} stands twice in the order")
    return names


Text = Annotated[str, Field(min_length=1, max_length=400)]


class Sampling(BaseModel):
    """The sampler settings of one reply. Left alone, nothing is on: the model's own distribution is sampled.

    What the program itself must forbid and what is biased comes first, then the samplers in their order,
    then one token is drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    """0 takes the likeliest token."""
    dynatemp_range: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Dynamic temperature: so far below and above `temperature`, by the entropy of the candidates; 0 is
    off."""
    dynatemp_exponent: Annotated[float, Field(gt=0, le=10)] = 1.0
    """How sharply the entropy bends the dynamic temperature."""
    smoothing_factor: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Quadratic sampling: bends the logits around the best one; 0 is off."""
    smoothing_curve: Annotated[float, Field(ge=0, le=10)] = 1.0
    """1 is a pure parabola."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Keeps so many of the likeliest tokens; 0 is off."""
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Keeps the likeliest tokens up to this sum of probabilities; 1 is off."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Drops what is less likely than this share of the best token; 0 is off."""
    top_a: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Drops what is less likely than this times the square of the best one's probability; 0 is off."""
    typical_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Keeps the tokens nearest to the expected surprise, up to this sum; 1 is off."""
    tfs_z: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Tail-free sampling; 1 is off, 0 is tightest."""
    tfs_variant: Literal["llama.cpp", "reference"] = "llama.cpp"
    """`llama.cpp`: what GGUF users have always had; `reference`: keeps one token more."""
    tfs_min_keep: Annotated[int, Field(ge=1)] = 1
    """Tokens that tail-free sampling always leaves."""
    top_n_sigma: Annotated[float, Field(ge=0)] = 0.0
    """Drops logits more than so many standard deviations below the best; 0 is off."""
    xtc_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How often XTC leaves only the last of the tokens above its threshold; 0 is off."""
    xtc_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Probability from which a token counts as a top choice for XTC."""
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Divides the logits of what stands in the range below; 1 is off."""
    repeat_last_n: Annotated[int, Field(ge=0)] = 1024
    """Tokens, prompt included, that the penalties look back on."""
    repeat_penalty_slope: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the repetition penalty that the older half of that range keeps; 1 and, as in KoboldCpp, 0: all
    of it."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Taken off a logit for each time that its token stands in the range; 0 is off."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Taken off a logit once when its token stands in the range; 0 is off."""
    dry_multiplier: Annotated[float, Field(ge=0)] = 0.0
    """Strength of DRY, which penalizes going on with a sequence that stood before; 0 is off."""
    dry_base: Annotated[float, Field(ge=1)] = 1.75
    """How quickly DRY grows with the length of the sequence."""
    dry_allowed_length: Annotated[int, Field(ge=0)] = 2
    """Tokens that may repeat before DRY begins."""
    dry_penalty_last_n: Annotated[int, Field(ge=0)] = 4096
    """Tokens that DRY looks back on."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """The format's markers and the speakers' names always break a sequence beside these."""
    mirostat: Literal[0, 1, 2] = 0
    """Mirostat 1 or 2 instead of the samplers that cut candidates off; 0 is off."""
    mirostat_tau: Annotated[float, Field(ge=0, le=20)] = 5.0
    """The surprise that mirostat aims at, in bits."""
    mirostat_eta: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How quickly mirostat learns."""
    adaptive_target: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Adaptive-p: the probability that chosen tokens should have on average; negative is off."""
    adaptive_decay: Annotated[float, Field(ge=0, le=0.99)] = 0.9
    """How long adaptive-p remembers."""
    logit_bias: dict[Text, Annotated[float, Field(ge=-100, le=100)]] = {}
    """Text -> what is added to its logit; -100 bans it. A text of several tokens is biased at its last one,
    where the others stand before it. A word is meant with and without a space before it."""
    banned_tokens: tuple[Text | Annotated[int, Field(ge=0)], ...] = ()
    """Texts as in `logit_bias`, or token ids, that are never chosen."""
    banned_strings: tuple[Text, ...] = ()
    """Phrases, upper or lower case, that the reply goes back on as soon as one is complete."""
    banned_strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """1: a banned phrase never stands; less: its beginning becomes so much less likely; 0 is off."""
    min_tokens: Annotated[int, Field(ge=0)] = 0
    """The reply cannot end by itself before so many tokens."""
    grammar: Annotated[str, Field(max_length=100_000)] = ""
    """GBNF that the reply follows; its start is `root`."""
    ban_eos: bool = False
    """No end-of-generation token may be sampled."""
    samplers: Annotated[tuple[Sampler, ...], BeforeValidator(_order)] = DEFAULT_ORDER
    """The order. A sampler that is not named is not run, as in llama.cpp."""

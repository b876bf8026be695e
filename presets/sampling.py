"""Sampling: how the next token is chosen. Settings are named as llama.cpp names them, neutral by default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """The sampler settings of one reply. Left alone, nothing is on: the model's own distribution is sampled.

    The chain runs in llama.cpp's classic order: logit bias, penalties, DRY, top-n-sigma, top-k, TFS, typical,
    top-p, min-p, XTC, temperature, and then one token is drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    """0 takes the likeliest token."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """0 is off."""
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    typical_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    tfs_z: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Tail-free sampling; 1 is off, 0 is tightest."""
    tfs_variant: Literal["llama.cpp", "reference"] = "llama.cpp"
    """`llama.cpp`: what GGUF users have always had; `reference`: keeps one token more."""
    tfs_min_keep: Annotated[int, Field(ge=1)] = 1
    top_n_sigma: Annotated[float, Field(ge=0)] = 0.0
    """0 is off."""
    xtc_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    xtc_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    repeat_last_n: Annotated[int, Field(ge=0)] = 1024
    """Tokens, prompt included, that the penalties look back on."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    dry_multiplier: Annotated[float, Field(ge=0)] = 0.0
    """0 is off."""
    dry_base: Annotated[float, Field(ge=1)] = 1.75
    dry_allowed_length: Annotated[int, Field(ge=0)] = 2
    dry_penalty_last_n: Annotated[int, Field(ge=0)] = 4096
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    ban_eos: bool = False
    """No end-of-generation token may be sampled."""

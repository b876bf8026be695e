"""Kinds of models that cannot write a chat, by the architecture that their header names."""

from __future__ import annotations

import re

__all__ = ["why_not"]

_ENCODERS = re.compile(r"bert|t5encoder|wavtokenizer|embedding")
_TWO_HALVES = re.compile(r"t5")
_DIFFUSION = re.compile(r"dream|llada|llada-moe|rnd1")


def why_not(architecture: str, *, encodes: bool = False, diffuses: bool = False) -> str | None:
    """`an encoder (bert), which cannot write text`; None for what writes token by token.

    `encodes` and `diffuses` are what llama.cpp says of a model that it has loaded.
    """
    if _ENCODERS.search(architecture):
        return f"an encoder ({architecture}), which cannot write text"
    if _TWO_HALVES.search(architecture) or encodes:
        return f"an encoder with a decoder ({architecture}), which cannot write text as a chat needs it"
    if _DIFFUSION.fullmatch(architecture) or diffuses:
        return f"a diffusion model ({architecture}), which cannot write text token by token"
    return None

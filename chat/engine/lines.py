"""What the messages between the program and its worker are made of."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

SURROGATE = re.compile("[\ud800-\udfff]")

FinishReason = Literal["eos", "stop", "length", "cancelled"]

CacheType = Literal["f16", "q8_0", "q4_0"]
"""What a number of the KV cache takes: 16 bits, 8.5 or 4.5."""
CacheChoice = Literal["auto", "f16", "q8_0", "q4_0"]
"""`auto`: f16, or q8_0 where memory is short."""
FlashAttention = Literal["auto", "on", "off"]


Purpose = Literal["next", "draft"]


class Line(BaseModel):
    """A message, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Span(Line):
    """A stretch of prompt text. Only a trusted one may become control tokens."""

    text: str
    trusted: bool

    @field_validator("text", mode="before")
    @classmethod
    def _encodable(cls, text: str) -> str:
        """Lone surrogates, which no encoding can carry, become U+FFFD."""
        return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


class Adapter(Line):
    """A GGUF file that changes a model in memory: a LoRA, or a control vector."""

    path: str
    scale: float = 1.0
    """1: as it was made; 0: without effect."""
    kind: Literal["lora", "control"] = "lora"


class Device(Line):
    name: str
    description: str
    kind: Literal["cpu", "gpu", "accelerator"]
    memory_free: int
    """Bytes."""
    memory_total: int
    """Bytes."""
    shared: bool = False
    """Its memory is main memory as well: Apple's chips, integrated GPUs."""


class Candidate(Line):
    """A token that might have been chosen."""

    id: int
    text: str
    """Its piece, or the name of a control token; U+FFFD for bytes that are no whole character."""
    p: float
    """Probability among the candidates that are left."""


class SamplerStep(Line):
    """What one sampler left."""

    sampler: str
    """As in `Done.samplers`; `model`: before all of them."""
    left: int
    """Candidates that remain."""
    best: list[Candidate]


class TokenProbs(Line):
    """How one token was chosen: each step's candidates are the next one's before."""

    id: int
    text: str
    steps: list[SamplerStep]

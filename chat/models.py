"""Finding and describing GGUF files, and choosing the one to load."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from presets.matching import Match, ModelFacts


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file, described from its header alone."""

    path: Path
    name: str
    """`general.name`, else the file's stem."""
    size: int
    """Bytes."""
    quantization: str
    """`Q4_K_M`; empty when the header does not say."""
    context_trained: int | None
    """Tokens."""
    architecture: str
    layers: int | None
    facts: ModelFacts
    """What decides the format."""
    problem: str | None = None
    """One line when it cannot be loaded: not a GGUF, truncated ..."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model to load, and why this one."""

    path: Path | None
    """None: no model is at hand; `notices` says how to get one."""
    file: ModelFile | None
    match: Match | None
    """The format and sampling that fit, and why."""
    why: str
    notices: tuple[str, ...] = field(default=())

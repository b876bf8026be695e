"""LoRA adapters and control vectors as people write them: `FILE` or `FILE=SCALE`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from cards.filenames import expanded
from chat.engine.protocol import Adapter

__all__ = ["AdapterTextError", "adapter_of", "adapter_text", "adapters_from", "scale_of"]

Kind = Literal["lora", "control"]


class AdapterTextError(ValueError):
    """A scale that is none; one line."""


def adapter_of(text: str, kind: Kind = "lora", folder: Path | None = None) -> Adapter:
    """`FILE`, or `FILE=SCALE` where what follows the last `=` is a number. A relative path is one below
    `folder`, else below the working directory."""
    name, found, number = text.rpartition("=")
    scale = 1.0
    if found:
        try:
            scale = scale_of(number)
        except AdapterTextError:
            if not expanded(text).exists():
                raise
            name = text
    path = expanded(name or text)
    if not path.is_absolute():
        path = (folder or Path.cwd()) / path
    return Adapter(path=str(path), scale=scale, kind=kind)


def scale_of(text: str) -> float:
    """A scale. Raises AdapterTextError for what is no finite number."""
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise AdapterTextError(f"{text!r} is no scale; write FILE=0.8, or FILE alone for 1")
    return scale


def adapter_text(adapter: Adapter) -> str:
    """As `adapter_of` reads it."""
    return adapter.path if adapter.scale == 1 else f"{adapter.path}={adapter.scale:g}"


def adapters_from(value: Any, kind: Kind, folder: Path) -> list[Adapter]:
    """From a settings file: one text, a list of texts, or a mapping of files to scales.

    Raises AdapterTextError for a scale that is none.
    """
    if isinstance(value, dict):
        texts: Iterable[str] = [f"{name}={scale}" for name, scale in value.items()]
    elif isinstance(value, list):
        texts = [str(item) for item in value if item is not None]
    else:
        texts = [str(value)] if value not in (None, "") else []
    return [adapter_of(text, kind, folder) for text in texts]

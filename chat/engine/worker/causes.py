"""Why a model cannot be loaded, in one sentence: what its file is, and what llama.cpp logged."""

from __future__ import annotations

import re
from pathlib import Path

from chat.engine.kinds import why_not
from chat.engine.worker import log

__all__ = ["LoadError", "cannot_write", "check_file", "load_error", "refused_cache"]

OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
"""The first bytes of GGML files from before GGUF: ggml, ggmf, ggjt and ggla, little-endian."""

OUT_OF_MEMORY = re.compile(
    r"out of memory|failed to allocate|unable to allocate|allocation failed|alloc_tensor_range"
    r"|OutOfDeviceMemory|cudaMalloc|bad_alloc|failed to create context",
    re.IGNORECASE,
)

DAMAGED = re.compile(
    r"file bounds|corrupted|incomplete|unexpectedly reached end|failed to read|read error|invalid|duplicate",
    re.IGNORECASE,
)

REFUSED_CACHE = re.compile(r"requires? flash.?attn|requires Flash Attention|does not divide", re.IGNORECASE)


class LoadError(Exception):
    """A model that cannot be loaded; `code` is a `Failed.code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_file(path: Path) -> None:
    """Raises LoadError for what is no GGUF file at first sight."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise LoadError("load", f"{path} cannot be read: {error.strerror}.") from error
    if magic in OLD_MAGICS:
        raise LoadError("load", f"{path.name} is a GGML file from before GGUF; it has to be converted first.")
    if magic != b"GGUF":
        raise LoadError("load", f"{path.name} is not a GGUF file.")


def cannot_write(
    name: str, architecture: str, *, encodes: bool = False, diffuses: bool = False
) -> LoadError | None:
    """Why a model of some kind cannot write a reply token by token; None when it can."""
    what = why_not(architecture, encodes=encodes, diffuses=diffuses)
    if what is None:
        return None
    return LoadError("load", f"{name} is {what}; choose another model.")


def load_error(path: Path) -> LoadError:
    """One sentence from what llama.cpp logged."""
    lines = log.errors()
    said = " ".join(lines)
    architecture = re.search(r"unknown model architecture: '([^']*)'", said)
    if architecture:
        build = "this build of llama.cpp does not know it; a newer llama-cpp-python may"
        return LoadError("load", f"{path.name} has the architecture '{architecture[1]}': {build}.")
    if OUT_OF_MEMORY.search(said):
        return LoadError("memory", f"{path.name} does not fit in memory.")
    cause = lines[0] if lines else "llama.cpp gave no reason"
    cause = re.sub(r"^error loading model[^:]*: ", "", cause).rstrip(".")
    if DAMAGED.search(said):
        return LoadError("load", f"{path.name} is damaged or incomplete ({cause}); download it again.")
    return LoadError("load", f"{path.name} could not be loaded: {cause}.")


def refused_cache() -> bool:
    """Whether the last context failed because its cache may not be quantized."""
    return bool(REFUSED_CACHE.search(" ".join(log.errors())))

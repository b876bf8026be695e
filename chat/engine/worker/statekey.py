"""Everything that what stands in a KV cache depends on, beside the tokens: a state is good for that alone.

llama.cpp checks hardly more than the shape of a state (layers, types, row sizes), not the model.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

import llama_cpp
import llama_cpp.llama_cpp as api

from chat.engine.worker.loading import LoadedModel
from chat.engine.worker.statefile import FORMAT
from chat.gguf import GGUFError, read_header

__all__ = ["StateKey"]

HASHED_BYTES = 1 << 20
"""Of the beginning of a file; its table of tensors is hashed besides."""

ROPE = ("freq_base", "scaling.type", "scaling.factor", "dimension_count")


class StateKey:
    """The key of a loaded model's states. What follows from its file is found once."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._model: dict[str, str] | None = None
        with suppress(OSError):  # while loading: nobody waits for a first word yet
            self._model = self._of_model()

    def values(self) -> dict[str, str]:
        """By name, for the log line that says what has changed; adapters as they are in force now.

        Raises OSError where a file of the model or an adapter is gone.
        """
        described = self._loaded.described
        if self._model is None:
            self._model = self._of_model()
        adapters = [
            f"{adapter.kind} {adapter.scale:g} {_file_print(adapter.path)}" for adapter in described.adapters
        ]
        return {
            **self._model,
            "cache type": described.cache_type,
            "sliding window": f"{self._loaded.model.sliding_window} {described.checkpoints}",
            "adapters": "\n".join(adapters),
            "build": _build(),
            "format": str(FORMAT),
        }

    @staticmethod
    def digest(values: dict[str, str]) -> str:
        """Of a key, for a file's name."""
        return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=8).hexdigest()

    def _of_model(self) -> dict[str, str]:
        model, path = self._loaded.model, Path(self._loaded.described.path)
        prefix = "{arch}.rope."
        return {
            "model": "\n".join(_file_print(str(part)) for part in _parts(path)),
            "architecture": f"{model.metadata('general.architecture')}, {model.layers} layers",
            "rope": ", ".join(model.metadata(prefix + name) for name in ROPE),
            "beginning": str(self._loaded.vocabulary.adds_bos),
        }


@cache
def _build() -> str:
    """llama.cpp as it stands here: the same version may be compiled in other ways."""
    info = (api.llama_print_system_info() or b"").decode("utf-8", "replace")
    return f"{llama_cpp.__version__} {hashlib.blake2b(info.encode(), digest_size=8).hexdigest()}"


def _file_print(path: str) -> str:
    """Name, size, time and beginning of a file, and its table of tensors."""
    file = Path(path)
    state = file.stat()
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as contents:
        digest.update(contents.read(HASHED_BYTES))
    try:
        for tensor in read_header(file).tensors:
            digest.update(repr(tensor).encode())
    except GGUFError:
        digest.update(b"-")  # it was loaded all the same; the rest has to do
    return f"{state.st_size} {state.st_mtime_ns} {digest.hexdigest()}"


def _parts(path: Path) -> list[Path]:
    """All files of a model, in order."""
    split = re.fullmatch(r"(.*-)\d{5}(-of-\d{5}\.gguf)", path.name)
    return sorted(path.parent.glob(f"{split[1]}*{split[2]}")) if split else [path]

"""What the headers of model files say, remembered from one run to the next.

A header takes up to 100 ms, so what it said is kept in the cache folder under the file's path, size and time
of change. The cache may be deleted at any time; what is in it is read as carefully as any other file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chat.engine.needs import Needs, needs_of
from chat.files import make_private_folder, write_atomically
from chat.gguf import GGUFError, GGUFHeader, read_header
from presets.matching import ModelFacts

__all__ = ["Headers", "Summary", "facts_of", "summary_of"]

VERSION = 2
"""Of the cache file; another one is read as empty."""
MAX_CACHE = 32 << 20
"""Bytes; a larger cache file is not ours."""
KEPT_TEMPLATE = 1 << 16
"""Bytes; a header with a longer chat template is read each time."""


_RECOMMENDED = "general.sampling."


@dataclass(frozen=True, slots=True)
class Summary:
    """The part of a header that describes a model; all that is needed without the file."""

    size: int
    """Bytes of the file."""
    facts: ModelFacts
    name: str = ""
    kind: str = ""
    """`general.type`: model, adapter, mmproj, imatrix; often empty."""
    quantization: str = ""
    context: int | None = None
    layers: int | None = None
    needs: Needs | None = None
    """What it takes in memory; None when the file cannot be read."""
    vocabulary: int | None = None
    tensors: int = 0
    split_count: int = 1
    split_number: int = 0
    """Counted from 0."""
    problem: str | None = None
    """What is wrong with this one file, in one line without its path."""
    error: str | None = None
    """The code of the GGUFError, where there was one."""


def summary_of(path: Path) -> Summary:
    """Read a file's header. Never raises: what is wrong stands in `problem`."""
    try:
        header = read_header(path)
    except GGUFError as error:
        size = 0
        with contextlib.suppress(OSError, ValueError):
            size = path.stat().st_size
        return Summary(size, ModelFacts(file_name=path.name), problem=error.what, error=error.code)
    return Summary(
        size=header.file_size,
        facts=facts_of(header),
        name=header.text("general.name"),
        kind=header.text("general.type"),
        quantization=header.quantization,
        context=header.number("{arch}.context_length"),
        layers=header.number("{arch}.block_count"),
        needs=needs_of(header),
        vocabulary=header.lengths.get("tokenizer.ggml.tokens"),
        tensors=len(header.tensors),
        split_count=header.number("split.count") or 1,
        split_number=header.number("split.no") or 0,
        problem=_problem(header),
    )


def facts_of(header: GGUFHeader) -> ModelFacts:
    """The part of a header that decides the format."""
    return ModelFacts(
        file_name=header.path.name,
        name=header.text("general.name"),
        basename=header.text("general.basename"),
        finetune=header.text("general.finetune"),
        architecture=header.architecture,
        tokenizer_model=header.text("tokenizer.ggml.model"),
        tokenizer_pre=header.text("tokenizer.ggml.pre"),
        vocabulary=header.lengths.get("tokenizer.ggml.tokens"),
        chat_template=header.text("tokenizer.chat_template"),
        bos=header.bos,
        eos=header.eos,
        sampling={
            key.removeprefix(_RECOMMENDED): value
            for key, value in header.metadata.items()
            if key.startswith(_RECOMMENDED) and isinstance(value, int | float | str)
        },
    )


def _problem(header: GGUFHeader) -> str | None:
    if header.truncated:
        whole, there = header.bytes_needed, header.file_size
        return f"incomplete: {there:,} of {whole:,} bytes; download it again"
    if header.defect:
        return f"damaged: {header.defect}; download it again"
    return None


@dataclass(slots=True)
class Headers:
    """Summaries of files, from the cache where path, size and time of change are the same."""

    store: Path | None = None
    """The cache's file; None: every header is read."""
    _known: dict[str, Any] = field(default_factory=dict)
    _new: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.store is not None:
            self._known = _read(self.store)

    def summary(self, path: Path) -> Summary:
        """What a file says of itself."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return summary_of(path)
        stamp = [status.st_size, status.st_mtime_ns]
        kept = self._new.get(str(path)) or self._known.get(str(path))
        if isinstance(kept, dict) and kept.get("stamp") == stamp:
            found = _summary(kept.get("summary"))
            if found is not None and found.size == status.st_size:
                return found
        found = summary_of(path)
        if found.error not in ("missing", "unreadable") and len(found.facts.chat_template) <= KEPT_TEMPLATE:
            self._new[str(path)] = {"stamp": stamp, "summary": asdict(found)}
        return found

    def keep(self, seen: Iterable[Path]) -> None:
        """Write what is new to the cache; of the rest, what was `seen` or still exists stays."""
        if self.store is None or not self._new:
            return
        listed = {str(path) for path in seen}
        kept = {name: value for name, value in self._known.items() if name in listed or Path(name).exists()}
        text = json.dumps({"version": VERSION, "files": {**kept, **self._new}})
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            make_private_folder(self.store.parent)
            write_atomically(self.store, text.encode("utf-8", "backslashreplace"))
            self._known, self._new = {**kept, **self._new}, {}


def _read(cache: Path) -> dict[str, Any]:
    try:
        if cache.stat().st_size > MAX_CACHE:
            return {}
        document = json.loads(cache.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or document.get("version") != VERSION:
        return {}
    files = document.get("files")
    return files if isinstance(files, dict) else {}


def _summary(document: Any) -> Summary | None:
    """A summary from the cache; None when it is not as we wrote it."""
    try:
        return _checked().validate_python(document)
    except ValidationError:
        return None


@cache
def _checked() -> TypeAdapter[Summary]:
    return TypeAdapter(Summary)

"""Smaller copies of models: llama.cpp's own function, in a process of its own."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat.files import make_private_folder
from chat.gguf import QUANTIZATIONS
from chat.models import ModelError, ModelFile, describe
from chat.models.outputs import new_file
from chat.settings import reason

__all__ = ["NEEDS_IMATRIX", "TYPES", "Quantized", "file_type", "quantize"]

NEEDS_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S")
"""Types that llama.cpp only makes with an importance matrix, which takes a long run over sample text."""

_ORDER = (
    "F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1",
    "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "Q2_K",
    "TQ2_0", "TQ1_0",
)  # fmt: skip
TYPES = {name: number for name in _ORDER for number, known in QUANTIZATIONS.items() if known == name}
"""What can be made, large to small -> `llama_ftype`."""

_FLOATS = ("F32", "F16", "BF16")
_KNOWN_CAUSES = ("requantizing from type",)

Quantized = tuple[ModelFile, ModelFile]
"""The model before and after."""


def file_type(name: str) -> int:
    """The number of a type by its name, in any case. Raises ModelError, also for one that needs more."""
    wanted = name.upper().replace("-", "_")
    wanted = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}.get(wanted, wanted)
    if wanted in TYPES:
        return TYPES[wanted]
    if wanted in NEEDS_IMATRIX:
        raise ModelError(f"{wanted} needs an importance matrix, which rpchat does not make", usage=True)
    near = difflib.get_close_matches(wanted, TYPES, 3) or ["Q8_0", "Q5_K_M", "Q4_K_M", "Q4_0"]
    raise ModelError(f"no type is called {name!r}; did you mean {', '.join(near)}?", usage=True)


def quantize(
    source: Path,
    out: Path,
    kind: int,
    *,
    log_file: Path,
    requantize: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Quantized:
    """Write `source` to `out` with the type `kind` (a number of `llama_ftype`).

    `progress` is told tensors done and in all. A model that is quantized already loses twice; that is done
    only with `requantize`. Raises ModelError.
    """
    before = describe(source)
    if before.problem:
        raise ModelError(f"{source}: {before.problem}")
    if before.quantization not in (*_FLOATS, "") and not requantize:
        raise ModelError(_twice(source, before.quantization))
    with new_file(out, source, force=force) as temporary:
        _run([str(source), str(temporary), str(kind)], requantize, log_file, source, progress)
        after = describe(temporary)
        if after.problem:
            raise ModelError(f"the quantized file came out wrong: {after.problem}")
    return before, describe(out)


def _twice(source: Path, kind: str) -> str:
    what = f"quantized already ({kind or 'in part'}), and would lose twice"
    return f"{source}: {what}; take the F16 model, or add --requantize"


def _run(
    arguments: list[str],
    requantize: bool,
    log_file: Path,
    source: Path,
    progress: Callable[[int, int], None],
) -> None:
    command = [sys.executable, "-P", "-m", "chat.engine.worker.quantizing", *arguments]
    try:
        make_private_folder(log_file.parent)
        log = os.open(log_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    except OSError as error:
        raise ModelError(f"{error.filename or log_file}: {reason(error)}") from error
    since = os.fstat(log).st_size
    try:
        process = subprocess.Popen(
            [*command, "--requantize"] if requantize else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=os.name == "posix",  # Ctrl+C is for us: we end it, and delete what it wrote
        )
    finally:
        os.close(log)
    try:
        last = _follow(process, progress)
        status = process.wait()
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if last.get("op") == "failed":
        cause = str(last.get("message"))
        if cause.startswith(_KNOWN_CAUSES):
            raise ModelError(_twice(source, ""))
        raise ModelError(f"{source}: llama.cpp could not quantize it: {cause}; its log: {log_file}")
    if status or last.get("op") != "done":
        from chat.engine.death import describe_death

        raise ModelError(f"{source}: {describe_death(status, log_file, since)}")


def _follow(process: subprocess.Popen[bytes], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Pass the progress on until the process ends its output; its last word."""
    last: dict[str, Any] = {}
    total = 0
    for line in process.stdout or ():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                last = event
        if last.get("op") == "tensor":
            total = int(last["total"])
            progress(int(last["done"]), total)
    if last.get("op") == "done":
        progress(total, total)
    return last

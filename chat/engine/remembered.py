"""What loading a model needed on these devices when the first plan failed, kept in a small JSON file.

A damaged or foreign file is read as empty, and one that cannot be written costs a few attempts, nothing else.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from chat.engine.plan import Machine
from chat.engine.protocol import Load
from chat.files import make_private_folder, write_atomically

__all__ = ["known_limit", "remember_limit"]

MOST = 64
"""Entries; the oldest go."""
MOST_BYTES = 1 << 20
LIKE_THEN = 1.05
"""Free memory compared with that of then: with more than this, the whole plan is worth another attempt."""


def known_limit(request: Load, machine: Machine) -> int | None:
    """Bytes on the GPUs that a plan may use, as an earlier run found out; None: nothing is known."""
    entry = _read(request.plans).get(_key(request, machine))
    if not isinstance(entry, dict):
        return None
    limit, free = entry.get("limit"), entry.get("free")
    if not isinstance(limit, int) or not isinstance(free, int) or _free(machine) > free * LIKE_THEN:
        return None
    return limit


def remember_limit(request: Load, machine: Machine, gpu_bytes: int) -> None:
    """A plan that uses so many bytes has worked, after a larger one had failed."""
    if not request.plans:
        return
    entries = _read(request.plans)
    key = _key(request, machine)
    entries.pop(key, None)
    entries[key] = {"limit": gpu_bytes, "free": _free(machine)}
    kept = dict(list(entries.items())[-MOST:])
    file = Path(request.plans)
    with contextlib.suppress(OSError):
        make_private_folder(file.parent)
        write_atomically(file, json.dumps(kept, indent=1).encode())


def _key(request: Load, machine: Machine) -> str:
    """The model's file, what was asked for, and the devices."""
    try:
        status = Path(request.path).stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
    except OSError:
        stamp = ""
    wishes = (request.context, request.cache_type, request.flash_attention, request.full_window)
    devices = ", ".join(gpu.name for gpu in machine.gpus)
    return f"{request.path} {stamp}: {' '.join(map(str, wishes))} on {devices}"


def _free(machine: Machine) -> int:
    return sum(gpu.free for gpu in machine.gpus)


def _read(file: str) -> dict[str, Any]:
    if not file:
        return {}
    try:
        path = Path(file)
        if path.stat().st_size > MOST_BYTES:
            return {}
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}

"""Whether a model fits this machine: an estimate, before anything is loaded."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Fit", "fit", "free_memory"]

USUAL_CONTEXT = 16_384
"""Tokens: what a chat gets at most unless more is asked for."""
SMALLEST_CONTEXT = 2_048
"""A chat with less is no pleasure: a model that leaves no room for it does not fit."""
BUFFERS = 300 << 20
"""Bytes for compute buffers and the program itself."""
CACHE_UNKNOWN = 1 << 18
"""Bytes a token, where the header does not say: what a 7B model with shared heads takes twice."""

Verdict = Literal["yes", "shorter", "no"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model's needs compare with the memory that is free now."""

    verdict: Verdict | None
    """`shorter`: with a shorter context than it could have. None: the system does not say what is free."""
    needed: int
    """Bytes for the weights, the cache of `context` tokens and the buffers."""
    free: int | None
    """Bytes."""
    context: int
    """Tokens that the estimate is for: the most that fit, else the usual number."""

    def __str__(self) -> str:
        needed = f"{self.needed / 1e9:.1f} GB"
        if self.verdict is None or self.free is None:
            return f"needs {needed}"
        if self.verdict == "no":
            return f"needs {needed}, {self.free / 1e9:.1f} GB free"
        return f"fits with {self.context:,} tokens" if self.verdict == "shorter" else "fits"


def fit(size: int, cache_per_token: int | None, trained: int | None, free: int | None) -> Fit:
    """Weights of `size` bytes and a cache of the usual context beside `free` bytes.

    The context is halved until it fits, as it is when the model is loaded.
    """
    each = CACHE_UNKNOWN if cache_per_token is None else cache_per_token
    usual = min(trained or USUAL_CONTEXT, USUAL_CONTEXT)
    wanted = size + BUFFERS + usual * each
    if free is None:
        return Fit(None, wanted, None, usual)
    context = usual
    while context >= min(SMALLEST_CONTEXT, usual):
        needed = size + BUFFERS + context * each
        if needed <= free:
            return Fit("yes" if context == usual else "shorter", needed, free, context)
        context //= 2
    return Fit("no", wanted, free, usual)


def free_memory() -> int | None:
    """Bytes of main memory that can be had now; None where the system does not say.

    Memory of a GPU is not counted: the doctor and the engine's plan know about that.
    """
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return _macos()
    limits = [limit for limit in (_meminfo(), _cgroup_room()) if limit is not None]
    return min(limits) if limits else None


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _cgroup_room() -> int | None:
    """What a container may still take; its file cache counts as free, since it gives way."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        rows = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    cached = sum(int(row.split()[1]) for row in rows if row.startswith(("inactive_file ", "active_file ")))
    return None if limit == "max" else max(0, int(limit) - used + cached)


def _macos() -> int | None:
    """Of unified memory about two thirds can be had by one process, on the GPU as well."""
    try:
        out = subprocess.run(["sysctl", "-n", "hw.memsize"], capture_output=True, timeout=5, check=True)
        return int(out.stdout) * 2 // 3
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 5),
    )


def _windows() -> int | None:
    kernel = getattr(ctypes, "windll", None)
    if kernel is None or os.name != "nt":
        return None
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return int(status.available) if kernel.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None

"""What this machine has: main memory that is free now, and the cores that this process may use."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["available_threads", "free_memory", "writing_threads"]

FEW_CORES = 4
"""With fewer, two threads of one core still write faster than one does."""


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


def available_threads() -> int:
    """Cores that this process may use: its affinity, and in a container its share of time."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
        try:
            quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
            if quota != "max":
                cores = min(cores, max(1, round(int(quota) / int(period))))
        except (OSError, ValueError):
            pass
        return cores
    return os.cpu_count() or 1


def writing_threads(topology: Path = Path("/sys/devices/system/cpu")) -> int:
    """Threads for writing token by token, which waits for memory: one a physical core, where the system
    tells cores from their threads (Linux) and there are enough; else all that this process may use."""
    threads = available_threads()
    if sys.platform != "linux":
        return threads
    try:
        cores = {
            (topology / f"cpu{number}/topology/thread_siblings_list").read_text(encoding="ascii")
            for number in os.sched_getaffinity(0)
        }
    except OSError:
        return threads
    return min(threads, len(cores)) if len(cores) >= FEW_CORES else threads

"""What a process has used so far."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["memory_peak"]


def memory_peak() -> int | None:
    """The most bytes of memory that this process has held at once; None where the system does not say.

    On Linux from /proc: getrusage's number is inherited from the program that started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

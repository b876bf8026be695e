"""Why the worker died, in one line, read from its exit status and the tail of its log."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["describe_death", "describe_hang", "kills_for_memory"]

TAIL_BYTES = 16_384

CAUSES = re.compile(
    r"GGML_ASSERT|GGML_ABORT|CUDA error|ggml_[a-z_]*abort|out of memory|failed to allocate|terminate called"
    r"|what\(\):|ErrorOutOfDeviceMemory|Traceback|^\w*(Error|Exception)\b|^error\b",
    re.IGNORECASE,
)
"""What llama.cpp, its backends and Python write before they give up."""

OUT_OF_MEMORY = re.compile(r"bad_alloc|MemoryError|out of memory|failed to allocate|OutOfDeviceMemory", re.I)

ADVICE = "a smaller --ctx or fewer --gpu-layers need less"


def describe_death(status: int | None, log_file: Path, since: int, *, for_memory: bool = False) -> str:
    """One line for people: the status, the cause if the log knows it, and where the log is.

    `status` is the process's exit status, negative for a signal; `since` the log's size when it was started.
    `for_memory`: the system has killed a process for want of memory meanwhile.
    """
    cause = "" if status == -9 else _cause(log_file, since)
    if cause and OUT_OF_MEMORY.search(cause):
        said = f": memory ran out ({cause}); {ADVICE}"
    elif cause:
        said = f": {cause}"
    elif status == -9 and for_memory:
        said = f": the system killed it because memory ran out; {ADVICE}"
    else:
        said = _guess(status)
    return f"The model's process ended ({_status(status)}){said}. Its log: {log_file}"


def describe_hang(seconds: float, log_file: Path) -> str:
    """One line for people about a process that had to be killed."""
    said = f"The model's process hung for {seconds:.0f} seconds and was ended"
    return f"{said}. Its log: {log_file}"


def kills_for_memory() -> int:
    """How often Linux has killed a process of this control group for want of memory, or one of the whole
    system; 0 where nothing tells."""
    group = ""
    with suppress(OSError):
        rows = Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace").splitlines()
        group = next((row[3:] for row in rows if row.startswith("0::")), "")
    for file in (Path(f"/sys/fs/cgroup{group}/memory.events"), Path("/proc/vmstat")):
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", file.read_text(encoding="ascii"), re.MULTILINE)
            if found:
                return int(found[1])
    return 0


def _status(status: int | None) -> str:
    if status is None:
        return "no exit status"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status}, {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _guess(status: int | None) -> str:
    if status == -9:
        return ", killed from outside, or by the system for want of memory"
    return ""


def _cause(log_file: Path, since: int) -> str:
    try:
        with log_file.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(since, end - TAIL_BYTES) if end >= since else max(0, end - TAIL_BYTES))
            tail = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    causes = [line for line in lines if CAUSES.search(line) and not line.startswith("Traceback")]
    return causes[-1][:300].rstrip(".") if causes else ""

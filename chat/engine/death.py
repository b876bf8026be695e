"""Why the worker died, in one line, read from its exit status and the tail of its log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

__all__ = ["describe_death"]

TAIL_BYTES = 16_384

CAUSES = re.compile(
    r"GGML_ASSERT|GGML_ABORT|CUDA error|ggml_[a-z_]*abort|out of memory|failed to allocate|terminate called"
    r"|what\(\):|ErrorOutOfDeviceMemory|Traceback|^\w*(Error|Exception)\b|^error\b",
    re.IGNORECASE,
)
"""What llama.cpp, its backends and Python write before they give up."""


def describe_death(status: int | None, log_file: Path, since: int) -> str:
    """One line for people: the status, the cause if the log knows it, and where the log is.

    `status` is the process's exit status, negative for a signal; `since` the log's size when it was started.
    """
    cause = _cause(log_file, since)
    said = f": {cause}" if cause else _guess(status)
    return f"The model's process ended ({_status(status)}){said}. Its log: {log_file}"


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

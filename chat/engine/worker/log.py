"""Where llama.cpp's words go: to descriptor 2, which is the log file, and the last of them to a ring for
causes. The file is turned over while it grows, not only when a worker starts."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import threading
import time
from pathlib import Path

import llama_cpp.llama_cpp as api

from chat.engine import logs

__all__ = ["bound", "catch", "errors", "forget", "turn_over", "write"]

DEBUG, INFO, WARN, ERROR, CONTINUED = 1, 2, 3, 4, 5
"""ggml's levels today; llama-cpp-python's own table is older and hides errors."""

LETTERS = {DEBUG: "D", INFO: "I", WARN: "W", ERROR: "E"}

_ring: collections.deque[tuple[int, str]] = collections.deque(maxlen=400)
_level = INFO
_file: Path | None = None
_turning = threading.Lock()


@api.llama_log_callback  # type: ignore[untyped-decorator]
def _callback(level: int, text: bytes | None, _data: ctypes.c_void_p) -> None:
    global _level
    said = (text or b"").decode("utf-8", "replace")
    if level == CONTINUED:
        level = _level
        if _ring:
            _ring[-1] = (level, _ring[-1][1] + said)
    else:
        _level = level
        _ring.append((level, said))
        if level > DEBUG:
            said = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {LETTERS.get(level, 'I')} {said}"
    if level > DEBUG:
        _put(said)


def bound(file: Path) -> None:
    """Says which file descriptor 2 is, so that it can be turned over."""
    global _file
    _file = file


def turn_over() -> None:
    """Puts the log aside when it has grown too large; what llama.cpp prints past us counts as well."""
    if _file is not None and os.fstat(2).st_size > logs.LOG_BYTES and _turning.acquire(blocking=False):
        try:
            logs.turn_over(_file)
        finally:
            _turning.release()


def catch() -> None:
    """Takes llama.cpp's log; importing llama_cpp has installed a printer of its own."""
    api.llama_log_set(_callback, ctypes.c_void_p(0))


def write(line: str, level: int = INFO) -> None:
    """One line of our own. Never prompt or reply text."""
    _put(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {LETTERS[level]} rpchat: {line}\n")


def _put(text: str) -> None:
    """A log that cannot be written (a full disk) is no reason to stop."""
    with contextlib.suppress(OSError):
        turn_over()
        os.write(2, text.encode("utf-8", "replace"))


def forget() -> None:
    """Starts afresh, so that `errors` tells of one attempt only."""
    _ring.clear()


def errors() -> list[str]:
    """The error lines since `forget`, oldest first, without the C function that said them."""
    lines = [text.strip() for level, text in _ring if level == ERROR]
    return [_without_function(line) for line in lines if line]


def _without_function(line: str) -> str:
    head, colon, rest = line.partition(": ")
    return rest if colon and " " not in head else line

"""Where llama.cpp's words go: to descriptor 2, which is the log file, and the last of them to a ring for
causes."""

from __future__ import annotations

import collections
import ctypes
import os
import time

import llama_cpp.llama_cpp as api

__all__ = ["catch", "errors", "forget", "write"]

DEBUG, INFO, WARN, ERROR, CONTINUED = 1, 2, 3, 4, 5
"""ggml's levels today; llama-cpp-python's own table is older and hides errors."""

LETTERS = {DEBUG: "D", INFO: "I", WARN: "W", ERROR: "E"}

_ring: collections.deque[tuple[int, str]] = collections.deque(maxlen=400)
_level = INFO


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
        os.write(2, said.encode())


def catch() -> None:
    """Takes llama.cpp's log; importing llama_cpp has installed a printer of its own."""
    api.llama_log_set(_callback, ctypes.c_void_p(0))


def write(line: str) -> None:
    """One line of our own. Never prompt or reply text."""
    os.write(2, f"{time.strftime('%Y-%m-%d %H:%M:%S')} I rpchat: {line}\n".encode())


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

"""The worker's log: one file for each process that runs, none beyond its size, the older parts beside it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chat.files import make_private_folder

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["LOG_BYTES", "OLDER", "ClaimedLog", "claim_log", "log_files", "tail", "turn_over"]

LOG_BYTES = 1_000_000
"""A log beyond this is turned over: it becomes `.1`, and what was `.1` becomes `.2`."""

OLDER = 2
"""Older parts that are kept."""

PROGRAMS = 9
"""So many programs at once have a log each; what others say is lost."""


@dataclass(slots=True)
class ClaimedLog:
    """A log that belongs to one worker until it is released, and is open for appending."""

    path: Path
    descriptor: int | None
    """None: there can be none (full disk, no rights), and what is said is lost."""
    start: int = 0
    """Its size when it was claimed."""
    lock: BaseFileLock | None = None

    def close(self) -> None:
        """Closes the descriptor here; the worker has its own."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def release(self) -> None:
        """Another worker may take it; may be called from any thread, and twice."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def claim_log(path: Path) -> ClaimedLog:
    """`path`, or `NAME-2.log` and so on where another program writes to it; mode 0600, turned over first
    where it has grown too large."""
    try:
        make_private_folder(path.parent)
        for candidate in _candidates(path):
            lock = _lock(candidate)
            if lock is None:
                continue
            turn_over(candidate)
            descriptor = os.open(candidate, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            return ClaimedLog(candidate, descriptor, os.fstat(descriptor).st_size, lock)
    except OSError:
        pass  # an engine without a log is better than none
    return ClaimedLog(path, None)


def turn_over(path: Path, limit: int | None = None) -> bool:
    """Puts the contents of a log that is too large aside and empties it; whether it did.

    The file stays the same one, so that descriptors that are open on it go on to be right, on every system.
    """
    try:
        if path.stat().st_size <= (LOG_BYTES if limit is None else limit):
            return False
        for number in range(OLDER, 1, -1):
            with suppress(FileNotFoundError):
                os.replace(_older(path, number - 1), _older(path, number))
        with suppress(OSError):  # a full disk: the newest lines matter more than the old ones
            shutil.copyfile(path, _older(path, 1))
            _older(path, 1).chmod(0o600)
        os.truncate(path, 0)
    except OSError:
        return False
    return True


def log_files(path: Path) -> list[Path]:
    """All logs of that name that there are, the one that was written last first."""
    found = [file for file in _candidates(path) if file.is_file()]
    return sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, with those of its older parts where it is shorter. Raises OSError."""
    last: list[str] = []
    for part in (path, *(_older(path, number) for number in range(1, OLDER + 1))):
        if len(last) < lines and part.is_file():
            text = part.read_text(encoding="utf-8", errors="replace")
            last = [*text.splitlines(), *last]
    return last[-lines:]


def _candidates(path: Path) -> list[Path]:
    others = [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, PROGRAMS + 1)]
    return [path, *others]


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _lock(path: Path) -> BaseFileLock | None:
    """The lock of one log; None when another worker holds it. The system drops it with its program."""
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock

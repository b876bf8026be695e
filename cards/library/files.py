"""Card files on disk: read within limits, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from cards import limits
from cards.errors import CardError

__all__ = ["FileState", "file_state", "read_file", "save_file", "set_aside"]


def read_file(path: Path) -> bytes:
    """The bytes of a regular file within the size limit; devices, pipes and folders are not opened. Raises
    CardError."""
    where = str(path)
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise CardError("directory", "this is a folder; name a card file in it", where)
        if not stat.S_ISREG(found.st_mode):
            raise CardError("not-a-file", "not a regular file", where)
        if found.st_size > limits.FILE:
            raise CardError("too-large", f"the file is over the limit of {limits.FILE // 2**20} MB", where)
        with path.open("rb") as file:
            data = file.read(limits.FILE + 1)
    except FileNotFoundError as error:
        raise CardError("missing", "no such file", where) from error
    except PermissionError as error:
        raise CardError("unreadable", "no permission to read this file", where) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CardError("unreadable", f"cannot be read: {reason}", where) from error
    return data


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file was when it was read, to notice that another program has written it since."""

    digest: str
    """SHA-256 of its bytes."""


def file_state(path: Path) -> FileState | None:
    """The file as it is now, None when there is none. Raises CardError when it cannot be read."""
    try:
        return FileState(hashlib.sha256(read_file(path)).hexdigest())
    except CardError as error:
        if error.code == "missing":
            return None
        raise


def save_file(
    path: Path,
    data: bytes,
    *,
    expected: FileState | None = None,
    backup: bool = True,
    flush: bool = True,
) -> FileState:
    """Writes a card's file whole or not at all: the old one stays as `NAME.bak`, the new one takes its place
    at once.

    With `expected`, what the file was when it was read, nothing is written when its bytes have changed since:
    a CardError `changed` says so, and the caller asks whether to reload, overwrite or save under another
    name. Raises CardError for a full disk or a folder that cannot be written; the old file is then as it was.
    Without `flush` it is left to the system when the bytes reach the disk: for what can be made again.
    """
    where = str(path)
    path = _written_place(path, where)
    if expected is not None:
        now = file_state(path)
        if now is None or now.digest != expected.digest:
            raise CardError(
                "changed", "another program has changed this file; reload, overwrite or save as", where
            )
    # Its name is settled before it is made: a Ctrl-C at any moment leaves nothing behind.
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
            if backup:
                shutil.copy2(path, path.with_name(path.name + ".bak"))
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CardError("unwritable", f"cannot be saved: {error.strerror or error}", where) from error
        raise
    state = file_state(path)
    if state is None:
        raise CardError("changed", "the file was removed while it was saved", where)
    return state


def _written_place(path: Path, where: str) -> Path:
    """Where the bytes go: behind a link the file that it names, so that the link stays. Raises CardError."""
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe would be replaced by a file of its name.
            raise CardError("not-a-file", "this is not a regular file; name another, or - for stdout", where)
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CardError("unwritable", f"cannot be saved: {reason}", where) from error


def set_aside(path: Path) -> None:
    """Renames a file whose place another one has taken to `NAME.bak`. Raises CardError."""
    try:
        os.replace(path, path.with_name(path.name + ".bak"))
    except OSError as error:
        raise CardError("unwritable", f"cannot be set aside: {error.strerror or error}", str(path)) from error

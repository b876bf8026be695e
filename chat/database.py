"""Opening the store's file: private, checked, up to date; a damaged one is set aside for a snapshot.

Every commit is flushed to the disk (`synchronous=FULL`). A killed program would lose nothing with NORMAL
either, but a power cut would lose the last turns, which the screen has shown as kept; and changes come at the
pace of a person, or twice a second while a reply streams, so that the flush costs nothing that is felt.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date
from pathlib import Path

from chat.files import make_private_folder
from chat.ids import new_id
from chat.migrations import latest, migrate

__all__ = ["Snapshots", "StoreError", "explain", "open_database", "reported"]

BUSY_SECONDS = 5.0
"""How long a change waits for another program's change."""
OPENING_SECONDS = 30.0
"""How long an opening waits for another program that opens, and maybe mends, the same file."""
CHECKED_BYTES = 64 << 20
"""Files up to this size are checked whole at every opening (about a second for the largest)."""
SNAPSHOTS_KEPT = 7
HEADER = b"SQLite format 3\0"
"""What every SQLite file that is not empty begins with."""


class StoreError(Exception):
    """The store cannot do it; one line: what, where, what to do."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """`locked`, `full`, `readonly`, `damaged`, `newer`, `missing` (no such chat) or `io`."""


_EXPLANATIONS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("locked", "is in use by another program: try again, or close the other one"),
    sqlite3.SQLITE_LOCKED: ("locked", "is in use by another program: try again, or close the other one"),
    sqlite3.SQLITE_FULL: ("full", "cannot grow, the disk is full: free some space and try again"),
    sqlite3.SQLITE_IOERR: ("full", "cannot be written, the disk may be full: free some space and try again"),
    sqlite3.SQLITE_READONLY: ("readonly", "is read-only: allow writing to the file and its folder"),
    sqlite3.SQLITE_PERM: ("readonly", "may not be opened: allow reading and writing it"),
    sqlite3.SQLITE_CANTOPEN: (
        "readonly",
        "cannot be opened: allow reading and writing the file and its folder",
    ),
    sqlite3.SQLITE_CORRUPT: ("damaged", "is damaged: start rpchat again, and it is set aside"),
    sqlite3.SQLITE_NOTADB: ("damaged", "is not a database: start rpchat again, and it is set aside"),
}


_SYSTEM_EXPLANATIONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _EXPLANATIONS[sqlite3.SQLITE_FULL]),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _EXPLANATIONS[sqlite3.SQLITE_CANTOPEN]),
}


def explain(error: sqlite3.Error, path: Path | str) -> StoreError:
    """What a database error means for the person at the keyboard."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    code, sentence = _EXPLANATIONS.get(primary, ("io", f"cannot be used: {error}"))
    return StoreError(f"The chat store {path} {sentence}.", code)


@contextmanager
def reported(path: Path | str) -> Iterator[None]:
    """Turn what the database and the system complain about into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        explained = explain(error, path)
        if explained.code == "damaged" and isinstance(path, Path):
            _mark_suspect(path)
        raise explained from error
    except OSError as error:
        code, sentence = _SYSTEM_EXPLANATIONS.get(
            error.errno or 0, ("io", f"cannot be used: {error.strerror or type(error).__name__}")
        )
        raise StoreError(f"The chat store {path} {sentence}.", code) from error


def open_database(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """The connection, and sentences for the person about what had to be done. Raises StoreError.

    A file of a newer program is refused and left as it is.
    """
    from filelock import FileLock, Timeout

    notices: list[str] = []
    with reported(path):
        make_private_folder(path.parent)
        try:
            with FileLock(path.with_name(path.name + ".lock"), timeout=OPENING_SECONDS, mode=0o600):
                return _open_or_mend(path, notices), notices
        except Timeout as error:
            raise explain(_error(sqlite3.SQLITE_BUSY, "locked"), path) from error


def _error(code: int, message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = code
    return error


def _open_or_mend(path: Path, notices: list[str]) -> sqlite3.Connection:
    snapshots = Snapshots(path)
    try:
        connection = _connect(path)
    except sqlite3.DatabaseError as error:
        if explain(error, path).code != "damaged":
            raise
        aside = _set_aside(path)
        restored = snapshots.restore_newest()
        what = f"the snapshot of {restored} took its place" if restored else "a new, empty one was begun"
        notices.append(f"The chat store was damaged: it lies in {aside} now, and {what}.")
        connection = _connect(path)
    try:
        version = _version(connection)
        if 0 < version < latest():
            snapshots.take(f"before-version-{latest()}")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    """Open and check one file. Raises sqlite3.DatabaseError (damaged), StoreError (newer), OSError."""
    size = path.stat().st_size if path.exists() else 0
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    _check_header(path)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        version = _version(connection)
        if version > latest():
            raise StoreError(
                f"The chat store {path} was written by a newer rpchat (version {version}, this one knows "
                f"{latest()}): install that one, or set RPCHAT_HOME to another folder.",
                "newer",
            )
        suspect = _suspect_mark(path)
        if size and (size <= CHECKED_BYTES or suspect.exists()):
            _check(connection)
        suspect.unlink(missing_ok=True)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check_header(path: Path) -> None:
    """Raises sqlite3.DatabaseError. SQLite itself would throw away the log beside a file without a header."""
    with path.open("rb") as file:
        header = file.read(len(HEADER))
    if header not in (b"", HEADER):
        raise _error(sqlite3.SQLITE_NOTADB, "not a database")


def _check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError when a page is not as it should be, or the tables are not ours."""
    faults = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if faults != "ok":
        raise _error(sqlite3.SQLITE_CORRUPT, faults)


def _suspect_mark(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")


def _mark_suspect(path: Path) -> None:
    """Have the file checked at the next opening, however large it is."""
    with suppress(OSError):
        _suspect_mark(path).touch(mode=0o600)


def _set_aside(path: Path) -> Path:
    """Rename a damaged file with what belongs to it; returns the new path."""
    stem = f"{path.stem}.damaged-{date.today().isoformat()}"
    aside = path.with_name(stem + path.suffix)
    number = 2
    while aside.exists():
        aside = path.with_name(f"{stem}-{number}{path.suffix}")
        number += 1
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    path.rename(aside)
    _suspect_mark(path).unlink(missing_ok=True)
    return aside


class Snapshots:
    """Whole copies of the store beside it, one a day, the newest seven kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent / "snapshots"
        self.notices: list[str] = []
        self._thread: threading.Thread | None = None

    def daily(self) -> list[Path]:
        """The daily snapshots, newest first."""
        return sorted(self.folder.glob(f"{self.path.stem}-????-??-??{self.path.suffix}"), reverse=True)

    def begin(self) -> None:
        """Take today's snapshot on a thread of its own, if there is none yet; `wait` for its end."""
        if not self._file(date.today().isoformat()).exists():
            self._thread = threading.Thread(target=self._take_todays, name="snapshot")
            self._thread.start()

    def wait(self) -> None:
        """Let a snapshot under way come to its end."""
        if self._thread is not None:
            self._thread.join()

    def take(self, name: str) -> Path:
        """Copy the store as it is now; the copy is checked before it gets its name.

        Raises sqlite3.Error, OSError.
        """
        make_private_folder(self.folder)
        self._sweep()
        part, whole = self.folder / f"{new_id()}.part", self._file(name)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                # One file, without a log beside it: it may be copied anywhere.
                copy.execute("PRAGMA journal_mode = DELETE")
                _check(copy)
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)
        return whole

    def restore_newest(self) -> str | None:
        """Put the newest good daily snapshot in the store's place; its date, or None without one."""
        for snapshot in self.daily():
            try:
                with closing(sqlite3.connect(f"file:{snapshot}?mode=ro", uri=True)) as connection:
                    if not 0 < _version(connection) <= latest():
                        continue
                    _check(connection)
                    self._copy_into_place(connection)
            except sqlite3.DatabaseError:
                continue
            return snapshot.stem.removeprefix(f"{self.path.stem}-")
        return None

    def _copy_into_place(self, snapshot: sqlite3.Connection) -> None:
        part = self.path.with_name(self.path.name + ".part")
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(part)) as copy:
            snapshot.backup(copy)
        part.replace(self.path)

    def _take_todays(self) -> None:
        try:
            with reported(self.path):
                self.take(date.today().isoformat())
                for old in self.daily()[SNAPSHOTS_KEPT:]:
                    old.unlink(missing_ok=True)
        except StoreError as error:
            self.notices.append(f"No snapshot of the chats was made today. {error}")

    def _sweep(self) -> None:
        """Remove what killed programs left half written; a copy takes seconds, not an hour."""
        for part in self.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if part.stat().st_mtime < time.time() - 3600:
                    part.unlink()

    def _file(self, name: str) -> Path:
        return self.folder / f"{self.path.stem}-{name}{self.path.suffix}"

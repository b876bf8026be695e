"""Where the saved states of chats lie: a folder of files within a quota, the one used longest ago out
first."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["Shelf"]

QUOTA = 8_000_000_000
SHARE_OF_DISK = 0.1
"""Unless the person says otherwise, all states together take no more than the smaller of the two."""

SUFFIX = ".state"

FORGOTTEN_SECONDS = 600
"""A file that was begun so long ago and never finished is nobody's any more."""

SUPPOSED_SPEED = 300e6
"""Bytes a second of a disk that has not been measured: a common SSD, the checksum included."""

WORTH_MEASURING = 1_000_000
"""Bytes; smaller files tell nothing of a disk's speed."""


class Shelf:
    """The states in one folder. `NAME.KEY.state` is that of a chat with all that it depends on."""

    def __init__(self, folder: Path, quota: int | None = None) -> None:
        """`quota` is in bytes; None: 8 GB, or a tenth of what the disk has left for it when that is less."""
        self.folder = folder
        self.limit = quota

    def file(self, chat: str, key: str) -> Path:
        """Where a state is, or would be. Raises ValueError for a name that is no file's."""
        if not chat or chat != Path(chat).name:
            raise ValueError("a chat's name has to be that of a file")
        return self.folder / f"{chat}.{key}{SUFFIX}"

    def files(self) -> list[tuple[float, int, Path]]:
        """When each was used last, its size in bytes, and its path; the one used longest ago first."""
        found = []
        with suppress(OSError):
            for path in self.folder.glob(f"*{SUFFIX}"):
                with suppress(OSError):  # another program may have taken it away meanwhile
                    state = path.stat()
                    found.append((state.st_mtime, state.st_size, path))
        return sorted(found)

    @property
    def quota(self) -> int:
        """Bytes that all states may take. Raises OSError."""
        if self.limit is not None:
            return self.limit
        held = sum(size for _, size, _ in self.files())
        return min(QUOTA, int(SHARE_OF_DISK * (shutil.disk_usage(self.folder).free + held)))

    def make_room(self, size: int, replaced: Path) -> bool:
        """Removes others until a file of that size may take the place of `replaced`; False where it is too
        large for that. Raises OSError."""
        self.sweep()
        quota = self.quota
        if size > quota:
            return False
        others = [one for one in self.files() if one[2] != replaced]
        left = sum(held for _, held, _ in others)
        for _, held, path in others:
            if left + size <= quota:
                break
            path.unlink(missing_ok=True)
            left -= held
        return True

    def sweep(self) -> None:
        """Removes what a killed program has left half written."""
        for path in self.folder.glob(f".*{SUFFIX}.*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                    path.unlink()

    def forget(self, chat: str) -> None:
        """Removes what is there of a chat, for whatever model."""
        for _, _, path in self.files():
            if path.name.startswith(f"{chat}."):
                with suppress(OSError):
                    path.unlink()

    # How quick the disk is ------------------------------------------------------------------------------

    @property
    def speed(self) -> float:
        """Bytes a second, as measured with earlier files."""
        try:
            value = json.loads(self._speed_file.read_text(encoding="ascii"))["bytes_a_second"]
            return float(value) if float(value) > 0 else SUPPOSED_SPEED
        except (OSError, ValueError, KeyError, TypeError):
            return SUPPOSED_SPEED

    def measured(self, size: int, seconds: float) -> None:
        """So many bytes took so long to write or to read."""
        if size < WORTH_MEASURING or seconds <= 0:
            return
        known = self._speed_file.exists()
        speed = (self.speed + size / seconds) / 2 if known else size / seconds
        new = self.folder / f".speed{SUFFIX}.{os.getpid()}"
        with suppress(OSError):
            new.write_text(json.dumps({"bytes_a_second": round(speed)}), encoding="ascii")
            new.chmod(0o600)
            new.replace(self._speed_file)

    @property
    def _speed_file(self) -> Path:
        return self.folder / "speed.json"

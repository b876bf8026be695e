"""Files that are whole or absent, and that only their owner can read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each for its owner alone (0700)."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(mode=0o700, exist_ok=True)


def write_atomically(file: Path, data: bytes) -> None:
    """Replace a file in one step (0600): neither a reader nor a crash ever sees a part. Raises OSError."""
    try:
        _replace(file.resolve(), data)
    except OSError as error:
        # Nobody asked for the file beside it that the system names.
        error.filename, error.filename2 = str(file), None
        raise


def _replace(file: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise

"""Files that the program makes of models: under a temporary name until they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chat.models import ModelError
from chat.settings import reason

__all__ = ["new_file"]


@contextmanager
def new_file(out: Path, source: Path, *, force: bool) -> Iterator[Path]:
    """A temporary path beside `out` to write to; it becomes `out` at the end, and is deleted on any error.

    Raises ModelError when `out` is there already and `force` is not given, when it is the source, or when it
    cannot be written.
    """
    if out.is_dir():
        raise ModelError(f"{out}: a folder; name the file to write", usage=True)
    if out.exists() and os.path.samefile(out, source):
        raise ModelError(f"{out}: the file that is read; name another one to write", usage=True)
    if out.exists() and not force:
        raise ModelError(f"{out}: is there already; --force replaces it")
    if not out.parent.is_dir():
        raise ModelError(f"{out.parent}: no such folder; make it first")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(out)
    except OSError as error:
        raise ModelError(f"{error.filename or out}: {reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)

"""Who is at work on a store: locks that end with the program that holds them, however it ends."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chat.files import make_private_folder
from chat.ids import new_id

if TYPE_CHECKING:
    from filelock import BaseFileLock


class Writers:
    """The locks of one open store: one for itself while it has drafts, one for each chat that it has open.

    The system drops a lock with its process, so that a killed program cannot leave one behind; the empty
    files in the folder `locks` mean nothing by themselves.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.me = new_id()
        """Names this store in the drafts that it writes."""
        self._held: dict[str, BaseFileLock] = {}
        self._guard = threading.Lock()

    def claim_chat(self, chat_id: str) -> bool:
        """Mark a chat as open here; False when it is open elsewhere. Raises OSError."""
        return self._take(f"chat-{chat_id}")

    def release_chat(self, chat_id: str) -> None:
        """The chat is left."""
        self._drop(f"chat-{chat_id}")

    def begin_drafts(self) -> None:
        """From now on others see that the drafts of this store are being written. Raises OSError."""
        if f"writer-{self.me}" not in self._held:
            self._take(f"writer-{self.me}")
            self._sweep()

    def is_gone(self, writer: str) -> bool:
        """The program that wrote a draft has ended. Raises OSError."""
        name = f"writer-{writer}"
        if writer == self.me:
            return False
        if not self._file(name).exists():
            return True
        gone = self._take(name)
        self._drop(name)
        return gone

    def close(self) -> None:
        """Give up every lock."""
        for name in list(self._held):
            self._drop(name)

    def _take(self, name: str) -> bool:
        from filelock import FileLock, Timeout

        with self._guard:
            if name in self._held:
                return True
            make_private_folder(self.folder)
            # Not bound to a thread: taken on the screen's thread, it may be dropped on another.
            lock = FileLock(self._file(name), timeout=0, mode=0o600, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                return False
            self._held[name] = lock
            return True

    def _drop(self, name: str) -> None:
        with self._guard:
            lock = self._held.pop(name, None)
            if lock is not None:
                lock.release()
                # Some systems cannot remove a file that another program is just opening; it does no harm.
                with suppress(OSError):
                    self._file(name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove the lock files of programs that were killed; a day old, none is just being made."""
        for file in self.folder.glob("writer-*.lock"):
            with suppress(OSError):
                if file.stat().st_mtime < time.time() - 86_400:
                    self.is_gone(file.stem.removeprefix("writer-"))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.lock"

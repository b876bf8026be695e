"""Saving a reply while it streams: at once, then so often that a kill costs less than a second of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from chat.database import StoreError

WrittenT = TypeVar("WrittenT")

INTERVAL = 0.5
"""Seconds between two checkpoints: half of what may be lost."""


class Checkpoints(Generic[WrittenT]):
    """Hands a growing text, or a value that holds it, to `save`: in the caller's thread when it is time, else
    on a timer a little later.

    The timer is for a model that stalls: what it wrote just before must not wait for its next word.
    """

    def __init__(self, save: Callable[[WrittenT], None], interval: float = INTERVAL) -> None:
        self.saved = False
        """There is a checkpoint."""
        self._save = save
        self._interval = interval
        self._lock = threading.Lock()
        self._text: WrittenT | None = None
        self._dirty = False
        self._ended = False
        self._last = float("-inf")
        self._timer: threading.Timer | None = None

    def update(self, text: WrittenT) -> None:
        """The text as it is now; when this returns, all of it that is older than the interval is saved."""
        with self._lock:
            if text == self._text or self._ended:
                return
            self._text, self._dirty = text, True
            wait = self._last + self._interval - time.monotonic()
            if wait <= 0:
                self._save_now()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Save what is not saved yet."""
        with self._lock:
            if not self._ended:
                self._save_now()

    def end(self) -> None:
        """No checkpoint comes after this: the message itself is about to be stored."""
        with self._lock:
            self._ended = True
            self._stop_timer()

    def _save_now(self) -> None:
        self._stop_timer()
        if not self._dirty or self._text is None:
            return
        self._last = time.monotonic()
        # The reply goes on without it: the next one tries again, and the message itself tells of a full disk.
        with suppress(StoreError):
            self._save(self._text)
            self._dirty, self.saved = False, True

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

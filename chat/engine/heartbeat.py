"""Notices a worker that gives no sign of life while something is asked of it.

Time is counted in beats of our own thread, not read from a clock: what a sleeping laptop or a program that
was stopped itself has slept through counts as one beat. A worker that is busy answers all the same, since its
reading thread does, while the other one sits in llama_decode, however long that takes. Only who asked it to
stop need not wait that long: a thread that does not come back from a driver never will.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Heartbeat"]

BEAT_SECONDS = 1.0

PATIENCE = 20
"""Beats without a sign of life after which a worker is given up."""

PATIENCE_AT_START = 120
"""Before its first sign: it imports llama.cpp, and a GPU's driver may take long to wake."""

PATIENCE_TO_STOP = 5
"""When it was asked to stop what it does."""

PATIENCE_TO_END = 120
"""Beats within which it has stopped, though it lives: a GPU ends its batch first, which takes seconds."""


class Heartbeat:
    """Asks for a sign of life once a beat while `busy`, and calls `hung` once when none comes."""

    def __init__(
        self, busy: Callable[[], bool], ping: Callable[[], None], hung: Callable[[float], None]
    ) -> None:
        """`ping` must not block; `hung` is told for how many seconds nothing came. Both are called on this
        object's own thread, which runs until `end`."""
        self._busy = busy
        self._ping = ping
        self._hung = hung
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._signs = 0
        self._seen = 0
        self._hurry = False
        self._stopping = False
        threading.Thread(target=self._run, name="engine heartbeat", daemon=True).start()

    def watch(self) -> None:
        """Something is asked of the worker."""
        self._wanted.set()

    def sign(self) -> None:
        """It said something, whatever it was."""
        self._signs += 1
        self._hurry = False

    def hurry(self) -> None:
        """It was asked to stop: somebody is waiting for it."""
        self._hurry = self._stopping = True

    def stopped(self) -> None:
        """It has stopped what it was asked to."""
        self._stopping = False

    def end(self) -> None:
        """Nothing is watched any more."""
        self._over.set()
        self._wanted.set()

    @property
    def patience(self) -> int:
        """Beats that it may be silent."""
        if not self._signs:
            return PATIENCE_AT_START
        return PATIENCE_TO_STOP if self._hurry else PATIENCE

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            missed, late, asked = 0, 0, False
            while self._busy() and not self._over.is_set():
                if not asked:  # one question at a time: the pipe of a worker that sleeps must not fill up
                    self._seen, asked = self._signs, True
                    self._ping()
                self._over.wait(BEAT_SECONDS)
                late = late + 1 if self._stopping else 0
                if late >= PATIENCE_TO_END:
                    self._hung(late * BEAT_SECONDS)
                    return
                if self._signs != self._seen:
                    missed, asked = 0, False
                    continue
                missed += 1
                if missed >= self.patience:
                    self._hung(missed * BEAT_SECONDS)
                    return
            if self._over.is_set():
                return

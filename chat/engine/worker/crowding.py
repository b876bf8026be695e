"""How many threads write a reply: as many as have a core to themselves.

llama.cpp's threads wait for each other about a thousand times a token, so one whose core is taken by another
program holds up all: beside one busy program, two threads on two cores wrote 27 tokens a second and one alone
95. Whether fewer are quicker is tried, for some tokens, when the threads wait for long; whether more are, now
and then. A prompt's batches have few and long steps and keep their threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["WritingThreads"]

WINDOW = 8
"""Tokens of which the time is taken together."""

HELD_UP = 0.6
"""Share of the time that the deciding thread runs. It is above 0.8 where every thread has a core, since those
who wait for a moment spin, and below 0.5 where one has none."""

BETTER = 0.95
"""Of the time before: what a change has to come to, or it is taken back."""

PATIENCE = (64, 1024)
"""Tokens until something is tried again: at first, and at most, after each try that was of no use twice as
many."""


class WritingThreads:
    """Chooses the threads of one context, from 1 to `most`; `write_with` puts a number into force.

    Only where `adapts`, which is for contexts whose results are the same with any number of threads, bit by
    bit: the same seed has to give the same reply.
    """

    def __init__(
        self,
        write_with: Callable[[int], None],
        most: int,
        clock: Callable[[], float] = time.perf_counter,
        running: Callable[[], float] = time.thread_time,
    ) -> None:
        """`clock` and `running`: seconds, of the world's time and of those that this thread ran."""
        self.adapts = False
        self.now = most
        self._most = most
        self._write_with = write_with
        self._clock = clock
        self._running = running
        self._rows = 1
        self._patience = PATIENCE[0]
        self._waited = self._patience
        self._fewer, self._more = 1, most
        """By how many the next try goes down, from one on: only enough of them help. And up, from all on: a
        single one more of many would be too little to be seen."""
        self._tried_from = 0
        """While another number is tried: the one before."""
        self._before = 0.0
        """Seconds that a window took with it."""
        self._held_up = False
        """In the last window; and when the last try was of no use."""
        self._held_up_then = False
        self._more_next = False
        """Fewer were of no use: the next try goes up."""
        self._start()

    @property
    def are_fewer(self) -> bool:
        """Whether not all of them write."""
        return self.now < self._most

    def begin(self) -> None:
        """A reply begins, or several at once; the time before it does not count."""
        if self._tried_from:
            self._use(self._tried_from)
            self._tried_from = 0
        self._start()

    def _start(self) -> None:
        self._left = WINDOW
        self._since, self._run = self._clock(), self._running()

    def written(self, rows: int = 1) -> None:
        """One more token was decoded, or one for each of several replies."""
        if not self.adapts or self._most == 1:
            return
        if rows != self._rows:
            self._rows = rows
            self.begin()
            return
        self._left -= 1
        if self._tried_from:
            self._judge()
        elif not self._left:
            self._look()

    def _judge(self) -> None:
        seconds = self._clock() - self._since
        if seconds > BETTER * self._before:
            self._take_back()
        elif self._left:
            return
        else:
            self._settle(PATIENCE[0])
            self._more_next = False
        self._tried_from = 0
        self._start()

    def _take_back(self) -> None:
        tried, before = self.now, self._tried_from
        self._use(before)
        if 1 < tried < before:
            self._fewer *= 2
        elif tried > before + 1:
            self._more = (tried - before) // 2
        else:
            self._settle(min(2 * self._patience, PATIENCE[1]))
            self._held_up_then = self._held_up
            self._more_next = tried < before

    def _settle(self, patience: int) -> None:
        self._patience, self._waited, self._fewer, self._more = patience, 0, 1, self._most

    def _look(self) -> None:
        seconds = self._clock() - self._since
        self._held_up = self._running() - self._run < HELD_UP * seconds
        self._waited += WINDOW
        if self._held_up != self._held_up_then:
            self._patience = PATIENCE[0]
        if self._waited >= self._patience:
            may_go_up = self.now < self._most
            if self._held_up and self.now > 1 and not (self._more_next and may_go_up):
                self._try(max(1, self.now - self._fewer), seconds)
            elif may_go_up:
                self._try(min(self._most, self.now + self._more), seconds)
        self._start()

    def _try(self, threads: int, seconds: float) -> None:
        self._tried_from, self._before = self.now, seconds
        self._use(threads)

    def _use(self, threads: int) -> None:
        self.now = threads
        self._write_with(threads)

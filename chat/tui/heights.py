"""How many rows each message takes, and which message lies on which row.

The newest messages are measured at once, the rest is guessed and measured in slices between frames: a chat of
50 000 messages opens without waiting for the half second that measuring all of it takes.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from chat.tui.blocks import Block, text_width
from chat.tui.rows import estimate

AT_ONCE = 300
"""Messages before the end that are measured at once."""
SLICE_SECONDS = 0.008


class Heights:
    """Row counts of a list of blocks at one width, as running sums."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        self.width = 80
        """Columns of the transcript."""
        self._heights: list[int] = []
        self._tops: list[int] = [0]
        self.exact_from = 0
        """Index of the first block from which on all heights are measured, not guessed."""

    @property
    def total(self) -> int:
        """Rows of all blocks."""
        return self._tops[-1]

    @property
    def exact(self) -> bool:
        """Every height is measured."""
        return self.exact_from == 0

    def top(self, index: int) -> int:
        """First row of a block; of the one past the last, the number of rows."""
        return self._tops[index]

    def at(self, row: int) -> tuple[int, int]:
        """The block on a row, and the row inside it."""
        index = bisect_right(self._tops, row, hi=len(self._tops) - 1) - 1
        index = max(0, index)
        return index, row - self._tops[index]

    def measure_from(self, first: int) -> None:
        """Blocks from `first` on are new or changed, those before it are as they were."""
        count = len(self._blocks)
        measured = max(first, count - AT_ONCE)
        width = text_width(self.width)
        del self._heights[first:]
        self._heights += [2 + estimate(len(block.source), width) for block in self._blocks[first:measured]]
        self._heights += [block.height(width) for block in self._blocks[measured:]]
        self.exact_from = measured if measured > first else min(self.exact_from, first)
        self._sum(first)

    def change_width(self, width: int) -> None:
        """Forget all heights; they are taken again for the new width."""
        self.width = width
        self._heights.clear()
        self.exact_from = 0
        self.measure_from(0)

    def measure_more(self, visible: int) -> int:
        """Measure for one slice of time, newest first. Rows that were added above the block `visible`."""
        end = time.monotonic() + SLICE_SECONDS
        while self.exact_from and time.monotonic() < end:
            self._measure(max(0, self.exact_from - 50))
        before = self._tops[visible] if visible < len(self._tops) else 0
        self._sum(0)
        return (self._tops[visible] if visible < len(self._tops) else 0) - before

    def measure_all(self) -> None:
        """Measure whatever is left."""
        if self.exact_from:
            self._measure(0)
            self._sum(0)

    def _measure(self, first: int) -> None:
        width = text_width(self.width)
        self._heights[first : self.exact_from] = [
            block.height(width) for block in self._blocks[first : self.exact_from]
        ]
        self.exact_from = first

    def _sum(self, first: int) -> None:
        del self._tops[first + 1 :]
        tops = accumulate(self._heights[first:], initial=self._tops[first])
        next(tops)
        self._tops += tops

"""Snapshots of a sequence's state, for models whose cache cannot go back by itself.

A recurrent state is only ever the newest one, and a sliding window has lost what is older: both are kept here
in main memory as they were at some lengths, without what plain attention keeps anyway. Going back then means
the nearest snapshot, and reading again from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chat.engine.needs import CHECKPOINT_SPACING, checkpoint_spacing
from chat.engine.worker.llama import Context

__all__ = ["Checkpoints"]

WRITING_SPACING = 32
"""Tokens at least between two snapshots while a reply is written, where they are small: a stop string is
taken back at its end."""
SMALL = 16 << 20
"""Bytes of a small snapshot."""

LAST = 2
"""The newest ones go last."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state as it was."""

    length: int
    """Tokens that stood in the sequence."""
    data: bytes


@dataclass(slots=True)
class Checkpoints:
    """The snapshots of one sequence, shortest first."""

    held: list[Checkpoint] = field(default_factory=list)

    def due(self, context: Context, length: int, window: int, *, turn: bool = False) -> bool:
        """Whether a snapshot at this length is worth its memory; `turn`: a reply begins behind it."""
        if not context.checkpointed:
            return False
        newest = self.held[-1].length if self.held else 0
        if window:
            return length - newest >= checkpoint_spacing(window)
        return length > newest and (turn or length - newest >= CHECKPOINT_SPACING)

    def due_in_writing(self, context: Context, length: int, window: int) -> bool:
        """The same for a reply of which another token has been written."""
        if not context.checkpointed or window or not self.held:
            return False
        newest = self.held[-1]
        return length - newest.length >= WRITING_SPACING and len(newest.data) <= SMALL

    def take(self, context: Context, number: int, length: int) -> None:
        """Keeps the state of a sequence as it is now."""
        data = context.snapshot(number)
        if not data:
            return
        self.truncate(length - 1)
        self.held.append(Checkpoint(length, data))
        while sum(len(one.data) for one in self.held) > context.checkpoint_budget:
            del self.held[self._least_missed()]

    def restore(self, context: Context, number: int, length: int) -> int:
        """Puts the nearest snapshot back that is no longer than this; how many tokens then stand there.

        At 0 the sequence is to be cleared.
        """
        for one in reversed(self.held):
            if one.length > length:
                continue
            there = context.restore(number, one.data) and context.remove(number, one.length)
            if there and context.length(number) == one.length:
                return one.length
        return 0

    def truncate(self, length: int) -> None:
        """Forgets those of more tokens."""
        while self.held and self.held[-1].length > length:
            self.held.pop()

    def copy(self) -> Checkpoints:
        """The same snapshots for a fork."""
        return Checkpoints(list(self.held))

    def _least_missed(self) -> int:
        """The one whose neighbours lie closest together; the newest are spared while there are others."""
        lengths = [0, *(one.length for one in self.held)]
        gaps = [lengths[index + 2] - lengths[index] for index in range(len(self.held) - LAST)]
        return gaps.index(min(gaps)) if gaps else 0

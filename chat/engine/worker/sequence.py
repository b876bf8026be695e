"""A model's context with a sequence in it: what it holds, and how it goes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat.engine.worker.building import DryShelf
from chat.engine.worker.cache import CachedSequence
from chat.engine.worker.checkpoints import Checkpoints
from chat.engine.worker.llama import Context
from chat.engine.worker.tokens import Vocabulary

__all__ = ["CHUNK", "CHUNK_GPU", "LiveSequence"]

CHUNK = 128
"""Prompt tokens a decode on the CPU: progress can be shown and a cancel seen between two. The size is fixed,
since results differ in their last bits with it, and the same seed must give the same text."""

CHUNK_GPU = 512
"""On a GPU a call costs more than its tokens."""


@dataclass(slots=True, eq=False)
class LiveSequence:
    """One sequence in a model's context, and the exact record of what that holds."""

    context: Context
    vocabulary: Vocabulary
    sliding_window: int = 0
    on_gpu: bool = False
    cache: CachedSequence = field(default_factory=CachedSequence)
    number: int = 0
    dry: DryShelf = field(default_factory=DryShelf)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    shares: dict[int, int] = field(default_factory=dict)
    """The first tokens that it has had in the same cells as another sequence ever since, by that one's
    number."""

    @property
    def length(self) -> int:
        """Tokens that stand in it."""
        return len(self.cache.ids)

    def shared_with(self, other: LiveSequence) -> int:
        """The first tokens that both have in the same cells."""
        if other is self:
            return self.length
        return min(self.shares.get(other.number, 0), other.shares.get(self.number, 0))

    def keep(self, length: int) -> int:
        """Forgets all but the first tokens; returns how many are left: fewer where a model cannot go back,
        and then as many as the nearest checkpoint has."""
        if length and not self._goes_back(length):
            length = self.checkpoints.restore(self.context, self.number, length)
        if length == 0:
            self.context.clear(self.number)
        self.cache.truncate(length)
        self.checkpoints.truncate(length)
        self.shares = {number: min(shared, length) for number, shared in self.shares.items()}
        return length

    def _goes_back(self, length: int) -> bool:
        """Whether the cache could forget what is behind so many tokens, and has."""
        context, number = self.context, self.number
        if self.sliding_window and context.checkpointed:
            oldest_needed = max(0, length - self.sliding_window)
            if context.first_position(number) > oldest_needed:
                return False
        return context.remove(number, length)

    def checkpoint(self, *, turn: bool = False) -> None:
        """Keeps the state as it is, where the model could not come back to it otherwise and it is due;
        `turn`: a reply begins behind it."""
        if self.checkpoints.due(self.context, self.length, self.sliding_window, turn=turn):
            self.checkpoints.take(self.context, self.number, self.length)

    def checkpoint_in_writing(self) -> None:
        """The same after a token of a reply."""
        if self.checkpoints.due_in_writing(self.context, self.length, self.sliding_window):
            self.checkpoints.take(self.context, self.number, self.length)

    def take_in(self, start: int, end: int, other: LiveSequence) -> int:
        """What another sequence holds from `start` on stands in the place of the tokens from `start` up to
        `end`; what is behind them moves, which the model must be able to. Up to `start` both are the same,
        and nobody shares what moves. Returns the tokens that moved."""
        context, number, moved = self.context, self.number, self.length - end
        if not context.cut(number, start, end):
            return 0
        context.shift(number, end, other.length - end)
        context.copy(other.number, number, other.length, start)
        self.cache.replace(start, end, other.cache.ids[start:], other.cache.images[start:])
        self.shares = {one: min(shared, start) for one, shared in self.shares.items()}
        return moved

    def settle(self) -> None:
        """After an aborted or failed decode: the record says again what llama.cpp says."""
        self.keep(min(self.context.length(self.number), len(self.cache.ids)))

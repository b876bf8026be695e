"""All sequences of a context: the chat's own, and what stands beside it in the same cache.

Cells that two sequences share, because one was forked from the other, count once.
"""

from __future__ import annotations

from collections.abc import Collection

from chat.engine.worker.building import DryShelf
from chat.engine.worker.llama import Context
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.tokens import Tokenized, Vocabulary

__all__ = ["Slots"]

WHOLE = -1
"""The end of a copy that takes everything: a model with a recurrent state can copy nothing less."""


class Slots:
    """The sequences of one context. `main` is the chat's; it is never dropped, only replaced."""

    def __init__(
        self, context: Context, vocabulary: Vocabulary, *, sliding_window: int = 0, on_gpu: bool = False
    ) -> None:
        self.context = context
        self._vocabulary = vocabulary
        self._sliding_window = sliding_window
        self.on_gpu = on_gpu
        self._dry = DryShelf()
        self._free = list(range(context.sequences - 1, -1, -1))
        self._others: list[LiveSequence] = []
        self.main = self._new()
        self.prepared: LiveSequence | None = None
        """The one that was read ahead for when the oldest turns leave the prompt."""
        self.prepared_end = 0
        """Cells that were used when it was last read on."""
        self.filling: LiveSequence | None = None
        """Of no meaning: it keeps the cells between others and the prepared one. It goes with that."""

    @property
    def others(self) -> tuple[LiveSequence, ...]:
        """All but the chat's, least recently used first."""
        return tuple(self._others)

    @property
    def cells_used(self) -> int:
        """Cells of the cache that hold something."""
        used = 0
        before: list[LiveSequence] = []
        for sequence in (self.main, *self._others):
            used += sequence.length - max((sequence.shared_with(one) for one in before), default=0)
            before.append(sequence)
        return used

    @property
    def cells_free(self) -> int:
        return self.context.cells - self.cells_used

    def best(self, prompt: Tokenized) -> LiveSequence:
        """The sequence that keeps most of a prompt; `main` where another keeps no more."""
        kept = {one.number: one.cache.plan(prompt).kept for one in (self.main, *self._others)}
        best = max((self.main, *reversed(self._others)), key=lambda one: kept[one.number])
        self._use(best)
        return best

    def fresh(self, spared: Collection[LiveSequence] = ()) -> LiveSequence:
        """An empty sequence beside the chat's. Where all numbers are taken, the one that was used longest ago
        is dropped, though none of the `spared`. Raises RuntimeError where the context has no other number.
        """
        if not self._free:
            self._drop_oldest(spared)
        if not self._free:
            raise RuntimeError("The context has no sequence left.")
        sequence = self._new()
        self._others.append(sequence)
        return sequence

    def fork(self, source: LiveSequence, end: int, spared: Collection[LiveSequence] = ()) -> LiveSequence:
        """A sequence that begins with the first `end` tokens of another, in the same cells.

        It is shorter where the model cannot go back. Raises RuntimeError as `fresh` does.
        """
        sequence = self.fresh((source, *spared))
        self.context.copy(source.number, sequence.number, WHOLE)
        sequence.cache = source.cache.copy()
        sequence.checkpoints = source.checkpoints.copy()
        for one in (self.main, *self._others):
            if one is not sequence:
                one.shares[sequence.number] = sequence.shares[one.number] = source.shared_with(one)
        sequence.keep(end)
        return sequence

    def make_room(self, tokens: int, spared: Collection[LiveSequence] = ()) -> bool:
        """Drops others, the one that was used longest ago first, until so many cells are free; whether they
        are. The chat's own and the `spared` stay."""
        while self.cells_free < tokens:
            if not self._drop_oldest(spared):
                return False
        return True

    def promote(self, sequence: LiveSequence) -> LiveSequence:
        """Makes it the chat's. Returns what was the chat's before; that stands beside it now."""
        before = self.main
        if sequence is not before:
            self._others.remove(sequence)
            self._others.append(before)
            self.main = sequence
        return before

    def drop(self, sequence: LiveSequence) -> None:
        """Empties a sequence beside the chat's and gives its number back; says nothing if it is gone."""
        if sequence in self._others:
            self._others.remove(sequence)
            if sequence is self.filling:
                self.filling = None
            sequence.keep(0)
            self._free.append(sequence.number)
            for one in (self.main, *self._others):
                one.shares.pop(sequence.number, None)
        if sequence is self.prepared:
            self.forget_prepared()

    def forget_prepared(self) -> None:
        """Nothing is prepared any more: it was dropped, or became the chat's."""
        self.prepared, self.prepared_end = None, 0
        if self.filling is not None:
            self.drop(self.filling)

    def _new(self) -> LiveSequence:
        return LiveSequence(
            self.context,
            self._vocabulary,
            sliding_window=self._sliding_window,
            on_gpu=self.on_gpu,
            number=self._free.pop(),
            dry=self._dry,
        )

    def _use(self, sequence: LiveSequence) -> None:
        if sequence is not self.main:
            self._others.remove(sequence)
            self._others.append(sequence)

    def _drop_oldest(self, spared: Collection[LiveSequence]) -> bool:
        oldest = next((one for one in self._others if one not in spared), None)
        if oldest is None:
            return False
        self.drop(oldest)
        return True

"""Where a sequence's tokens lie in the cache, so that a reading beside another gives what a fresh one gives.

llama.cpp's kernels for the CPU add up attention over the cells in blocks, and add nothing for the cells of
other sequences. So the result is the same to the last bit when a sequence's cells lie in the order of its
positions, and each block holds the positions that it would hold in a cache that is read from nothing.
Otherwise the sums differ in their last bits, and rounding makes a divergence of 1e-3 of that (measured with
the demo model). ggml's blocks are 16 to 64 cells, by processor.
"""

from __future__ import annotations

from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.slots import Slots

__all__ = ["PAGE", "align", "fork_at_page", "pack", "padding"]

PAGE = 64
"""Cells, a multiple of each block."""

MOST_FILLING = 4 * PAGE
"""Cells; a reading that is interrupted again and again is not worth more."""

MOST_TO_MOVE = 256 << 20
"""Bytes that are moved at once, so that nobody waits for it."""

NO_TEXT = b"\xff"
"""What filling tokens stand for: no prompt begins with that."""


def pack(slots: Slots) -> None:
    """Moves the chat's sequence to the first cells, where it stands alone. Not on a GPU: there it would
    travel to main memory and back, to kernels that sum in another way."""
    context, main = slots.context, slots.main
    movable = not (slots.on_gpu or slots.others or context.checkpointed)
    if movable and main.length and not context.pack(main.number, MOST_TO_MOVE):
        main.keep(0)


def fork_at_page(slots: Slots, kept: int) -> LiveSequence:
    """A fork of the chat's sequence that shares whole pages with it."""
    return slots.fork(slots.main, kept - kept % PAGE if _matters(slots) else kept)


def padding(slots: Slots, sequence: LiveSequence) -> int:
    """Cells that have to be filled before the sequence goes on, at most two pages."""
    filled = slots.filling.length if slots.filling else 0
    if not _matters(slots) or slots.cells_used == slots.prepared_end or filled > MOST_FILLING:
        return 0
    hole = sequence.length % PAGE
    cells = -(slots.cells_used - hole) % PAGE
    return cells if cells >= hole else cells + PAGE


def align(slots: Slots, sequence: LiveSequence) -> None:
    """Before a sequence is read on beside the chat's: its next token comes to the beginning of a page.

    Holds where the cells that are used come first; where they do not, only the last bits are lost.
    """
    count = padding(slots, sequence)
    if not count:
        return
    sequence.keep(sequence.length - sequence.length % PAGE)
    if slots.filling is None:
        slots.filling = slots.fresh((sequence,))
    filling = slots.filling
    ids = [0] * count
    if slots.context.decode(ids, filling.length, filling.number) == 0:
        filling.cache.add(ids, [NO_TEXT] * count)
    else:
        filling.settle()


def _matters(slots: Slots) -> bool:
    return not (slots.on_gpu or slots.context.checkpointed)

"""What a drag over the transcript selects, as the text that was written."""

from __future__ import annotations

from collections.abc import Sequence

from textual.selection import Selection

from cards.display import display_text
from chat.tui.blocks import GUTTER, Block, text_width
from chat.tui.heights import Heights
from chat.tui.rows import wrap


def selected_text(blocks: Sequence[Block], heights: Heights, selection: Selection) -> str:
    """The text between two screen positions; several messages are parted by a blank line, each with its
    name."""
    if not blocks or not heights.total:
        return ""
    start_row, start_x = selection.start.transpose if selection.start else (0, 0)
    end_row, end_x = selection.end.transpose if selection.end else (heights.total - 1, -1)
    first, above = heights.at(max(0, min(start_row, heights.total - 1)))
    last, below = heights.at(max(0, min(end_row, heights.total - 1)))
    parts = []
    for index in range(first, last + 1):
        begin = (above, start_x) if index == first else (0, 0)
        end = (below, end_x) if index == last else (None, -1)
        part = _of_block(blocks[index], text_width(heights.width), begin, end)
        if part:
            parts.append(part)
    return "\n\n".join(parts)


def _of_block(block: Block, width: int, begin: tuple[int, int], end: tuple[int | None, int]) -> str:
    """The part of a message from (row, column) to (row, column); a row of None is the end of it."""
    rows = wrap(block.text, width)
    above = block.rows_of_thought(width)
    begin = (_below(begin[0], above), begin[1] if begin[0] > above or not begin[0] else 0)
    end = (end[0] and _below(end[0], above), end[1] if not end[0] or end[0] > above else 0)
    lines = []
    if begin[0] == 0 and (end[0] is None or end[0] > 0):
        lines.append(display_text(block.name, single_line=True))
    if end[0] != 0 and begin[0] <= len(rows):
        start, stop = 0, len(block.text)
        if begin[0] > 0:
            row = rows[begin[0] - 1]
            start = min(row[0] + max(0, begin[1] - GUTTER), row[1])
        if end[0] is not None and end[0] <= len(rows):
            row = rows[end[0] - 1]
            stop = row[1] if end[1] == -1 else min(row[0] + max(0, end[1] - GUTTER), row[1])
        lines.append(block.text[start:stop])
    elif end[0] == 0:
        name = display_text(block.name, single_line=True)
        lines.append(name[max(0, begin[1] - GUTTER) : None if end[1] == -1 else max(0, end[1] - GUTTER)])
    return "\n".join(line for line in lines if line)


def _below(row: int, above: int) -> int:
    """A row of a block as if its folded or opened thought, so many rows, were not there."""
    return row if row == 0 else max(1, row - above)

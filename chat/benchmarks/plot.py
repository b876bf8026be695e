"""A plot in letters: tokens read over the turns of a chat."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["bars"]

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def bars(values: Sequence[int], height: int = 6) -> list[str]:
    """Lines from the top down: one column for each value, the largest one `height` lines tall."""
    most = max(values, default=0) or 1
    eighths = [max(round(value / most * height * 8), 1 if value else 0) for value in values]
    lines = []
    for level in range(height - 1, -1, -1):
        columns = "".join(_EIGHTHS[min(max(one - 8 * level, 0), 8)] for one in eighths)
        scale = f"{round(most * (level + 1) / height):>6} "
        lines.append((scale + columns).rstrip())
    return lines

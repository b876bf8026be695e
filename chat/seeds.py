"""The seeds of replies: drawn anew in every process, or derived from one that was given."""

from __future__ import annotations

import secrets

LIMIT = 2**32 - 1
"""Seeds are below this: llama.cpp takes 2**32 - 1 itself for `draw one yourself`."""

STEP = 0x9E3779B9
"""2**32 divided by the golden ratio: no two of a session's replies share a seed."""


class Seeds:
    """One seed a reply."""

    def __init__(self, first: int | None) -> None:
        """With `first`, reply n has a seed derived from it, the first reply `first` itself."""
        self._next = None if first is None else first % LIMIT

    def next(self) -> int:
        """The seed of the next reply."""
        if self._next is None:
            return secrets.randbelow(LIMIT)
        seed = self._next
        self._next = (seed + STEP) % LIMIT
        return seed

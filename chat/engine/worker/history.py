"""What the samplers look back on: the end of the prompt and the reply so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chat.engine.worker.candidates import Ints, Native

__all__ = ["History"]


class History:
    """The tokens that penalties, DRY and biased sequences see, and the native samplers that are told them."""

    def __init__(self, order: int = 0) -> None:
        self.window = order
        """Tokens of the past that anyone looks back on."""
        self.ids: Ints = np.zeros(0, np.int32)
        """Each token of it once."""
        self.natives: list[Native] = []
        """Samplers that are told every token."""
        self._seen: set[int] = set()
        self._ordered = order
        self._recent: list[int] = []

    def look_back(self, count: int) -> None:
        """So many tokens matter."""
        self.window = max(self.window, count)

    def keep_order(self, count: int) -> None:
        """`recent` and `ends_with` are to know so many tokens."""
        self._ordered = max(self._ordered, count)
        self.look_back(count)

    def fill(self, tokens: Sequence[int]) -> None:
        """Starts afresh with the tail of these."""
        tail = tokens[max(0, len(tokens) - self.window) :] if self.window else []
        self._seen = set(tail)
        self.ids = np.fromiter(dict.fromkeys(tail), np.int32, len(self._seen))
        self._recent = list(tail[max(0, len(tail) - self._ordered) :]) if self._ordered else []
        for native in self.natives:
            native.reset()
            for token in tail:
                native.accept(token)

    def accept(self, token: int) -> None:
        """One more."""
        if not self.window:
            return
        for native in self.natives:
            native.accept(token)
        if token not in self._seen:
            self._seen.add(token)
            self.ids = np.append(self.ids, np.int32(token))
        if self._ordered:
            self._recent.append(token)
            if len(self._recent) > 2 * self._ordered:
                del self._recent[: -self._ordered]

    def recent(self, count: int) -> Sequence[int]:
        """The last tokens, oldest first."""
        return self._recent[-count:]

    def ends_with(self, tokens: Sequence[int]) -> bool:
        """Whether these are the last tokens."""
        return tuple(self._recent[-len(tokens) :]) == tuple(tokens)

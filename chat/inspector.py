"""The sampler inspector of a session: how the tokens of its replies were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the screen's first frame waits for no protocol
    from chat.engine.protocol import TokenProbs

__all__ = ["BEST", "Inspector"]

BEST = 10
"""Candidates that a screen shows before and after each sampler."""
KEPT = 8
"""Replies whose record is kept."""


@dataclass(slots=True)
class Inspector:
    """What is to be recorded of replies, and what was of the last ones. It is never stored."""

    wanted: int = 0
    """So many of the best candidates before and after each sampler, for every token; 0: nothing."""
    tokens: list[TokenProbs] = field(default_factory=list)
    """Of the last reply, in the order in which they were written."""
    _records: dict[str, list[TokenProbs]] = field(default_factory=dict)

    def begin(self, message_id: str) -> None:
        """A reply begins; one without an id, which is not stored, is the last reply and no more."""
        self.tokens = []
        if message_id and self.wanted:
            self._records[message_id] = self.tokens
            while len(self._records) > KEPT:
                del self._records[next(iter(self._records))]

    def add(self, tokens: Sequence[TokenProbs]) -> None:
        """More of its tokens."""
        self.tokens += tokens

    def of(self, message_id: str) -> list[TokenProbs]:
        """Those of a message, as far as they were recorded."""
        return self._records.get(message_id, [])

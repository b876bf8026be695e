"""The sampler inspector of a session: how the tokens of the last reply were chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat.engine.protocol import TokenProbs

__all__ = ["Inspector"]


@dataclass(slots=True)
class Inspector:
    """What is to be recorded of replies, and what was of the last one. It is never stored."""

    wanted: int = 0
    """So many of the best candidates before and after each sampler, for every token; 0: nothing."""
    tokens: list[TokenProbs] = field(default_factory=list)
    """Of the last reply, in the order in which they were written."""

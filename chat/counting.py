"""Counting a prompt's tokens through the engine, without asking twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from chat.engine.protocol import Loaded, Span
from chat.engine.surface import EngineSurface
from presets.values import Segment

KEPT = 64
"""Prompts, and lorebook entries, whose counts are kept."""


def spans_of(segments: Sequence[Segment]) -> list[Span]:
    """A prompt as the engine takes it."""
    return [Span(text=segment.text, trusted=segment.trusted) for segment in segments]


class TokenCounts:
    """A `presets.values.CountTokens` that remembers the last prompts it counted for the model that is loaded.

    Whole prompts only: where a token ends depends on what stands beside it.
    """

    def __init__(self) -> None:
        self._model: Loaded | None = None
        self._counts: OrderedDict[tuple[tuple[str, bool], ...], list[int]] = OrderedDict()

    def count(self, engine: EngineSurface, segments: Sequence[Segment]) -> list[int]:
        """Tokens of each segment. Raises EngineError."""
        if engine.loaded != self._model:
            self._model = engine.loaded
            self._counts.clear()
        key = tuple((segment.text, segment.trusted) for segment in segments)
        if key not in self._counts:
            self._counts[key] = engine.count(spans_of(segments))
            while len(self._counts) > KEPT:
                self._counts.popitem(last=False)
        self._counts.move_to_end(key)
        return list(self._counts[key])

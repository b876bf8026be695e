"""Whether a format's markers are what it takes them for: single control tokens of the model's vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from presets.format import PromptFormat

__all__ = ["MarkerCheck", "Pieces", "check_markers"]

Pieces = Callable[[str], Sequence[bool]]
"""Tokenizes a trusted text: for each of its tokens, BOS left out, whether it is a control token."""


@dataclass(frozen=True, slots=True)
class MarkerCheck:
    """What became of a format's control markers in a vocabulary."""

    format: str
    good: tuple[str, ...]
    split: tuple[tuple[str, int], ...]
    """Markers that are plain text to this model, each with its number of tokens."""

    @property
    def sentence(self) -> str:
        """One line for people; empty when nothing needs to be said."""
        if not self.split:
            return ""
        shown = ", ".join(f"{marker} is {_tokens(count)}" for marker, count in self.split[:3])
        more = f" and {len(self.split) - 3} more" if len(self.split) > 3 else ""
        return (
            f"format {self.format} may be wrong for this model: its markers are no control tokens there"
            f" ({shown}{more}); try another format"
        )

    @property
    def verified(self) -> bool:
        """The format has control markers, and all of them are single control tokens."""
        return bool(self.good) and not self.split


def check_markers(format: PromptFormat, pieces: Pieces) -> MarkerCheck:
    """Looks up each of the format's `control` markers; a format of plain words has none."""
    found = [(marker, list(pieces(marker))) for marker in format.control]
    return MarkerCheck(
        format.id,
        tuple(marker for marker, tokens in found if tokens == [True]),
        tuple((marker, len(tokens)) for marker, tokens in found if tokens != [True]),
    )


def _tokens(count: int) -> str:
    return "a token of plain text" if count == 1 else f"{count} tokens"

"""Replies to one prompt that begin alike are led apart: each alternative is to be another one.

A sampling that leaves few candidates makes alternatives alike. So where a reply has begun as a sibling did,
what that one said next is taken out of the candidates that the samplers have left: at first only when another
good one is among them, a few tokens later for any other. (Two candidates a token, from there to the last
token that may be shared, keep eight replies apart.) Where the samplers leave nothing else, nothing is forced,
and the next token is looked at. A reply does not end where the same one has ended, however short: it would be
no alternative at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from chat.engine.worker.candidates import Candidates

__all__ = ["ANY", "SHARED", "Beginning", "Siblings"]

FREE = 3
"""First tokens that are nobody's business: most replies begin with a quotation mark or a name."""

SHARED = 8
"""First tokens that siblings may have in common, so that the one behind them must differ."""

ANY = 6
"""From this token on any candidate will do."""

GOOD = 0.02
"""What its probability must be before."""

Piece = Callable[[int], bytes]


class Beginning:
    """What one of the replies has come to, as bytes; it grows while that is written."""

    def __init__(self, text: bytes = b"", *, over: bool = False) -> None:
        self.text = text
        self.over = over
        """No more comes."""


class Siblings:
    """The other replies to a reply's prompt. `piece` gives the bytes of a token, `ends` are those that end a
    reply."""

    def __init__(self, others: Sequence[Beginning], piece: Piece, ends: Collection[int]) -> None:
        self._others = others
        self._piece = piece
        self._ends = ends
        self._place = 0
        self._said: list[bytes] = []

    def at(self, place: int, text: bytes) -> bool:
        """The reply has `place` tokens, which say `text`; whether a sibling began so, and `lead_apart` is to
        look at the next one."""
        text, self._place = text.lstrip(), place
        self._said = []
        for other in self._others:
            said = other.text.lstrip()
            is_same_so_far = said == text and other.over
            if is_same_so_far or (place >= FREE and len(said) > len(text) and said.startswith(text)):
                self._said.append(said[len(text) :])
        return bool(self._said)

    def lead_apart(self, candidates: Candidates) -> int:
        """Takes away what a sibling said next, when something else is left."""
        other = ~np.fromiter(map(self._is_said, candidates.ids.tolist()), np.bool_, candidates.ids.size)
        if self._place < ANY and b"" not in self._said:
            other &= self._good(candidates)
        if other.any():
            candidates.keep(other)
        return -1

    def _is_said(self, token: int) -> bool:
        piece = self._piece(token)
        for said in self._said:
            if (token in self._ends and not said) or (piece and said and _alike(piece, said)):
                return True
        return False

    @staticmethod
    def _good(candidates: Candidates) -> npt.NDArray[np.bool_]:
        weights = candidates.weights()
        return np.asarray(weights >= GOOD * weights.sum())


def _alike(piece: bytes, said: bytes) -> bool:
    return said.startswith(piece) or piece.startswith(said)

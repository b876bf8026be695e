"""The sampler inspector's record: the best candidates before and after each sampler."""

from __future__ import annotations

import numpy as np

from chat.engine.protocol import Candidate, SamplerStep, TokenProbs
from chat.engine.worker.candidates import Candidates
from chat.engine.worker.tokens import Vocabulary

__all__ = ["Recorder"]

DIGITS = 6
"""Of a probability."""


class Recorder:
    """Told by a chain what each sampler left; keeps it token by token."""

    def __init__(self, vocabulary: Vocabulary, best: int) -> None:
        self._vocabulary = vocabulary
        self._best = best
        self._steps: list[SamplerStep] = []
        self.tokens: list[TokenProbs] = []
        """Of the tokens that stand."""

    def __call__(self, sampler: str, candidates: Candidates) -> None:
        """The `watch` of a chain."""
        if sampler == "model":
            self._steps = []
        weights = candidates.weights().astype(np.float64)
        count = min(self._best, weights.size)
        places = np.argpartition(-weights, count - 1)[:count] if weights.size else np.zeros(0, np.int64)
        places = places[np.argsort(-weights[places], kind="stable")]
        total = float(weights.sum())
        best = [
            Candidate(
                id=int(candidates.ids[place]),
                text=self._text(int(candidates.ids[place])),
                p=round(float(weights[place]) / total, DIGITS),
            )
            for place in places
        ]
        left = int(np.count_nonzero(weights))
        self._steps.append(
            SamplerStep(sampler=sampler, left=left, best=[c for c in best if c.p > 0 or left < 2])
        )

    def chosen(self, place: int, token: int) -> None:
        """The steps since `model` chose the token at this place of the reply; what stood there is dropped."""
        del self.tokens[place:]
        self.tokens.append(TokenProbs(id=token, text=self._text(token), steps=self._steps))

    def _text(self, token: int) -> str:
        piece = self._vocabulary.piece(token) or self._vocabulary.text(token)
        return piece.decode("utf-8", "replace")

"""The texts in a reply's settings as tokens of the model's vocabulary: biases, bans, protected tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chat.engine.worker.tokens import Vocabulary, continued_ids
from presets.sampling import Sampling

__all__ = ["BiasedSequence", "Words", "words_of"]

BANNED = -100.0
"""A bias as low as this bans, as it does for OpenAI's API and its followers."""

LINE_BREAKS = ("\n", "\n\n", "\n\n\n", " \n", " \n\n", "\r\n")
"""Texts whose tokens are line breaks and nothing else."""

BiasedSequence = tuple[tuple[int, ...], int, float]
"""The tokens before, the token, and what is added to its logit where they stand before it."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a sampling's texts are in one vocabulary."""

    banned: frozenset[int] = frozenset()
    biases: Mapping[int, float] = field(default_factory=dict)
    sequences: Sequence[BiasedSequence] = ()
    """Texts of several tokens are biased at their last one (Hugging Face's SequenceBiasLogitsProcessor)."""
    protected: Sequence[int] = ()
    """Tokens that XTC must not remove."""
    breakers: Sequence[str] = ()
    """What breaks DRY's sequences beside the sampling's own."""

    @property
    def longest(self) -> int:
        """Tokens to look back on for the sequences."""
        return max((len(before) for before, _token, _bias in self.sequences), default=0)


def words_of(vocabulary: Vocabulary, sampling: Sampling, breakers: Sequence[str] = ()) -> Words:
    """Looks the texts of a sampling up. Costs nothing where it has none."""
    banned = {token for token in sampling.banned_tokens if isinstance(token, int) and token < vocabulary.size}
    biases: dict[int, float] = {}
    sequences: list[BiasedSequence] = []
    wanted = [(text, bias) for text, bias in sampling.logit_bias.items() if bias]
    wanted += [(text, BANNED) for text in sampling.banned_tokens if isinstance(text, str)]
    for text, bias in wanted:
        for ids in _ways(vocabulary, text):
            if len(ids) > 1:
                sequences.append((ids[:-1], ids[-1], -math.inf if bias <= BANNED else bias))
            elif bias <= BANNED:
                banned.add(ids[0])
            else:
                biases[ids[0]] = biases.get(ids[0], 0.0) + bias
    return Words(
        frozenset(banned),
        biases,
        tuple(sequences),
        protected_tokens(vocabulary) if sampling.xtc_probability > 0 else (),
        tuple(dict.fromkeys(text for text in breakers if text)) if sampling.dry_multiplier > 0 else (),
    )


def protected_tokens(vocabulary: Vocabulary) -> tuple[int, ...]:
    """Line breaks and what ends a reply."""
    tokens = set(vocabulary.end_of_generation)
    for text in LINE_BREAKS:
        for token in continued_ids(vocabulary, text.encode()):
            piece = vocabulary.piece(token)
            if b"\n" in piece and not piece.strip():
                tokens.add(token)
    return tuple(sorted(tokens))


def _ways(vocabulary: Vocabulary, text: str) -> Iterator[tuple[int, ...]]:
    """The ids of a text as it stands in a reply; of a word also with a space before it."""
    name = text.encode("utf-8", "replace")
    special = next((entry.id for entry in vocabulary.specials if entry.text == name), None)
    if special is not None:
        yield (special,)
        return
    ways = [text, f" {text}"] if text[0].isalnum() else [text]
    yield from dict.fromkeys(tuple(continued_ids(vocabulary, way.encode("utf-8", "replace"))) for way in ways)

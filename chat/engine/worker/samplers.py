"""The sampler chain of one reply: llama.cpp's samplers and ours, over candidates in a numpy array.

Bans and biases, then the samplers in the order that is asked for, then the draw. Penalties, DRY and
top-n-sigma that stand first see the whole vocabulary; what comes after them sees what it may keep, where
that can be told from the best logit (min-p, top-k, TFS), else the candidates that a prefilter leaves. What is
neutral is left out, so `names` is the chain that is really in force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chat.engine.worker.building import DryShelf, Step, build, seed32
from chat.engine.worker.candidates import Candidates, Floats, Ints, Table
from chat.engine.worker.grammar import Grammar
from chat.engine.worker.history import History
from chat.engine.worker.words import Words
from presets.sampling import Sampling

__all__ = ["PREFILTER", "Chain", "NoNumbers"]

PREFILTER = 1e-5
"""Probability that the prefilter may drop at most. Exact sorting of a whole vocabulary costs milliseconds a
token, and the thousands of tokens at its end weigh less than this together."""

PREFILTER_CUTS = tuple(np.exp(np.float32(-depth)) for depth in (14.0, 18.0, 22.0))
"""Weights, the best token's being 1, that are tried as the cut until what lies below is little enough."""

FEW = 16
"""So many logits are set quicker one by one: an index array's code is not in the processor's cache."""
NEVER = np.float32(-np.inf)
"""The logit of what may not come next."""

Watch = Callable[[str, Candidates], None]
"""Told the name of each sampler and what it left."""


class NoNumbers(FloatingPointError):
    """The model gave something that is no number."""


class Chain:
    """Chooses the tokens of one reply. `vocab` is llama.cpp's handle; only DRY needs it.

    `banned` tokens are never chosen; `words` are the texts of the settings as tokens of the vocabulary;
    `watch` is told the candidates before and after each sampler, which costs time. `grammar`, which the chain
    takes over, is what the reply follows.
    """

    def __init__(
        self,
        size: int,
        sampling: Sampling,
        seed: int,
        banned: Iterable[int] = (),
        vocab: Any = None,
        *,
        words: Words | None = None,
        dry: DryShelf | None = None,
        watch: Watch | None = None,
        grammar: Grammar | None = None,
        draws_apart: bool = False,
    ) -> None:
        """`draws_apart`: `sample` may be given a `last` step."""
        words = words or Words()
        self.names: list[str] = []
        self._watch = watch
        self._work: Floats = np.zeros(size, np.float32)
        self._scratch = np.zeros(size, np.float32)
        self._table = Table(size)
        never = sorted({*banned, *words.banned})
        self._banned = np.array(never, np.intp) if len(never) > FEW else never
        if never:
            self.names.append(f"ban({len(never)})")
        self._biased = np.array(list(words.biases), np.int32)
        self._biases = np.array(list(words.biases.values()), np.float32)
        self._sequences = words.sequences
        if self._biased.size or self._sequences:
            self.names.append(f"logit_bias({self._biased.size + len(self._sequences)})")
        self._grammar = grammar
        if self._grammar:
            self.names.append("grammar")
        self._history = History(size, words.longest)
        self._parts = build(
            sampling,
            self._table,
            self._history,
            vocab,
            words,
            dry or DryShelf(),
            seed32(seed),
            apart=watch is not None,
            draws_apart=draws_apart,
        )
        parts = self._parts
        self._sharpness = 1.0 / parts.highest_temperature
        self.names += parts.head_names
        if parts.prefilter:
            self.names.append(f"prefilter({PREFILTER:g})")
        self.names += parts.names

    def prime(self, tokens: Sequence[int]) -> None:
        """Starts afresh, with the prompt's tail as the history that penalties and DRY look back on."""
        self._history.fill(tokens)
        for native in self._parts.natives:
            native.reset()
        if self._grammar:
            self._grammar.restart(())

    def rewind(self, prompt: Sequence[int], reply: Sequence[int]) -> None:
        """Back to an earlier token of the reply. What was drawn stays drawn: the dice are not reset."""
        self._history.fill([*prompt, *reply])
        if self._grammar:
            self._grammar.restart(reply)

    def accept(self, token: int) -> None:
        """Records a token that was chosen."""
        self._history.accept(token)
        for native in self._parts.learns:
            native.accept(token)
        if self._grammar:
            self._grammar.accept(token)

    def sample(
        self,
        logits: Floats,
        forbidden: Sequence[int] = (),
        biases: Mapping[int, float] | None = None,
        last: Step | None = None,
        *,
        in_place: bool = False,
    ) -> int:
        """The next token. `logits`: shape (vocabulary,), left as they are unless `in_place`, which saves a
        copy. `forbidden`, `biases` and `last` hold for this one token; `last` may take candidates away that
        all samplers have left, before one is drawn.

        Raises FloatingPointError when no token can be chosen, since all are banned; of these, NoNumbers when
        the model gave none, GrammarEnd when the grammar lets nothing follow.
        """
        work = logits
        if not in_place or self._grammar is not None:
            work = self._work
            np.copyto(work, logits)
        self._start(work, forbidden, biases)
        token = self._choose(work, last)
        if self._grammar is not None and not self._grammar.allows(token):
            np.copyto(work, logits)
            self._start(work, forbidden, biases)
            self._grammar.constrain(work)
            self._tell("grammar", work)
            token = self._choose(work, last)
        return token

    def close(self) -> None:
        """Frees the native samplers."""
        for native in (*self._history.natives, *self._parts.natives):
            native.close()
        if self._grammar:
            self._grammar.close()

    def _start(self, work: Floats, forbidden: Sequence[int], biases: Mapping[int, float] | None) -> None:
        """Puts bans and biases on the logits."""
        if self._watch is not None and not np.isfinite(work).any():
            raise NoNumbers("none of them is a number")
        self._tell("model", work)
        if self._biased.size:
            work[self._biased] += self._biases
        for before, token, bias in self._sequences:
            if self._history.ends_with(before):
                work[token] += bias
        if biases:
            for token, bias in biases.items():
                work[token] += bias
        _ban(work, self._banned)
        _ban(work, forbidden)
        if self._biased.size or self._sequences or len(self._banned) or forbidden or biases:
            self._tell("bans and biases", work)

    def _choose(self, work: Floats, last: Step | None) -> int:
        parts = self._parts
        self._look_back(work)
        likeliest = int(work.argmax())
        best = float(work[likeliest])
        if math.isnan(best) or best == math.inf:
            raise NoNumbers("not all of them are numbers")
        if not math.isfinite(best):
            raise FloatingPointError("no token can be chosen")
        if parts.takes_best:
            return likeliest
        steps = parts.steps
        head = parts.cuts_first.head(work, best) if parts.cuts_first else None
        if head is not None:
            candidates, steps = Candidates(head, work), steps[1:]
        elif parts.reach is not None:
            candidates = Candidates(parts.reach(work, best), work)
        elif parts.prefilter:
            ids = self._prefilter(work, best)
            candidates = Candidates(ids, work, self._scratch if self._sharpness == 1.0 else None)
        else:
            candidates = _all(work)
        if last is not None and not parts.greedy:
            steps = [*steps[:-1], ("siblings", last), steps[-1]]
        chosen = -1
        for name, step in steps:
            chosen = step(candidates)
            if self._watch is not None and name:
                self._watch(name, candidates)
        if chosen < 0:
            raise FloatingPointError("no token was chosen")
        return chosen

    def _look_back(self, work: Floats) -> None:
        """Penalties and what else works on the whole vocabulary, in place."""
        for name, head in self._parts.heads:
            head(work)
            if self._watch is not None:
                self._tell(name, work)

    def _tell(self, name: str, work: Floats) -> None:
        if self._watch is not None:
            self._watch(name, _all(work))

    def _prefilter(self, work: Floats, best: float) -> Ints:
        """The tokens that matter: those left out have less than PREFILTER of the probability together.

        Measured at temperature 1 or the reply's own, whichever is flatter, and before anything is cut.
        """
        weights = self._scratch
        np.subtract(work, best, out=weights)
        if self._sharpness != 1.0:
            np.multiply(weights, self._sharpness, out=weights)
        np.exp(weights, out=weights)
        total = float(weights.sum())
        for cut in PREFILTER_CUTS:
            ids: Ints = (weights >= cut).nonzero()[0]
            if total - float(weights[ids].sum()) <= PREFILTER * total:
                return ids
        return np.asarray(weights.nonzero()[0])


def _ban(logits: Floats, tokens: Sequence[int] | Ints) -> None:
    if len(tokens) > FEW:
        logits[np.asarray(tokens)] = NEVER
    else:
        for token in tokens:
            logits[token] = NEVER


def _all(logits: Floats) -> Candidates:
    """Every token that is not banned."""
    return Candidates(np.isfinite(logits).nonzero()[0], logits)

"""A GBNF grammar over the chain: the token that was drawn is checked, and only a wrong one costs more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np

from chat.engine.worker.candidates import Floats, Table

__all__ = ["Grammar", "GrammarEnd"]


class GrammarEnd(FloatingPointError):
    """The grammar lets nothing follow, not even the end where that is banned: the reply is complete."""


class Grammar:
    """Where a reply stands in a grammar. Raises ValueError when llama.cpp cannot read the text.

    Testing a whole vocabulary against a grammar costs milliseconds, so, as in llama-server, a token is drawn
    without it and drawn again, among those that it allows, only when it forbids that one.
    """

    def __init__(self, vocab: Any, text: str, table: Table) -> None:
        self._table = table
        self._handle: Any = api.llama_sampler_init_grammar(vocab, text.encode("utf-8", "replace"), b"root")
        if not self._handle:
            raise ValueError("The grammar is not GBNF that llama.cpp can read; the log says where.")

    def allows(self, token: int) -> bool:
        """Whether this token may come next."""
        self._table.load(np.array([token], np.int32), np.zeros(1, np.float32), 1)
        self._table.apply(self._handle, 1)
        return bool(np.isfinite(self._table.rows[0]["logit"]))

    def constrain(self, logits: Floats) -> None:
        """Bans, in place, what may not come next. Raises GrammarEnd when nothing is left."""
        self._table.load(slice(None), logits, logits.size)
        self._table.apply(self._handle, logits.size)
        np.copyto(logits, self._table.rows["logit"])
        if not np.isfinite(logits).any():
            raise GrammarEnd("the grammar is complete")

    def accept(self, token: int) -> None:
        """Goes on behind a token that it allowed; llama.cpp ends the process over any other."""
        api.llama_sampler_accept(self._handle, token)

    def restart(self, tokens: Sequence[int]) -> None:
        """Begins anew, and goes on behind tokens that it allowed before."""
        api.llama_sampler_reset(self._handle)
        for token in tokens:
            self.accept(token)

    def close(self) -> None:
        if self._handle:
            api.llama_sampler_free(self._handle)
            self._handle = None

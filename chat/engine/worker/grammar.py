"""A GBNF grammar over the chain: the token that was drawn is checked, and only a wrong one costs more."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np

from chat.engine.worker.candidates import Floats, Table
from chat.engine.worker.tokens import Vocabulary, continued_ids

__all__ = ["Grammar", "GrammarEnd"]

LEADS = ("", " ", "\n")
"""What a reply may have begun with that is not in its text: white space there is not shown."""


class GrammarEnd(FloatingPointError):
    """The grammar lets nothing follow, not even the end where that is banned: the reply is complete."""


class Grammar:
    """Where a reply stands in a grammar. Raises ValueError when llama.cpp cannot read the text.

    `written` is what stands of the reply already: the grammar goes on behind it; ValueError when that does
    not follow it. `after`: thinking is under way, and the grammar begins behind the first of these marks and
    the white space there.

    Testing a whole vocabulary against a grammar costs milliseconds, so, as in llama-server, a token is drawn
    without it and drawn again, among those that it allows, only when it forbids that one.
    """

    def __init__(
        self, vocabulary: Vocabulary, text: str, *, written: str = "", after: Sequence[str] = ()
    ) -> None:
        self._vocabulary = vocabulary
        self._table = Table(vocabulary.size)
        self._all_ids = np.arange(vocabulary.size)
        self._handle: Any = api.llama_sampler_init_grammar(
            vocabulary.handle, text.encode("utf-8", "replace"), b"root"
        )
        if not self._handle:
            raise ValueError("The grammar is not GBNF that llama.cpp can read; the log says where.")
        self._marks = tuple(mark for mark in after if mark)
        self._written = () if self._marks else self._tokens_of(written)
        self.restart(())

    def allows(self, token: int) -> bool:
        """Whether this token may come next."""
        return self._waits_for(token) or self._fits(token)

    def constrain(self, logits: Floats) -> None:
        """Bans, in place, what may not come next. Raises GrammarEnd when nothing is left."""
        self._table.load(self._all_ids, logits)
        self._table.apply(self._handle, logits.size)
        np.copyto(logits, self._table.rows["logit"])
        if not np.isfinite(logits).any():
            raise GrammarEnd("the grammar is complete")

    def accept(self, token: int) -> None:
        """Goes on behind a token that it allowed; llama.cpp ends the process over any other."""
        if not self._waits_for(token):
            self._lead = False
            api.llama_sampler_accept(self._handle, token)
        elif self._thought is not None:
            self._think(self._piece(token))

    def restart(self, tokens: Sequence[int]) -> None:
        """Begins anew, and goes on behind tokens that it allowed before."""
        api.llama_sampler_reset(self._handle)
        self._thought: str | None = "" if self._marks else None
        """The end of the thinking; None when there is none any more."""
        self._lead = bool(self._marks)
        """Nothing but white space has come behind the thinking."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in self._written:
            api.llama_sampler_accept(self._handle, token)
        for token in tokens:
            self.accept(token)

    def close(self) -> None:
        if self._handle:
            api.llama_sampler_free(self._handle)
            self._handle = None

    def _fits(self, token: int) -> bool:
        self._table.load(np.array([token], np.int32), np.zeros(1, np.float32))
        self._table.apply(self._handle, 1)
        return bool(np.isfinite(self._table.rows[0]["logit"]))

    # Behind thinking ----------------------------------------------------------------------------------------

    def _waits_for(self, token: int) -> bool:
        """The token belongs to the thinking, or to the white space behind it."""
        if self._thought is not None:
            return True
        return self._lead and self._piece(token).isspace()

    def _think(self, piece: bytes) -> None:
        assert self._thought is not None
        longest = max(map(len, self._marks))
        self._thought += self._decoder.decode(piece)
        ended = any(mark in self._thought for mark in self._marks)
        self._thought = None if ended else self._thought[-longest:]

    def _piece(self, token: int) -> bytes:
        return self._vocabulary.piece(token) or self._vocabulary.spoken.get(token, b"")

    # Behind what is written ---------------------------------------------------------------------------------

    def _tokens_of(self, written: str) -> tuple[int, ...]:
        """Tokens of the text, each of which the grammar allows. Raises ValueError."""
        if not written:
            return ()
        for lead in LEADS:
            tokens = continued_ids(self._vocabulary, f"{lead}{written}".encode("utf-8", "replace"))
            if self._follow(tokens):
                return tuple(tokens)
        self.close()
        raise ValueError("What stands there does not follow the grammar: set another grammar or none.")

    def _follow(self, tokens: Sequence[int]) -> bool:
        api.llama_sampler_reset(self._handle)
        for token in tokens:
            if not self._fits(token):
                return False
            api.llama_sampler_accept(self._handle, token)
        return True

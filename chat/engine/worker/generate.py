"""One reply: read what of the prompt is new, then write token by token until something ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from chat.engine.protocol import Done, FinishReason, Generate
from chat.engine.worker.grammar import Grammar, GrammarEnd
from chat.engine.worker.llama import ABORTED, Floats
from chat.engine.worker.phrases import Held, PhraseGuard
from chat.engine.worker.probs import Recorder
from chat.engine.worker.reading import GenerateError, PromptReader, ReadingListener, decode_error
from chat.engine.worker.samplers import Chain
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.stream import ReplyStream
from chat.engine.worker.tokens import Tokenized, tokenize
from chat.engine.worker.words import words_of

__all__ = ["Listener", "Reply"]

EMPTY_TRIES = 4
"""First tokens that are forbidden, one after the other, while the reply ends before anything could be
shown."""


class Listener(ReadingListener, Protocol):
    """Who is told what happens."""

    def text(self, text: str) -> None: ...


class Reply:
    """Makes one reply. `cancelled` may turn true at any moment; the context's abort flag goes with it."""

    def __init__(
        self, sequence: LiveSequence, request: Generate, listener: Listener, cancelled: Callable[[], bool]
    ) -> None:
        self._sequence = sequence
        self._request = request
        self._listener = listener
        self._cancelled = cancelled
        self._prompt: Tokenized = tokenize(sequence.vocabulary, request.spans)
        self._reader = PromptReader(sequence, self._prompt, request.id, listener, cancelled)
        self._generated = 0
        self._stop = ""
        self._stream = self._new_stream()
        self._guard = self._new_guard()
        self._recorder = Recorder(sequence.vocabulary, request.probs) if request.probs > 0 else None
        self._rewound = 0
        self._first_token = -1
        self._image = b""
        """What the last token counts as when the next prompt is compared: the text that the user was
        given."""
        self._prompt_cells = 0
        """Where the reply begins in the cache. Not always the prompt's own length: what was sampled in
        earlier turns stays there as it was sampled."""

    def run(self) -> Done:
        """The whole reply. Raises GenerateError; the cache's record is true whatever happens."""
        started = time.monotonic()
        reason: FinishReason = "cancelled"
        chain = self._new_chain()  # before the reading: a grammar that is none is said at once
        try:
            whole = self._reader.read()
            self._prompt_cells = len(self._sequence.cache.ids)
            read = time.monotonic()
            if whole:
                reason = self._write(chain)
        finally:
            chain.close()
        return Done(
            id=self._request.id,
            text=self._stream.text,
            finish_reason=reason,
            stop=self._stop,
            prompt_tokens=self._reader.prompt_tokens,
            evaluated_tokens=self._reader.evaluated,
            reused_tokens=self._reader.plan.kept,
            generated_tokens=self._generated,
            broken_at=self._reader.plan.broken_at,
            read_seconds=read - started,
            write_seconds=time.monotonic() - read,
            samplers=chain.names if whole else [],
            rewound_tokens=self._rewound,
            probs=self._recorder.tokens if self._recorder else [],
        )

    def _new_stream(self) -> ReplyStream:
        request = self._request
        last = next((span.text for span in reversed(request.spans) if span.text), "")
        return ReplyStream(
            request.stops,
            request.strip_names,
            keep_leading_space=request.keep_leading_space,
            skip_spaces=self._prompt.stripped,
            after_newline=last.endswith("\n"),
        )

    def _new_guard(self) -> PhraseGuard | None:
        sampling, vocabulary = self._request.sampling, self._sequence.vocabulary
        if not sampling.banned_strings or sampling.banned_strength == 0:
            return None
        before = ""
        if self._request.keep_leading_space:
            before = "".join(span.text for span in self._request.spans[-2:])
        strength = sampling.banned_strength
        return PhraseGuard(sampling.banned_strings, strength, vocabulary.size, vocabulary.piece, before)

    def _new_chain(self) -> Chain:
        vocabulary, request = self._sequence.vocabulary, self._request
        banned = set(vocabulary.suppressed)
        if request.ban_eos or request.sampling.ban_eos:
            banned |= vocabulary.end_of_generation
        chain = Chain(
            vocabulary.size,
            request.sampling,
            request.seed,
            banned,
            vocabulary.handle,
            words=words_of(vocabulary, request.sampling, request.dry_breakers),
            dry=self._sequence.dry,
            watch=self._recorder,
            grammar=self._new_grammar(),
        )
        if self._guard is not None:
            chain.names.insert(0, f"banned_strings({len(request.sampling.banned_strings)})")
        return chain

    def _new_grammar(self) -> Grammar | None:
        request = self._request
        if not request.sampling.grammar:
            return None
        try:
            return Grammar(
                self._sequence.vocabulary,
                request.sampling.grammar,
                written=request.grammar_text,
                after=request.grammar_after,
            )
        except ValueError as error:
            raise GenerateError("request", str(error)) from error

    # Writing ------------------------------------------------------------------------------------------------

    def _write(self, chain: Chain) -> FinishReason:
        """Writes until something ends the reply; begins again when that came before anything could be
        shown."""
        sequence = self._sequence
        first: Floats = np.array(sequence.context.logits())
        forbidden: list[int] = []
        while True:
            chain.prime(self._prompt.ids)
            reason = self._attempt(chain, first, forbidden)
            last = self._stream.finish(stopped=reason == "stop", ended=reason == "eos")
            if last:
                self._listener.text(last)
            sequence.cache.mark_solid(self._prompt_cells, self._stream.solid_bytes)
            if self._stream.text or reason not in ("eos", "stop") or len(forbidden) == EMPTY_TRIES:
                return reason
            if self._first_token < 0:  # a grammar or banned phrases leave nothing to begin with
                return reason
            if sequence.keep(self._prompt_cells) < self._prompt_cells:  # a model that cannot go back
                return reason
            forbidden.append(self._first_token)
            self._stream, self._generated, self._stop = self._new_stream(), 0, ""
            if self._guard is not None:
                self._guard.restart()

    def _attempt(self, chain: Chain, logits: Floats, forbidden: Sequence[int]) -> FinishReason:
        """One way to write the reply; how it ended."""
        reason = self._write_tokens(chain, logits, forbidden)
        if self._guard is not None and self._release(self._guard.flush()):
            return "stop"
        return reason

    def _write_tokens(self, chain: Chain, logits: Floats, forbidden: Sequence[int]) -> FinishReason:
        sequence, request = self._sequence, self._request
        context, cache, vocabulary = sequence.context, sequence.cache, sequence.vocabulary
        limit = min(request.max_tokens, context.size - self._prompt_cells)
        ends = vocabulary.end_of_generation
        not_yet = tuple(ends)
        not_first = (*forbidden, *ends)
        least = request.sampling.min_tokens
        self._first_token = -1
        while (place := self._generated) < limit:
            if self._cancelled():
                return "cancelled"
            banned = not_first if place == 0 else not_yet if place < least else ()
            try:
                token = self._sample(chain, logits, banned)
            except _NothingLeft as left:
                return left.reason
            if place == 0:
                self._first_token = token
                cache.reply_starts.add(self._prompt_cells)
            if token in ends:
                return "eos"
            self._generated += 1
            chain.accept(token)
            if self._guard is None:
                if self._take(token):
                    return "stop"
            elif (back := self._guard.push(place, token)) is not None:
                status = self._go_back(chain, back)
                if status != 0:
                    return _cut_short(status)
                logits = context.logits()
                continue
            else:
                self._image = vocabulary.image(token)  # until it is released
                if self._release(self._guard.free()):
                    return "stop"
            if self._generated == limit:  # its last token is read when the next prompt holds it
                break
            status = context.decode_one(token, len(cache.ids), sequence.number)
            if status != 0:
                sequence.settle()
                return _cut_short(status)
            cache.add((token,), (self._image,))
            logits = context.logits()
        return "length"

    def _sample(self, chain: Chain, logits: Floats, banned: Sequence[int]) -> int:
        place = self._generated
        biases = self._guard.biases(place) if self._guard is not None else None
        try:
            token = chain.sample(logits, banned, biases)
        except GrammarEnd:
            raise _NothingLeft("stop" if biases else "eos") from None
        except FloatingPointError as error:
            if biases:
                raise _NothingLeft("stop") from None
            said = f"The model gave no usable probabilities ({error})."
            raise GenerateError("internal", said) from error
        if self._recorder is not None:
            self._recorder.chosen(place, token)
        return token

    def _take(self, token: int) -> bool:
        """Sends what a token frees; whether it completed a stop."""
        vocabulary = self._sequence.vocabulary
        piece = vocabulary.piece(token)
        if not piece:
            self._stop = self._stream.names_stop(vocabulary.text(token).decode("utf-8", "replace"))
            if self._stop or token not in vocabulary.spoken:
                self._image = vocabulary.image(token)
                return bool(self._stop)
        text, self._stop = self._stream.push(piece or vocabulary.spoken[token])
        self._image = self._stream.decoded.encode() if piece else vocabulary.image(token)
        if text:
            self._listener.text(text)
        return bool(self._stop)

    def _release(self, freed: Sequence[Held]) -> bool:
        """Sends tokens that were held back; whether one completed a stop."""
        images = self._sequence.cache.images
        for held in freed:
            stopped = self._take(held.token)
            cell = self._prompt_cells + held.position
            if cell < len(images):
                images[cell] = self._image
            if stopped:
                return True
        return False

    def _go_back(self, chain: Chain, place: int) -> int:
        """Takes back the reply's tokens from one on; llama_decode's status."""
        sequence, start = self._sequence, self._prompt_cells
        self._rewound += self._generated - place
        self._generated = place
        status = sequence.back_to(start + place)
        if status == 0:
            chain.rewind(self._prompt.ids, sequence.cache.ids[start:])
        return status


class _NothingLeft(Exception):
    """No token may come next: a grammar is complete, or every one would complete a banned phrase."""

    def __init__(self, reason: FinishReason) -> None:
        self.reason: FinishReason = reason


def _cut_short(status: int) -> FinishReason:
    """How a reply ends whose decode failed. Raises GenerateError unless it was cancelled."""
    if status != ABORTED:
        raise decode_error(status)
    return "cancelled"

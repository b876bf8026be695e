"""The writing of one reply, a token at a time: logits go in, the token to decode next comes out.

Whoever decodes may do so for one reply or for several in one batch; a `Writer` knows only its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chat.engine.protocol import FinishReason, Generate
from chat.engine.worker.grammar import Grammar, GrammarEnd
from chat.engine.worker.llama import ABORTED, Floats
from chat.engine.worker.phrases import Held, PhraseGuard
from chat.engine.worker.probs import Recorder
from chat.engine.worker.reading import GenerateError, NumbersLost, decode_error
from chat.engine.worker.samplers import Chain, NoNumbers
from chat.engine.worker.sequence import CHUNK, LiveSequence
from chat.engine.worker.siblings import Beginning, Siblings
from chat.engine.worker.stream import ReplyStream
from chat.engine.worker.tokens import Tokenized
from chat.engine.worker.words import Words, words_of

__all__ = ["OVER", "Writer"]

OVER = -1
"""Instead of a token: nothing more is to be decoded."""

EMPTY_TRIES = 4
"""First tokens that are forbidden, one after the other, while the reply ends before anything could be
shown."""


class Writer:
    """Writes one reply. `begin` and then `step` after each decode give the next token, OVER at the end.

    Whoever decodes a token adds it to the sequence's record with `image`, and calls `catch_up` before.
    Making one raises GenerateError for settings that are none, `begin` and `step` for logits that are none.
    """

    def __init__(
        self,
        sequence: LiveSequence,
        request: Generate,
        prompt: Tokenized,
        say: Callable[[str], None],
        siblings: Sequence[Beginning] = (),
        *,
        beginning: Beginning | None = None,
        words: Words | None = None,
    ) -> None:
        """`say` is given text to show; `siblings` are replies that this one is to differ from, `beginning` is
        its own for theirs; `words` are those of the request, where they were looked up before."""
        self.sequence = sequence
        """Where it is written; another one may be given before `begin`."""
        self.beginning = beginning or Beginning()
        self.reason: FinishReason | None = None
        """How it ended."""
        self.generated = 0
        self.rewound = 0
        self.stop = ""
        self.image = b""
        """What the token that `step` gave counts as when the next prompt is compared: the text that the user
        was given."""
        self._request = request
        self._prompt = prompt
        self._say = say
        self._ends = sequence.vocabulary.end_of_generation
        self._stream = self._new_stream()
        self._guard = self._new_guard()
        self._recorder = Recorder(sequence.vocabulary, request.probs) if request.probs > 0 else None
        self._siblings = Siblings(siblings, sequence.vocabulary.piece, self._ends) if siblings else None
        self._said: list[bytes] = []
        """The bytes of each token, where siblings look at them."""
        self._chain = self._new_chain(words, len(siblings))
        self._forbidden: list[int] = []
        """First tokens that led to nothing."""
        self._lost: tuple[list[int], list[bytes]] = ([], [])

    def close(self) -> None:
        """Frees the samplers."""
        self._chain.close()

    @property
    def text(self) -> str:
        """What was shown."""
        return self._stream.text

    @property
    def samplers(self) -> list[str]:
        """The chain in force."""
        return self._chain.names

    @property
    def recorder(self) -> Recorder | None:
        """How the tokens were chosen, where that was asked for."""
        return self._recorder

    # The steps ----------------------------------------------------------------------------------------------

    def begin(self, first: Floats, limit: int | None = None) -> int:
        """The first token behind the prompt, which stands in the sequence; `first` are its logits, kept as
        they are while the reply is written. `limit`: tokens at most, fewer than the request allows."""
        room = self.sequence.context.size - self.sequence.length
        self._start = self.sequence.length
        self._limit = min(self._request.max_tokens, room, limit if limit is not None else room)
        self._first = first
        self._first_token = OVER
        self._chain.prime(self._prompt.ids)
        return self.step(first)

    def step(self, logits: Floats) -> int:
        """Takes what the last token led to; the token to decode next."""
        place = self.generated
        if place >= self._limit:
            return self.end("length")
        try:
            token = self._sample(logits, place)
        except _NothingLeft as left:
            return self.end(left.reason)
        if place == 0:
            self._first_token = token
            self.sequence.cache.reply_starts.add(self._start)
        if token in self._ends:
            return self.end("eos")
        self.generated = place + 1
        self._chain.accept(token)
        if self._siblings is not None:
            self._tell(place, token)
        if self._guard is None:
            if self._take(token):
                return self.end("stop")
        elif (back := self._guard.push(place, token)) is not None:
            return self._go_back(back)
        else:
            self.image = self.sequence.vocabulary.image(token)  # until it is released
            if self._release(self._guard.free()):
                return self.end("stop")
        if self.generated == self._limit:  # its last token is read when the next prompt holds it
            return self.end("length")
        return token

    def catch_up(self) -> int:
        """Reads again what a model that cannot go back has lost; llama_decode's status."""
        ids, images = self._lost
        if not ids:
            return 0
        self._lost = ([], [])
        sequence = self.sequence
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            status = sequence.context.decode(chunk, sequence.length, sequence.number)
            if status != 0:
                return status
            sequence.cache.add(chunk, images[start : start + CHUNK])
        return 0

    def end(self, reason: FinishReason) -> int:
        """Ends the reply, unless nothing could be shown and another beginning is worth a try."""
        if self._guard is not None and self._release(self._guard.flush()):
            reason = "stop"
        last = self._stream.finish(stopped=reason == "stop", ended=reason == "eos")
        if last:
            self._say(last)
        self.sequence.cache.mark_solid(self._start, self._stream.solid_bytes)
        if self._leads_to_nothing(reason):
            return self._begin_again()
        self.reason = reason
        self.beginning.over = reason in ("eos", "stop")
        return OVER

    def cut_short(self, status: int) -> None:
        """Ends the reply after a decode that failed. Raises GenerateError unless it was cancelled."""
        self.sequence.settle()
        self.end("cancelled")
        if status != ABORTED:
            raise decode_error(status)

    # One token ----------------------------------------------------------------------------------------------

    def _sample(self, logits: Floats, place: int) -> int:
        if place == 0:
            banned: Sequence[int] = (*self._forbidden, *self._ends)
        else:
            banned = tuple(self._ends) if place < self._request.sampling.min_tokens else ()
        biases = self._guard.biases(place) if self._guard is not None else None
        siblings = self._siblings
        apart = siblings is not None and siblings.at(place, self.beginning.text)
        try:
            last = siblings.lead_apart if siblings is not None and apart else None
            token = self._chain.sample(logits, banned, biases, last, in_place=logits is not self._first)
        except GrammarEnd:
            raise _NothingLeft("stop" if biases else "eos") from None
        except NoNumbers as error:
            said = f"The model's numbers overflowed ({error}); it starts afresh. Try again."
            raise NumbersLost("internal", said) from error
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
        vocabulary = self.sequence.vocabulary
        piece = vocabulary.piece(token)
        if not piece:
            self.stop = self._stream.names_stop(vocabulary.text(token).decode("utf-8", "replace"))
            if self.stop or token not in vocabulary.spoken:
                self.image = vocabulary.image(token)
                return bool(self.stop)
        text, self.stop = self._stream.push(piece or vocabulary.spoken[token])
        self.image = self._stream.decoded.encode() if piece else vocabulary.image(token)
        if text:
            self._say(text)
        return bool(self.stop)

    def _release(self, freed: Sequence[Held]) -> bool:
        """Sends tokens that were held back; whether one completed a stop."""
        images = self.sequence.cache.images
        for held in freed:
            stopped = self._take(held.token)
            cell = self._start + held.position
            if cell < len(images):
                images[cell] = self.image
            if stopped:
                return True
        return False

    def _tell(self, place: int, token: int) -> None:
        """The siblings learn what was said; the first tokens are what they ask for."""
        self._said[place:] = [self.sequence.vocabulary.piece(token)]
        self.beginning.text = b"".join(self._said)

    # The ways back ------------------------------------------------------------------------------------------

    def _go_back(self, place: int) -> int:
        """Takes back the reply's tokens from one on. The one before it is decoded again, for its logits."""
        self.rewound += self.generated - place
        self.generated = place
        sequence, end = self.sequence, self._start + place
        cache = sequence.cache
        ids, images, starts = cache.ids[:end], cache.images[:end], set(cache.reply_starts)
        kept = sequence.keep(end - 1)
        self._lost = (ids[kept:-1], images[kept:-1])
        cache.reply_starts = {start for start in starts if start < end}
        self._chain.rewind(self._prompt.ids, ids[self._start :])
        del self._said[place:]
        self.beginning.text = b"".join(self._said)
        self.image = images[-1]
        return ids[-1]

    def _leads_to_nothing(self, reason: FinishReason) -> bool:
        """The reply came to an end without a word, and the prompt stands ready for another beginning."""
        if self._stream.text or reason not in ("eos", "stop") or len(self._forbidden) == EMPTY_TRIES:
            return False
        if self._first_token < 0:  # a grammar or banned phrases leave nothing to begin with
            return False
        return self.sequence.keep(self._start) == self._start

    def _begin_again(self) -> int:
        self._forbidden.append(self._first_token)
        self._first_token = OVER
        self._stream, self.generated, self.stop = self._new_stream(), 0, ""
        self._said.clear()
        self.beginning.text = b""
        if self._guard is not None:
            self._guard.restart()
        self._chain.prime(self._prompt.ids)
        return self.step(self._first)

    # Its parts ----------------------------------------------------------------------------------------------

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
        sampling, vocabulary = self._request.sampling, self.sequence.vocabulary
        if not sampling.banned_strings or sampling.banned_strength == 0:
            return None
        before = ""
        if self._request.keep_leading_space:
            before = "".join(span.text for span in self._request.spans[-2:])
        strength = sampling.banned_strength
        return PhraseGuard(sampling.banned_strings, strength, vocabulary.size, vocabulary.piece, before)

    def _new_chain(self, words: Words | None, siblings: int) -> Chain:
        vocabulary, request = self.sequence.vocabulary, self._request
        banned = set(vocabulary.suppressed)
        if request.ban_eos or request.sampling.ban_eos:
            banned |= self._ends
        chain = Chain(
            vocabulary.size,
            request.sampling,
            request.seed,
            banned,
            vocabulary.handle,
            words=words or words_of(vocabulary, request.sampling, request.dry_breakers),
            dry=self.sequence.dry,
            watch=self._recorder,
            grammar=self._new_grammar(),
            draws_apart=siblings > 0,
        )
        if self._guard is not None:
            chain.names.insert(0, f"banned_strings({len(request.sampling.banned_strings)})")
        if siblings:
            chain.names.insert(-1, f"siblings({siblings})")
        return chain

    def _new_grammar(self) -> Grammar | None:
        request = self._request
        if not request.sampling.grammar:
            return None
        try:
            return Grammar(
                self.sequence.vocabulary,
                request.sampling.grammar,
                written=request.grammar_text,
                after=request.grammar_after,
            )
        except ValueError as error:
            raise GenerateError("request", str(error)) from error


class _NothingLeft(Exception):
    """No token may come next: a grammar is complete, or every one would complete a banned phrase."""

    def __init__(self, reason: FinishReason) -> None:
        self.reason: FinishReason = reason

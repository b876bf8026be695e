"""The writing of one reply, in as many stretches as it takes.

Most replies are one request to the engine. Another one follows, on the prompt and what stands there already,
when thinking has used up the length of the first, when thinking is long enough, and when a reply is to go on
by itself up to a target.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chat.breaks import broken_by
from chat.counting import spans_of
from chat.engine.protocol import Done, Reading, Text
from chat.engine.surface import Asked, EngineSurface, Operation, SwipesOperation
from chat.events import ReadingPrompt, SessionEvent, TextAdded, TextWasThinking, ThinkingAdded
from chat.output import meter, output_options, user_finder
from chat.tree import Generation, Message
from presets.output.stream import Limits, OutputStream
from presets.reasoning import PAIRS, Pair, Piece
from presets.sampling import Sampling
from presets.values import Mode, Prompt, Segment

if TYPE_CHECKING:
    from chat.session import Session

MOST = 40
"""Stretches of one reply at most."""
LEAST_ROOM = 8
"""Tokens that must be free in the context for another stretch."""
BEGINNING = 200
"""Characters of a sibling that tell how it begins."""

Begin = Callable[[Operation[Any]], None]
"""Told of each request."""

_MARKERS = {marker for pair in PAIRS for marker in (pair.open, pair.close)}
_MARKER = re.compile("|".join(map(re.escape, sorted(_MARKERS, key=len, reverse=True))))


@dataclass(slots=True)
class Totals:
    """What all stretches came to."""

    first: Done | None = None
    last: Done | None = None
    generated: int = 0
    evaluated: int = 0
    read: float = 0.0
    write: float = 0.0
    thinking_tokens: int = 0
    timings: dict[str, float] = field(default_factory=dict)

    def add(self, done: Done) -> None:
        self.first, self.last = self.first or done, done
        self.generated += done.generated_tokens
        self.evaluated += done.evaluated_tokens
        self.read += done.read_seconds
        self.write += done.write_seconds


class Stretches:
    """Writes one reply; `output` holds it. `events` may be iterated once, and raises EngineError."""

    def __init__(
        self,
        session: Session,
        engine: EngineSurface,
        prompt: Prompt,
        mode: Mode,
        path: list[Message],
        message: Message,
        stopped: threading.Event,
    ) -> None:
        """`stopped` is set by whoever stops the reply: no other stretch begins then."""
        self.totals = Totals()
        self._stopped = stopped
        self._session, self._engine, self._mode, self._path = session, engine, mode, path
        self.prompt = prompt
        self._message = message
        self._options = output_options(session)
        own = self._mode != "impersonate"
        limit = max(session.reply_tokens, self._options.auto_continue or 0)
        self.output = OutputStream(
            count=meter(engine),
            limits=Limits(self._options.target, limit) if own else None,
            finder=user_finder(session.card, session.persona)
            if own and self._options.stop_for_user
            else None,
            inside=_open_block(prompt),
            own_name=prompt.strip_names[0].rstrip(":") if prompt.strip_names else "",
        )
        self._count_thinking = meter(engine)
        self._thought_enough = False
        self._said_nothing = False
        self._thinking_since: float | None = None
        self._message_id = "" if mode == "impersonate" else message.id

    def events(self, seed: int, begin: Begin) -> Iterator[SessionEvent]:
        """Write it. `begin` is told of each request, so that it can be stopped."""
        self._session.inspector.begin(self._message_id)
        operation = self._request(self.prompt, seed)
        done = yield from self._stretch(operation, begin, first=True)
        if done is not None:
            yield from self._go_on(done, seed, begin)

    def several(self, seeds: Sequence[int]) -> SwipesOperation:
        """Ask for the first stretch of this reply, and of others to the same prompt, at once. Each of them
        takes its own text with `push`, and goes on with `after` when that is over."""
        spans, length = spans_of(self.prompt.segments), self._session.reply_tokens
        asked = self._asked(self.prompt)
        return self._engine.swipes(spans, self._sampling(), seeds=seeds, max_tokens=length, **asked)

    def push(self, text: str) -> Iterator[SessionEvent]:
        """More of the stretch under way; it should be ended as soon as `has_enough`."""
        yield from self._told(self.output.push(text))
        limit = self.prompt.think.limit
        if self.output.is_thinking and limit and not self._thought_enough:
            self._thought_enough = self._count_thinking(self.output.thinking) >= limit

    @property
    def has_enough(self) -> bool:
        """Nothing more is wanted of the stretch under way."""
        return bool(self.output.ended) or (self.output.is_thinking and self._thought_enough)

    def after(self, done: Done, seed: int, begin: Begin) -> Iterator[SessionEvent]:
        """What follows a stretch that was written beside others, to the reply's end."""
        self._session.inspector.begin(self._message_id)
        yield from self._go_on(done, seed, begin)

    def _go_on(self, done: Done | None, seed: int, begin: Begin) -> Iterator[SessionEvent]:
        for number in range(MOST):
            if done is None:
                return
            self.totals.add(done)
            self._session.inspector.add(done.probs)
            if self.output.ended or self._stopped.is_set() or number == MOST - 1:
                break
            pieces, prompt = self._next(done)
            yield from self._told(pieces)
            if prompt is None:
                break
            done = yield from self._stretch(self._request(prompt, seed), begin, first=False)
        yield from self._told(self.output.finish())
        self._end_thinking()

    def _request(self, prompt: Prompt, seed: int) -> Operation[Done]:
        return self._engine.generate(
            spans_of(prompt.segments),
            self._sampling(),
            seed=seed,
            max_tokens=self._session.reply_tokens,
            aside=self._mode == "impersonate",
            **self._asked(prompt),
        )

    def _asked(self, prompt: Prompt) -> Asked:
        session, closes = self._session, self.output.closes
        return {
            "stops": prompt.stops,
            "ban_eos": prompt.ban_eos or session.sampling.ban_eos,
            "strip_names": prompt.strip_names,
            "keep_leading_space": prompt.keep_leading_space,
            "dry_breakers": self._breakers(prompt),
            "grammar_text": "" if closes else self.prompt.base_text + self.output.whole,
            "grammar_after": closes,
            "siblings": self._siblings(),
            "probs": session.inspector.wanted,
            "shift": session.options.get("shift") == "on",
        }

    def _siblings(self) -> list[str]:
        """How the replies begin that stand where this one will; none where it has begun itself."""
        if self._mode != "reply" or self.output.raw:
            return []
        beside = self._session.tree.children(self._message.parent_id)
        made = (message for message in beside if message.generation is not None)
        return [(message.raw or message.text)[:BEGINNING] for message in made]

    def _sampling(self) -> Sampling:
        """The session's; what an earlier stretch wrote counts for the minimum length."""
        sampling = self._session.sampling
        if self._mode == "impersonate" and sampling.grammar:
            sampling = sampling.model_copy(update={"grammar": ""})  # which the character's replies follow
        if not sampling.min_tokens or not self.output.whole:
            return sampling
        left = max(0, sampling.min_tokens - meter(self._engine)(self.output.whole))
        return sampling.model_copy(update={"min_tokens": left})

    def _breakers(self, prompt: Prompt) -> list[str]:
        """What DRY must not take for repetition: the format's markers and the names of those who speak."""
        session = self._session
        names = (session.card.call_name, session.persona.name)
        turns = [shape for _role, shape in session.format.turns if shape is not None]
        around = [text for shape in turns for text in (shape.prefix, shape.suffix)]
        texts = (*names, *session.format.control, *around, *prompt.stops)
        return list(dict.fromkeys(text.strip() for text in texts if text.strip()))

    def _stretch(
        self, operation: Operation[Done], begin: Begin, *, first: bool
    ) -> Generator[SessionEvent, None, Done | None]:
        begin(operation)
        try:
            for event in operation:
                if isinstance(event, Reading) and first:
                    yield ReadingPrompt(event.done, event.total, event.reused)
                elif isinstance(event, Text):
                    yield from self.push(event.text)
                    if self.has_enough:
                        operation.cancel()
        except BaseException:
            # Whoever was listening has gone (closed generator, Ctrl+C), or it failed: stop the model.
            operation.cancel()
            raise
        return operation.result

    def _told(self, pieces: Iterable[Piece]) -> Iterator[SessionEvent]:
        if self.output.is_thinking and self._thinking_since is None:
            self._thinking_since = time.monotonic()
        for kind, text in pieces:
            if kind == "thinking":
                yield ThinkingAdded(self._message_id, text)
            elif kind == "all_thinking":
                yield TextWasThinking(self._message_id)
            else:
                self._end_thinking()
                yield TextAdded(self._message_id, text)

    def _end_thinking(self) -> None:
        if self._thinking_since is not None and "think" not in self.totals.timings:
            self.totals.timings["think"] = time.monotonic() - self._thinking_since
        if self.output.thinking and not self.totals.thinking_tokens and self._engine.loaded is not None:
            self.totals.thinking_tokens = meter(self._engine)(self.output.thinking)

    # What comes next ----------------------------------------------------------------------------------------

    def _next(self, done: Done) -> tuple[list[Piece], Prompt | None]:
        """The prompt of the next stretch, None when the reply is whole."""
        output, reason = self.output, done.finish_reason
        enough, self._thought_enough = self._thought_enough, False
        if self._room(done) < LEAST_ROOM or (reason == "cancelled" and not enough):
            return [], None
        if output.is_thinking:
            pieces: list[Piece] = []
            if reason == "stop" and done.stop.startswith("\n") and done.stop.endswith(":"):
                pieces = output.push(done.stop)  # in a thought a name is no turn
            elif reason != "length" or enough:
                pieces = output.push(self._closing())
            return pieces, self._onward()
        if enough or (reason == "length" and output.thinking and not self._is_long_enough()):
            return [], self._onward()
        if output.thinking and not output.whole and not self._said_nothing:
            self._said_nothing = True  # a request never begins with its end: now something is said
            return [], self._onward()
        if self._options.auto_continue and done.generated_tokens and not self._is_long_enough():
            return [], self._continued()
        return [], None

    def _is_long_enough(self) -> bool:
        target = self._options.auto_continue or self._session.reply_tokens
        return self._mode == "impersonate" or meter(self._engine)(self.output.whole) >= target

    def _room(self, done: Done) -> int:
        context = self._engine.loaded.context if self._engine.loaded else 0
        return context - done.prompt_tokens - done.generated_tokens

    def _closing(self) -> str:
        return next((f"\n{p.close}\n\n" for p in PAIRS if p.open in self.output.raw), self.prompt.think.close)

    def _onward(self) -> Prompt:
        """The same prompt with what was written so far."""
        written = tuple(_written(self.output.raw))
        segments = (*self.prompt.segments, *written)
        return replace(self.prompt, segments=segments, strip_names=(), keep_leading_space=True)

    def _continued(self) -> Prompt:
        """The prompt that continues the reply as it stands."""
        text = self.prompt.base_text + self.output.whole
        message = replace(self._message, text=text)
        path = self._path[:-1] if self._mode == "continue" else self._path
        return self._session.prompt_for([*path, message], "continue")


def _written(raw: str) -> Iterator[Segment]:
    """A reply's beginning as segments: the two marks around its thinking are what the model wrote as such."""
    place = 0
    for found in list(_MARKER.finditer(raw))[:2]:
        yield Segment("open", "reply", raw[place : found.start()], False)
        yield Segment("open", "reply", found[0], True)
        place = found.end()
    yield Segment("open", "reply", raw[place:], False)


def _open_block(prompt: Prompt) -> Pair | None:
    """The block of thinking that the prompt has opened."""
    if prompt.think.inside:
        return Pair(prompt.think.open.strip(), prompt.think.close.strip())
    last = next((one for one in reversed(prompt.segments) if one.text.strip()), None)
    if last is None or not last.trusted:
        return None
    return next((pair for pair in PAIRS if last.text.rstrip().endswith(pair.open)), None)


def settled(generation: Generation, stretches: Stretches, seconds: float) -> Generation:
    """The generation of a reply whose stretches are done."""
    totals, ended = stretches.totals, stretches.output.ended
    first, last = totals.first, totals.last
    if first is None or last is None:
        return generation
    reason: str = last.finish_reason
    if ended:
        reason = "stop" if ended in ("reply_length", "speaking_for_user") else "length"
    return replace(
        generation,
        prompt_tokens=first.prompt_tokens,
        evaluated_tokens=totals.evaluated,
        reused_tokens=first.reused_tokens,
        generated_tokens=totals.generated,
        timings={"read": totals.read, "write": totals.write, **totals.timings, "total": seconds},
        samplers=list(first.samplers),
        finish_reason=reason,
        ended_by=ended if reason == "stop" else "",
        thinking_tokens=totals.thinking_tokens,
        broken_at=first.broken_at,
        broken_by=broken_by(stretches.prompt, first),
    )

"""A chat that talks to itself: what each turn read, and what of it was new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cards.card import Card
from chat.benchmarks.measure import Missing
from chat.benchmarks.story import card, message
from chat.counting import spans_of
from chat.engine.client import Engine
from chat.engine.protocol import Span
from chat.events import ReplyEmpty, ReplyFailed
from chat.session import Session
from chat.store import Store
from presets.library import PresetLibrary
from presets.values import Persona, Prompt

__all__ = ["BEST", "Talk", "TurnCost"]

BEST = 1_000
"""Candidates that are kept after a slide."""


@dataclass(frozen=True, slots=True)
class TurnCost:
    """One turn, in tokens and seconds."""

    new: int
    """What stands behind the last reply in the prompt: the user's message and the markers around it."""
    evaluated: int
    generated: int
    write_seconds: float
    slid: bool
    """History left the prompt in this turn."""
    candidates: dict[int, float] | None = None
    """After a slide: the likeliest first tokens of the reply and their probabilities, as the model gave them.
    """

    @property
    def rate(self) -> float:
        """Tokens a second while the reply was written."""
        return self.generated / self.write_seconds


class Talk:
    """A session in a store that is forgotten, with a person who always has something to say."""

    def __init__(
        self,
        engine: Engine,
        format: str,
        *,
        sampling: str = "neutral",
        reply_tokens: int = 48,
        character: Card | None = None,
        options: dict[str, str] | None = None,
        banned: tuple[int, ...] = (),
    ) -> None:
        """`banned`: tokens that are never sampled, besides those that end a reply."""
        presets = PresetLibrary()
        chosen = presets.sampling(sampling).sampling.model_copy(
            update={"ban_eos": True, "banned_tokens": banned}
        )
        self.engine = engine
        self.session = Session.begin(
            Store.in_memory(),
            character or card(),
            Persona("Anna", "A visitor."),
            presets.format(format),
            chosen,
            engine=engine,
            seed=1,
            max_tokens=reply_tokens,
            options={"repetition_watch": "off", **(options or {})},
        )
        self.turns = 0
        self.sent: list[Span] = []
        """The last prompt."""

    def turn(self, words: Callable[[int], str] = message) -> TurnCost:
        """Says the next thing and waits for the answer. Raises Missing when there is none."""
        session = self.session
        self.turns += 1
        before = session.chat.window
        answered = session.path()[-1].id
        session.say(words(self.turns))
        prompt = session.prompt()
        self.sent = spans_of(prompt.segments)
        new = self._behind(prompt, answered)
        slid = prompt.window != before
        session.inspector.wanted = BEST if slid else 0
        for event in session.reply():
            if isinstance(event, ReplyFailed | ReplyEmpty):
                raise Missing(f"a reply of the benchmark failed: {event}")
        made = session.last
        assert made is not None
        return TurnCost(
            new,
            made.evaluated_tokens,
            made.generated_tokens,
            made.timings["write"],
            slid,
            {one.id: one.p for one in session.inspector.tokens[0].steps[0].best} if slid else None,
        )

    def _behind(self, prompt: Prompt, message_id: str) -> int:
        counts = self.engine.count(self.sent)
        last = max(
            (place for place, one in enumerate(prompt.segments) if one.source == f"message {message_id}"),
            default=-1,
        )
        return sum(counts[last + 1 :])

    def close(self) -> None:
        """Leaves the chat."""
        self.session.close()

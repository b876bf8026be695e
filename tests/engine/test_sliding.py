"""A session on a real worker with a small context: what its turns read while the oldest of them leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cards.card import card_from_document
from chat.breaks import WINDOW
from chat.counting import spans_of
from chat.engine.client import Engine
from chat.engine.protocol import Done
from chat.session import Session
from chat.store import Store
from chat.tree import Generation
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona, Prompt, Window

CONTEXT = 768
SAMPLING = Sampling(banned_tokens=(0, 1, 2))
"""Without tokens that have no text: a random model draws them now and then."""


@dataclass
class Play:
    """A chat with the tiny model, and what its turns cost."""

    session: Session
    engine: Engine
    surplus: list[int] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    slides: int = 0

    def turn(self, text: str) -> Generation:
        session = self.session
        before, window = session.path()[-1], session.chat.window
        session.say(text)
        list(session.reply())
        last = session.last
        assert last is not None
        assert session.path()[-1].generation == last, "no reply came"
        new = self.behind(before.id)
        self.surplus.append(last.evaluated_tokens - new)
        self.ratios.append(last.evaluated_tokens / new)
        self.slides += session.chat.window != window
        return last

    def prompt(self) -> Prompt:
        """The prompt of the last reply."""
        session = self.session
        path, budget = session.path()[:-1], session.windows.budget()
        return session.windows.with_window(path, "reply", session.chat.window, budget)

    def behind(self, message_id: str) -> int:
        """Tokens of that prompt behind a message."""
        prompt = self.prompt()
        sources = [segment.source for segment in prompt.segments]
        after = len(sources) - sources[::-1].index(f"message {message_id}")
        return sum((prompt.tokens or ())[after:])


@pytest.fixture
def play(tmp_path: Path, tiny_model: Path) -> Iterator[Callable[..., Play]]:
    opened: list[Play] = []

    def begin(format: str = "metharme", **more: object) -> Play:
        data = {
            "name": "Samuel",
            "description": "A vampire who guards the library. " * 4,
            "first_mes": "Come in.",
        }
        card = card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]
        engine = Engine(tmp_path / "worker.log")
        engine.load(tiny_model, context=CONTEXT).wait()
        session = Session.begin(
            Store(tmp_path / "chats.db"),
            card,
            Persona("Alex"),
            PresetLibrary(None).format(format),
            SAMPLING,
            engine=engine,
            seed=3,
            max_tokens=32,
            **more,  # type: ignore[arg-type]
        )
        opened.append(Play(session, engine))
        return opened[-1]

    yield begin
    for one in opened:
        one.session.close()
        one.engine.close()


def said(number: int) -> str:
    return f"Tell me what happened on the hill near the village in the year {1700 + number}, and who saw it."


def test_sixty_turns_of_a_full_context_read_what_is_new(play: Callable[..., Play]) -> None:
    one = play()
    for number in range(60):
        one.turn(said(number))
        one.session.idle.work()
    assert one.slides >= 3
    assert sum(one.ratios[1:]) / 59 <= 1.1
    assert max(one.surplus[1:]) <= 8


def test_without_a_pause_the_turn_that_slides_reads_what_stays_and_says_why(
    play: Callable[..., Play],
) -> None:
    one = play()
    reasons = []
    for number in range(14):
        last = one.turn(said(number))
        reasons.append(last.broken_by)
    assert one.slides >= 1
    assert set(reasons) == {"", WINDOW}
    assert reasons.count(WINDOW) == one.slides
    assert max(one.surplus[1:]) > 200


def test_after_a_slide_the_cache_gives_what_a_fresh_reading_gives(
    play: Callable[..., Play], tmp_path: Path, tiny_model: Path
) -> None:
    """A fresh worker reads the same prompt; a reply kept token by token differs in the last bits alone."""
    one = play()
    fresh = Engine(tmp_path / "fresh.log")
    fresh.load(tiny_model, context=CONTEXT).wait()
    distances = []
    for number in range(24):
        slides = one.slides
        one.turn(said(number))
        if one.slides > slides:
            distances.append(distance(probed(fresh, one.prompt()), probed(one.engine, one.prompt())))
        one.session.idle.work()
    fresh.close()
    assert len(distances) >= 3
    assert sum(distances) / len(distances) <= 1e-3


def probed(engine: Engine, prompt: Prompt) -> Done:
    return engine.generate(
        spans_of(prompt.segments), SAMPLING, seed=1, max_tokens=1, probs=1000, aside=True
    ).wait()


def distance(first: Done, second: Done) -> float:
    """KL over the best thousand candidates of the first."""
    p, q = ({one.id: one.p for one in done.probs[0].steps[0].best} for done in (first, second))
    return abs(sum(p[id] * math.log(p[id] / q[id]) for id in p.keys() & q.keys()))


def test_the_shift_reads_nothing_again(play: Callable[..., Play]) -> None:
    one = play(options={"shift": "on"})
    for number in range(24):
        one.turn(said(number))
        one.session.idle.work()
    assert one.slides >= 2
    assert max(one.surplus[1:]) <= 8


def test_swipes_edits_and_branches_read_from_where_they_differ(play: Callable[..., Play]) -> None:
    one = play()
    session = one.session
    for number in range(3):
        one.turn(said(number))
    list(session.regenerate())
    assert evaluated(session) == 1
    last = session.path()[-2]
    session.edit(last.id, last.text.replace("who saw it", "what the priest did then"))
    list(session.reply())
    assert 0 < evaluated(session) < 24
    branch = session.path()[2]
    session.edit(branch.id, "It was long ago.")
    one.turn("And what of the mill?")
    assert one.session.last is not None
    assert one.session.last.broken_by == f"message {session.path()[2].id}"
    assert evaluated(session) < one.behind(session.path()[1].id) + 8


def evaluated(session: Session) -> int:
    assert session.last is not None
    return session.last.evaluated_tokens


def test_an_impersonation_costs_the_chat_nothing(play: Callable[..., Play]) -> None:
    one = play()
    for number in range(3):
        one.turn(said(number))
    assert [type(event).__name__ for event in one.session.impersonate()][-1] == "ImpersonationFinished"
    one.turn("Go on.")
    assert one.surplus[-1] <= 8


def test_a_window_that_was_prepared_is_stored_when_it_is_used(play: Callable[..., Play]) -> None:
    one = play()
    session = one.session
    while session.windows.ahead is None:
        one.turn(said(len(one.surplus)))
        session.idle.work()
    ahead = session.windows.ahead
    assert session.store.open_chat(session.chat.id).chat.window == Window()
    while not one.slides:
        one.turn(said(len(one.surplus)))
    assert session.store.open_chat(session.chat.id).chat.window == ahead

"""Five hundred turns of everything that a person may do: the cache and the prompt still agree."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from cards.card import Card, card_from_document
from chat.benchmarks.slide import divergence
from chat.counting import spans_of
from chat.engine.client import Engine
from chat.engine.protocol import Span
from chat.events import TextAdded
from chat.idle import Idle
from chat.session import Session
from chat.store import Store
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

TURNS = 500
CONTEXT = 640
REPLY = 12
WORDS = ("a", "lamp", "by", "the", "harbour", "wall", "and", "nobody", "who", "would", "mend", "it", "sea")
LETTERS = dict.fromkeys("年月日の大人山水火木", 60.0)
"""All that the model writes. What is read from scratch must be the very tokens that were written, and these
are the same tokens in every text."""


class Soak:
    """One chat, and a person who does not know what they want."""

    def __init__(self, folder: Path, model: Path, plain: Engine) -> None:
        self.dice = Random(7)
        self.engine = Engine(folder / "soak.log")
        self.engine.load(model, context=CONTEXT).wait()
        self.plain = plain
        presets = PresetLibrary()
        self.format, self.sampling = presets.format("alpaca"), Sampling(logit_bias=LETTERS, ban_eos=True)
        self.store = Store(folder / "chats.sqlite")
        self.card = _card()
        self.session = Session.begin(
            self.store, self.card, Persona("Anna"), self.format, self.sampling, **self._choices()
        )
        self.idle = Idle(self.session)
        self.done: dict[str, int] = {}

    def _choices(self) -> dict[str, object]:
        return {"engine": self.engine, "seed": 3, "max_tokens": REPLY, "options": {"repetition_watch": "off"}}

    def step(self) -> None:
        """One more thing that a person does."""
        doing = self.dice.choices(
            [
                self.say,
                self.regenerate,
                self.edit,
                self.cancel,
                self.at_once,
                self.impersonate,
                self.go_on,
                self.delete,
                self.walk,
                self.reopen,
                self.kill,
            ],
            [40, 12, 8, 8, 6, 4, 5, 4, 6, 2, 1],
        )[0]
        self.done[doing.__name__] = self.done.get(doing.__name__, 0) + 1
        doing()
        if self.dice.random() < 0.4:
            self.idle.work(self._words() if self.dice.random() < 0.3 else "")

    def say(self) -> None:
        self.session.say(self._words())
        self._drain(self.session.reply())

    def regenerate(self) -> None:
        self._drain(self.session.regenerate())

    def edit(self) -> None:
        message = self.dice.choice(self.session.path()[-6:])
        self.session.edit(message.id, self._words())
        if self.session.wants_reply():
            self._drain(self.session.reply())

    def cancel(self) -> None:
        self.session.say(self._words())
        for event in self.session.reply():
            if isinstance(event, TextAdded) or self.dice.random() < 0.2:
                self.session.stop()

    def at_once(self) -> None:
        self._drain(self.session.swipes(3))

    def impersonate(self) -> None:
        self._drain(self.session.impersonate())

    def go_on(self) -> None:
        self._drain(self.session.continue_reply())

    def delete(self) -> None:
        path = self.session.path()
        if len(path) > 3:
            self.session.delete(path[-1].id)
            if self.dice.random() < 0.5:
                self.session.undo()

    def walk(self) -> None:
        self.session.swipe(self.session.path()[-1].id, self.dice.choice((-1, 1)))

    def reopen(self) -> None:
        chat = self.session.chat.id
        self.session.close()
        self.session = Session.resume(self.store, chat, self.format, self.sampling, **self._choices())
        self.idle = Idle(self.session)

    def kill(self) -> None:
        assert self.engine.pid is not None
        os.kill(self.engine.pid, signal.SIGKILL)
        self.session.had_model = True
        self.say()  # or the message after it, when this one met the dying worker
        self.say()
        assert self.engine.loaded is not None

    def divergence(self) -> float:
        """KL between a reading from scratch and what the worker that lived through all this has."""
        spans = spans_of(self.session.prompt().segments)
        return divergence(_candidates(self.plain, spans), _candidates(self.engine, spans, aside=True))

    def memory(self) -> tuple[int, int]:
        """Bytes that the worker has held at most since it began, and that this process holds now."""
        return self.engine.devices().memory_peak or 0, _held()

    def _words(self) -> str:
        return " ".join(self.dice.choices(WORDS, k=self.dice.randint(2, 14)))

    def _drain(self, events: Iterator[object]) -> None:
        for _event in events:
            pass


def _card() -> Card:
    data = {
        "name": "Samuel",
        "description": "The keeper of a light. " * 6,
        "first_mes": "You again.",
        "mes_example": "",
    }
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}, "s.json")[0]


def _held() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024


def _candidates(engine: Engine, spans: Sequence[Span], aside: bool = False) -> dict[int, float]:
    if not aside:  # nothing of an earlier reading is to be used again
        engine.generate([Span(text="?", trusted=False)], Sampling(), seed=0, max_tokens=1).wait()
    asked = engine.generate(spans, Sampling(), seed=0, max_tokens=1, probs=1_000, aside=aside).wait()
    return {candidate.id: candidate.p for candidate in asked.probs[0].steps[0].best}


@pytest.mark.timeout(900)
def test_five_hundred_turns(tmp_path: Path, tiny_model: Path, tiny: Engine) -> None:
    soak = Soak(tmp_path, tiny_model, tiny)
    memory = []
    try:
        for turn in range(1, TURNS + 1):
            soak.step()
            if turn % 50 == 0:
                assert abs(soak.divergence()) < 1e-3, (turn, soak.done)
                memory.append(soak.memory())
        assert len(soak.done) == 11  # everything was tried
        assert soak.session.chat.window.first_turn  # and the context was outgrown
        for early, late in zip(
            *(map(max, zip(*part, strict=True)) for part in (memory[:4], memory[4:])), strict=True
        ):
            assert late - early < 24 << 20, memory
    finally:
        soak.session.close()
        soak.engine.close()

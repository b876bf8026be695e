"""A reply that cannot go on ends by itself: the others beside it are written to their end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.engine.protocol import Generate, Reading, ReplyDone, Span, Swipes
from chat.engine.worker import fanout
from chat.engine.worker.llama import Context, Floats, Model, initialize
from chat.engine.worker.reading import GenerateError
from chat.engine.worker.slots import Slots
from chat.engine.worker.tokens import Vocabulary, tokenize
from chat.engine.worker.writing import Writer
from presets.sampling import Sampling

LENGTH = 12


class Told:
    """What the client would get."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.done: dict[int, ReplyDone] = {}

    def reading(self, event: Reading) -> None:
        pass

    def text(self, text: str, reply: int = 0) -> None:
        assert reply not in self.done
        self.texts[reply] = self.texts.get(reply, "") + text

    def reply_done(self, event: ReplyDone) -> None:
        assert event.reply not in self.done
        self.done[event.reply] = event


@pytest.fixture(scope="module")
def slots(tiny_model: Path) -> Iterator[Slots]:
    initialize()
    model = Model(str(tiny_model), 0, False, lambda _fraction: True)
    context = Context(model, 256, 1, 64, 6, cells=512)
    yield Slots(context, Vocabulary(model.vocab))
    context.close()
    model.close()


def write(slots: Slots, text: str, seeds: list[int]) -> Told:
    told = Told()
    spans = [Span(text=text, trusted=True)]
    common = Generate(
        id=1, spans=spans, sampling=Sampling(), seed=0, max_tokens=LENGTH, stops=[], ban_eos=True
    )
    request = Swipes(id=1, generate=common, seeds=seeds)
    prompt = tokenize(slots.main.vocabulary, spans)
    whole = fanout.FanOut(slots, request, prompt, told, lambda: False).run()
    assert [told.done[place].done for place in range(len(seeds))] == whole.replies
    return told


class Failing(Writer):
    """The reply with seed 2 has no numbers from its fifth token on; that with seed 3 at once."""

    def step(self, logits: Floats) -> int:
        seed = self._request.seed
        if (seed == 2 and self.generated == 5) or seed == 3:
            raise GenerateError("internal", "The model gave no usable probabilities.")
        return super().step(logits)


def test_the_others_are_written_to_their_end(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(fanout, "Writer", Failing)
        told = write(slots, "The tower stood", [1, 2, 3, 4])
    assert [told.done[place].error for place in range(4)] == [
        "",
        "The model gave no usable probabilities.",
        "The model gave no usable probabilities.",
        "",
    ]
    made = [told.done[place].done for place in range(4)]
    assert [done.generated_tokens for done in made] == [LENGTH, 5, 0, LENGTH]
    assert made[1].text == told.texts[1].rstrip()
    assert made[0].finish_reason == "length"
    again = write(slots, "The tower stood", [1, 2, 3, 4])
    assert [again.done[place].error for place in range(4)] == [""] * 4


def test_every_sequence_is_given_back_in_time(slots: Slots) -> None:
    """More fan-outs than there are numbers and cells; the record of each sequence is what llama.cpp says."""
    for turn in range(12):
        told = write(slots, f"Turn {turn}. The tower stood", [turn, turn + 1, turn + 2])
        assert all(done.done.generated_tokens == LENGTH for done in told.done.values())
        assert slots.cells_free >= 0
        first = told.done[0].done
        assert slots.main.length == first.prompt_tokens + LENGTH - 1  # its last token is read when it goes on
        for sequence in (slots.main, *slots.others):
            assert slots.context.length(sequence.number) == sequence.length

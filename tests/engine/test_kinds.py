"""Models of other kinds than plain attention: a chat goes on as if every prompt was read afresh, cheaply.

The models are tiny and of random weights, on the Llama-2 vocabulary: sliding windows (gemma2, gemma3), a
recurrent state (mamba), both state and attention (lfm2), positions of several axes (qwen2vl), and what other
models make of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat.engine.client import Engine, EngineError
from chat.engine.needs import CHECKPOINT_SPACING, FEW_CHECKPOINTS, needs_of
from chat.engine.protocol import Done, Load, Span
from chat.engine.worker import offload
from chat.engine.worker.checkpoints import Checkpoints
from chat.engine.worker.loading import load
from chat.gguf import read_header
from presets.sampling import Sampling

from .tiny_kinds import CONTEXT, KINDS, MORE_KINDS, STATES, WINDOWS, write

GREEDY = Sampling(temperature=0)
ALL_KINDS = KINDS + MORE_KINDS
MOVABLE = ("deepseek2",)
"""What they have read can be moved to other positions."""
CANDIDATES = 8
NEAR = 0.01
"""Of probability: what is read in other batches differs in its last bits."""


@dataclass
class Pair:
    """The same model twice: one engine lives through a chat, the other reads every prompt afresh."""

    living: Engine
    fresh: Engine

    def turn(self, text: str, length: int = 12, sampling: Sampling = GREEDY) -> Done:
        """A reply of the living one. What it would say first is what the fresh one would."""
        done = reply(self.living, text, length, sampling)
        reply(self.fresh, "Nothing of all that.", 1)
        other = reply(self.fresh, text, 1, sampling)
        assert other.reused_tokens <= 2
        assert likely(done, other) == pytest.approx(likely(other, other), abs=NEAR)
        return done


def reply(engine: Engine, text: str, length: int, sampling: Sampling = GREEDY) -> Done:
    spans = [Span(text=text, trusted=True)]
    return engine.generate(spans, sampling, seed=1, max_tokens=length, probs=CANDIDATES).wait()


def tokens(engine: Engine, text: str) -> int:
    return engine.count([Span(text=text, trusted=True)])[0]


def likely(done: Done, chosen: Done) -> list[float]:
    """What the model thought of the best candidates that another run had, before any sampler."""
    known = {one.id: one.p for one in done.probs[0].steps[0].best}
    return [known.get(one.id, 0.0) for one in chosen.probs[0].steps[0].best[: CANDIDATES // 2]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, copy_tokenizer: Callable[[Any], int]) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for kind in (*ALL_KINDS, "t5", "dream"):
        write(folder / f"{kind}.gguf", kind, copy_tokenizer)
    return folder


def only(*kinds: str) -> pytest.MarkDecorator:
    """The pairs of some kinds."""
    return pytest.mark.parametrize("pair", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module", params=ALL_KINDS)
def pair(request: pytest.FixtureRequest, models: Path) -> Iterator[Pair]:
    engines = [Engine(models / f"{request.param}-{name}.log") for name in ("living", "fresh")]
    for engine in engines:
        loaded = engine.load(models / f"{request.param}.gguf").wait()
        assert loaded.checkpoints == (request.param in WINDOWS + STATES)
    yield Pair(*engines)
    for engine in engines:
        engine.close()


HEADER = "The keeper of the lighthouse writes down what the sea brings to the shore. " * 24
TURNS = [
    f"\nSam: What came on day {number}, and who found it among the rocks?\nKeeper:" for number in range(9)
]


ANSWER = " A bottle with a letter in it, and I found it myself."
"""What the user made of every reply: the tokens of a random reply are seldom those of its text."""


def test_a_chat_is_answered_as_if_read_afresh(pair: Pair) -> None:
    """Turns, swipes, an edit far back and what comes after: the same candidates, and few tokens read."""
    text = HEADER + TURNS[0]
    pair.turn(text)
    assert pair.turn(text).evaluated_tokens <= 2
    assert pair.turn(text + " Once").evaluated_tokens <= 4
    for line in TURNS[1:]:
        text += ANSWER + line
        new = tokens(pair.living, ANSWER + line)
        assert pair.turn(text).evaluated_tokens <= new + 4
    edited = text.replace("on day 2", "on the second day")
    behind = tokens(pair.living, edited[edited.index("on the second day") :])
    assert pair.turn(edited).evaluated_tokens <= behind + CHECKPOINT_SPACING + 16
    assert pair.turn(edited + ANSWER + TURNS[0]).evaluated_tokens <= new + 4


@only(*KINDS, "gpt-oss", "cohere2")
def test_an_edit_beyond_what_the_cache_still_holds_goes_back_to_a_checkpoint(pair: Pair) -> None:
    """The windows' cache holds about 1 000 tokens here; the edit is farther back."""
    text = "".join(
        f"On day {number} the sea was calm, and the lamp was lit at six. " for number in range(108)
    )
    assert tokens(pair.living, text) > 1700
    pair.turn(text)
    edited = text.replace("On day 30 ", "On the day after that ")
    behind = tokens(pair.living, edited[edited.index("On the day after") :])
    done = pair.turn(edited)
    assert done.evaluated_tokens <= behind + CHECKPOINT_SPACING + 16
    assert done.reused_tokens >= 256


@only(*KINDS)
def test_a_reply_that_stands_is_not_read_again(pair: Pair) -> None:
    text = HEADER + "\nSam: And then?\nKeeper:"
    for line in TURNS:
        done = reply(pair.living, text, 40)
        text += done.text + line
        read = reply(pair.living, text, 1).evaluated_tokens
        assert read <= tokens(pair.living, line) + 40 // 2  # a half character at its end may be taken back


@only(*KINDS, "granitehybrid", "qwen3next", "rwkv7")
def test_banned_phrases_are_taken_back(pair: Pair) -> None:
    text = HEADER + "\nNow"
    free = reply(pair.living, text, 24)
    word = max(free.text.split(), key=len)[:6]
    done = pair.turn(text, 24, Sampling(temperature=0, banned_strings=[word]))
    assert word.lower() not in done.text.lower()
    assert done.rewound_tokens > 0
    pair.turn(text + ANSWER + TURNS[0])


def test_a_cancelled_reading_leaves_a_true_record(pair: Pair) -> None:
    spans = [Span(text="Another story. " * 300, trusted=True)]
    operation = pair.living.generate(spans, GREEDY, seed=1, max_tokens=4)
    read = 0
    for event in operation:
        if event.op == "reading" and event.done > 0:
            read = event.done
            operation.cancel()
            break
    assert operation.wait().evaluated_tokens >= read > 0
    after = pair.turn("Another story. " * 120 + "And then")
    assert after.reused_tokens + CHECKPOINT_SPACING >= min(read, after.prompt_tokens)


def test_several_replies_at_once_and_one_goes_on(pair: Pair) -> None:
    spans = [Span(text=HEADER + TURNS[5], trusted=True)]
    hot = Sampling(temperature=1.5)
    done = pair.living.swipes(spans, hot, seeds=[1, 2, 3], max_tokens=10).wait()
    texts = [one.text for one in done.replies]
    assert len(set(texts)) == 3
    line = TURNS[6]
    again = reply(pair.living, HEADER + TURNS[5] + texts[1] + line, 4)
    assert again.evaluated_tokens <= tokens(pair.living, line) + 10
    pair.turn(HEADER + TURNS[5] + ANSWER + line)


@only(*KINDS)
def test_a_prompt_that_was_read_beforehand_and_a_side_task(pair: Pair) -> None:
    """What left the middle is read again in a second sequence, whatever the model can share or go back to."""
    old, line = "".join(ANSWER + one for one in TURNS[1:6]), TURNS[7]
    pair.turn(HEADER + TURNS[0] + old)
    kept = HEADER + "".join(ANSWER + one for one in TURNS[4:6]) + ANSWER
    assert pair.living.prepare([Span(text=kept, trusted=True)], "next").wait().whole
    swapped = pair.turn(kept + line)
    assert swapped.evaluated_tokens <= tokens(pair.living, line) + 4
    spans = [Span(text="A title for " + line, trusted=True)]
    pair.living.generate(spans, GREEDY, seed=1, max_tokens=8, aside=True).wait()
    assert reply(pair.living, kept + line, 4).evaluated_tokens <= 2
    pair.turn(kept + line + ANSWER + TURNS[8])


@only(*KINDS, *MOVABLE)
def test_the_shift_is_refused_in_a_sentence_where_a_model_cannot(pair: Pair) -> None:
    spans = [Span(text=HEADER, trusted=True)]
    loaded = pair.living.loaded
    assert loaded is not None
    operation = pair.living.generate(spans, GREEDY, seed=1, max_tokens=2, shift=True)
    if loaded.can_shift:
        assert operation.wait().generated_tokens == 2
    else:
        with pytest.raises(EngineError, match="cannot move what it has read; turn the setting shift off"):
            operation.wait()
    pair.turn(HEADER + TURNS[0])


def test_the_next_turns_of_a_full_context_are_prepared_beside(pair: Pair) -> None:
    """What comes when the oldest turns leave is read into a second sequence, and is exact."""
    pair.turn(HEADER + "".join(TURNS))
    prompt = HEADER + "".join(TURNS[3:])
    prepared = pair.living.prepare([Span(text=prompt, trusted=True)], "next").wait()
    assert prepared.whole
    assert pair.turn(HEADER + "".join(TURNS)).evaluated_tokens <= 2
    line = TURNS[0]
    assert pair.turn(prompt + line).evaluated_tokens <= tokens(pair.living, line) + 4


@only(*KINDS)
def test_what_cannot_be_moved_is_not_moved(pair: Pair) -> None:
    """Windows, states and positions of several axes: the approximate shift is refused, nothing changes."""
    text = HEADER + "".join(TURNS)
    pair.turn(text)
    spans = [Span(text=HEADER + "".join(TURNS[4:]), trusted=True)]
    with pytest.raises(EngineError, match="cannot move what it has read"):
        pair.living.generate(spans, GREEDY, seed=1, max_tokens=1, shift=True).wait()
    assert pair.turn(text).evaluated_tokens <= 2


@pytest.mark.parametrize("kind", [kind for kind in WINDOWS + STATES if kind != "llama4"])
@pytest.mark.parametrize(("free", "held"), [(1 << 40, 7), (0, FEW_CHECKPOINTS)])
def test_the_plan_counts_what_checkpoints_take(
    models: Path, kind: str, free: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What llama.cpp puts into a snapshot is what the header lets expect, and memory bounds how many stay."""
    monkeypatch.setattr(offload, "free_memory", lambda: free)
    file, kept, step = models / f"{kind}.gguf", Checkpoints(), 128
    needs = needs_of(read_header(file))
    loaded = load(Load(id=0, path=str(file), gpu_layers=0), lambda _part, _plan: None, lambda: False)
    context = loaded.context
    assert context is not None
    for start in range(0, CONTEXT - step, step):
        assert context.decode(list(range(100, 100 + step)), start) == 0
        if kept.due(context, start + step, loaded.model.sliding_window, turn=True):
            kept.take(context, 0, start + step)
    budget = context.checkpoint_budget
    loaded.close()
    sizes = [len(one.data) for one in kept.held]
    few, many = needs.checkpoints(CONTEXT, "f16")
    assert budget == (many if free else few)
    assert sum(sizes) <= budget
    assert len(sizes) >= held
    if not free:
        assert len(sizes) == budget // max(sizes)
    assert max(sizes) <= needs.snapshot("f16") <= max(sizes) + 2048
    assert " + checkpoints up to " in loaded.described.plan


@pytest.mark.parametrize("kind", ["gemma2", "gemma3", "gpt-oss", "cohere2"])
def test_a_full_window_needs_no_checkpoints(engine: Engine, models: Path, kind: str) -> None:
    loaded = engine.load(models / f"{kind}.gguf", full_window=True).wait()
    assert not loaded.checkpoints
    text = "".join(
        f"On day {number} the sea was calm, and the lamp was lit at six. " for number in range(108)
    )
    reply(engine, text, 1)
    edited = text.replace("On day 30 ", "On the day after that ")
    behind = tokens(engine, edited[edited.index("On the day after") :])
    assert reply(engine, edited, 1).evaluated_tokens <= behind + 2


@pytest.mark.parametrize(
    ("kind", "said"), [("t5", "an encoder with a decoder (t5)"), ("dream", "a diffusion model (dream)")]
)
def test_what_cannot_write_a_reply_is_told_before_it_is_loaded(
    engine: Engine, models: Path, kind: str, said: str
) -> None:
    with pytest.raises(EngineError, match="choose another model") as caught:
        engine.load(models / f"{kind}.gguf").wait()
    assert caught.value.code == "load"
    assert said in caught.value.message
    assert engine.alive


@only(*KINDS, "gpt-oss", "qwen3next", "rwkv7", "deepseek2")
def test_a_chat_goes_on_in_another_process(
    pair: Pair, models: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What was saved of such a model, its last checkpoints with it, is as good as what was never left."""
    kind = request.node.callspec.params["pair"]
    text = HEADER + TURNS[0] + ANSWER + TURNS[1]
    said = reply(pair.living, text, 40).text
    assert pair.living.save_state(tmp_path, "chat").wait().skipped == ""
    reopened = Engine(tmp_path / "worker.log")
    reopened.load(models / f"{kind}.gguf").wait()
    try:
        after, line = Pair(reopened, pair.fresh), TURNS[2]
        assert reopened.restore_state(tmp_path, "chat").wait().tokens >= tokens(reopened, text)
        assert reply(reopened, text + said + line, 4).evaluated_tokens <= tokens(reopened, line) + 40 // 2
        assert reply(reopened, text + said + line, 4).evaluated_tokens <= 2
        assert after.turn(text).evaluated_tokens <= CHECKPOINT_SPACING + 40 + 16
        assert after.turn(text + ANSWER + line).evaluated_tokens <= tokens(reopened, ANSWER + line) + 4
    finally:
        reopened.close()


@pytest.mark.parametrize("kind", ["gemma2", "mamba"])
def test_a_snapshot_that_is_too_large_is_not_even_taken(models: Path, kind: str) -> None:
    loaded = load(
        Load(id=0, path=str(models / f"{kind}.gguf"), gpu_layers=0), lambda _part, _plan: None, lambda: False
    )
    context, kept = loaded.context, Checkpoints()
    assert context is not None
    assert context.decode(list(range(100, 200)), 0) == 0
    size = len(context.snapshot(0))
    assert size > 1_000
    context.checkpoint_budget = size - 1
    kept.take(context, 0, 100)
    assert context.snapshot(0) == b""
    assert kept.held == []
    loaded.close()


def test_what_a_header_leaves_out_is_what_llama_cpp_takes_for_granted(models: Path) -> None:
    whole = read_header(models / "qwen3next.gguf")
    silent = {key: value for key, value in whole.metadata.items() if "full_attention_interval" not in key}
    states = needs_of(replace(whole, metadata=silent)).states
    assert [bool(state) for state in states] == [True, True, True, False]
    scout = read_header(models / "llama4.gguf")
    assert needs_of(scout).windows == (8_192, 8_192, 8_192, 0)
    without = {**scout.metadata, "llama4.attention.sliding_window": 0}
    assert not any(needs_of(replace(scout, metadata=without)).windows)


@pytest.mark.parametrize("probs", [0, 4])
def test_a_state_whose_numbers_overflowed_is_forgotten(
    engine: Engine, models: Path, tmp_path: Path, probs: int
) -> None:
    """All that a recurrent model reads later would be no number either."""
    from gguf import GGUFReader

    file = tmp_path / "mamba.gguf"
    file.write_bytes((models / "mamba.gguf").read_bytes())
    embeddings = next(one for one in GGUFReader(file, "r+").tensors if one.name == "token_embd.weight")
    embeddings.data[3 + 7] = np.nan  # the byte 7: the bytes come behind three control tokens
    embeddings.data.base.flush()
    engine.load(file).wait()
    before = reply(engine, HEADER, 4)
    spans = [Span(text="And a bell: \a.", trusted=True)]
    with pytest.raises(EngineError, match=r"numbers overflowed .* Try again\.") as caught:
        engine.generate(spans, GREEDY, seed=1, max_tokens=4, probs=probs).wait()
    assert caught.value.code == "internal"
    told = list(engine.swipes(spans, GREEDY, seeds=[1, 2], max_tokens=4))
    failed = [event.error for event in told if event.op == "reply_done"]
    assert len(failed) == 2
    assert all("numbers overflowed" in error for error in failed)
    after = reply(engine, HEADER, 4)
    assert (after.text, after.reused_tokens) == (before.text, 0)

"""Models of other kinds than plain attention: a chat goes on as if every prompt was read afresh, cheaply.

The models are tiny and of random weights, on the Llama-2 vocabulary: sliding windows (gemma2, gemma3), a
recurrent state (mamba), both state and attention (lfm2), positions of several axes (qwen2vl).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

GREEDY = Sampling(temperature=0)
WIDTH, INNER, LAYERS, HEADS, CONTEXT, WINDOW = 64, 128, 4, 4, 2048, 64
KINDS = ("gemma2", "gemma3", "mamba", "lfm2", "qwen2vl")
CANDIDATES = 8
NEAR = 0.01
"""Of probability: what is read in other batches differs in its last bits."""


class Weights:
    """Random weights that go into a file."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.random = np.random.default_rng(7)

    def normal(self, name: str, *shape: int, scale: float = 0.2) -> None:
        self.add(name, self.random.standard_normal(shape) * scale)

    def ones(self, name: str, *shape: int, scale: float = 1.0) -> None:
        self.add(name, np.full(shape, scale))

    def add(self, name: str, values: Any) -> None:
        whole = name if name.endswith((".weight", ".bias")) else f"{name}.weight"
        self.writer.add_tensor(whole, values.astype(np.float32))

    def attention(self, layer: int) -> None:
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            self.normal(f"blk.{layer}.{name}", WIDTH, WIDTH)

    def feed_forward(self, layer: int) -> None:
        self.normal(f"blk.{layer}.ffn_gate", INNER, WIDTH)
        self.normal(f"blk.{layer}.ffn_up", INNER, WIDTH)
        self.normal(f"blk.{layer}.ffn_down", WIDTH, INNER)

    def norms(self, layer: int, *names: str, size: int = WIDTH) -> None:
        for name in names:
            self.ones(f"blk.{layer}.{name}", size, scale=8.0 if name.startswith("post") else 1.0)


def gemma(writer: Any, weights: Weights, architecture: str) -> None:
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_sliding_window(WINDOW)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)
    weights.ones("output_norm", WIDTH)
    for layer in range(LAYERS):
        weights.attention(layer)
        weights.feed_forward(layer)
        weights.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        if architecture == "gemma3":
            weights.norms(layer, "attn_q_norm", "attn_k_norm", size=WIDTH // HEADS)


def mamba(writer: Any, weights: Weights, vocabulary: int) -> None:
    inner, state, kernel, steps = 128, 16, 4, 4
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(steps)
    weights.ones("output_norm", WIDTH)
    weights.normal("output", vocabulary, WIDTH, scale=0.5)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        weights.norms(layer, "attn_norm")
        weights.normal(f"{block}ssm_in", 2 * inner, WIDTH)
        weights.normal(f"{block}ssm_conv1d", inner, kernel)
        weights.normal(f"{block}ssm_conv1d.bias", inner)
        weights.normal(f"{block}ssm_x", steps + 2 * state, inner)
        weights.normal(f"{block}ssm_dt", inner, steps)
        weights.normal(f"{block}ssm_dt.bias", inner)
        weights.writer.add_tensor(
            f"{block}ssm_a", -np.abs(weights.random.standard_normal((inner, state))).astype(np.float32)
        )
        weights.writer.add_tensor(f"{block}ssm_d", np.ones(inner, np.float32))
        weights.normal(f"{block}ssm_out", WIDTH, inner)


def lfm2(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Every other layer a short convolution with a state, every other one attention."""
    kernel = 3
    writer.add_shortconv_l_cache(kernel)
    writer.add_rope_freq_base(10000.0)
    weights.ones("token_embd_norm", WIDTH)
    weights.normal("output", vocabulary, WIDTH, scale=0.5)
    for layer in range(LAYERS):
        weights.norms(layer, "attn_norm", "ffn_norm")
        weights.feed_forward(layer)
        if layer % 2:
            weights.attention(layer)
            weights.norms(layer, "attn_q_norm", "attn_k_norm", size=WIDTH // HEADS)
        else:
            weights.normal(f"blk.{layer}.shortconv.conv.weight", WIDTH, kernel)
            weights.normal(f"blk.{layer}.shortconv.in_proj.weight", 3 * WIDTH, WIDTH)
            weights.normal(f"blk.{layer}.shortconv.out_proj.weight", WIDTH, WIDTH)


def qwen2vl(writer: Any, weights: Weights, vocabulary: int) -> None:
    writer.add_rope_dimension_sections([2, 3, 3, 0])
    weights.ones("output_norm", WIDTH)
    weights.normal("output", vocabulary, WIDTH, scale=0.5)
    for layer in range(LAYERS):
        weights.attention(layer)
        weights.feed_forward(layer)
        weights.norms(layer, "attn_norm", "ffn_norm")
        for name in ("attn_q", "attn_k", "attn_v"):
            weights.normal(f"blk.{layer}.{name}.bias", WIDTH)


def write(path: Path, kind: str, copy_tokenizer: Callable[[Any], int]) -> Path:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, kind)
    writer.add_name(f"tiny {kind}")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_layer_norm_rms_eps(1e-5)
    if kind != "mamba":
        writer.add_head_count(HEADS)
        writer.add_head_count_kv([0, HEADS] * (LAYERS // 2) if kind == "lfm2" else HEADS)
    vocabulary = copy_tokenizer(writer)
    weights = Weights(writer)
    weights.normal("token_embd", vocabulary, WIDTH, scale=0.3 if kind.startswith("gemma") else 1.0)
    if kind.startswith("gemma"):
        gemma(writer, weights, kind)
    elif kind == "t5":
        for name in ("enc.output_norm", "dec.output_norm"):
            weights.ones(f"{name}.weight", WIDTH)
    elif kind != "dream":
        {"mamba": mamba, "lfm2": lfm2, "qwen2vl": qwen2vl}[kind](writer, weights, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


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
    for kind in (*KINDS, "t5", "dream"):
        write(folder / f"{kind}.gguf", kind, copy_tokenizer)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, models: Path) -> Iterator[Pair]:
    engines = [Engine(models / f"{request.param}-{name}.log") for name in ("living", "fresh")]
    for engine in engines:
        loaded = engine.load(models / f"{request.param}.gguf").wait()
        assert loaded.checkpoints == (request.param != "qwen2vl")
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


def test_a_reply_that_stands_is_not_read_again(pair: Pair) -> None:
    text = HEADER + "\nSam: And then?\nKeeper:"
    for line in TURNS:
        done = reply(pair.living, text, 40)
        text += done.text + line
        read = reply(pair.living, text, 1).evaluated_tokens
        assert read <= tokens(pair.living, line) + 40 // 2  # a half character at its end may be taken back


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


def test_what_cannot_be_moved_is_not_moved(pair: Pair) -> None:
    """Windows, states and positions of several axes: the approximate shift is refused, nothing changes."""
    text = HEADER + "".join(TURNS)
    pair.turn(text)
    spans = [Span(text=HEADER + "".join(TURNS[4:]), trusted=True)]
    with pytest.raises(EngineError, match="cannot move what it has read"):
        pair.living.generate(spans, GREEDY, seed=1, max_tokens=1, shift=True).wait()
    assert pair.turn(text).evaluated_tokens <= 2


@pytest.mark.parametrize("kind", ["gemma2", "gemma3", "mamba", "lfm2"])
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


@pytest.mark.parametrize("kind", ["gemma2", "gemma3"])
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

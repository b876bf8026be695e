"""Marks of thinking that are control tokens, without a text of their own: told all the same, stored apart.

The model here is a real one that says one fixed line of tokens, whatever it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards.card import card_from_document
from chat.engine.client import Engine
from chat.engine.protocol import Done, Span
from chat.events import ReplyFinished, TextAdded, ThinkingAdded
from chat.session import Session
from chat.store import Store
from presets.library import PresetLibrary
from presets.reasoning import PAIRS, Pair, split
from presets.sampling import Sampling
from presets.values import Persona

VOCABULARY = Path(__file__).parent.parent / "data" / "llama2-vocab.gguf"
FIRST_CONTROL = 31900
"""Rare characters of the Llama-2 vocabulary, whose places the control tokens take."""

Prompt = Callable[[str], list[Span]]


@cache
def tokenizer() -> list[tuple[str, Any, Any, Any]]:
    """Name, value and types of every `tokenizer.*` value of the Llama-2 vocabulary."""
    from gguf import GGUFReader, GGUFValueType

    fields = [f for f in GGUFReader(VOCABULARY).fields.values() if f.name.startswith("tokenizer.")]
    array = GGUFValueType.ARRAY
    return [(f.name, f.contents(), f.types[0], f.types[-1] if f.types[0] == array else None) for f in fields]


def build_line(path: Path, line: Sequence[str], controls: Sequence[str]) -> Path:
    """A model that answers with these tokens, in order, whose `controls` are control tokens.

    Attention and feed-forward are zero, so that the last token alone decides: each token of the line is a
    direction of its own, which the next one's output row looks in; all other tokens lead to the first.
    """
    from gguf import GGUFWriter, TokenType

    width, inner = 64, 64
    writer = GGUFWriter(path, "llama")
    writer.add_name("line")
    writer.add_context_length(1024)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    tokens: list[str] = []
    places = slice(FIRST_CONTROL, FIRST_CONTROL + len(controls))
    for name, value, kind, sub in tokenizer():
        value = copy(value)
        if name == "tokenizer.ggml.tokens":
            value[places] = list(controls)
            tokens = value
        elif name == "tokenizer.ggml.token_type":
            value[places] = [int(TokenType.CONTROL)] * len(controls)
        writer.add_key_value(name, value, kind, sub)
    ids = [tokens.index(token) for token in line]
    assert len(set(ids)) == len(ids) < width
    embedding = np.zeros((len(tokens), width), np.float32)
    embedding[:, 0] = 1
    output = np.zeros((len(tokens), width), np.float32)
    for place, token in enumerate(ids):
        embedding[token] = np.eye(width)[place + 1]
        output[token, place] = 10
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((width, width), np.float32))
    for name in ("ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((inner, width), np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def speak(tmp_path: Path, engine: Engine) -> Callable[[Sequence[str], Sequence[str]], Engine]:
    """An engine with a model that says the line."""

    def start(line: Sequence[str], controls: Sequence[str]) -> Engine:
        engine.load(build_line(tmp_path / "line.gguf", line, controls)).wait()
        return engine

    return start


def said(engine: Engine, prompt: list[Span], **more: object) -> Done:
    return engine.generate(prompt, Sampling(temperature=0), seed=1, max_tokens=40, **more).wait()  # type: ignore[arg-type]


THOUGHT = ["▁He", "▁lies", "."]
ANSWER = ["▁Good", "▁evening", "!", "</s>"]

ONE_TOKEN = [pair for pair in PAIRS if "channel" not in pair.open]


@pytest.mark.parametrize("pair", ONE_TOKEN, ids=lambda pair: pair.open)
def test_thinking_between_control_tokens_is_thinking(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], trusted: Prompt, pair: Pair
) -> None:
    engine = speak([pair.open, *THOUGHT, pair.close, *ANSWER], [pair.open, pair.close])
    done = said(engine, trusted("Who is he?\n"))
    assert done.text == f"{pair.open} He lies.{pair.close} Good evening!"
    sorted_out = split(done.text)
    assert (sorted_out.thinking, sorted_out.text) == ("He lies.", "Good evening!")


def test_marks_of_several_tokens(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], trusted: Prompt
) -> None:
    """gpt-oss: a channel's name stands between two control tokens. (`<|end|>` ends no reply where there is a
    `<|return|>`, says llama.cpp.)"""
    controls = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>", "<|call|>"]
    engine = speak(["<|channel|>", "analysis", "<|message|>", *THOUGHT, "<|end|>", "</s>"], controls)
    done = said(engine, trusted("Who is he?\n"))
    assert done.text == "<|channel|>analysis<|message|> He lies.<|end|>"
    answered = split(f"{done.text}<|start|>assistant<|channel|>final<|message|>Good evening!")
    assert (answered.thinking, answered.text) == ("He lies.", "Good evening!")


def test_marks_of_which_a_part_is_a_control_token(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], trusted: Prompt
) -> None:
    """Gemma 4: the channel's name is text."""
    line = ["<|channel>", "th", "ought", "<0x0A>", *THOUGHT, "<channel|>", *ANSWER]
    done = said(speak(line, ["<|channel>", "<channel|>"]), trusted("Who is he?"))  # a line break is a token
    assert done.text == "<|channel>thought\n He lies.<channel|> Good evening!"
    assert (split(done.text).thinking, split(done.text).text) == ("He lies.", "Good evening!")


def test_a_control_token_that_marks_no_thinking_has_no_text(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], trusted: Prompt
) -> None:
    line = ["<|tool|>", "▁Good", "[TOOL]", "▁evening", "</s>"]
    engine = speak(line, ["<|tool|>", "[TOOL]"])
    assert said(engine, trusted("Hello\n")).text == "Good evening"


def test_a_mark_may_still_be_a_stop(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], trusted: Prompt
) -> None:
    engine = speak(["▁Good", "▁evening", "[THINK]", "▁He", "</s>"], ["[THINK]", "[/THINK]"])
    done = said(engine, trusted("Hello\n"), stops=["[THINK]"])
    assert (done.text, done.finish_reason, done.stop) == ("Good evening", "stop", "[THINK]")


def test_what_was_thought_is_not_read_again(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], trusted: Prompt
) -> None:
    """A prompt that goes on behind the marks, which are trusted there, is what the cache holds."""
    engine = speak(["[THINK]", *THOUGHT, "[/THINK]", *ANSWER], ["[THINK]", "[/THINK]"])
    before = trusted("Who is he?\n")
    done = said(engine, before)
    onward = [
        *before,
        Span(text="[THINK]", trusted=True),
        Span(text="He lies.", trusted=False),  # the tokenizer puts the space back
        Span(text="[/THINK]", trusted=True),
        Span(text="Good evening!", trusted=False),
    ]
    again = said(engine, [*onward, Span(text="\n", trusted=True)])
    assert again.broken_at is None
    assert again.reused_tokens == done.prompt_tokens + done.generated_tokens
    assert again.evaluated_tokens <= 3


def test_a_chat_with_such_a_model(
    speak: Callable[[Sequence[str], Sequence[str]], Engine], tmp_path: Path
) -> None:
    engine = speak(["[THINK]", *THOUGHT, "[/THINK]", *ANSWER], ["[THINK]", "[/THINK]"])
    card, _ = card_from_document({"name": "Vera", "description": "A spy.", "first_mes": "Hm."})
    format = PresetLibrary(None).format("alpaca")
    with Store(tmp_path / "chats.db") as store:
        session = Session.begin(
            store, card, Persona("Alex", ""), format, Sampling(temperature=0), engine=engine
        )
        session.say("Who is he?")
        events = list(session.reply())
        *_, last = events
        assert isinstance(last, ReplyFinished)
        assert (last.message.text, last.message.thinking) == ("Good evening!", "He lies.")
        assert "".join(e.text for e in events if isinstance(e, TextAdded)) == "Good evening!"
        assert "".join(e.text for e in events if isinstance(e, ThinkingAdded)) == "He lies."
        session.say("And she?")
        assert "THINK" not in session.prompt().text
        assert "lies" not in session.prompt().text

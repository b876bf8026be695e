"""GGML v3 into GGUF: files written byte by byte, read by our own code, and run by the real worker."""

from __future__ import annotations

import contextlib
import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chat.engine.client import Engine
from chat.engine.protocol import Span
from chat.gguf import read_header
from chat.models import ModelError, converting, describe
from chat.models.converting import convert
from chat.models.ggml import OldModelError, read_old_model
from presets.sampling import Sampling

Old = Callable[..., Any]
Numbers = NDArray[np.float64]


def written_by(model: Path, log: Path, tokens: int) -> str:
    """What the real worker writes, always the likeliest token, after the prompt `hi`."""
    engine = Engine(log)
    try:
        engine.load(model, context=512).wait()
        prompt = [Span(text="hi", trusted=True)]
        return engine.generate(prompt, Sampling(top_k=1), seed=1, max_tokens=tokens).wait().text
    finally:
        engine.close()


def likeliest(old: Any, epsilon: float, tokens: int) -> str:
    """The same from the numbers themselves: a Llama written out in numpy, heads rotated in pairs."""
    w = {name: values.astype(np.float64) for name, values in old.numbers.items()}
    heads, shared = 4, old.kv_heads
    ids = [1, *(3 + byte for byte in "▁hi".encode())]
    begun = len(ids)
    for _ in range(tokens):
        x = w["tok_embeddings.weight"][ids]
        for layer in range(2):
            at = f"layers.{layer}"
            h = norm(x, w[f"{at}.attention_norm.weight"], epsilon)
            q = rotated((h @ w[f"{at}.attention.wq.weight"].T).reshape(len(ids), heads, -1))
            k = rotated((h @ w[f"{at}.attention.wk.weight"].T).reshape(len(ids), shared, -1))
            v = (h @ w[f"{at}.attention.wv.weight"].T).reshape(len(ids), shared, -1)
            k, v = (np.repeat(part, heads // shared, axis=1) for part in (k, v))
            scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
            scores[:, *np.triu_indices(len(ids), 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            seen = np.einsum("hqk,khd->qhd", weights, v).reshape(len(ids), -1)
            x = x + seen @ w[f"{at}.attention.wo.weight"].T
            h = norm(x, w[f"{at}.ffn_norm.weight"], epsilon)
            gate = h @ w[f"{at}.feed_forward.w1.weight"].T
            up = h @ w[f"{at}.feed_forward.w3.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{at}.feed_forward.w2.weight"].T
        logits = norm(x[-1], w["norm.weight"], epsilon) @ w["output.weight"].T
        ids.append(int(logits.argmax()))
    return b"".join(old.pieces[number][0] for number in ids[begun:]).decode()


def norm(x: Numbers, weight: Numbers, epsilon: float) -> Numbers:
    scaled: Numbers = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight
    return scaled


def rotated(x: Numbers) -> Numbers:
    angles = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
    turned = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)[:, None]
    pairs: Numbers = np.stack([turned.real, turned.imag], -1).reshape(x.shape)
    return pairs


@pytest.mark.parametrize(("kind", "kv_heads"), [("f32", 4), ("f32", 2), ("f16", 4)])
def test_the_converted_model_writes_what_its_numbers_say(
    tmp_path: Path, old_llama: Old, kind: str, kv_heads: int
) -> None:
    old = old_llama(kind, kv_heads)
    done = convert(old.write(tmp_path / "m.ggmlv3.bin"), tmp_path / "m.gguf", llama=2)
    text = written_by(done.path, tmp_path / "log", 16)
    assert text.strip() == likeliest(old, 1e-5, 16).strip()
    assert len(set(text.split())) > 3


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantized_models_load_and_write_words(tmp_path: Path, old_llama: Old, kind: str) -> None:
    old = old_llama(kind)
    done = convert(old.write(tmp_path / "m.ggmlv3.bin"), tmp_path / "m.gguf")
    text = written_by(done.path, tmp_path / "log", 16)
    assert text.split()
    assert all(word.startswith("w") and word[1:].isdigit() for word in text.split())


TOLERANCE = {"f32": 0.0, "f16": 2e-3, "q8_0": 2e-2, "q4_0": 0.6}


@pytest.mark.parametrize("kind", TOLERANCE)
def test_every_number_arrives(tmp_path: Path, old_llama: Old, kind: str) -> None:
    old = old_llama(kind, 2)
    source = old.write(tmp_path / "m.ggmlv3.bin")
    convert(source, tmp_path / "m.gguf")
    held, data = read_old_model(source).tensors, source.read_bytes()
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert len(tensors) == len(held) == len(old.numbers)
    for old_name, name in (
        ("tok_embeddings.weight", "token_embd.weight"),
        ("output.weight", "output.weight"),
        ("norm.weight", "output_norm.weight"),
        ("layers.1.attention.wk.weight", "blk.1.attn_k.weight"),
        ("layers.1.attention.wq.weight", "blk.1.attn_q.weight"),
        ("layers.0.feed_forward.w1.weight", "blk.0.ffn_gate.weight"),
        ("layers.0.feed_forward.w2.weight", "blk.0.ffn_down.weight"),
        ("layers.0.feed_forward.w3.weight", "blk.0.ffn_up.weight"),
    ):
        tensor, there = tensors[name], held[old_name]
        assert tensor.data.tobytes() == data[there.start : there.start + there.size], name
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_allclose(values, old.numbers[old_name], atol=TOLERANCE[kind], err_msg=name)


def test_header_and_vocabulary_are_those_of_a_llama(tmp_path: Path, old_llama: Old) -> None:
    source = old_llama("q8_0", 2).write(tmp_path / "limarp.ggmlv3.q8_0.bin")
    done = convert(source, tmp_path / "m.gguf")
    header = read_header(done.path)
    numbers = {
        "context_length": 4096, "embedding_length": 64, "block_count": 2, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.head_count_kv": 2, "rope.dimension_count": 16,
    }  # fmt: skip
    assert {key: header.number(f"{{arch}}.{key}") for key in numbers} == numbers
    file = describe(done.path)
    assert (file.problem, file.quantization, file.name) == (None, "Q8_0", "limarp")
    fields = gguf.GGUFReader(done.path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens[:5] == ["<unk>", "<s>", "</s>", "<0x00>", "<0x01>"]
    assert tokens[260] == "▁w1"
    assert fields["tokenizer.ggml.token_type"].contents()[:4] == [2, 3, 3, 6]
    assert fields["tokenizer.ggml.scores"].contents()[261] == -2.0


@pytest.mark.parametrize(
    ("name", "kv_heads", "llama", "context"),
    [
        ("llama-2-13b.ggmlv3.q4_0.bin", 4, 2, 4096),
        ("LimaRP-Llama2.ggmlv3.bin", 4, 2, 4096),
        ("wizard-vicuna-13b.ggmlv3.q4_0.bin", 4, 1, 2048),
        ("llama-13b-v2.ggmlv3.bin", 4, 1, 2048),
        ("something.ggmlv3.bin", 2, 2, 4096),
    ],
)
def test_which_llama_it_is_is_guessed_and_said(
    tmp_path: Path, old_llama: Old, name: str, kv_heads: int, llama: int, context: int
) -> None:
    done = convert(old_llama("f32", kv_heads).write(tmp_path / name), tmp_path / "m.gguf")
    assert (done.llama, done.context) == (llama, context)
    epsilon = read_header(done.path).metadata["llama.attention.layer_norm_rms_epsilon"]
    assert epsilon == pytest.approx(converting.EPSILON[llama])
    said = convert(tmp_path / name, tmp_path / "m.gguf", llama=1, context=8192, force=True)
    assert (said.llama, said.context) == (1, 8192)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("kind", ["q4_1", "q5_0", "q5_1", "q4_K"])
def test_other_types_are_refused_by_name(tmp_path: Path, old_llama: Old, kind: str) -> None:
    source = old_llama(kind).write(tmp_path / "m.ggmlv3.bin")
    with pytest.raises(ModelError, match=f"of type {kind}, which is not converted; f32, f16, q4_0, q8_0 are"):
        convert(source, tmp_path / "m.gguf")
    assert files_in(tmp_path) == ["m.ggmlv3.bin"]


def wrong_files(old: Any) -> list[tuple[bytes, str]]:
    whole: bytes = old.bytes()
    no_heads = bytearray(whole)
    no_heads[20:24] = bytes(4)
    shape = whole.replace(struct.pack("<2I", 64, 64), struct.pack("<2I", 64, 32), 1)
    return [
        (b"", "empty"),
        (b"GGUF" + bytes(40), "a GGUF file already"),
        (b"\x89PNG" + bytes(40), "not a GGML file"),
        (b"tjgg\x01\0\0\0" + bytes(40), "GGML v1, whose numbers are laid out differently"),
        (b"tjgg\x02\0\0\0" + bytes(40), "GGML v2"),
        (b"fmgg\x01\0\0\0" + bytes(40), "GGMF"),
        (b"algg\x01\0\0\0" + bytes(40), "LoRA adapter"),
        (whole[:10], "stops in the middle"),
        (whole[:3000], "stops in the middle"),
        (whole[:-1], "stops in the middle"),
        (whole[: -(64 * 96 * 4) - 4096], "stops in the middle"),
        (whole + b"more" * 20, "no tensor at byte"),
        (bytes(no_heads), "damaged header"),
        (shape, "damaged|stops"),
    ]


def test_damaged_and_foreign_files_are_told_in_one_line(tmp_path: Path, old_llama: Old) -> None:
    source = tmp_path / "m.ggmlv3.bin"
    for data, words in wrong_files(old_llama()):
        source.write_bytes(data)
        with pytest.raises(ModelError, match=words) as caught:
            convert(source, tmp_path / "m.gguf")
        assert "\n" not in str(caught.value)
        assert str(source) in str(caught.value)
    assert files_in(tmp_path) == [source.name]


def test_a_file_that_ends_between_two_tensors_is_incomplete(tmp_path: Path, old_llama: Old) -> None:
    old = old_llama()
    del old.numbers["layers.1.ffn_norm.weight"]
    with pytest.raises(ModelError, match=r"no tensor layers\.1\.ffn_norm\.weight: incomplete"):
        convert(old.write(tmp_path / "m.ggmlv3.bin"), tmp_path / "m.gguf")


def test_the_command_converts_and_never_overwrites_unasked(
    rpchat: Callable[..., Any], tmp_path: Path, old_llama: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = old_llama("q4_0").write(tmp_path / "m.ggmlv3.q4_0.bin"), tmp_path / "m.gguf"
    out.write_bytes(b"precious")
    refused = rpchat("model", "convert", source, out)
    assert (refused.status, refused.out) == (1, "")
    assert "is there already; --force replaces it" in refused.err
    assert out.read_bytes() == b"precious"
    assert rpchat("model", "convert", source, source, "--force").status == 2
    done = rpchat("model", "convert", source, out, "--force")
    assert done.status == 0
    assert "2,048 tokens of context, as Llama 1" in done.out
    assert describe(out).problem is None
    assert "`rpchat model convert`" in rpchat("model", "info", source).err
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))
    missing = rpchat("model", "convert", source, out, "--force")
    assert missing.status == 1
    assert "pip install 'rpchat[convert]'" in missing.err
    assert missing.err.count("\n") == 1


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_raise_anything_but_the_own_error(
    tmp_path: Path, old_llama: Old, data: st.DataObject
) -> None:
    path = tmp_path / "mutant.bin"
    if not path.exists():
        old_llama().write(path)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    source = bytearray((tmp_path / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(8, 6000))
        piece = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from([b"\xff" * 4, bytes(4)])))
        source[at : at + len(piece)] = piece
    path.write_bytes(source[: data.draw(st.integers(9, len(source)))])
    with contextlib.suppress(OldModelError):
        assert read_old_model(path).kv_heads in (1, 2, 4)

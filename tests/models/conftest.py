"""Files for the tests of models: small GGUFs, GGML v3 files byte by byte, a home for other programs."""

from __future__ import annotations

import io
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from chat.__main__ import run

WIDTH, HEADS, LAYERS, INNER, PIECES = 64, 4, 2, 96, 320


@dataclass(frozen=True)
class Answer:
    """What a run of the command line came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def rpchat(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Run `rpchat ARGS` in this process."""

    def call(*args: object) -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        capfdbinary.readouterr()
        status = run([str(arg) for arg in args])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Answer(status, out.decode("utf-8"), err.decode("utf-8"))

    return call


@pytest.fixture(autouse=True)
def user_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has other programs; empty at first."""
    folder = tmp_path / "user"
    folder.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def tiny_gguf() -> Callable[..., Path]:
    """Write a GGUF file with a header like a model's, and hardly any weights."""

    def write(
        path: Path,
        *,
        name: str = "Tiny",
        architecture: str = "llama",
        parts: int = 1,
        number: int = 0,
        context: int = 4096,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_name(name)
        writer.add_file_type(15)
        writer.add_context_length(context)
        writer.add_block_count(2)
        writer.add_embedding_length(64)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        if parts > 1:
            writer.add_uint16("split.count", parts)
            writer.add_uint16("split.no", number)
        writer.add_tensor(f"part.{number}", np.ones(64, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@dataclass
class OldLlama:
    """A random Llama whose numbers the tests know, to be written as a GGML v3 file."""

    kind: str = "f32"
    """Type of the matrices: f32, f16, q8_0, q4_0."""
    kv_heads: int = HEADS
    version: int = 3
    seed: int = 1
    pieces: list[tuple[bytes, float]] = field(default_factory=list)
    numbers: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words = [(f" w{number}".encode(), -float(number)) for number in range(PIECES - 259)]
        first: list[tuple[bytes, float]] = [(b" \xe2\x81\x87 ", 0.0), (b"", 0.0), (b"", 0.0)]
        self.pieces = [*first, *((bytes([byte]), 0.0) for byte in range(256)), *words]
        shared = self.kv_heads * (WIDTH // HEADS)
        random = np.random.default_rng(self.seed)

        def matrix(name: str, rows: int, columns: int, scale: float = 0.2) -> None:
            drawn = (random.standard_normal((rows, columns)) * scale).astype(np.float32)
            self.numbers[name] = drawn

        matrix("tok_embeddings.weight", PIECES, WIDTH, 1.0)
        self.numbers["norm.weight"] = random.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        matrix("output.weight", PIECES, WIDTH, 0.5)
        self.numbers["output.weight"][:259] = 0  # bytes and control tokens: what it writes are whole words
        for layer in range(LAYERS):
            at = f"layers.{layer}"
            matrix(f"{at}.attention.wq.weight", WIDTH, WIDTH)
            matrix(f"{at}.attention.wk.weight", shared, WIDTH)
            matrix(f"{at}.attention.wv.weight", shared, WIDTH)
            matrix(f"{at}.attention.wo.weight", WIDTH, WIDTH)
            matrix(f"{at}.feed_forward.w1.weight", INNER, WIDTH)
            matrix(f"{at}.feed_forward.w2.weight", WIDTH, INNER)
            matrix(f"{at}.feed_forward.w3.weight", INNER, WIDTH)
            for norm in ("attention_norm", "ffn_norm"):
                self.numbers[f"{at}.{norm}.weight"] = random.uniform(0.5, 1.5, WIDTH).astype(np.float32)

    def bytes(self) -> bytes:
        """The file: magic, version, seven numbers, vocabulary, tensors at multiples of 32."""
        out = bytearray(b"tjgg" + struct.pack("<I", self.version))
        file_type = {"f32": 0, "f16": 1, "q4_0": 2002, "q8_0": 2007}.get(self.kind, 0)
        out += struct.pack("<7I", PIECES, WIDTH, 256, HEADS, LAYERS, WIDTH // HEADS, file_type)
        for piece, score in self.pieces:
            out += struct.pack("<I", len(piece)) + piece + struct.pack("<f", score)
        for name, values in self.numbers.items():
            kind, data = packed(values, self.kind if values.ndim == 2 else "f32")
            out += struct.pack("<3I", values.ndim, len(name), kind)
            out += struct.pack(f"<{values.ndim}I", *values.shape[::-1]) + name.encode()
            out += bytes(-len(out) % 32) + data
        return bytes(out)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.bytes())
        return path


@pytest.fixture
def old_llama() -> Callable[..., OldLlama]:
    """A random Llama of 2023."""
    return OldLlama


def packed(values: NDArray[np.float32], kind: str) -> tuple[int, bytes]:
    """ggml's number of a type and the values in its layout, written from the layout's description."""
    if kind == "f32":
        return 0, values.astype("<f4").tobytes()
    if kind == "f16":
        return 1, values.astype("<f2").tobytes()
    if kind == "q8_0":
        out = bytearray()
        for block in values.reshape(-1, 32):
            scale = float(np.abs(block).max()) / 127
            out += struct.pack("<e", scale) + np.round(block / (scale or 1)).astype(np.int8).tobytes()
        return 8, bytes(out)
    if kind == "q4_0":
        out = bytearray()
        for block in values.reshape(-1, 32):
            scale = float(block[np.abs(block).argmax()]) / -8
            digits = np.clip(np.floor(block / (scale or 1) + 8.5), 0, 15).astype(np.uint8)
            out += struct.pack("<e", scale) + (digits[:16] | digits[16:] << 4).tobytes()
        return 2, bytes(out)
    numbers = {"q4_1": 3, "q5_0": 6, "q5_1": 7, "q4_K": 12}
    return numbers[kind], bytes(values.size)

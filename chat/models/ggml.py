"""Reading the model files of mid 2023, GGML version 3 ("ggjt v3"), which came before GGUF.

The layout is that of llama.cpp in the summer of 2023: seven numbers, the vocabulary with its scores, then one
tensor after another, each behind its own small header and at a multiple of 32 bytes. The file is mapped;
every length in it is untrusted, and any bytes at all give an OldModel or an OldModelError.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OldModel", "OldModelError", "OldTensor", "read_old_model"]

MAX_VOCABULARY = 1 << 20
MAX_PIECE = 1 << 12
"""Bytes of one token."""
MAX_LAYERS = 1024
MAX_TENSORS = 1 << 15

TYPES = {0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 8: ("q8_0", 32, 34)}
"""ggml's number of a type -> its name, values in a block and bytes of a block. Those of GGUF are the same."""
OUTPUT_TYPES = {**TYPES, 14: ("q6_K", 256, 210)}
"""The output layer may be q6_K as well: so llama.cpp wrote its q4_0 and q8_0 files, and the layout stands."""
REFUSED = {
    3: "q4_1", 4: "q4_2", 5: "q4_3", 6: "q5_0", 7: "q5_1", 9: "q8_1",
    10: "q2_K", 11: "q3_K", 12: "q4_K", 13: "q5_K", 14: "q6_K", 15: "q8_K",
}  # fmt: skip
"""Types that such files may hold and that are not converted."""

_HYPERPARAMETERS = struct.Struct("<7I")
_TENSOR = struct.Struct("<3I")
_U32 = struct.Struct("<I")
_SCORE = struct.Struct("<f")


class OldModelError(Exception):
    """A file cannot be converted; one line without its path: what it is and what to do."""


@dataclass(frozen=True, slots=True)
class OldTensor:
    """A tensor where it lies in the file."""

    name: str
    """As llama.cpp called it then: `layers.0.attention.wq.weight`."""
    shape: tuple[int, ...]
    """Fastest dimension first, as in GGUF."""
    type: int
    start: int
    """Bytes from the start of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class OldModel:
    """The header of a GGML v3 Llama, and where its tensors lie."""

    path: Path
    width: int
    """`n_embd`."""
    heads: int
    layers: int
    rotated: int
    """`n_rot`: values of a head that carry the position."""
    vocabulary: tuple[tuple[bytes, float], ...]
    """Each token's bytes and score."""
    tensors: dict[str, OldTensor]

    @property
    def head_width(self) -> int:
        """Values of one head."""
        return self.width // self.heads

    @property
    def kv_heads(self) -> int:
        """Heads that keys and values have: fewer than `heads` in a model with shared ones (Llama 2 70B).

        The header does not say so; the shape of the tensor of keys does.
        """
        return self.tensors["layers.0.attention.wk.weight"].shape[1] // self.head_width

    @property
    def inner(self) -> int:
        """Width of the feed-forward layers, from their tensor: the header only hints at it."""
        return self.tensors["layers.0.feed_forward.w1.weight"].shape[1]


def read_old_model(path: Path) -> OldModel:
    """Read header, vocabulary and tensor table, and check that all of a Llama is there.

    Raises OldModelError, also for a type that is not converted (it is named), and OSError.
    """
    with path.open("rb") as file:
        if not file.read(1):
            raise OldModelError("empty; download it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                model = _Reader(path, data).model()
            except (struct.error, IndexError) as error:
                raise OldModelError("it stops in the middle; download it again") from error
    _check(model)
    return model


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = 0

    def model(self) -> OldModel:
        magic, version = self.take(4), self.u32()
        if magic == b"GGUF":
            raise OldModelError("a GGUF file already; nothing needs converting")
        if magic != b"tjgg" or version != 3:
            raise OldModelError(_foreign(magic, version))
        numbers = _HYPERPARAMETERS.unpack(self.take(_HYPERPARAMETERS.size))
        tokens, width, _, heads, layers, rotated, _ = numbers
        if not (0 < tokens <= MAX_VOCABULARY and 0 < layers <= MAX_LAYERS):
            raise OldModelError(f"a damaged header ({tokens} tokens, {layers} layers); download it again")
        if not heads or not width or width % heads or not rotated or rotated > width // heads:
            raise OldModelError(f"a damaged header ({heads} heads for {width} values); download it again")
        vocabulary = tuple(self.token() for _ in range(tokens))
        tensors: dict[str, OldTensor] = {}
        while self.at < len(self.data):
            tensor = self.tensor()
            if tensor.name in tensors or len(tensors) >= MAX_TENSORS:
                raise OldModelError(f"damaged: a second tensor {tensor.name}; download it again")
            tensors[tensor.name] = tensor
        return OldModel(self.path, width, heads, layers, rotated, vocabulary, tensors)

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.data):
            raise IndexError
        value = self.data[self.at : end]
        self.at = end
        return value

    def u32(self) -> int:
        value: int = _U32.unpack(self.take(4))[0]
        return value

    def token(self) -> tuple[bytes, float]:
        length = self.u32()
        if length > MAX_PIECE:
            raise OldModelError(f"damaged: a token of {length} bytes; download it again")
        piece = self.take(length)
        score: float = _SCORE.unpack(self.take(4))[0]
        return piece, score if math.isfinite(score) else 0.0

    def tensor(self) -> OldTensor:
        dimensions, length, kind = _TENSOR.unpack(self.take(_TENSOR.size))
        if not 1 <= dimensions <= 2 or length > 256:
            raise OldModelError(f"damaged: no tensor at byte {self.at:,}; download it again")
        shape = tuple(self.u32() for _ in range(dimensions))
        name = self.take(length).decode("utf-8", "replace")
        known = OUTPUT_TYPES if name == "output.weight" else TYPES
        if kind in REFUSED and kind not in known:
            taken = ", ".join(spelled for spelled, _, _ in TYPES.values())
            raise OldModelError(f"of type {REFUSED[kind]}, which is not converted; {taken} are")
        if kind not in known or math.prod(shape) == 0 or shape[0] % known[kind][1]:
            raise OldModelError(f"damaged: the tensor {name} makes no sense; download it again")
        self.at = -(-self.at // 32) * 32
        _, values, each = known[kind]
        size = math.prod(shape) // values * each
        tensor = OldTensor(name, shape, kind, self.at, size)
        self.at += size
        if self.at > len(self.data):
            raise IndexError
        return tensor


def _foreign(magic: bytes, version: int) -> str:
    older = {b"lmgg": "GGML without a version", b"fmgg": "GGMF", b"tjgg": f"GGML v{version}"}.get(magic)
    if magic == b"algg":
        return "a LoRA adapter, not a model"
    if older:
        return f"{older}, whose numbers are laid out differently; only GGML v3 is converted"
    return "not a GGML file; a model of that time is called .ggmlv3.q4_0.bin or the like"


def _check(model: OldModel) -> None:
    """Raise when a tensor is missing or of a shape that does not fit."""
    tokens, width = len(model.vocabulary), model.width
    for name in ("tok_embeddings.weight", "output.weight"):
        _expect(model, name, width, tokens)
    _expect(model, "norm.weight", width)
    for layer in range(model.layers):
        at = f"layers.{layer}"
        _expect(model, f"{at}.attention.wk.weight", width, None)
        shared = model.kv_heads * model.head_width
        if not model.kv_heads or model.heads % model.kv_heads:
            raise OldModelError(f"damaged: {model.kv_heads} heads of keys; download it again")
        _expect(model, f"{at}.attention.wk.weight", width, shared)
        _expect(model, f"{at}.attention.wv.weight", width, shared)
        _expect(model, f"{at}.attention.wq.weight", width, width)
        _expect(model, f"{at}.attention.wo.weight", width, width)
        _expect(model, f"{at}.feed_forward.w1.weight", width, None)
        _expect(model, f"{at}.feed_forward.w1.weight", width, model.inner)
        _expect(model, f"{at}.feed_forward.w3.weight", width, model.inner)
        _expect(model, f"{at}.feed_forward.w2.weight", model.inner, width)
        _expect(model, f"{at}.attention_norm.weight", width)
        _expect(model, f"{at}.ffn_norm.weight", width)


def _expect(model: OldModel, name: str, *shape: int | None) -> None:
    tensor = model.tensors.get(name)
    if tensor is None:
        raise OldModelError(f"no tensor {name}: incomplete, or no Llama; download it again")
    fits = len(tensor.shape) == len(shape) and all(
        wanted is None or there == wanted for there, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise OldModelError(f"damaged: the tensor {name} has the shape {tensor.shape}; download it again")

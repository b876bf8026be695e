"""What a model takes in memory, from the header of its file: weights a layer, cache a token, states, buffers.

How large llama.cpp makes its caches is read from its source: `llama-kv-cache.cpp`, `llama-kv-cache-iswa.cpp`
and `llama-memory-recurrent.cpp`, with the sizes of `llama-hparams.cpp`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from operator import add, mul

from chat.gguf import GGUFHeader

__all__ = [
    "BATCH",
    "CACHE_BYTES",
    "CHECKPOINT_BUDGET",
    "CHECKPOINT_SPACING",
    "FEW_CHECKPOINTS",
    "FEW_SEQUENCES",
    "SEQUENCES",
    "Needs",
    "checkpoint_spacing",
    "needs_of",
]

BATCH = 512
"""Tokens that are read in one call at most."""

SEQUENCES = 10
"""Sequences that a context has room for in its tables: the chat's, eight swipes at once, and one beside."""

FEW_SEQUENCES = 4
"""The same where each costs memory (windows, states) and that is short."""

CACHE_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Of one number in the cache (ggml's block sizes)."""

QUANTIZED_BLOCK = 32
"""Numbers; a head's keys and values must be whole blocks where the cache is quantized."""

CACHE_UNKNOWN = 1 << 18
"""Bytes a token in f16, where the header does not say: twice what a 7B model with shared heads takes."""

FIXED_BUFFER = 64 << 20
"""Bytes of a compute buffer that depend on nothing."""

CHECKPOINT_BUDGET = 768 << 20
"""Bytes that the snapshots of one sequence may take, where there is so much."""
FEW_CHECKPOINTS = 2
"""So many there is always room for."""

CHECKPOINT_SPACING = 256
"""Tokens at least between two snapshots while a prompt is read."""

SNAPSHOT_HEAD, SNAPSHOT_CELL = 1024, 16
"""Bytes that stand in a snapshot beside what it keeps: once, and for a token in a window."""

MOST_LAYERS = 1024
"""No model has so many: a header that says so is damaged."""

_BLOCK = re.compile(r"blk\.(\d+)\.(.*)")
_EXPERTS = re.compile(r"ffn_(gate|up|down|gate_up)_(ch)?exps\b")

_FULL_EVERY = {
    "afmoe": 4, "cohere2": 4, "exaone4": 4, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2,
    "llama4": 4, "olmo2": 4, "smallthinker": 4,
}  # fmt: skip
"""Architectures with sliding attention in all layers but every so many-th (llama.cpp, `set_swa_pattern`)."""

_RECURRENT = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
"""Architectures without attention."""

_FULL_ATTENTION_EVERY = {"qwen35": 4, "qwen35moe": 4, "qwen3next": 4}
"""Architectures with a state in all layers but every so many-th, where the header does not say it."""

_WINDOW = {"llama4": 8_192}
"""Architectures that have a window where the header names none; 0 there means none."""

_BOTH = {"falcon-h1"}
"""Architectures with a state and attention in every layer."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Sizes in bytes unless said otherwise; tuples have one item a layer."""

    weights: tuple[int, ...]
    experts: tuple[int, ...] = ()
    """Of the weights, those of a mixture's experts."""
    embeddings: int = 0
    """What always lies in main memory: the token embeddings."""
    output: int = 0
    """What is the last layer: output norm and output matrix."""
    tied: bool = False
    """The embeddings are the output matrix as well: on a GPU they lie once more."""
    keys: tuple[int, ...] = ()
    """Numbers in the cache for one token."""
    values: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    """Tokens of a sliding window; 0: the layer sees the whole context."""
    states: tuple[int, ...] = ()
    """Of one sequence, whatever its length; 0: the layer has no recurrent state."""
    head: int = 0
    """Numbers in one head's keys, or values where those are not as many blocks; 0: not known."""
    heads: int = 0
    width: int = 0
    """Numbers in an embedding."""
    inner: int = 0
    """Numbers in the widest layer of the feed-forward part."""
    vocabulary: int = 0
    context: int = 0
    """Tokens that the model was trained for; 0: not known."""

    @property
    def blocks(self) -> int:
        return len(self.weights)

    @property
    def all_weights(self) -> int:
        return self.embeddings + self.output + sum(self.weights)

    @property
    def output_on_gpu(self) -> int:
        return self.output + (self.embeddings if self.tied else 0)

    @property
    def quantizable(self) -> bool:
        """Whether the cache can be quantized: the heads are whole blocks."""
        return bool(self.head) and self.head % QUANTIZED_BLOCK == 0

    @property
    def checkpointed(self) -> bool:
        """Whether the cache forgets by itself, so that it cannot go back without a snapshot."""
        return any(self.windows) or any(self.states)

    def cache(
        self, layer: int, cells: int, cache_type: str, sequences: int = SEQUENCES, full_window: bool = False
    ) -> int:
        """Of one layer: keys and values of so many tokens, and the states of all sequences."""
        if not self.keys:
            per_layer = CACHE_UNKNOWN / 2 / max(1, self.blocks)
            return int(per_layer * CACHE_BYTES[cache_type] * cells)
        window = self.windows[layer] if self.windows else 0
        if window and not full_window:
            cells = min(cells, _padded(window * sequences + BATCH))
        numbers = self.keys[layer] + self.values[layer]
        state = self.states[layer] * sequences if self.states else 0
        return int(numbers * CACHE_BYTES[cache_type] * cells) + state

    def snapshot(self, cache_type: str, full_window: bool = False) -> int:
        """What one checkpoint of a sequence holds: its states, and the windows where they are not whole."""
        windows = self.windows if self.keys and not full_window else ()
        numbers = sum(map(mul, windows, map(add, self.keys, self.values)))
        kept = int(numbers * CACHE_BYTES[cache_type]) + sum(self.states)
        return kept + SNAPSHOT_HEAD + SNAPSHOT_CELL * max(windows, default=0) if kept else 0

    def checkpoints(self, context: int, cache_type: str, full_window: bool = False) -> tuple[int, int]:
        """The least and the most that all checkpoints of one sequence come to; they lie in main memory."""
        size = self.snapshot(cache_type, full_window)
        if size > CHECKPOINT_BUDGET:  # not one is kept
            return 0, 0
        # A state is kept before every reply, however short.
        apart = 1 if any(self.states) else checkpoint_spacing(max(self.windows, default=0))
        most = min(CHECKPOINT_BUDGET, size * (context // apart))
        return min(most, size * FEW_CHECKPOINTS), most

    def buffer(self, cells: int, flash: bool, *, output: bool = True) -> int:
        """The compute buffer of one device: the logits of a batch or the scores of attention, and what flows.

        llama.cpp tells its own number when a context is made; this one is a little more.
        """
        logits = self.vocabulary * BATCH * 4 if output else 0
        scores = 0 if flash else self.scores(cells)
        flow = (4 * self.width + 3 * self.inner) * BATCH * 4
        return max(logits, scores) + cells * BATCH * 6 + flow + FIXED_BUFFER

    def scores(self, cells: int) -> int:
        """Bytes for the attention scores of a batch, which only flash attention does without."""
        return self.heads * cells * BATCH * 4

    def with_part(self, other: Needs) -> Needs:
        """With the weights of another file of the same split model."""
        return replace(
            self,
            weights=_sums(self.weights, other.weights),
            experts=_sums(self.experts, other.experts),
            embeddings=self.embeddings + other.embeddings,
            output=self.output + other.output,
            tied=self.tied and other.tied,
        )


def checkpoint_spacing(window: int) -> int:
    """Tokens between two snapshots of a model with a sliding window, which lets it go back a little by
    itself."""
    return max(CHECKPOINT_SPACING, 4 * window)


def needs_of(header: GGUFHeader) -> Needs:
    """What one file says; the parts of a split model are joined with `with_part`."""
    weights, experts, embeddings, output = _weights(header)
    layers = min(max(_number(header, "block_count"), len(weights)), MOST_LAYERS)
    weights = [*weights, *[0] * (layers - len(weights))]
    experts = [*experts, *[0] * (layers - len(experts))]
    recurrent = _recurrent(header, layers)
    keys, values = _keys_and_values(header, layers)
    without = header.architecture in _RECURRENT
    both = header.architecture in _BOTH
    if keys:
        attends = [not without and (both or not state) for state in recurrent]
        keys = [size if seen else 0 for size, seen in zip(keys, attends, strict=True)]
        values = [size if kept else 0 for size, kept in zip(values, keys, strict=True)]
    elif any(recurrent):
        keys = values = [0] * layers
    head_keys, head_values = _head(header)
    return Needs(
        weights=tuple(weights),
        experts=tuple(experts),
        embeddings=embeddings,
        output=output,
        tied=not any(tensor.name == "output.weight" for tensor in header.tensors),
        keys=tuple(keys),
        values=tuple(values),
        windows=tuple(_windows(header, layers)),
        states=tuple(_state(header) if one else 0 for one in recurrent),
        head=head_keys if head_values % QUANTIZED_BLOCK == 0 else head_values,
        heads=_number(header, "attention.head_count"),
        width=_number(header, "embedding_length"),
        inner=_number(header, "feed_forward_length"),
        vocabulary=header.lengths.get("tokenizer.ggml.tokens", 0),
        context=_number(header, "context_length"),
    )


def _weights(header: GGUFHeader) -> tuple[list[int], list[int], int, int]:
    """Bytes of each layer, of its experts, of the embeddings and of the output."""
    weights: list[int] = []
    experts: list[int] = []
    embeddings = output = 0
    for tensor in header.tensors:
        size, found = tensor.size or 0, _BLOCK.match(tensor.name)
        if found is None:
            if tensor.name.startswith("output"):
                output += size
            else:
                embeddings += size
            continue
        layer = int(found[1])
        if layer >= MOST_LAYERS:
            continue
        if layer >= len(weights):
            weights += [0] * (layer + 1 - len(weights))
            experts += [0] * (layer + 1 - len(experts))
        weights[layer] += size
        if _EXPERTS.match(found[2]):
            experts[layer] += size
    return weights, experts, embeddings, output


def _number(header: GGUFHeader, key: str, default: int = 0) -> int:
    return max(0, header.number("{arch}." + key) or default)


def _head(header: GGUFHeader) -> tuple[int, int]:
    """Numbers in one head's keys and values."""
    heads = _number(header, "attention.head_count")
    each = _number(header, "embedding_length") // heads if heads else 0
    keys = _number(header, "attention.key_length", each)
    return keys, _number(header, "attention.value_length", each)


def _keys_and_values(header: GGUFHeader, layers: int) -> tuple[list[int], list[int]]:
    """Numbers a token in each layer; empty where the header is silent."""
    keys, values = _head(header)
    all_heads = header.numbers("{arch}.attention.head_count")
    shared = header.numbers("{arch}.attention.head_count_kv") or all_heads
    if not keys or not shared or not layers:
        return [], []
    if len(shared) != layers:
        shared = [max(shared)] * layers
    if header.number("{arch}.attention.key_length_mla"):  # the compressed keys hold the values as well
        values = 0
    shared = [max(0, heads) for heads in shared]
    return [heads * keys for heads in shared], [heads * values for heads in shared]


def _windows(header: GGUFHeader, layers: int) -> list[int]:
    """The sliding window of each layer, 0 without one; all 0 where it is not known which layers have one."""
    said = header.number("{arch}.attention.sliding_window")
    window = max(0, said) if said is not None else _WINDOW.get(header.architecture, 0)
    pattern = header.metadata.get(f"{header.architecture}.attention.sliding_window_pattern")
    if not window:
        return [0] * layers
    if isinstance(pattern, list) and len(pattern) == layers:
        return [window if item else 0 for item in pattern]
    every = pattern if isinstance(pattern, int) and pattern > 1 else _FULL_EVERY.get(header.architecture)
    if every is None:
        return [0] * layers
    return [window if layer % every < every - 1 else 0 for layer in range(layers)]


def _recurrent(header: GGUFHeader, layers: int) -> list[bool]:
    """Which layers have a state."""
    if header.architecture in _RECURRENT | _BOTH:
        return [True] * layers
    if not _state(header):
        return [False] * layers
    every = header.number("{arch}.full_attention_interval") or _FULL_ATTENTION_EVERY.get(header.architecture)
    if every:
        return [(layer + 1) % every != 0 for layer in range(layers)]
    shared = header.numbers("{arch}.attention.head_count_kv")
    return [heads == 0 for heads in shared] if len(shared) == layers else [False] * layers


def _state(header: GGUFHeader) -> int:
    """Bytes of one layer's state for one sequence, in f32; 0 where the model has none."""
    width = _number(header, "embedding_length")
    short = _number(header, "shortconv.l_cache")
    if short:
        return 4 * width * (short - 1)
    wkv = _number(header, "wkv.head_size")
    if wkv:
        return 4 * width * (_number(header, "token_shift_count", 2) + wkv)
    inner, state = _number(header, "ssm.inner_size"), _number(header, "ssm.state_size")
    groups, kernel = _number(header, "ssm.group_count"), _number(header, "ssm.conv_kernel")
    return 4 * (max(0, kernel - 1) * (inner + 2 * groups * state) + inner * state)


def _sums(one: Iterable[int], other: Iterable[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def _padded(cells: int) -> int:
    return -(-cells // 256) * 256

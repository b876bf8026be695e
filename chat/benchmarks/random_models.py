"""Small models with random weights: for vocabularies that the demo model does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chat.benchmarks.measure import Bench, Missing

__all__ = ["random_llama", "random_llama_on"]

LLAMA_2_VOCABULARY = Path(__file__).parents[2] / "tests" / "data" / "llama2-vocab.gguf"
"""In a checkout; a wheel does not carry it."""

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
"""GGUF's kinds of token."""

CONTEXT = 4_096


def random_llama(bench: Bench, *, vocabulary: int, width: int, layers: int) -> Path:
    """A model with a made-up SentencePiece vocabulary of this many entries. Raises Missing."""
    name = f"random-{vocabulary}-{width}-{layers}"
    if name not in bench.models_made:
        model = _RandomLlama(bench.folder / f"{name}.gguf", vocabulary, width, layers)
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        kinds = [UNKNOWN, CONTROL, CONTROL, *([BYTE] * 256)]
        more = vocabulary - len(tokens)
        tokens += [f"\N{LOWER ONE EIGHTH BLOCK}{_syllables(number)}" for number in range(more)]
        model.writer.add_tokenizer_model("llama")
        model.writer.add_token_list(tokens)
        model.writer.add_token_scores([0.0] * 259 + [-float(number) for number in range(more)])
        model.writer.add_token_types(kinds + [NORMAL] * more)
        for key, token in (("unknown", 0), ("bos", 1), ("eos", 2)):
            model.writer.add_uint32(f"tokenizer.ggml.{key}_token_id", token)
        bench.models_made[name] = model.write()
    return bench.models_made[name]


def random_llama_on(bench: Bench, vocabulary_file: Path = LLAMA_2_VOCABULARY) -> Path:
    """A tiny model with the vocabulary of a GGUF file. Raises Missing."""
    name = f"random-on-{vocabulary_file.stem}"
    if name not in bench.models_made:
        if not vocabulary_file.exists():
            raise Missing("needs the Llama-2 vocabulary of the source tree (tests/data)")
        reader = _gguf().GGUFReader(vocabulary_file)
        fields = [field for key, field in reader.fields.items() if key.startswith("tokenizer.")]
        tokens = next(len(field.data) for field in fields if field.name == "tokenizer.ggml.tokens")
        model = _RandomLlama(bench.folder / f"{name}.gguf", tokens, 64, 2)
        for field in fields:
            array = field.types[0] == _gguf().GGUFValueType.ARRAY
            sub = field.types[-1] if array else None
            model.writer.add_key_value(field.name, field.contents(), field.types[0], sub)
        bench.models_made[name] = model.write()
    return bench.models_made[name]


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise Missing("needs the package gguf: pip install 'rpchat[convert]'") from error
    return gguf


def _syllables(number: int) -> str:
    """Another word for every number."""
    parts = []
    while True:
        number, digit = divmod(number, 40)
        parts.append("bdfgklmnprstvz"[digit % 14] + "aeiou"[digit % 5])
        if number == 0:
            return "".join(parts)


class _RandomLlama:
    """A Llama model being written: its head in F16, so that a large vocabulary stays small on disk."""

    def __init__(self, path: Path, vocabulary: int, width: int, layers: int) -> None:
        self.path, self._layers, self._width, self._vocabulary = path, layers, width, vocabulary
        self.writer = _gguf().GGUFWriter(path, "llama")
        writer, heads = self.writer, width // 64 or 1
        writer.add_name("random")
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(width)
        writer.add_block_count(layers)
        writer.add_feed_forward_length(2 * width)
        writer.add_head_count(heads)
        writer.add_head_count_kv(heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(width // heads)

    def write(self) -> Path:
        """Adds the weights and closes the file."""
        dice, width, inner, writer = np.random.default_rng(0), self._width, 2 * self._width, self.writer

        def tensor(name: str, rows: int, columns: int, scale: float) -> None:
            values = dice.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)
            writer.add_tensor(f"{name}.weight", values.astype(np.float16))

        tensor("token_embd", self._vocabulary, width, 1.0)  # the output layer too, as in small models
        # The logits' spread is that of a trained model: a few candidates hold most of the probability.
        writer.add_tensor("output_norm.weight", np.full(width, 3.5 / width**0.5, np.float32))
        for layer in range(self._layers):
            for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
                tensor(f"blk.{layer}.{name}", width, width, width**-0.5)
            tensor(f"blk.{layer}.ffn_gate", inner, width, width**-0.5)
            tensor(f"blk.{layer}.ffn_up", inner, width, width**-0.5)
            tensor(f"blk.{layer}.ffn_down", width, inner, inner**-0.5)
            for name in ("attn_norm", "ffn_norm"):
                writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(width, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return self.path

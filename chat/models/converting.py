"""GGML v3 Llama files into GGUF: the tensors as they are, names and header anew.

The layout of the types has not changed since, and the rows of queries and keys were already in llama.cpp's
order, so no number is touched. What the old header does not say (context, epsilon of the norms) depends on
whether the model is a Llama 1 or a Llama 2. The names of the tensors and the kinds of the tokens are those
that llama.cpp's own `convert_llama_ggml_to_gguf.py` gives.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat.gguf import GGUFError, read_header
from chat.models import ModelError
from chat.models.ggml import OldModel, OldModelError, OldTensor, read_old_model
from chat.models.outputs import new_file
from chat.settings import reason

__all__ = ["Converted", "convert", "generation_of"]

CONTEXT = {1: 2048, 2: 4096}
"""Tokens that a Llama 1 and a Llama 2 were trained for."""
EPSILON = {1: 1e-6, 2: 1e-5}
"""Of the RMS norms, from the `params.json` of both."""

_LLAMA2 = re.compile(
    r"llama[-_ ]?(?:2|ii)(?![0-9])|(?:^|[-_.])l2(?:[-_.]|$)|pygmalion-2|limarp", re.IGNORECASE
)
_NAMES = (
    ("tok_embeddings.weight", "token_embd.weight"),
    ("norm.weight", "output_norm.weight"),
    ("output.weight", "output.weight"),
)
_LAYER_NAMES = (
    ("attention_norm", "attn_norm"),
    ("attention.wq", "attn_q"),
    ("attention.wk", "attn_k"),
    ("attention.wv", "attn_v"),
    ("attention.wo", "attn_output"),
    ("ffn_norm", "ffn_norm"),
    ("feed_forward.w1", "ffn_gate"),
    ("feed_forward.w2", "ffn_down"),
    ("feed_forward.w3", "ffn_up"),
)
_FILE_TYPES = {0: 0, 1: 1, 2: 2, 8: 7}
"""`ggml_type` of the matrices -> `llama_ftype`."""
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
"""Kinds of tokens (`llama_token_type`)."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written, and what was assumed."""

    path: Path
    llama: int
    """1 or 2."""
    why: str
    context: int
    """Tokens."""
    tensors: int


def generation_of(model: OldModel) -> tuple[int, str]:
    """Whether it is a Llama 1 or 2, and what says so; such files do not say it themselves."""
    if model.kv_heads != model.heads:
        return 2, "it shares heads of keys"
    if _LLAMA2.search(model.path.name):
        return 2, "by its name"
    return 1, "nothing in its name says Llama 2"


def convert(
    source: Path,
    out: Path,
    *,
    llama: int | None = None,
    context: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Converted:
    """Write a GGUF file of a GGML v3 Llama. `progress` is told tensors done and in all.

    `llama` (1 or 2) and `context` outrank what is guessed. Raises ModelError.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"converting needs the package gguf: {sys.executable} -m pip install 'rpchat[convert]'"
        )
    try:
        model = read_old_model(source)
    except OldModelError as error:
        raise ModelError(f"{source}: {error}") from error
    except OSError as error:
        raise ModelError(f"{source}: {reason(error)}") from error
    found, why = generation_of(model)
    if llama is not None:
        found, why = llama, "as you said"
    tokens = context or CONTEXT[found]
    with new_file(out, source, force=force) as temporary:
        needed, free = sum(t.size for t in model.tensors.values()), shutil.disk_usage(out.parent).free
        if needed > free:
            raise ModelError(f"{out.parent}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
        count = _write(model, temporary, tokens, EPSILON[found], progress)
        _prove(temporary, count)
    return Converted(out, found, why, tokens, count)


def _write(
    model: OldModel, path: Path, context: int, epsilon: float, progress: Callable[[int, int], None]
) -> int:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, "llama")
    try:
        _write_header(writer, model, context, epsilon)
        tensors = list(_renamed(model))
        for name, tensor in tensors:
            kind = GGMLQuantizationType(tensor.type)
            writer.add_tensor_info(
                name, tensor.shape[::-1], np.dtype(np.float32), tensor.size, raw_dtype=kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        data = np.memmap(model.path, dtype=np.uint8, mode="r")
        for done, (_, tensor) in enumerate(tensors):
            progress(done, len(tensors))
            writer.write_tensor_data(data[tensor.start : tensor.start + tensor.size])
        progress(len(tensors), len(tensors))
    finally:
        writer.close()
    return len(tensors)


def _write_header(writer: Any, model: OldModel, context: int, epsilon: float) -> None:
    writer.add_name(re.sub(r"\.ggmlv3.*$", "", model.path.stem))
    writer.add_description(f"converted from {model.path.name}")
    writer.add_file_type(_FILE_TYPES[model.tensors["layers.0.attention.wq.weight"].type])
    writer.add_quantization_version(2)
    writer.add_context_length(context)
    writer.add_embedding_length(model.width)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.inner)
    writer.add_rope_dimension_count(model.rotated)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_layer_norm_rms_eps(epsilon)
    tokens, scores, kinds = _tokens(model)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _tokens(model: OldModel) -> tuple[list[bytes], list[float], list[int]]:
    """The vocabulary as SentencePiece writes it: such files hold the bytes that each token stands for."""
    tokens, scores, kinds = [], [], []
    for number, (piece, score) in enumerate(model.vocabulary):
        if number < 3:
            piece, kind = ((b"<unk>", _UNKNOWN), (b"<s>", _CONTROL), (b"</s>", _CONTROL))[number]
        elif not piece:
            piece, kind = f"<empty {number}>".encode(), _CONTROL  # two tokens may not be spelled alike
        elif number < 259 and len(piece) == 1:
            piece, kind = f"<0x{piece[0]:02X}>".encode(), _BYTE
        else:
            piece, kind = piece.replace(b" ", "\u2581".encode()), _NORMAL
        tokens.append(piece)
        scores.append(score)
        kinds.append(kind)
    return tokens, scores, kinds


def _renamed(model: OldModel) -> list[tuple[str, OldTensor]]:
    """The tensors of a Llama under their names in GGUF; what else is in the file is left behind."""
    named = [(new, model.tensors[old]) for old, new in _NAMES]
    for layer in range(model.layers):
        named += [
            (f"blk.{layer}.{new}.weight", model.tensors[f"layers.{layer}.{old}.weight"])
            for old, new in _LAYER_NAMES
        ]
    return named


def _prove(path: Path, tensors: int) -> None:
    """Read what was written, as any other file: a disk that filled up is seen here at the latest."""
    try:
        header = read_header(path)
    except GGUFError as error:
        raise ModelError(f"the converted file came out wrong: {error.what}") from error
    if header.truncated or header.defect or len(header.tensors) != tensors:
        raise ModelError(f"the converted file came out wrong: {header.defect or 'it is incomplete'}")

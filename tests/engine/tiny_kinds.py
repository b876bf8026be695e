"""Writes tiny models of random weights and many kinds: small enough to run a chat in seconds.

Names and shapes of the tensors are those that llama.cpp asks for (`src/models/*.cpp`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .tiny_weights import (
    CONTEXT,
    EXPERT_INNER,
    EXPERTS,
    HEAD,
    HEADS,
    INNER,
    KERNEL,
    LAYERS,
    STATE,
    WIDTH,
    WINDOW,
    Weights,
    expert_sizes,
    state_sizes,
)

__all__ = ["CONTEXT", "KINDS", "MORE_KINDS", "STATES", "WINDOWS", "write"]


KINDS = ("gemma2", "gemma3", "mamba", "lfm2", "qwen2vl")
"""One of each family, on which everything is tried."""
MORE_KINDS = (
    "gpt-oss",
    "cohere2",
    "granitehybrid",
    "falcon-h1",
    "jamba",
    "qwen3next",
    "qwen35",
    "rwkv7",
    "deepseek2",
    "llama4",
)
WINDOWS = ("gemma2", "gemma3", "gpt-oss", "cohere2", "llama4")
"""With sliding windows; that of llama4 is always of 8 192 tokens."""
STATES = ("mamba", "lfm2", "granitehybrid", "falcon-h1", "jamba", "qwen3next", "qwen35", "rwkv7")
"""With a recurrent state."""
WITHOUT_ATTENTION = ("mamba", "rwkv7")
EVERY_OTHER = ("lfm2", "granitehybrid", "jamba")
"""Every other layer has a state, and their headers say so by a layer's heads."""


# Sliding windows --------------------------------------------------------------------------------------------


def gemma(writer: Any, weights: Weights, architecture: str) -> None:
    """The embeddings are the output matrix as well; norms stand behind attention and feed-forward, too."""
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_sliding_window(WINDOW)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)
    weights.ones("output_norm", WIDTH)
    for layer in range(LAYERS):
        weights.attention(layer)
        weights.feed_forward(layer)
        weights.norms(layer, "attn_norm", "ffn_norm")
        weights.norms(layer, "post_attention_norm", "post_ffw_norm", scale=8.0)
        if architecture == "gemma3":
            weights.norms(layer, "attn_q_norm", "attn_k_norm", size=HEAD)


def gpt_oss(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Every other layer a window, sinks that take a part of the attention, and experts everywhere."""
    writer.add_sliding_window(WINDOW)
    expert_sizes(writer)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        weights.attention(layer, bias=True)
        weights.normal(f"{block}attn_sinks", HEADS)
        weights.experts(layer)
        weights.norms(layer, "attn_norm", "post_attention_norm")
        weights.normal(f"{block}ffn_gate_inp.bias", EXPERTS)
        weights.normal(f"{block}ffn_gate_exps.bias", EXPERTS, EXPERT_INNER)
        weights.normal(f"{block}ffn_up_exps.bias", EXPERTS, EXPERT_INNER)
        weights.normal(f"{block}ffn_down_exps.bias", EXPERTS, WIDTH)


def cohere2(writer: Any, weights: Weights, _vocabulary: int) -> None:
    """Three layers of four have a window, the fourth sees all and knows no positions."""
    writer.add_sliding_window(WINDOW)
    writer.add_layer_norm_eps(1e-5)
    writer.add_logit_scale(2.0)
    weights.ones("output_norm", WIDTH)
    for layer in range(LAYERS):
        weights.attention(layer)
        weights.feed_forward(layer)
        weights.norms(layer, "attn_norm")


def llama4(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Three layers of four see the tokens since the last multiple of 8 192; the header says nothing of it."""
    writer.add_interleave_moe_layer_step(2)
    expert_sizes(writer)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        weights.attention(layer)
        weights.norms(layer, "attn_norm", "ffn_norm")
        if layer % 2:
            weights.experts(layer)
            weights.feed_forward(layer, suffix="_shexp", inner=EXPERT_INNER)
        else:
            weights.feed_forward(layer)


# States -----------------------------------------------------------------------------------------------------


def mamba(writer: Any, weights: Weights, vocabulary: int) -> None:
    state_sizes(writer, steps=4)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        weights.norms(layer, "attn_norm")
        weights.first_state(layer)


def rwkv7(writer: Any, weights: Weights, vocabulary: int) -> None:
    """No attention: of each layer the last token and a matrix a head are kept.

    The one head is as wide as all: llama.cpp computes none that are narrower on the CPU.
    """
    rank = 8
    writer.add_head_count(0)
    writer.add_layer_norm_eps(1e-5)
    writer.add_wkv_head_size(WIDTH)
    writer.add_token_shift_count(2)
    writer.add_decay_lora_rank(rank)
    writer.add_iclr_lora_rank(rank)
    writer.add_value_residual_mix_lora_rank(rank)
    writer.add_gate_lora_rank(rank)
    weights.head(vocabulary)
    weights.ones("token_embd_norm", WIDTH)
    for name in ("output_norm", "token_embd_norm"):
        weights.normal(f"{name}.bias", WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            weights.norms(layer, name)
            weights.normal(f"{block}{name}.bias", WIDTH)
        for name in "wavg":
            if name != "g":
                weights.normal(f"{block}time_mix_{name}0", WIDTH)
            weights.normal(f"{block}time_mix_{name}1", rank, WIDTH)
            weights.normal(f"{block}time_mix_{name}2", WIDTH, rank)
        weights.normal(f"{block}time_mix_lerp_fused", 6, 1, 1, WIDTH)
        for name in ("k_k", "k_a", "r_k"):
            weights.normal(f"{block}time_mix_{name}", WIDTH, scale=1.0)
        for name in ("key", "value", "receptance", "output"):
            weights.normal(f"{block}time_mix_{name}", WIDTH, WIDTH)
        weights.normal(f"{block}channel_mix_lerp_k", 1, 1, WIDTH)
        weights.normal(f"{block}channel_mix_key", INNER, WIDTH)
        weights.normal(f"{block}channel_mix_value", WIDTH, INNER)


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
            weights.norms(layer, "attn_q_norm", "attn_k_norm", size=HEAD)
        else:
            weights.normal(f"blk.{layer}.shortconv.conv.weight", WIDTH, kernel)
            weights.normal(f"blk.{layer}.shortconv.in_proj.weight", 3 * WIDTH, WIDTH)
            weights.normal(f"blk.{layer}.shortconv.out_proj.weight", WIDTH, WIDTH)


def jamba(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Every other layer as Mamba's with norms within, the others attention without positions, and experts."""
    steps = 4
    state_sizes(writer, steps)
    expert_sizes(writer)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        weights.norms(layer, "attn_norm", "ffn_norm")
        if layer % 2:
            weights.attention(layer)
            weights.experts(layer, INNER)
        else:
            weights.first_state(layer)
            weights.norms(layer, "ssm_dt_norm", size=steps)
            weights.norms(layer, "ssm_b_norm", "ssm_c_norm", size=STATE)
            weights.feed_forward(layer)


def granitehybrid(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Every other layer as Mamba 2's, the others attention without positions."""
    heads, groups = 8, 1
    state_sizes(writer, heads, groups)
    writer.add_logit_scale(2.0)
    writer.add_residual_scale(0.5)
    writer.add_embedding_scale(1.0)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        weights.norms(layer, "attn_norm", "ffn_norm")
        weights.feed_forward(layer)
        if layer % 2:
            weights.attention(layer)
        else:
            weights.second_state(layer, heads, groups)


def falcon_h1(writer: Any, weights: Weights, vocabulary: int) -> None:
    """State and attention side by side in every layer."""
    heads, groups = 8, 2
    state_sizes(writer, heads, groups)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        weights.norms(layer, "attn_norm")
        weights.bare(f"blk.{layer}.ffn_norm", np.ones(WIDTH))
        weights.attention(layer)
        weights.second_state(layer, heads, groups)
        weights.feed_forward(layer)


def gated_delta(writer: Any, weights: Weights, vocabulary: int, *, experts: bool) -> None:
    """Every other layer a gated delta net, the others attention with a gate."""
    keys, values = 2, 4
    flow = values * STATE
    mixed = 2 * keys * STATE + flow
    writer.add_full_attention_interval(2)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(flow)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(values)
    writer.add_ssm_group_count(keys)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        weights.norms(layer, "attn_norm", "post_attention_norm")
        if layer % 2:
            weights.normal(f"{block}attn_q", 2 * WIDTH, WIDTH)
            for name in ("attn_k", "attn_v", "attn_output"):
                weights.normal(f"{block}{name}", WIDTH, WIDTH)
            weights.norms(layer, "attn_q_norm", "attn_k_norm", size=HEAD)
        else:
            weights.normal(f"{block}attn_qkv", mixed, WIDTH)
            weights.normal(f"{block}attn_gate", flow, WIDTH)
            weights.normal(f"{block}ssm_conv1d", mixed, KERNEL)
            weights.normal(f"{block}ssm_dt.bias", values)
            weights.decay(f"{block}ssm_a", values)
            weights.norms(layer, "ssm_norm", size=STATE)
            weights.normal(f"{block}ssm_out", WIDTH, flow)
            if experts:
                weights.normal(f"{block}ssm_ba", 2 * values, WIDTH)
            else:
                weights.normal(f"{block}ssm_alpha", values, WIDTH)
                weights.normal(f"{block}ssm_beta", values, WIDTH)
        if experts:
            weights.experts(layer)
            weights.normal(f"{block}ffn_gate_inp_shexp", WIDTH)
            weights.feed_forward(layer, suffix="_shexp", inner=EXPERT_INNER)
        else:
            weights.feed_forward(layer)


def qwen3next(writer: Any, weights: Weights, vocabulary: int) -> None:
    expert_sizes(writer)
    writer.add_expert_shared_feed_forward_length(EXPERT_INNER)
    gated_delta(writer, weights, vocabulary, experts=True)


def qwen35(writer: Any, weights: Weights, vocabulary: int) -> None:
    """With positions of several axes."""
    writer.add_rope_dimension_sections([2, 3, 3, 0])
    gated_delta(writer, weights, vocabulary, experts=False)


# Plain attention, with something odd ------------------------------------------------------------------------


def qwen2vl(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Positions of several axes."""
    writer.add_rope_dimension_sections([2, 3, 3, 0])
    weights.head(vocabulary)
    for layer in range(LAYERS):
        weights.attention(layer)
        weights.feed_forward(layer)
        weights.norms(layer, "attn_norm", "ffn_norm")
        for name in ("attn_q", "attn_k", "attn_v"):
            weights.normal(f"blk.{layer}.{name}.bias", WIDTH)


def deepseek2(writer: Any, weights: Weights, vocabulary: int) -> None:
    """Keys and values of all heads are one short row in the cache."""
    rank, turned, plain = 32, 8, 16
    writer.add_q_lora_rank(rank)
    writer.add_kv_lora_rank(rank)
    writer.add_rope_dimension_count(turned)
    writer.add_key_length(rank + turned)
    writer.add_value_length(rank)
    writer.add_key_length_mla(plain + turned)
    writer.add_value_length_mla(plain)
    writer.add_leading_dense_block_count(1)
    expert_sizes(writer)
    writer.add_expert_shared_count(1)
    weights.head(vocabulary)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        weights.norms(layer, "attn_norm", "ffn_norm")
        weights.norms(layer, "attn_q_a_norm", "attn_kv_a_norm", size=rank)
        weights.normal(f"{block}attn_q_a", rank, WIDTH)
        weights.normal(f"{block}attn_q_b", HEADS * (plain + turned), rank)
        weights.normal(f"{block}attn_kv_a_mqa", rank + turned, WIDTH)
        weights.normal(f"{block}attn_k_b", HEADS, rank, plain)
        weights.normal(f"{block}attn_v_b", HEADS, plain, rank)
        weights.normal(f"{block}attn_output", WIDTH, HEADS * plain)
        if layer:
            weights.experts(layer)
            weights.feed_forward(layer, suffix="_shexp", inner=EXPERT_INNER)
        else:
            weights.feed_forward(layer)


WRITERS: dict[str, Callable[[Any, Weights, int], None]] = {
    "gemma2": lambda writer, weights, _vocabulary: gemma(writer, weights, "gemma2"),
    "gemma3": lambda writer, weights, _vocabulary: gemma(writer, weights, "gemma3"),
    "mamba": mamba,
    "lfm2": lfm2,
    "qwen2vl": qwen2vl,
    "gpt-oss": gpt_oss,
    "cohere2": cohere2,
    "granitehybrid": granitehybrid,
    "falcon-h1": falcon_h1,
    "jamba": jamba,
    "qwen3next": qwen3next,
    "qwen35": qwen35,
    "rwkv7": rwkv7,
    "deepseek2": deepseek2,
    "llama4": llama4,
    "t5": lambda _writer, weights, _vocabulary: [
        weights.ones(f"{half}.output_norm.weight", WIDTH) for half in ("enc", "dec")
    ],
    "dream": lambda _writer, _weights, _vocabulary: None,
}


def write(path: Path, kind: str, copy_tokenizer: Callable[[Any], int]) -> Path:
    """A model of this kind; of `t5` and `dream` no more than what is looked at before they are refused."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, kind)
    writer.add_name(f"tiny {kind}")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_layer_norm_rms_eps(1e-5)
    if kind not in WITHOUT_ATTENTION:
        writer.add_head_count(HEADS)
        shared = 1 if kind == "deepseek2" else HEADS
        writer.add_head_count_kv([0, HEADS] * (LAYERS // 2) if kind in EVERY_OTHER else shared)
    vocabulary = copy_tokenizer(writer)
    weights = Weights(writer)
    tied = kind.startswith("gemma") or kind == "cohere2"
    weights.normal("token_embd", vocabulary, WIDTH, scale=0.3 if tied else 1.0)
    WRITERS[kind](writer, weights, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

"""Sizes and random weights of the tiny models that tests write, layer by layer.

Names and shapes of the tensors are those that llama.cpp asks for (`src/models/*.cpp`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "CONTEXT",
    "EXPERTS",
    "EXPERTS_USED",
    "EXPERT_INNER",
    "HEAD",
    "HEADS",
    "INNER",
    "KERNEL",
    "LAYERS",
    "STATE",
    "STATE_INNER",
    "WIDTH",
    "WINDOW",
    "Weights",
    "expert_sizes",
    "state_sizes",
]

WIDTH, INNER, LAYERS, HEADS, CONTEXT, WINDOW = 64, 128, 4, 4, 2048, 64
HEAD = WIDTH // HEADS
EXPERTS, EXPERTS_USED, EXPERT_INNER = 4, 2, 32
STATE_INNER, STATE, KERNEL = 2 * WIDTH, 16, 4
"""Of layers with a recurrent state: numbers that flow, what is kept of each, tokens of the convolution."""


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
        self.bare(whole, values)

    def bare(self, name: str, values: Any) -> None:
        """Under just this name."""
        self.writer.add_tensor(name, values.astype(np.float32))

    def decay(self, name: str, *shape: int) -> None:
        """How fast a state is forgotten."""
        self.bare(name, -np.abs(self.random.standard_normal(shape)))

    def head(self, vocabulary: int) -> None:
        """What comes after the last layer."""
        self.ones("output_norm", WIDTH)
        self.normal("output", vocabulary, WIDTH, scale=0.5)

    def attention(self, layer: int, *, bias: bool = False) -> None:
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            self.normal(f"blk.{layer}.{name}", WIDTH, WIDTH)
            if bias:
                self.normal(f"blk.{layer}.{name}.bias", WIDTH)

    def feed_forward(self, layer: int, *, suffix: str = "", inner: int = INNER) -> None:
        self.normal(f"blk.{layer}.ffn_gate{suffix}", inner, WIDTH)
        self.normal(f"blk.{layer}.ffn_up{suffix}", inner, WIDTH)
        self.normal(f"blk.{layer}.ffn_down{suffix}", WIDTH, inner)

    def experts(self, layer: int, inner: int = EXPERT_INNER) -> None:
        self.normal(f"blk.{layer}.ffn_gate_inp", EXPERTS, WIDTH)
        self.normal(f"blk.{layer}.ffn_gate_exps", EXPERTS, inner, WIDTH)
        self.normal(f"blk.{layer}.ffn_up_exps", EXPERTS, inner, WIDTH)
        self.normal(f"blk.{layer}.ffn_down_exps", EXPERTS, WIDTH, inner)

    def norms(self, layer: int, *names: str, size: int = WIDTH, scale: float = 1.0) -> None:
        for name in names:
            self.ones(f"blk.{layer}.{name}", size, scale=scale)

    def first_state(self, layer: int) -> None:
        """A layer as Mamba's, the first of that name."""
        block, steps = f"blk.{layer}.", 4
        self.normal(f"{block}ssm_in", 2 * STATE_INNER, WIDTH)
        self.normal(f"{block}ssm_conv1d", STATE_INNER, KERNEL)
        self.normal(f"{block}ssm_conv1d.bias", STATE_INNER)
        self.normal(f"{block}ssm_x", steps + 2 * STATE, STATE_INNER)
        self.normal(f"{block}ssm_dt", STATE_INNER, steps)
        self.normal(f"{block}ssm_dt.bias", STATE_INNER)
        self.decay(f"{block}ssm_a", STATE_INNER, STATE)
        self.bare(f"{block}ssm_d", np.ones(STATE_INNER))
        self.normal(f"{block}ssm_out", WIDTH, STATE_INNER)

    def second_state(self, layer: int, heads: int, groups: int) -> None:
        """A layer as Mamba 2's."""
        block, mixed = f"blk.{layer}.", STATE_INNER + 2 * groups * STATE
        self.normal(f"{block}ssm_in", STATE_INNER + mixed + heads, WIDTH)
        self.normal(f"{block}ssm_conv1d", mixed, KERNEL)
        self.normal(f"{block}ssm_conv1d.bias", mixed)
        self.normal(f"{block}ssm_dt.bias", heads)
        self.decay(f"{block}ssm_a", heads, 1)
        self.bare(f"{block}ssm_d", np.ones((heads, 1)))
        self.ones(f"{block}ssm_norm", groups, STATE_INNER // groups)
        self.normal(f"{block}ssm_out", WIDTH, STATE_INNER)


def state_sizes(writer: Any, steps: int, groups: int = 0) -> None:
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(STATE_INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(steps)
    if groups:
        writer.add_ssm_group_count(groups)


def expert_sizes(writer: Any, inner: int = EXPERT_INNER) -> None:
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(EXPERTS_USED)
    writer.add_expert_feed_forward_length(inner)

"""The plan for memory: headers of known models against tables of machines that are not at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.engine.machine import available_threads, writing_threads
from chat.engine.needs import CACHE_BYTES, Needs, needs_of
from chat.engine.plan import MARGIN, MARGIN_MAIN, GpuMemory, Machine, Plan, Wanted
from chat.engine.planning import USUAL_CONTEXT, PlanError, lesser_plan, make_plan
from chat.engine.protocol import Device
from chat.gguf import GGUFHeader, Tensor, Value

GB = 10**9
GIB = 1 << 30
Q4_K, Q6_K, F32 = (12, 256, 144), (14, 256, 210), (0, 1, 4)


@dataclass(frozen=True)
class Shape:
    """What decides the sizes of a Llama-like model."""

    layers: int
    width: int
    inner: int
    heads: int
    shared: int
    head: int
    vocabulary: int
    context: int
    experts: int = 0


LLAMA3_8B = Shape(32, 4096, 14336, 32, 8, 128, 128_256, 8_192)
NEMO_12B = Shape(40, 5120, 14336, 32, 8, 128, 131_072, 131_072)
MIXTRAL = Shape(32, 4096, 14336, 32, 8, 128, 32_000, 32_768, experts=8)
LLAMA_70B = Shape(80, 8192, 28672, 64, 8, 128, 128_256, 131_072)


def header(shape: Shape, architecture: str = "llama", **more: Value) -> GGUFHeader:
    """The header of a file of that shape in Q4_K, its output in Q6_K."""
    tensors: list[Tensor] = []

    def tensor(name: str, *sides: int, kind: tuple[int, int, int] = Q4_K) -> None:
        number, block, size = kind
        tensors.append(Tensor(name, sides, number, 0, math.prod(sides) // block * size))

    tensor("token_embd.weight", shape.width, shape.vocabulary)
    tensor("output.weight", shape.width, shape.vocabulary, kind=Q6_K)
    tensor("output_norm.weight", shape.width, kind=F32)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        tensor(f"{block}attn_q.weight", shape.width, shape.heads * shape.head)
        tensor(f"{block}attn_k.weight", shape.width, shape.shared * shape.head)
        tensor(f"{block}attn_v.weight", shape.width, shape.shared * shape.head)
        tensor(f"{block}attn_output.weight", shape.heads * shape.head, shape.width)
        for name in ("gate", "up", "down"):
            if shape.experts:
                tensor(f"{block}ffn_{name}_exps.weight", shape.width, shape.inner, shape.experts)
            else:
                tensor(f"{block}ffn_{name}.weight", shape.width, shape.inner)
    metadata: dict[str, Value] = {
        "general.architecture": architecture,
        f"{architecture}.block_count": shape.layers,
        f"{architecture}.embedding_length": shape.width,
        f"{architecture}.feed_forward_length": shape.inner,
        f"{architecture}.attention.head_count": shape.heads,
        f"{architecture}.attention.head_count_kv": shape.shared,
        f"{architecture}.attention.key_length": shape.head,
        f"{architecture}.attention.value_length": shape.head,
        f"{architecture}.context_length": shape.context,
    }
    metadata |= {f"{architecture}.{key}": value for key, value in more.items()}
    lengths = {"tokenizer.ggml.tokens": shape.vocabulary}
    return GGUFHeader(Path("model.gguf"), 3, metadata, lengths, tuple(tensors), 0, 0)


def card(*free: float, main: float = 32) -> Machine:
    """A machine with GPUs that have so many GB free."""
    return Machine(
        int(main * GB), tuple(GpuMemory(f"GPU {n}", int(size * GB)) for n, size in enumerate(free))
    )


def mac(memory: float) -> Machine:
    """Unified memory, of which Metal lends about two thirds."""
    lent = int(memory * GIB * 2 / 3)
    return Machine(lent, (GpuMemory("Apple M2", lent, shared=True),))


SECOND, F16 = "what is prepared in advance", "the f16 cache"


@pytest.mark.parametrize(
    ("shape", "machine", "layers", "context", "cache_type", "given_up"),
    [
        (LLAMA3_8B, card(24), 33, 8_192, "f16", ()),
        (LLAMA3_8B, card(12), 33, 8_192, "f16", ()),
        (LLAMA3_8B, card(7), 33, 8_192, "f16", (SECOND,)),
        (LLAMA3_8B, card(6.8), 33, 8_192, "q8_0", (SECOND, F16)),
        (LLAMA3_8B, card(5), 22, 8_192, "q8_0", (SECOND, F16)),
        (NEMO_12B, card(24), 41, 16_384, "f16", ()),
        (NEMO_12B, card(12), 41, 16_384, "f16", (SECOND,)),
        (NEMO_12B, card(10), 41, 16_384, "q8_0", (SECOND, F16)),
        (NEMO_12B, card(8), 32, 16_384, "q8_0", (SECOND, F16)),
        (LLAMA_70B, card(24, 24), 81, 16_384, "f16", (SECOND,)),
        (LLAMA_70B, card(23, 23), 81, 16_384, "q8_0", (SECOND, F16)),
        (LLAMA_70B, card(24, 24, 24), 81, 16_384, "f16", ()),
        (LLAMA_70B, card(24), 42, 16_384, "q8_0", (SECOND, F16)),
        (NEMO_12B, mac(16), 41, 16_384, "f16", (SECOND,)),
        (NEMO_12B, mac(36), 41, 16_384, "f16", ()),
    ],
)
def test_what_goes_where(
    shape: Shape, machine: Machine, layers: int, context: int, cache_type: str, given_up: tuple[str, ...]
) -> None:
    plan = make_plan(needs_of(header(shape)), machine, Wanted())
    assert abs(plan.layers - layers) <= (0 if plan.layers == plan.of_layers else 2), str(plan)
    assert (plan.context, plan.cache_type, plan.given_up) == (context, cache_type, given_up), str(plan)
    assert plan.second == (SECOND not in given_up)
    assert plan.fits
    for share, gpu in zip(plan.gpus, machine.gpus, strict=True):
        assert share.total <= gpu.room


def test_the_experts_of_a_mixture_go_before_whole_layers() -> None:
    needs = needs_of(header(MIXTRAL))
    assert sum(needs.experts) > 0.9 * sum(needs.weights)
    whole = make_plan(needs, card(48), Wanted())
    assert (whole.layers, whole.experts_aside) == (33, 0)
    some = make_plan(needs, card(24), Wanted())
    assert some.layers == 33
    assert 0 < some.experts_aside < 20
    most = make_plan(needs, card(8), Wanted())
    assert most.layers == 33
    assert some.experts_aside < most.experts_aside <= 32
    assert f"the experts of {most.experts_aside} in main memory" in str(most)
    assert some.main.weights + sum(share.weights for share in some.gpus) == needs.all_weights


def test_a_long_context_goes_before_layers_and_after_the_cache_type() -> None:
    needs = needs_of(header(NEMO_12B))
    long = Wanted(context=65_536)
    assert make_plan(needs, card(48), long).context == 65_536
    shorter = make_plan(needs, card(12), long)
    assert (shorter.layers, shorter.cache_type, shorter.second) == (41, "q8_0", False)
    assert USUAL_CONTEXT < shorter.context < 65_536
    assert shorter.given_up[-1] == f"context above {shorter.context:,}"
    least = make_plan(needs, card(8), long)
    assert (least.context, least.layers < 41) == (USUAL_CONTEXT, True)


def test_several_gpus_share_by_what_is_free() -> None:
    needs = needs_of(header(LLAMA_70B))
    even = make_plan(needs, card(30, 30), Wanted())
    assert even.gpus[0].weights == pytest.approx(even.gpus[1].weights, rel=0.1)
    uneven = make_plan(needs, card(40, 20), Wanted())
    assert uneven.gpus[0].weights == pytest.approx(2 * uneven.gpus[1].weights, rel=0.15)
    assert "on 2 GPUs" in str(uneven)


def test_a_number_of_layers_is_taken_at_its_word() -> None:
    needs = needs_of(header(NEMO_12B))
    plan = make_plan(needs, card(8), Wanted(gpu_layers=41))
    assert (plan.layers, plan.fits) == (41, False)
    assert str(plan).endswith("more than there is")
    assert make_plan(needs, card(8), Wanted(gpu_layers=10)).layers == 10
    assert make_plan(needs, card(8), Wanted(gpu_layers=0)).layers == 0
    assert make_plan(needs, card(24), Wanted(gpu_layers=99)).layers == 41


@pytest.mark.parametrize(
    ("shape", "gpu", "main", "wanted", "fits"),
    [
        (LLAMA_70B, 24, 32, Wanted(), True),
        (LLAMA_70B, 24, 16, Wanted(), False),
        (LLAMA_70B, 24, 16, Wanted(gpu_layers=42), False),
        (MIXTRAL, 8, 32, Wanted(), True),
        (MIXTRAL, 8, 16, Wanted(), False),
        (MIXTRAL, 48, 2, Wanted(), True),
    ],
)
def test_what_stays_beside_the_gpu_must_fit_in_main_memory(
    shape: Shape, gpu: float, main: float, wanted: Wanted, fits: bool
) -> None:
    machine = card(gpu, main=main)
    plan = make_plan(needs_of(header(shape)), machine, wanted)
    assert plan.layers > 0
    assert plan.fits is fits, str(plan)
    assert fits is not str(plan).endswith("more than there is")


@pytest.mark.parametrize(
    ("free", "context", "cache_type", "second", "fits"),
    [
        (None, 16_384, "f16", True, True),
        (32.0, 16_384, "f16", True, True),
        (11.0, 16_384, "f16", False, True),
        (10.0, 16_384, "q8_0", False, True),
        (9.0, 8_192, "q8_0", False, True),
        (4.0, 2_048, "q8_0", False, False),
    ],
)
def test_on_the_cpu(free: float | None, context: int, cache_type: str, second: bool, fits: bool) -> None:
    machine = Machine(None if free is None else int(free * GB))
    plan = make_plan(needs_of(header(NEMO_12B)), machine, Wanted())
    assert (plan.layers, plan.context, plan.cache_type) == (0, context, cache_type), str(plan)
    assert (plan.second, plan.fits) == (second, fits), str(plan)
    assert plan.main.weights == needs_of(header(NEMO_12B)).all_weights
    asked = make_plan(needs_of(header(NEMO_12B)), machine, Wanted(context=8_192))
    assert asked.context == 8_192


def test_the_line_is_the_arithmetic() -> None:
    plan = make_plan(needs_of(header(LLAMA3_8B)), card(12), Wanted())
    assert str(plan) == (
        "weights 4.4 GB + cache 1.1 GB (f16, 8,192 tokens) + next turns 0.8 GB + buffers 0.5 GB = 6.7 GB "
        "of 12.0 GB free: all 33 layers on the GPU"
    )
    part = make_plan(needs_of(header(NEMO_12B)), card(8), Wanted())
    assert "of 41 layers on the GPU; main memory" in str(part)
    assert str(part).endswith("given up: what is prepared in advance, the f16 cache")
    assert str(make_plan(needs_of(header(LLAMA3_8B)), Machine(None), Wanted())).endswith(" GB: on the CPU")


def test_wishes_that_exclude_each_other() -> None:
    needs = needs_of(header(LLAMA3_8B))
    for cache_type in ("q8_0", "q4_0"):
        with pytest.raises(PlanError, match="needs flash attention, which is off"):
            make_plan(needs, card(12), Wanted(cache_type=cache_type, flash_attention="off"))
    odd = needs_of(header(replace(LLAMA3_8B, head=80)))
    with pytest.raises(PlanError, match="its heads have 80 numbers"):
        make_plan(odd, card(12), Wanted(cache_type="q8_0"))
    for short in (Wanted(flash_attention="off"), Wanted(cache_type="f16"), Wanted(quantized=False)):
        assert make_plan(needs, card(6), short).cache_type == "f16"
    assert make_plan(odd, card(6), Wanted()).cache_type == "f16"
    assert make_plan(needs, card(24), Wanted(cache_type="q4_0")).cache_type == "q4_0"


def test_without_flash_attention_the_scores_need_room() -> None:
    needs = needs_of(header(NEMO_12B))
    buffers = [
        sum(share.buffers for share in make_plan(needs, card(48), Wanted(flash_attention=flash)).gpus)
        for flash in ("auto", "off")
    ]
    assert buffers[1] > buffers[0] + GIB // 2


SMALL = Shape(30, 576, 1536, 9, 3, 64, 49_152, 8_192)


@pytest.mark.parametrize(
    ("shape", "machine", "wanted", "flash"),
    [
        (SMALL, card(), Wanted(), False),
        (SMALL, card(), Wanted(flash_attention="on"), True),
        (SMALL, card(), Wanted(flash_attention="off"), False),
        (SMALL, card(), Wanted(cache_type="q8_0"), True),
        (SMALL, card(24), Wanted(), True),
        (SMALL, card(24), Wanted(gpu_layers=0), False),
        (LLAMA3_8B, card(), Wanted(), True),  # its scores would take half a gigabyte and more
        (LLAMA3_8B, card(), Wanted(context=2_048), False),
    ],
)
def test_the_cpu_does_without_flash_attention_where_that_costs_little(
    shape: Shape, machine: Machine, wanted: Wanted, flash: bool
) -> None:
    assert make_plan(needs_of(header(shape)), machine, wanted).flash is flash


def test_a_failed_plan_is_followed_by_one_that_uses_less_until_none_is_left() -> None:
    needs = needs_of(header(NEMO_12B))
    plan, seen = make_plan(needs, card(24), Wanted()), []
    while plan.layers:
        seen.append(plan)
        plan = make_plan(needs, card(24), Wanted(gpu_limit=plan.gpu_bytes * 4 // 5))
        assert plan.gpu_bytes <= seen[-1].gpu_bytes * 4 // 5
    assert [step.second for step in seen[:2]] == [True, False]
    assert len(seen) < 15
    assert plan.gpu_bytes == 0
    assert plan.second  # main memory is not short


def test_lesser_plans_in_main_memory_end() -> None:
    needs = needs_of(header(NEMO_12B))
    plan: Plan | None = make_plan(needs, Machine(None), Wanted())
    steps = []
    while plan is not None:
        steps.append((plan.second, plan.cache_type, plan.context))
        plan = lesser_plan(needs, Wanted(), plan)
    assert steps[:4] == [
        (True, "f16", 16_384),
        (False, "f16", 16_384),
        (False, "q8_0", 16_384),
        (False, "q8_0", 8_192),
    ]
    assert steps[-1][2] == 512
    refused = make_plan(needs, card(10), Wanted())
    assert refused.cache_type == "q8_0"
    again = lesser_plan(needs, Wanted(quantized=False), refused)
    assert again is not None
    assert (again.cache_type, F16 in again.given_up) == ("f16", False)


# Models of other kinds -------------------------------------------------------------------------------------


def test_sliding_windows_hold_only_the_window() -> None:
    shape = replace(NEMO_12B, layers=48, context=32_768)
    whole = needs_of(header(shape, "gemma3"))
    sliding = needs_of(header(shape, "gemma3", **{"attention.sliding_window": 1024}))
    assert sliding.windows == (1024,) * 5 + (0,) + sliding.windows[6:]
    assert sliding.windows.count(0) == 8
    assert sliding.checkpointed
    assert not whole.checkpointed
    size = [make_plan(needs, card(80), Wanted()).gpus[0].cache for needs in (whole, sliding)]
    assert size[1] < 0.8 * size[0]
    short = make_plan(sliding, card(12), Wanted())
    assert (short.sequences, short.second) == (4, False)
    assert short.gpus[0].cache < 0.5 * size[0]
    full = make_plan(sliding, card(80), Wanted(full_window=True))
    assert full.gpus[0].cache == size[0]
    pattern = needs_of(
        header(shape, "new", **{"attention.sliding_window": 512, "attention.sliding_window_pattern": 4})
    )
    assert pattern.windows[:4] == (512, 512, 512, 0)
    unknown = needs_of(header(shape, "new", **{"attention.sliding_window": 512}))
    assert not any(unknown.windows)


def test_states_cost_the_same_at_every_length() -> None:
    state: dict[str, Value] = {
        "ssm.inner_size": 5120,
        "ssm.state_size": 16,
        "ssm.conv_kernel": 4,
        "attention.head_count_kv": 0,
    }
    needs = needs_of(header(replace(LLAMA3_8B, layers=64, context=1 << 20), "mamba", **state))
    assert needs.states == (4 * (3 * 5120 + 5120 * 16),) * 64
    assert sum(needs.keys) == 0
    sizes = [make_plan(needs, Machine(None), Wanted(context=size)).main.cache for size in (2048, 65_536)]
    assert sizes[0] == sizes[1] > 0
    mixed = {**state, "attention.head_count_kv": [0, 0, 0, 8] * 8}
    hybrid = needs_of(header(LLAMA3_8B, "granitehybrid", **mixed))
    assert [bool(size) for size in hybrid.states[:4]] == [True, True, True, False]
    assert [bool(size) for size in hybrid.keys[:4]] == [False, False, False, True]


GEMMA3 = replace(NEMO_12B, layers=48, context=131_072)
WINDOWED = needs_of(header(GEMMA3, "gemma3", **{"attention.sliding_window": 1024}))
MAMBA = needs_of(
    header(
        replace(LLAMA3_8B, layers=64, context=1 << 20),
        "mamba",
        **{"ssm.inner_size": 5120, "ssm.state_size": 16, "ssm.conv_kernel": 4, "attention.head_count_kv": 0},
    )
)
MIB = 1 << 20


@pytest.mark.parametrize(
    ("needs", "context", "cache_type", "full_window", "one", "most"),
    [
        # 40 layers keep 1 024 tokens of 2 x 8 x 128 numbers, one snapshot in 4 096 tokens
        (WINDOWED, 4_095, "f16", False, 160 * MIB, 0),
        (WINDOWED, 8_192, "f16", False, 160 * MIB, 320 * MIB),
        (WINDOWED, 8_192, "q8_0", False, 85 * MIB, 170 * MIB),
        (WINDOWED, 131_072, "f16", False, 160 * MIB, 768 * MIB),
        (WINDOWED, 131_072, "f16", True, 0, 0),
        (MAMBA, 2_048, "f16", False, 23.75 * MIB, 768 * MIB),
        (needs_of(header(GEMMA3)), 131_072, "f16", False, 0, 0),
        (Needs(weights=()), 16_384, "f16", False, 0, 0),
        (replace(MAMBA, states=(13 * MIB,) * 64), 16_384, "f16", False, 832 * MIB, 0),
    ],
)
def test_checkpoints_take_at_most(
    needs: Needs, context: int, cache_type: str, full_window: bool, one: float, most: float
) -> None:
    assert needs.snapshot(cache_type, full_window) == pytest.approx(one, rel=1e-3)
    found = needs.checkpoints(context, cache_type, full_window)
    assert found == pytest.approx((min(2 * one, most), most), rel=1e-3)


def test_checkpoints_are_counted_in_main_memory_wherever_the_layers_are() -> None:
    _, most = WINDOWED.checkpoints(16_384, "f16")
    on_gpu = make_plan(WINDOWED, card(80), Wanted())
    assert (on_gpu.main.checkpoints, on_gpu.checkpoint_budget) == (2 * most, most)
    assert str(on_gpu).endswith("all 49 layers on the GPU; main memory: checkpoints up to 1.3 GB")
    assert not any(share.checkpoints for share in on_gpu.gpus)
    on_cpu = make_plan(WINDOWED, Machine(None), Wanted())
    assert on_cpu.main.checkpoints == 2 * most
    assert " + checkpoints up to 1.3 GB = " in str(on_cpu)
    plain = make_plan(needs_of(header(GEMMA3)), Machine(None), Wanted())
    assert plain.main.checkpoints == 0
    assert "checkpoints" not in str(plain)


@pytest.mark.parametrize("needs", [WINDOWED, MAMBA])
@pytest.mark.parametrize("gpu", [(), (80,)])
def test_checkpoints_take_what_is_left_and_cost_nothing_else(needs: Needs, gpu: tuple[float, ...]) -> None:
    """However little there is: two of them, the layers where they were, and the context as long as it was."""
    least, most = needs.checkpoints(16_384, "f16")
    whole = make_plan(needs, card(*gpu, main=1000), Wanted())
    used = whole.main.total - whole.main.checkpoints + MARGIN_MAIN
    budgets = []
    for left in (2 * most, most, 3 * least, 2 * least):
        plan = make_plan(needs, replace(whole.machine, free=used + left), Wanted())
        assert (plan.layers, plan.second, plan.fits) == (whole.layers, True, True), str(plan)
        assert plan.main.checkpoints == left
        budgets.append(plan.checkpoint_budget)
    assert budgets == [most, most // 2, 3 * least // 2, least]
    if gpu:  # never a layer for a checkpoint
        plan = make_plan(needs, replace(whole.machine, free=used), Wanted())
        assert (plan.layers, plan.checkpoint_budget) == (whole.layers, least)


def test_the_parts_of_a_split_model_are_one() -> None:
    whole = header(MIXTRAL)
    half = len(whole.tensors) // 2
    first = replace(whole, tensors=whole.tensors[:half])
    second = replace(whole, metadata={"split.count": 2}, tensors=whole.tensors[half:])
    joined = needs_of(first).with_part(needs_of(second))
    assert joined == needs_of(whole)


def test_tied_embeddings_lie_on_the_gpu_once_more() -> None:
    whole = header(LLAMA3_8B)
    tied = replace(whole, tensors=tuple(t for t in whole.tensors if t.name != "output.weight"))
    needs = needs_of(tied)
    plan = make_plan(needs, card(24), Wanted())
    assert plan.main.weights == needs.embeddings
    assert plan.gpus[0].weights == sum(needs.weights) + needs.output + needs.embeddings
    assert make_plan(needs, Machine(None), Wanted()).main.weights == needs.all_weights


@pytest.mark.parametrize("key", ["block_count", "attention.head_count", "context_length"])
@pytest.mark.parametrize("value", [-5, 2**63, "many", [], [-1, 2**40]])
def test_a_damaged_header_gives_a_plan_all_the_same(key: str, value: Value) -> None:
    needs = needs_of(header(LLAMA3_8B, **{key: value}))
    assert make_plan(needs, card(12), Wanted()).needed > 0
    assert make_plan(Needs(weights=()), card(12), Wanted()).context == USUAL_CONTEXT


@settings(max_examples=40, deadline=None)
@given(
    free=st.lists(st.integers(0, 80 * GB), min_size=0, max_size=3),
    main=st.integers(0, 64 * GB),
    context=st.one_of(st.none(), st.integers(64, 200_000)),
    shape=st.sampled_from([LLAMA3_8B, MIXTRAL]),
)
def test_a_plan_that_fits_leaves_the_margin_and_all_weights_lie_somewhere(
    free: list[int], main: int, context: int | None, shape: Shape
) -> None:
    needs = needs_of(header(shape))
    machine = Machine(main, tuple(GpuMemory(str(n), size) for n, size in enumerate(free)))
    plan = make_plan(needs, machine, Wanted(context=context))
    assert plan.main.weights + sum(share.weights for share in plan.gpus) == needs.all_weights
    assert plan.context <= min(context or USUAL_CONTEXT, needs.context)
    assert plan.cells >= plan.context
    if plan.layers:
        assert all(
            share.total <= size - MARGIN for share, size in zip(plan.gpus, free, strict=True) if share.total
        )
    cache = sum(share.cache for share in (*plan.gpus, plan.main))
    numbers = 2 * shape.layers * shape.shared * shape.head
    assert cache == pytest.approx(numbers * CACHE_BYTES[plan.cache_type] * plan.context, rel=1e-6)


def test_an_integrated_gpu_counts_only_alone() -> None:
    own = Device(name="CUDA0", description="RTX", kind="gpu", memory_free=8 * GB, memory_total=8 * GB)
    shared = own.model_copy(update={"name": "iGPU", "description": "", "shared": True})
    cpu = own.model_copy(update={"name": "CPU", "kind": "cpu"})
    assert [gpu.name for gpu in Machine.of(GB, [shared, own, cpu]).gpus] == ["RTX"]
    assert [gpu.name for gpu in Machine.of(GB, [shared, cpu]).gpus] == ["iGPU"]
    assert Machine.of(GB, [cpu]).gpus == ()


def test_one_thread_a_core_where_cores_are_told_from_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    monkeypatch.setattr("chat.engine.machine.available_threads", lambda: 16)
    for number in range(16):
        place = tmp_path / f"cpu{number}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(f"{number % 8},{number % 8 + 8}\n")
    assert writing_threads(tmp_path) == 8
    assert writing_threads(tmp_path / "nowhere") == 16
    for number in range(16):
        (tmp_path / f"cpu{number}/topology/thread_siblings_list").write_text(f"{number % 2}\n")
    assert writing_threads(tmp_path) == 16
    monkeypatch.undo()
    assert 1 <= writing_threads() <= available_threads()

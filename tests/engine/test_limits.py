"""What loading remembers, and what it does when llama.cpp refuses: on the real worker's own functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.engine.client import Engine, EngineError
from chat.engine.plan import GpuMemory, Machine, Plan, Share
from chat.engine.protocol import Load, Span
from chat.engine.remembered import known_limit, remember_limit
from chat.engine.worker import loading, offload
from presets.sampling import Sampling

GB = 10**9


def asked(file: Path, plans: Path, **more: object) -> Load:
    return Load.model_validate(
        {"id": 0, "path": str(file), "gpu_layers": "auto", "plans": str(plans), **more}
    )


def gpu(free: float, name: str = "RTX") -> Machine:
    return Machine(None, (GpuMemory(name, int(free * GB)),))


def test_what_worked_is_known_next_time_for_the_same_conditions(tmp_path: Path) -> None:
    model, plans = tmp_path / "m.gguf", tmp_path / "cache" / "plans.json"
    model.write_bytes(b"GGUF")
    request = asked(model, plans)
    assert known_limit(request, gpu(12)) is None
    remember_limit(request, gpu(12), 7 * GB)
    assert known_limit(request, gpu(12)) == 7 * GB
    assert known_limit(request, gpu(11)) == 7 * GB
    assert known_limit(request, gpu(16)) is None  # more is free than then: the whole plan again
    assert known_limit(request, gpu(12, "Arc")) is None
    for other in ({"context": 4096}, {"cache_type": "q8_0"}, {"flash_attention": "off"}):
        assert known_limit(asked(model, plans, **other), gpu(12)) is None
    model.write_bytes(b"GGUF, another one")
    assert known_limit(request, gpu(12)) is None
    assert plans.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', "[" * 100_000, "\0"])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    plans = tmp_path / "plans.json"
    plans.write_text(text)
    request = asked(tmp_path / "m.gguf", plans)
    assert known_limit(request, gpu(12)) is None
    remember_limit(request, gpu(12), GB)
    assert known_limit(request, gpu(12)) == GB


def test_the_memory_stays_small_and_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    plans = tmp_path / "plans.json"
    for number in range(100):
        remember_limit(asked(tmp_path / f"{number}.gguf", plans), gpu(12), number)
    assert len(json.loads(plans.read_text())) == 64
    assert known_limit(asked(tmp_path / "99.gguf", plans), gpu(12)) == 99
    assert known_limit(asked(tmp_path / "0.gguf", plans), gpu(12)) is None
    remember_limit(asked(tmp_path / "m.gguf", plans / "below" / "a" / "file"), gpu(12), 1)
    remember_limit(Load(id=0, path="m.gguf"), gpu(12), 1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, as far as planning sees; llama.cpp itself goes on without one."""
    monkeypatch.setattr(offload, "machine", lambda: gpu(12))


def load_here(file: Path, plans: Path, **more: object) -> tuple[loading.LoadedModel, list[Plan]]:
    """Loads in this process, as the worker does."""
    plans_told: list[Plan] = []
    loaded = loading.load(
        asked(file, plans, **more), lambda _fraction, plan: plans_told.append(plan), lambda: False
    )
    return loaded, plans_told


@pytest.mark.usefixtures("two_gpus")
def test_a_limit_that_worked_is_written_and_used_again(tiny_model: Path, tmp_path: Path) -> None:
    plans = tmp_path / "plans.json"
    loaded, told = load_here(tiny_model, plans)
    whole = told[0].gpu_bytes
    assert (loaded.described.gpu_layers, loaded.described.device, plans.exists()) == (3, "RTX", False)
    loaded.close()
    loaded, told = load_here(tiny_model, plans, gpu_limit=whole - 1)
    assert told[0].gpu_bytes < whole
    assert any("Memory is short" in note for note in loaded.described.notes)
    loaded.close()
    loaded, again = load_here(tiny_model, plans)
    assert again[0] == told[0]
    loaded.close()


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_cannot_read_a_batch_has_failed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_reads", lambda _context: False)
    with pytest.raises(loading.LoadError, match="does not fit on the GPU") as caught:
        load_here(tiny_model, tmp_path / "plans.json")
    assert caught.value.code == "memory"


def test_a_refused_context_is_made_smaller_in_the_order_of_what_is_given_up(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[bool, str, int]] = []
    make = loading._Loading._context

    def refusing(self: loading._Loading, model: loading.Model, plan: Plan) -> loading.Context:
        tried.append((plan.second, plan.cache_type, plan.context))
        if plan.context > 1024:
            raise MemoryError
        return make(self, model, plan)

    monkeypatch.setattr(loading._Loading, "_context", refusing)
    loaded, _ = load_here(tiny_model, tmp_path / "plans.json", gpu_layers=0)
    # Heads of 16 numbers cannot be quantized: the cache stays f16.
    assert tried == [(True, "f16", 2048), (False, "f16", 2048), (False, "f16", 1024)]
    assert loaded.described.notes[-1] == "The context is 1024 tokens: memory holds no more."
    assert loaded.context is not None
    assert loaded.context.size == 1024
    loaded.close()


def test_a_cache_type_that_the_model_cannot_have(engine: Engine, tiny_model: Path) -> None:
    with pytest.raises(EngineError, match="its heads have 16 numbers") as caught:
        engine.load(tiny_model, cache_type="q8_0").wait()
    assert caught.value.code == "request"
    with pytest.raises(EngineError, match="needs flash attention, which is off"):
        engine.load(tiny_model, cache_type="q4_0", flash_attention="off").wait()
    assert engine.load(tiny_model, flash_attention="off").wait().cache_type == "f16"


@pytest.mark.parametrize(("cache_type", "near"), [("q8_0", 0.1), ("q4_0", 0.4)])
def test_quantized_caches_say_nearly_the_same(
    demo: Engine, engine: Engine, demo_model: Path, cache_type: str, near: float
) -> None:
    spans = [Span(text="The capital of France is", trusted=True)]
    best = []
    loaded = engine.load(demo_model, context=1024, cache_type=cache_type).wait()  # type: ignore[arg-type]
    assert loaded.cache_type == cache_type
    assert f"({cache_type}, 1,024 tokens)" in loaded.plan
    for one in (demo, engine):
        done = one.generate(spans, Sampling(temperature=0), seed=1, max_tokens=1, probs=3).wait()
        best.append({one.id: one.p for one in done.probs[0].steps[0].best})
    first = max(best[0], key=lambda token: best[0][token])
    assert max(best[1], key=lambda token: best[1][token]) == first
    assert best[1][first] == pytest.approx(best[0][first], abs=near)


def test_the_experts_of_the_first_layers_stay_in_main_memory(
    tmp_path: Path, build_llama: Callable[..., Path]
) -> None:
    """llama.cpp takes the list of what stays; a model without experts is loaded as ever."""
    file = build_llama(tmp_path / "m.gguf")
    model = loading.Model(str(file), 0, False, lambda _fraction: True, experts_aside=2)
    assert model.layers == 2
    model.close()
    assert offload.experts_in_main_memory(0) is None
    rows = offload.experts_in_main_memory(2)
    assert rows is not None
    assert rows[0].pattern == rb"^blk\.(0|1)\.ffn_(up|down|gate|gate_up)_(ch|)exps"
    assert rows[0].buffer_type
    assert (rows[1].pattern, rows[1].buffer_type) == (None, None)


def test_a_share_is_the_sum_of_its_parts() -> None:
    assert (Share(1, 2, 3, 4) + Share(10, 20, 30, 40)).total == 110

"""LoRA adapters and control vectors: in force, out of force, and files that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chat.engine.client import Engine, EngineError
from chat.engine.protocol import Adapter, Span
from presets.sampling import Sampling

PROMPT = [Span(text="Once upon a time there was a sailor who", trusted=True)]
WIDTH, RANK = 64, 4

Best = dict[int, float]


def best(engine: Engine) -> Best:
    """The first token's best candidates, by what the model itself thinks."""
    done = engine.generate(PROMPT, Sampling(temperature=0), seed=1, max_tokens=1, probs=10).wait()
    return {one.id: one.p for one in done.probs[0].steps[0].best}


def write_lora(
    path: Path,
    *,
    architecture: str = "llama",
    kind: str = "adapter",
    rows: int = WIDTH,
    layer: int = 0,
    halves: tuple[str, ...] = ("lora_a", "lora_b"),
    rank: int = RANK,
) -> Path:
    """A LoRA for the queries and outputs of one layer of the tiny model."""
    from gguf import GGUFWriter

    random = np.random.default_rng(3)
    writer = GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name in ("attn_q", "attn_output"):
        shapes = {"lora_a": (RANK, rows), "lora_b": (WIDTH, rank)}
        for half in halves:
            values = random.standard_normal(shapes[half]).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.{name}.weight.{half}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_control(
    path: Path, *, hint: str = "llama", width: int = WIDTH, layers: tuple[int, ...] = (1,)
) -> Path:
    from gguf import GGUFWriter

    random = np.random.default_rng(5)
    writer = GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", hint)
    writer.add_uint32("controlvector.layer_count", len(layers))
    for layer in layers:
        writer.add_tensor(f"direction.{layer}", random.standard_normal(width).astype(np.float32) * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def lora(path: Path, scale: float = 1.0) -> Adapter:
    return Adapter(path=str(path), scale=scale)


def control(path: Path, scale: float = 1.0) -> Adapter:
    return Adapter(path=str(path), scale=scale, kind="control")


@pytest.mark.parametrize(
    ("write", "adapter"), [(write_lora, lora), (write_control, control)], ids=["lora", "control"]
)
def test_an_adapter_changes_what_the_model_says_and_goes_without_a_trace(
    engine: Engine,
    tiny_model: Path,
    tmp_path: Path,
    write: Callable[[Path], Path],
    adapter: Callable[..., Adapter],
) -> None:
    path = write(tmp_path / "adapter.gguf")
    engine.load(tiny_model).wait()
    pid, plain = engine.pid, best(engine)
    assert engine.adapt([adapter(path)]) == [adapter(path)]
    changed = best(engine)
    assert changed != pytest.approx(plain, abs=0.01)
    assert engine.loaded is not None
    assert engine.loaded.adapters == [adapter(path)]
    engine.adapt([adapter(path, 0.0)])
    assert best(engine) == pytest.approx(plain, abs=1e-5)
    engine.adapt([adapter(path, 0.5)])
    half = best(engine)
    assert half != pytest.approx(plain, abs=0.002)
    assert half != pytest.approx(changed, abs=0.002)
    engine.adapt([])
    assert best(engine) == pytest.approx(plain, abs=1e-5)
    assert engine.pid == pid


def test_several_adapters_add_up_and_come_with_the_model(
    engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    adapters = [
        lora(write_lora(tmp_path / "one.gguf")),
        lora(write_lora(tmp_path / "two.gguf", layer=1), 0.5),
    ]
    engine.load(tiny_model).wait()
    engine.adapt(adapters[:1])
    one = best(engine)
    engine.adapt([*adapters, control(write_control(tmp_path / "c.gguf"), -1.0)])
    all_three = best(engine)
    assert all_three != pytest.approx(one, abs=0.01)
    engine.restart().wait()  # another worker has the same ones
    assert best(engine) == pytest.approx(all_three, abs=1e-5)
    engine.load(tiny_model, adapters=adapters[:1]).wait()
    assert best(engine) == pytest.approx(one, abs=1e-5)


def test_a_change_of_adapters_reads_the_prompt_again(
    engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "one.gguf")
    engine.load(tiny_model).wait()
    best(engine)
    for scale in (1.0, 0.5):
        engine.adapt([lora(path, scale)])
        done = engine.generate(PROMPT, Sampling(), seed=1, max_tokens=1).wait()
        assert (done.reused_tokens, done.evaluated_tokens) == (0, done.prompt_tokens)


def text_file(path: Path) -> Path:
    path.write_text("not an adapter\n" * 50)
    return path


def cut_short(path: Path) -> Path:
    whole = write_lora(path).read_bytes()
    path.write_bytes(whole[: len(whole) - 500])
    return path


def cut_in_the_header(path: Path) -> Path:
    path.write_bytes(write_lora(path).read_bytes()[:80])
    return path


def missing(path: Path) -> Path:
    return path


@pytest.mark.parametrize(
    ("write", "adapter", "said"),
    [
        (text_file, lora, "not a GGUF file"),
        (missing, lora, "no such file"),
        (cut_short, lora, "damaged or incomplete"),
        (cut_in_the_header, lora, "stops in the middle"),
        (
            lambda path: write_lora(path, architecture="qwen2"),
            lora,
            "for a model of kind qwen2; this one is llama",
        ),
        (lambda path: write_lora(path, rows=128), lora, "for another model: blk.0.attn_q.weight is 64 x 128"),
        (lambda path: write_lora(path, layer=7), lora, "this one has no tensor blk.7.attn_q.weight"),
        (lambda path: write_lora(path, halves=("lora_a",)), lora, "only one half"),
        (lambda path: write_lora(path, halves=()), lora, "no LoRA tensors"),
        (lambda path: write_lora(path, rank=3), lora, "for another model"),
        (lambda path: write_lora(path, kind="model"), lora, "is no LoRA adapter"),
        (write_control, lora, "give it with --control-vector"),
        (write_lora, control, "give it with --lora"),
        (lambda path: write_control(path, hint="qwen2"), control, "for a model of kind qwen2"),
        (
            lambda path: write_control(path, width=32),
            control,
            "for another model: its vector 1 has 32 numbers",
        ),
        (lambda path: write_control(path, layers=(1, 2)), control, "this one has 2 layers of 64"),
        (lambda path: write_control(path, layers=()), control, "no vectors"),
        (text_file, control, "not a GGUF file"),
    ],
)
def test_a_bad_adapter_is_one_sentence_and_nothing_changes(
    tiny: Engine,
    tmp_path: Path,
    write: Callable[[Path], Path],
    adapter: Callable[..., Adapter],
    said: str,
) -> None:
    before, pid = best(tiny), tiny.pid
    good = lora(write_lora(tmp_path / "good.gguf"))
    with pytest.raises(EngineError) as caught:
        tiny.adapt([good, adapter(write(tmp_path / "bad.gguf"))])
    assert caught.value.code == "adapter"
    assert said in caught.value.message
    assert "bad.gguf" in caught.value.message
    assert "\n" not in caught.value.message
    assert best(tiny) == pytest.approx(before, abs=1e-5)
    assert tiny.pid == pid


def test_a_bad_adapter_ends_the_loading_with_the_same_sentence(
    engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="is for a model of kind qwen2"):
        engine.load(
            tiny_model, adapters=[lora(write_lora(tmp_path / "bad.gguf", architecture="qwen2"))]
        ).wait()
    assert engine.alive
    with pytest.raises(EngineError, match="No model is loaded"):
        engine.adapt([])

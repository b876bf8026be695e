"""Loading: good models, bad files, and what is made smaller when memory is short."""

from __future__ import annotations

import stat
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chat.engine import process
from chat.engine.client import Engine, EngineError, smaller_plan
from chat.engine.machine import writing_threads
from chat.engine.protocol import Loaded, Loading, Span
from presets.sampling import Sampling


def test_loading_tells_its_progress_and_the_model(engine: Engine, tiny_model: Path) -> None:
    operation = engine.load(tiny_model)
    events = list(operation)
    fractions = [event.fraction for event in events if isinstance(event, Loading)]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)
    loaded = operation.result
    assert isinstance(loaded, Loaded)
    assert loaded == engine.loaded
    assert (loaded.context, loaded.context_trained, loaded.layers, loaded.vocabulary) == (
        2048,
        2048,
        2,
        32000,
    )
    assert (loaded.bos, loaded.eos, loaded.notes) == ("<s>", "</s>", [])
    assert loaded.threads == writing_threads()
    if loaded.gpu_layers == 0:
        assert loaded.device == "CPU"


def test_so_many_threads_as_are_asked_for_compute_the_same(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the limit that tests side by side have (tests/conftest.py)."""
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    running, texts = [], []
    for threads in (1, 3):
        engine = Engine(tmp_path / f"{threads}.log")
        try:
            assert engine.load(tiny_model, threads=threads).wait().threads == threads
            prompt = [Span(text="Once upon a time " * 20, trusted=True)]
            texts.append(engine.generate(prompt, Sampling(temperature=0), seed=1, max_tokens=12).wait().text)
            running.append(len(list(Path(f"/proc/{engine.pid}/task").iterdir())))
        finally:
            engine.close()
    assert running[1] - running[0] == 2
    assert texts[0] == texts[1] != ""


def test_a_vocabulary_alone_counts(engine: Engine, data: Path) -> None:
    loaded = engine.load(data / "llama2-vocab.gguf", vocabulary_only=True).wait()
    assert (loaded.context, loaded.vocabulary) == (0, 32000)
    assert engine.count([Span(text="Hello world", trusted=True)]) == [3]
    assert engine.count([]) == []
    with pytest.raises(EngineError) as caught:
        engine.generate([Span(text="hi", trusted=True)], Sampling(), seed=1, max_tokens=1).wait()
    assert caught.value.code == "request"


def test_another_model_takes_the_place_of_the_first(
    engine: Engine, tiny_model: Path, demo_model: Path
) -> None:
    engine.load(tiny_model).wait()
    assert engine.load(demo_model, context=512).wait().vocabulary == 49152
    assert engine.count([Span(text="<|im_start|>", trusted=True)]) == [1]


def test_a_context_beyond_the_models_is_cut_and_said(engine: Engine, tiny_model: Path) -> None:
    loaded = engine.load(tiny_model, context=1_000_000).wait()
    assert loaded.context == 2048
    assert "2048" in loaded.notes[0]


def test_a_request_before_a_model_is_refused(engine: Engine) -> None:
    engine.start()
    with pytest.raises(EngineError) as caught:
        engine.count([Span(text="hi", trusted=True)])
    assert (caught.value.code, engine.alive, engine.loaded) == ("request", True, None)


def test_the_build_and_its_devices(engine: Engine) -> None:
    build = engine.devices()
    assert build.llama_cpp_python
    assert "CPU" in [device.name for device in build.devices]
    assert all(device.memory_total > 0 for device in build.devices if device.kind == "cpu")


def truncated(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    with demo.open("rb") as whole:
        path.write_bytes(whole.read(40_000_000))


def cut_header(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    with demo.open("rb") as whole:
        path.write_bytes(whole.read(5000))


def text_file(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    path.write_text("This is not a model.\n" * 100)


def ggml(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    path.write_bytes(b"tjgg" + bytes(1000))


def stranger(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    build(path, architecture="quasar9")


def encoder(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    write_bert(path)


def missing(path: Path, demo: Path, build: Callable[..., Path]) -> None:
    """Nothing is written."""


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (truncated, "damaged or incomplete"),
        (cut_header, "damaged or incomplete"),
        (text_file, "is not a GGUF file"),
        (ggml, "from before GGUF"),
        (stranger, "architecture 'quasar9'"),
        (encoder, "cannot write text"),
        (missing, "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_model_is_one_sentence(
    engine: Engine,
    tmp_path: Path,
    demo_model: Path,
    build_llama: Callable[..., Path],
    tiny_model: Path,
    write: Callable[[Path, Path, Callable[..., Path]], None],
    said: str,
) -> None:
    path = tmp_path / "model.gguf"
    write(path, demo_model, build_llama)
    with pytest.raises(EngineError) as caught:
        engine.load(path).wait()
    assert caught.value.code == "load"
    assert said in caught.value.message
    assert "model.gguf" in caught.value.message
    assert "\n" not in caught.value.message
    assert engine.loaded is None
    assert engine.load(tiny_model).wait().vocabulary == 32000  # the same worker goes on


def write_bert(path: Path) -> None:
    """An encoder that llama.cpp loads: one layer of 16 numbers."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    width, inner, context = 16, 32, 64
    writer = GGUFWriter(path, "bert")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_token_type_count(2)
    size = 0
    for field in GGUFReader(Path(__file__).parent.parent / "data" / "llama2-vocab.gguf").fields.values():
        if field.name.startswith("tokenizer."):
            kind, value = field.types[0], field.contents()
            sub = field.types[-1] if kind == GGUFValueType.ARRAY else None
            size = len(value) if field.name == "tokenizer.ggml.tokens" else size
            writer.add_key_value(field.name, value, kind, sub)

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, np.ones(shape, np.float32))

    tensor("token_embd.weight", size, width)
    tensor("token_types.weight", 2, width)
    tensor("position_embd.weight", context, width)
    for norm in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        tensor(f"{norm}.weight", width)
        tensor(f"{norm}.bias", width)
    for name, shape in {
        "attn_q": (width, width),
        "attn_k": (width, width),
        "attn_v": (width, width),
        "attn_output": (width, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }.items():
        tensor(f"blk.0.{name}.weight", *shape)
        tensor(f"blk.0.{name}.bias", shape[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_log_is_private_and_speaks_of_the_model_only(engine: Engine, tiny_model: Path) -> None:
    engine.load(tiny_model).wait()
    secret = "Xylophonic quagmires"
    engine.generate(
        [Span(text=secret, trusted=False)], Sampling(), seed=1, max_tokens=3, stops=[secret]
    ).wait()
    with pytest.raises(EngineError):
        engine.generate([Span(text=secret * 2000, trusted=False)], Sampling(), seed=1, max_tokens=3).wait()
    assert stat.S_IMODE(engine.log_file.stat().st_mode) == 0o600
    log = engine.log_file.read_text()
    assert "llama_model_loader" in log
    assert "quagmires" not in log


# Layers on a GPU --------------------------------------------------------------------------------------------

GIB = 1 << 30


def test_plans_become_smaller_by_a_fifth() -> None:
    assert [smaller_plan(10 * GIB), smaller_plan(1), smaller_plan(0)] == [8 * GIB, 0, 0]


FAKE_GPU_WORKER = """
    import json, os, signal, sys
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] != "load":
            break
        limit = request["gpu_limit"]
        layers = (40 if limit is None else limit // 100) if request["gpu_layers"] == "auto" else 24
        say = lambda **event: print(json.dumps(event), flush=True)
        say(op="loading", id=request["id"], fraction=0.0, gpu_layers=layers, gpu_bytes=100 * layers)
        if layers > 30:
            say(op="failed", id=request["id"], code="memory", message="does not fit")
        elif layers > 22:
            print("CUDA error: out of memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGABRT)
        elif layers > 16:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            say(op="loaded", id=request["id"], path=request["path"], context=512, context_trained=512,
                layers=40, gpu_layers=layers, device="GPU", vocabulary=9,
                threads=1, bos="", eos="", seconds=0.1)
"""


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose GPU holds 16 layers: with more it fails, aborts, or is killed."""
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", textwrap.dedent(FAKE_GPU_WORKER)))


@pytest.mark.usefixtures("fake_gpu")
def test_auto_steps_down_until_loading_works(engine: Engine) -> None:
    operation = engine.load(Path("model.gguf"), gpu_layers="auto")
    tried = [event.gpu_layers for event in operation if isinstance(event, Loading)]
    assert tried == [40, 32, 25, 20, 16]
    assert engine.loaded == operation.result
    assert engine.loaded is not None
    assert engine.loaded.gpu_layers == 16


@pytest.mark.usefixtures("fake_gpu")
def test_a_number_of_layers_is_taken_at_its_word(engine: Engine) -> None:
    with pytest.raises(EngineError, match="CUDA error: out of memory") as caught:
        engine.load(Path("model.gguf"), gpu_layers=24).wait()
    assert caught.value.code == "worker"
    assert not engine.alive

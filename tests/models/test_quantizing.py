"""`rpchat model quantize` with llama.cpp's own function, in the real worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest

from chat.engine.client import Engine
from chat.engine.protocol import Span
from chat.gguf import read_header
from chat.models import ModelError, demo_model, describe, quantizing
from chat.models.converting import convert
from chat.models.quantizing import TYPES, file_type, quantize
from presets.sampling import Sampling

Rpchat = Callable[..., Any]


@pytest.fixture
def floats(tmp_path: Path, old_llama: Callable[..., Any]) -> Path:
    """A whole model in f32."""
    return convert(old_llama().write(tmp_path / "m.ggmlv3.bin"), tmp_path / "m.f32.gguf").path


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("kind", ["q4_0", "Q8_0", "f16"])
def test_a_model_becomes_smaller_and_still_writes(
    rpchat: Rpchat, floats: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "small.gguf"
    done = rpchat("model", "quantize", floats, out, kind)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{out}: {kind.upper()}, ")
    file = describe(out)
    assert (file.problem, file.quantization) == (None, kind.upper())
    assert file.size < floats.stat().st_size * 0.7
    types = {tensor.name: tensor.type for tensor in read_header(out).tensors}
    assert types["blk.0.attn_q.weight"] == gguf.GGMLQuantizationType[kind.upper()]
    engine = Engine(tmp_path / "log")
    try:
        engine.load(out, context=512).wait()
        prompt = [Span(text="hi", trusted=True)]
        assert engine.generate(prompt, Sampling(top_k=1), seed=1, max_tokens=8).wait().text.split()
    finally:
        engine.close()


def test_progress_counts_every_tensor_and_the_log_has_the_rest(floats: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    quantize(
        floats, tmp_path / "q.gguf", 2, log_file=tmp_path / "log", progress=lambda *step: told.append(step)
    )
    total = len(read_header(floats).tensors)
    assert told == [(done, total) for done in range(total + 1)]
    log = (tmp_path / "log").read_text()
    assert "llama_model_quantize" in log
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_what_is_quantized_already_is_only_taken_on_demand(rpchat: Rpchat, tmp_path: Path) -> None:
    demo, out = demo_model(), tmp_path / "q.gguf"
    refused = rpchat("model", "quantize", demo, out, "q4_0")
    assert refused.status == 1
    assert "quantized already (Q4_1), and would lose twice" in refused.err
    assert files_in(tmp_path) == []
    assert rpchat("model", "quantize", demo, out, "q4_0", "--requantize").status == 0
    assert describe(out).problem is None


def test_nothing_is_overwritten_unasked(rpchat: Rpchat, floats: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.gguf"
    out.write_bytes(b"precious")
    refused = rpchat("model", "quantize", floats, out, "q4_0")
    assert refused.status == 1
    assert "--force replaces it" in refused.err
    assert out.read_bytes() == b"precious"
    assert rpchat("model", "quantize", floats, floats, "q4_0", "--force").status == 2
    assert rpchat("model", "quantize", floats, out, "q4_0", "--force").status == 0
    assert describe(out).quantization == "Q4_0"
    assert not [name for name in files_in(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("q4_9", "did you mean Q4_"), ("iq2_xxs", "importance matrix"), ("nonsense", "no type is called")],
)
def test_types_that_cannot_be_made_are_wrong_use(
    rpchat: Rpchat, floats: Path, tmp_path: Path, kind: str, words: str
) -> None:
    wrong = rpchat("model", "quantize", floats, tmp_path / "q.gguf", kind)
    assert wrong.status == 2
    assert words in wrong.err


def test_every_type_that_is_offered_has_llama_cpps_number() -> None:
    assert len(TYPES) == len(quantizing._ORDER)
    for name, number in TYPES.items():
        assert gguf.LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_") == name
    assert (file_type("q4_k_m"), file_type("Q4_K"), file_type("q8-0")) == (15, 15, 7)


def test_a_bad_source_is_told_before_anything_is_started(
    rpchat: Rpchat, floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floats.write_bytes(floats.read_bytes()[:-10])
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert "incomplete" in rpchat("model", "quantize", floats, tmp_path / "q.gguf", "q4_0").err
    assert "no such file" in rpchat("model", "quantize", tmp_path / "none", tmp_path / "q", "q4_0").err
    assert not (tmp_path / "q.gguf").exists()


def test_what_llama_cpp_refuses_is_one_line_and_leaves_nothing(
    floats: Path, tmp_path: Path, tiny_gguf: Callable[..., Path]
) -> None:
    hollow = tiny_gguf(tmp_path / "hollow.gguf")  # a header like a model's, without its tensors
    hollow.write_bytes(hollow.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lxama"))
    with pytest.raises(ModelError, match=r"could not quantize it: .*lxama") as caught:
        quantize(hollow, tmp_path / "q.gguf", 2, log_file=tmp_path / "log", requantize=True)
    assert "\n" not in str(caught.value)
    assert not [name for name in files_in(tmp_path) if name.startswith((".", "q"))]


def test_a_process_that_is_killed_is_told_and_leaves_nothing(
    floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def doomed(*args: Any, **more: Any) -> Any:
        process = start(*args, **more)
        os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(subprocess, "Popen", doomed)
    with pytest.raises(ModelError, match="SIGKILL"):
        quantize(floats, tmp_path / "q.gguf", 2, log_file=tmp_path / "log")
    assert not [name for name in files_in(tmp_path) if name.startswith((".", "q"))]


def test_an_interrupt_ends_the_process_and_leaves_nothing(floats: Path, tmp_path: Path) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(floats, tmp_path / "q.gguf", 2, log_file=tmp_path / "log", progress=interrupt)
    assert not [name for name in files_in(tmp_path) if name.startswith((".", "q"))]


def test_the_process_ends_with_its_caller(floats: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "chat.engine.worker.quantizing"]
    process = subprocess.Popen(
        [*command, str(floats), "/dev/full", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.close()
    begun = time.monotonic()
    assert process.wait(10) != 0
    assert time.monotonic() - begun < 8

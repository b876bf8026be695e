"""Whether a model fits this machine, as `rpchat model` tells it: the plan that loading would make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chat import models
from chat.cli import devices
from chat.cli.devices import has_gpu_backend
from chat.engine.client import Engine
from chat.engine.needs import Needs
from chat.engine.plan import GpuMemory, Machine, Wanted
from chat.engine.protocol import Build, Device
from chat.engine.surface import EngineError
from chat.models.memory import fit

Rpchat = Callable[..., Any]
GB = 10**9


def build(*free: float, offload: bool = True) -> Build:
    """A build of llama.cpp that sees GPUs with so many GB free."""
    found = [
        Device(
            name=f"CUDA{n}",
            description="RTX",
            kind="gpu",
            memory_free=int(size * GB),
            memory_total=int(size * GB),
        )
        for n, size in enumerate(free)
    ]
    return Build(id=0, llama_cpp_python="0", system_info="", supports_gpu_offload=offload, devices=found)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Put a build in the place of the installed one; what was asked of its engines is noted."""

    def put(found: Build | EngineError) -> list[str]:
        asked: list[str] = []

        def answer(engine: Engine) -> Build:
            asked.append("devices")
            if isinstance(found, EngineError):
                raise found
            return found

        monkeypatch.setattr(devices, "has_gpu_backend", lambda: True)
        monkeypatch.setattr(Engine, "devices", answer)
        monkeypatch.setattr(Engine, "close", lambda engine: asked.append("closed"))
        monkeypatch.setattr("chat.cli.plan_check.free_memory", lambda: 8 * GB)
        return asked

    return put


def settle(home: Path, **values: Any) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.yaml").write_text(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("free", "said", "gpu_layers"),
    [
        ((24,), "fits on the GPU", 31),
        ((2, 2), "fits on 2 GPUs", 31),
        ((1.4,), "fits with 17 of 31 layers on the GPU", 17),
        ((1.1,), "fits on the CPU", 0),
        ((), "fits", 0),
    ],
)
def test_the_line_says_how_a_model_fits(
    rpchat: Rpchat, seen: Callable[..., list[str]], free: tuple[float, ...], said: str, gpu_layers: int
) -> None:
    asked = seen(build(*free))
    (listed,) = rpchat("model", "list", "--json").json
    assert asked == ["devices", "closed"]
    assert (listed["memory"], listed["gpu_layers"], listed["fits"]) == (said, gpu_layers, "yes")
    assert (listed["memory_free"], listed["fits_context"]) == (8 * GB, 8_192)
    assert rpchat("doctor", "--json").json["plan"]["line"] == listed["plan"]
    (row,) = rpchat("model", "list").out.splitlines()
    assert f"  {said}  " in row
    about = rpchat("model", "info", "smollm2").out
    assert f"memory        {said}\n" in about


def test_a_gpu_that_the_build_cannot_use_is_not_counted(
    rpchat: Rpchat, seen: Callable[..., list[str]]
) -> None:
    seen(build(24, offload=False))
    (listed,) = rpchat("model", "list", "--json").json
    assert (listed["memory"], listed["gpu_layers"]) == ("fits", 0)


@pytest.mark.parametrize(
    ("settled", "said", "gpu_layers", "verdict"),
    [
        ({"gpu_layers": 0}, "fits on the CPU", 0, "yes"),
        ({"gpu_layers": 5}, "fits with 5 of 31 layers on the GPU", 5, "yes"),
        ({"context": 4096, "cache_type": "q8_0"}, "fits on the GPU", 31, "yes"),
        (
            {"gpu_layers": 31, "cache_type": "f16"},
            "31 of 31 layers need 0.5 GB of 0.4 GB on the GPU, 0.1 GB of 8.0 GB in main memory",
            31,
            "no",
        ),
    ],
)
def test_what_is_settled_counts_as_it_does_for_loading(
    rpchat: Rpchat,
    home: Path,
    seen: Callable[..., list[str]],
    settled: dict[str, Any],
    said: str,
    gpu_layers: int,
    verdict: str,
) -> None:
    seen(build(1.5))
    settle(home, **settled)
    (listed,) = rpchat("model", "list", "--json").json
    assert (listed["memory"], listed["gpu_layers"], listed["fits"]) == (said, gpu_layers, verdict)


def test_settings_that_allow_no_plan_are_told_once_and_left_aside(
    rpchat: Rpchat, home: Path, tiny_model: Callable[..., Path], seen: Callable[..., list[str]]
) -> None:
    seen(build(24))
    for number in range(3):
        tiny_model(home / "models" / f"m{number}.gguf")
    settle(home, cache_type="q9")
    answer = rpchat("model", "list", "--json")
    assert answer.status == 0
    assert [one["memory"] for one in answer.json] == ["fits on the GPU"] * 4
    assert answer.err.count("'q9' is none of") == 1


def test_an_engine_that_does_not_start_leaves_the_main_memory(
    rpchat: Rpchat, seen: Callable[..., list[str]]
) -> None:
    asked = seen(EngineError("died", "libcudart.so.12 is missing."))
    answer = rpchat("model", "list", "--json")
    assert answer.json[0]["memory"] == "fits"
    assert "only main memory is counted; see `rpchat doctor`: libcudart.so.12 is missing." in answer.err
    assert asked == ["devices", "closed"]


def test_without_a_backend_for_gpus_no_process_is_started(
    rpchat: Rpchat, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Engine] = []
    monkeypatch.setattr(Engine, "start", started.append)
    monkeypatch.setattr(devices, "has_gpu_backend", lambda: False)
    assert rpchat("model", "list", "--json").json[0]["memory"] == "fits"
    assert started == []
    assert not (home / "logs").exists()


def test_without_a_model_nothing_is_asked(
    rpchat: Rpchat, seen: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "demo_model", lambda: None)
    asked = seen(build(24))
    assert "no model yet" in rpchat("model", "list").out
    assert rpchat("model", "list", "--json").json == []
    assert asked == []


def test_the_installed_build_is_asked_by_its_own_process(
    rpchat: Rpchat, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_gpu_backend", lambda: True)
    (listed,) = rpchat("model", "list", "--json").json
    assert listed["memory"].startswith("fits")
    assert listed["plan"].startswith("weights ")
    assert not (home / "logs").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("libggml-cuda.so", True),
        ("libggml-vulkan.so.0", True),
        ("libggml-metal.dylib", True),
        ("ggml-hip.dll", True),
        ("libggml-cpu.so", False),
        ("libggml-blas.so", False),
        ("libggml-base.so", False),
        ("cuda.txt", False),
    ],
)
def test_a_backend_is_known_by_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: bool
) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert not has_gpu_backend()
    (tmp_path / "libllama.so").touch()
    (tmp_path / name).touch()
    assert has_gpu_backend() is expected


def test_the_libraries_of_the_installed_build_are_found() -> None:
    assert any("ggml" in file.name for folder in devices._libraries() for file in folder.iterdir())


LAYERS = 32
MIXTURE = Needs(
    (700_000_000,) * LAYERS,
    experts=(650_000_000,) * LAYERS,
    embeddings=100_000_000,
    output=100_000_000,
    keys=(1024,) * LAYERS,
    values=(1024,) * LAYERS,
    head=128,
    context=32_768,
)


def machine(main: float | None, *gpus: float) -> Machine:
    free = None if main is None else int(main * GB)
    return Machine(free, tuple(GpuMemory("RTX", int(size * GB)) for size in gpus))


@pytest.mark.parametrize(
    ("where", "wanted", "said"),
    [
        (machine(32, 48), Wanted(), r"fits on the GPU"),
        (machine(32, 12), Wanted(), r"fits on the GPU but for the experts of \d+ layers"),
        (machine(32, 3), Wanted(), r"fits with \d+ of 33 layers on the GPU"),
        (machine(32, 48), Wanted(context=32_768), r"fits on the GPU"),
        (machine(32, 25.3), Wanted(context=32_768), r"fits on the GPU, \d\d,\d\d\d tokens"),
        (machine(24, 1), Wanted(), r"fits on the CPU, \d+,\d+ tokens"),
        (machine(24), Wanted(), r"fits with \d+,\d+ tokens"),
        (machine(None, 48), Wanted(), r"fits on the GPU"),
        (machine(None), Wanted(), r"needs \d+\.\d GB"),
        (machine(8), Wanted(), r"needs \d+\.\d GB, 8.0 GB free"),
        (machine(8, 1), Wanted(), r"needs \d+\.\d GB, 8.0 GB free"),
        (machine(8, 12), Wanted(), r"33 of 33 layers need .* on the GPU, 1.* of 8.0 GB in main memory"),
        (machine(None, 8), Wanted(gpu_layers=33), r"33 of 33 layers need .* on the GPU, 0.* in main memory"),
    ],
)
def test_each_plan_has_its_words(where: Machine, wanted: Wanted, said: str) -> None:
    found = fit(MIXTURE, where, wanted)
    assert re.fullmatch(said, str(found)), f"{found}: {found.plan}"

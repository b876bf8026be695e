"""The machine that a table of figures was measured on, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from chat.engine.client import Engine

__all__ = ["machine_line"]


def machine_line(folder: Path) -> str:
    """Processor, cores, memory, devices and the build of llama.cpp, whose log goes to a folder."""
    engine = Engine(folder / "worker.log")
    try:
        build = engine.devices()
    finally:
        engine.close()
    memory = max((device.memory_total for device in build.devices if device.kind == "cpu"), default=0)
    others = [device.description or device.name for device in build.devices if device.kind == "gpu"]
    parts = [_processor(), f"{_cores()} cores", f"{memory / 2**30:.0f} GiB" if memory else "", *others]
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return ", ".join(filter(None, (*parts, system, f"llama-cpp-python {build.llama_cpp_python}")))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Its name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())

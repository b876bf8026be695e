"""Devices, their free memory, and a safe guess of how many layers fit on the GPU and how much context in
memory."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import llama_cpp.llama_cpp as api
from llama_cpp._ggml import libggml

from chat.engine.protocol import Device

__all__ = [
    "Sizes",
    "available_threads",
    "devices",
    "fitting_context",
    "fitting_layers",
    "free_memory",
    "gpus",
]

GIB = 1 << 30

MARGIN = GIB
"""Left free on each GPU: the driver, the screen, and what the estimate does not know."""

BATCH = 512

KINDS: dict[int, Literal["cpu", "gpu", "accelerator"]] = {0: "cpu", 1: "gpu", 2: "gpu", 3: "accelerator"}
"""ggml_backend_dev_type: CPU, GPU, integrated GPU, accelerator."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a model needs, from its header."""

    file_bytes: int
    layers: int
    cache_per_token: int
    """Bytes in all layers, keys and values in f16."""
    vocabulary: int

    @property
    def compute(self) -> int:
        """A guess of the compute buffers in bytes: the logits of a batch, and the rest."""
        return self.vocabulary * BATCH * 4 + 300 * (1 << 20)


def _prototype(name: str, result: object, *arguments: object) -> ctypes._NamedFuncPointer:
    function: ctypes._NamedFuncPointer = getattr(libggml, name)
    function.restype = result  # type: ignore[assignment]
    function.argtypes = list(arguments)  # type: ignore[arg-type]
    return function


def devices() -> list[Device]:
    """Every device that this build of llama.cpp can use, with its memory now."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    count = _prototype("ggml_backend_dev_count", size)
    get = _prototype("ggml_backend_dev_get", pointer, size)
    name = _prototype("ggml_backend_dev_name", ctypes.c_char_p, pointer)
    description = _prototype("ggml_backend_dev_description", ctypes.c_char_p, pointer)
    memory = _prototype("ggml_backend_dev_memory", None, pointer, ctypes.POINTER(size), ctypes.POINTER(size))
    kind = _prototype("ggml_backend_dev_type", ctypes.c_int, pointer)
    found = []
    for index in range(count()):
        handle, free, total = get(index), size(0), size(0)
        memory(handle, ctypes.byref(free), ctypes.byref(total))
        found.append(
            Device(
                name=(name(handle) or b"").decode("utf-8", "replace"),
                description=(description(handle) or b"").decode("utf-8", "replace").strip(),
                kind=KINDS.get(kind(handle), "accelerator"),
                memory_free=free.value,
                memory_total=total.value,
            )
        )
    return found


def gpus() -> list[Device]:
    """The devices that layers can go to."""
    if not api.llama_supports_gpu_offload():
        return []
    return [device for device in devices() if device.kind == "gpu"]


def fitting_layers(sizes: Sizes, context: int, free: list[int]) -> int:
    """How many layers fit beside their share of the cache in GPUs with these bytes free.

    The output layer counts as one more. Every layer is taken to be as large as the average, and a margin is
    left on every device, so the number is rather too small; loading steps down from it when it fails all the
    same.
    """
    room = sum(max(0, bytes_free - MARGIN) for bytes_free in free) - sizes.compute
    if room <= 0 or sizes.layers <= 0:
        return 0
    each = sizes.file_bytes / (sizes.layers + 1) + sizes.cache_per_token * context / sizes.layers
    return min(sizes.layers + 1, int(room / each))


def fitting_context(sizes: Sizes, wanted: int, free: int | None) -> int:
    """The largest of wanted, wanted/2 ... whose cache takes at most half of the free bytes, not under
    2048."""
    context = wanted
    while free is not None and context > 2048 and context * sizes.cache_per_token > free // 2:
        context //= 2
    return context


def free_memory() -> int | None:
    """Bytes of main memory that can be had now; None where the system does not say."""
    limits = [limit for limit in (_meminfo(), _cgroup_room()) if limit is not None]
    return min(limits) if limits else None


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def _cgroup_room() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def available_threads() -> int:
    """Cores that this process may use: its affinity, and in a container its share of time."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
        try:
            quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
            if quota != "max":
                cores = min(cores, max(1, round(int(quota) / int(period))))
        except (OSError, ValueError):
            pass
        return cores
    return os.cpu_count() or 1

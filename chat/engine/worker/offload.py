"""The devices that this build of llama.cpp can use, and their free memory."""

from __future__ import annotations

import ctypes
import sys
from typing import Literal

import llama_cpp.llama_cpp as api
from llama_cpp._ggml import libggml

from chat.engine.machine import free_memory
from chat.engine.plan import Machine
from chat.engine.protocol import Device

__all__ = ["devices", "experts_in_main_memory", "machine"]

INTEGRATED = 2
"""Of the kinds below."""
APPLE = sys.platform == "darwin"
"""Every GPU there shares its memory with the CPU."""

KINDS: dict[int, Literal["cpu", "gpu", "accelerator"]] = {0: "cpu", 1: "gpu", 2: "gpu", 3: "accelerator"}
"""ggml_backend_dev_type: CPU, GPU, integrated GPU, accelerator."""


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
                shared=kind(handle) == INTEGRATED or APPLE,
                memory_free=free.value,
                memory_total=total.value,
            )
        )
    return found


def machine() -> Machine:
    """What memory there is now, for a plan."""
    return Machine.of(free_memory(), devices() if api.llama_supports_gpu_offload() else [])


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def experts_in_main_memory(layers: int) -> ctypes.Array[_Override] | None:
    """What tells llama.cpp to keep the experts of the first layers in main memory; None for no layer.

    The array ends with an empty row, and must live until the model is loaded.
    """
    if layers <= 0:
        return None
    numbers = "|".join(map(str, range(layers)))
    pattern = rf"^blk\.({numbers})\.ffn_(up|down|gate|gate_up)_(ch|)exps"
    buffer_type = _prototype("ggml_backend_cpu_buffer_type", ctypes.c_void_p)()
    return (_Override * 2)(_Override(pattern.encode(), buffer_type), _Override(None, None))

"""LoRA adapters and control vectors of a model: checked against it first, then put in force together.

A file is compared with the model by its header (architecture, names and shapes of its tensors), since
llama.cpp may abort on one that does not fit. Control vectors are as llama.cpp's `cvector-generator` writes
them: `direction.N`, one vector for each layer from 1 on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt

from chat.engine.protocol import Adapter
from chat.engine.worker import log
from chat.engine.worker.causes import LoadError
from chat.engine.worker.llama import Context, Model
from chat.gguf import GGUFError, GGUFHeader, Tensor, read_header

__all__ = ["AdapterError", "Adapters"]

DIRECTION = "direction."
FLOATS: dict[int, type[np.floating[Any]]] = {0: np.float32, 1: np.float16}
"""ggml_type of the vectors that can be read."""

Vector = npt.NDArray[np.float32]


class AdapterError(LoadError):
    """An adapter that cannot be used with this model; one line that names the file."""

    def __init__(self, message: str) -> None:
        super().__init__("adapter", message)


class Adapters:
    """All adapters that were loaded for a model, and those in force."""

    def __init__(self, model: Model, headers: Sequence[GGUFHeader]) -> None:
        """`headers`: of all parts of the model; without them adapters are refused."""
        self._model = model
        self._headers = headers
        self._loras: dict[tuple[str, int, int], Any] = {}
        self._counted = 0
        """LoRAs in memory when the context was made."""
        self._wanted: list[Adapter] = []

    @property
    def in_force(self) -> list[Adapter]:
        """In the order in which they were asked for."""
        return list(self._wanted)

    def load(self, wanted: Sequence[Adapter]) -> bool:
        """Checks all and loads what is new; whether there is a LoRA that the context was made without, which
        asks for a new one.

        Raises AdapterError, and then those in force stay.
        """
        for adapter in wanted:
            header = _header(adapter)
            if adapter.kind == "lora":
                self._check_lora(header)
                self._lora(adapter)
            else:
                self._check_control(header)
        self._wanted = list(wanted)
        before, self._counted = self._counted, len(self._loras)
        return self._counted > before

    def apply(self, context: Context) -> None:
        """Puts those that were asked for in force, and takes all others out. Raises AdapterError."""
        loras = [adapter for adapter in self._wanted if adapter.kind == "lora" and adapter.scale]
        handles = (api.llama_adapter_lora_p_ctypes * len(loras))(*[self._lora(one) for one in loras])
        scales = (ctypes.c_float * len(loras))(*[adapter.scale for adapter in loras])
        if api.llama_set_adapters_lora(context.handle, handles, len(loras), scales) != 0:
            raise AdapterError("llama.cpp did not take the LoRA adapters; its log knows more.")
        self._apply_control(context)

    def _apply_control(self, context: Context) -> None:
        controls = [adapter for adapter in self._wanted if adapter.kind == "control" and adapter.scale]
        width, layers = self._model.width, self._model.layers
        if not controls:
            api.llama_set_adapter_cvec(context.handle, None, 0, width, 0, 0)
            return
        vectors = np.zeros((layers - 1, width), np.float32)
        for adapter in controls:
            for layer, vector in _directions(_header(adapter)):
                vectors[layer - 1] += adapter.scale * vector
        data = vectors.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        if api.llama_set_adapter_cvec(context.handle, data, vectors.size, width, 1, layers) != 0:
            raise AdapterError("llama.cpp did not take the control vectors; its log knows more.")

    def _lora(self, adapter: Adapter) -> Any:
        """The adapter in memory; the same file is loaded once."""
        path = Path(adapter.path)
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._loras:
            log.forget()
            handle = api.llama_adapter_lora_init(self._model.handle, str(path).encode())
            if not handle:
                cause = (log.errors() or ["llama.cpp gave no reason"])[0].rstrip(".")
                raise AdapterError(f"{path.name} could not be loaded as a LoRA: {cause}.")
            if api.llama_adapter_get_alora_n_invocation_tokens(handle):
                api.llama_adapter_lora_free(handle)
                raise AdapterError(f"{path.name} is an activated LoRA (aLoRA), which rpchat cannot use.")
            self._loras[key] = handle
        return self._loras[key]

    # Checking -----------------------------------------------------------------------------------------------

    def _check_lora(self, header: GGUFHeader) -> None:
        name, kind = header.path.name, header.text("adapter.type")
        if header.text("general.type") != "adapter" or kind not in ("lora", ""):
            control = "a control vector; give it with --control-vector"
            what = control if _is_control(header) else "no LoRA adapter"
            raise AdapterError(f"{name} is {what}.")
        self._check_architecture(name, header.architecture)
        shapes = {tensor.name: tensor.shape for part in self._headers for tensor in part.tensors}
        pairs: dict[str, dict[str, Tensor]] = {}
        for tensor in header.tensors:
            base, _, half = tensor.name.rpartition(".")
            if half in ("lora_a", "lora_b"):
                pairs.setdefault(base, {})[half] = tensor
        if not pairs:
            raise AdapterError(f"{name} holds no LoRA tensors; it is damaged or made by another tool.")
        for base, halves in pairs.items():
            self._check_pair(name, base, halves, shapes.get(base))

    def _check_pair(
        self, name: str, base: str, halves: dict[str, Tensor], shape: tuple[int, ...] | None
    ) -> None:
        if shape is None:
            raise AdapterError(f"{name} is for another model: this one has no tensor {base}.")
        if len(halves) != 2:
            raise AdapterError(f"{name} is damaged: {base} has only one half; download it again.")
        a, b = halves["lora_a"].shape, halves["lora_b"].shape
        if len(a) < 2 or len(b) < 2 or len(shape) < 2:
            raise AdapterError(f"{name} is damaged: {base} is no matrix; download it again.")
        if base == "token_embd.weight":  # llama.cpp keeps its first half transposed
            right = shape[0] == b[1] and shape[1] == a[1] and a[0] == b[0]
        else:
            right = shape[0] == a[0] and shape[1] == b[1] and a[1] == b[0]
        if not right:
            theirs = f"{b[1]} x {a[0]}"
            ours = f"{shape[1]} x {shape[0]}"
            raise AdapterError(f"{name} is for another model: {base} is {theirs} there and {ours} here.")

    def _check_control(self, header: GGUFHeader) -> None:
        name = header.path.name
        if not _is_control(header):
            lora = header.text("general.type") == "adapter"
            what = "a LoRA; give it with --lora" if lora else "no control vector"
            raise AdapterError(f"{name} is {what}.")
        hint = header.text("controlvector.model_hint")
        if hint:
            self._check_architecture(name, hint)
        width, layers = self._model.width, self._model.layers
        found = 0
        for tensor in header.tensors:
            layer = tensor.name.removeprefix(DIRECTION)
            if not tensor.name.startswith(DIRECTION) or not layer.isdecimal():
                continue
            found += 1
            if tensor.shape != (width,) or not 1 <= int(layer) < layers:
                said = f"its vector {layer} has {tensor.shape[0] if tensor.shape else 0} numbers"
                ours = f"this one has {layers} layers of {width}"
                raise AdapterError(f"{name} is for another model: {said}, {ours}.")
            if tensor.type not in FLOATS:
                raise AdapterError(f"{name} has vectors of a type that cannot be read; convert it to f32.")
        if not found:
            raise AdapterError(f"{name} holds no vectors; it is damaged or made by another tool.")

    def _check_architecture(self, name: str, theirs: str) -> None:
        ours = self._headers[0].architecture if self._headers else ""
        if theirs != ours:
            raise AdapterError(f"{name} is for a model of kind {theirs or 'unknown'}; this one is {ours}.")


def _header(adapter: Adapter) -> GGUFHeader:
    try:
        header = read_header(Path(adapter.path))
    except GGUFError as error:
        raise AdapterError(f"{Path(adapter.path).name} cannot be used: {error.what}.") from error
    if header.truncated or header.defect:
        raise AdapterError(f"{header.path.name} is damaged or incomplete; download it again.")
    return header


def _is_control(header: GGUFHeader) -> bool:
    return header.architecture == "controlvector"


def _directions(header: GGUFHeader) -> list[tuple[int, Vector]]:
    """The vectors of a file, each with its layer."""
    found = []
    for tensor in header.tensors:
        layer = tensor.name.removeprefix(DIRECTION)
        if tensor.name.startswith(DIRECTION) and layer.isdecimal():
            start = header.data_start + tensor.offset
            vector = np.fromfile(header.path, FLOATS[tensor.type], tensor.shape[0], offset=start)
            found.append((int(layer), vector.astype(np.float32)))
    return found

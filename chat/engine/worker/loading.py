"""Bringing a model into memory: what is checked before, what is made smaller when it does not fit, and why
it fails."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chat.engine.protocol import Load, Loaded
from chat.engine.worker import log, offload
from chat.engine.worker.llama import Context, Model
from chat.engine.worker.tokens import Vocabulary

__all__ = ["LoadError", "LoadedModel", "load"]

DEFAULT_CONTEXT = 16_384
"""At most, unless more is asked for."""

SMALLEST_CONTEXT = 512

SEQUENCES = 4
"""Sequences that a context has room for in its tables: the chat's, and some beside it."""

OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
"""The first bytes of GGML files from before GGUF: ggml, ggmf, ggjt and ggla, little-endian."""

ENCODERS = re.compile(r"bert|t5encoder|wavtokenizer|embedding")

OUT_OF_MEMORY = re.compile(
    r"out of memory|failed to allocate|unable to allocate|allocation failed|alloc_tensor_range"
    r"|OutOfDeviceMemory|cudaMalloc|bad_alloc|failed to create context",
    re.IGNORECASE,
)

DAMAGED = re.compile(
    r"file bounds|corrupted|incomplete|unexpectedly reached end|failed to read|read error|invalid|duplicate",
    re.IGNORECASE,
)


class LoadError(Exception):
    """A model that cannot be loaded; `code` is a `Failed.code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class LoadedModel:
    """A model that stands ready, and how it was described to the client."""

    model: Model
    vocabulary: Vocabulary
    context: Context | None
    described: Loaded

    def close(self) -> None:
        """Frees the memory."""
        if self.context is not None:
            self.context.close()
        self.model.close()


def load(request: Load, progress: Callable[[float, int], None], cancelled: Callable[[], bool]) -> LoadedModel:
    """Loads a model and makes its context. `progress` is told a fraction and the layers on the GPU.

    Raises LoadError with code `load` (the file) or `memory`.
    """
    started = time.monotonic()
    path = Path(request.path)
    _check_file(path)
    log.forget()
    layers = _gpu_layers(request)
    progress(0.0, layers)

    def go_on(fraction: float) -> bool:
        progress(fraction, layers)
        return not cancelled()

    model = _open_model(path, layers, request.vocabulary_only, go_on, cancelled)
    try:
        vocabulary = Vocabulary(model.vocab)
        notes: list[str] = []
        context = None
        if not request.vocabulary_only:
            if not model.writes_text or ENCODERS.search(model.metadata("general.architecture")):
                kind = model.metadata("general.architecture")
                raise LoadError("load", f"{path.name} is a model of kind {kind}, which cannot write text.")
            threads = request.threads or offload.available_threads()
            context = _open_context(model, vocabulary, request, layers, threads, notes)
    except BaseException:
        model.close()
        raise
    described = _describe(request, model, vocabulary, context, layers, notes, time.monotonic() - started)
    return LoadedModel(model, vocabulary, context, described)


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise LoadError("load", f"{path} cannot be read: {error.strerror}.") from error
    if magic in OLD_MAGICS:
        raise LoadError("load", f"{path.name} is a GGML file from before GGUF; it has to be converted first.")
    if magic != b"GGUF":
        raise LoadError("load", f"{path.name} is not a GGUF file.")


def _gpu_layers(request: Load) -> int:
    """Layers that will go to the GPU: none without one, all that fit for `auto`."""
    if request.vocabulary_only or request.gpu_layers == 0:
        return 0
    found = offload.gpus()
    if not found:
        return 0
    if request.gpu_layers != "auto":
        return request.gpu_layers
    header = _open_model(Path(request.path), 0, True, lambda _fraction: True, lambda: False)
    try:
        sizes = _sizes(header, Path(request.path))
        trained = int(header.metadata("{arch}.context_length") or DEFAULT_CONTEXT)
    finally:
        header.close()
    context = request.context or min(trained, DEFAULT_CONTEXT)
    return offload.fitting_layers(sizes, context, [device.memory_free for device in found])


def _sizes(model: Model, path: Path) -> offload.Sizes:
    """From the header; what it does not say is taken to be as large as it may be."""

    def number(key: str, default: int = 0) -> int:
        match = re.search(r"\d+", model.metadata("{arch}." + key))
        return int(match.group()) if match else default

    layers, width = number("block_count"), number("embedding_length")
    heads = max(1, number("attention.head_count", 1))
    per_head = number("attention.key_length", width // heads)
    shared = number("attention.head_count_kv", heads)
    parts = re.fullmatch(r"(.*-)\d{5}(-of-\d{5}\.gguf)", path.name)
    files = list(path.parent.glob(f"{parts[1]}*{parts[2]}")) if parts else [path]
    return offload.Sizes(
        file_bytes=sum(file.stat().st_size for file in files),
        layers=layers,
        cache_per_token=2 * 2 * layers * shared * per_head,
        vocabulary=Vocabulary.size_of(model.vocab),
    )


def _open_model(
    path: Path,
    layers: int,
    vocabulary_only: bool,
    progress: Callable[[float], bool],
    cancelled: Callable[[], bool],
) -> Model:
    try:
        return Model(str(path), layers, vocabulary_only, progress)
    except OSError as error:
        if cancelled():
            raise LoadError("load", "Loading was cancelled.") from error
        raise _load_error(path) from error


def _load_error(path: Path) -> LoadError:
    """One sentence from what llama.cpp logged."""
    lines = log.errors()
    said = " ".join(lines)
    architecture = re.search(r"unknown model architecture: '([^']*)'", said)
    if architecture:
        build = "this build of llama.cpp does not know it; a newer llama-cpp-python may"
        return LoadError("load", f"{path.name} has the architecture '{architecture[1]}': {build}.")
    if OUT_OF_MEMORY.search(said):
        return LoadError("memory", f"{path.name} does not fit in memory.")
    cause = lines[0] if lines else "llama.cpp gave no reason"
    cause = re.sub(r"^error loading model[^:]*: ", "", cause).rstrip(".")
    if DAMAGED.search(said):
        return LoadError("load", f"{path.name} is damaged or incomplete ({cause}); download it again.")
    return LoadError("load", f"{path.name} could not be loaded: {cause}.")


def _open_context(
    model: Model, vocabulary: Vocabulary, request: Load, layers: int, threads: int, notes: list[str]
) -> Context:
    """The context that was asked for, or the largest that can be had."""
    trained = model.context_trained
    wanted = request.context or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    if trained and wanted > trained:
        notes.append(f"The context is {trained} tokens: the model was trained for no more.")
        wanted = trained
    size = wanted
    if request.context is None and layers == 0:
        free = offload.free_memory()
        sizes = _sizes(model, Path(request.path))
        size = offload.fitting_context(sizes, wanted, None if free is None else free - sizes.file_bytes)
    while True:
        try:
            context = Context(model, size, threads, offload.BATCH, SEQUENCES)
            break
        except MemoryError as error:
            log.write(f"a context of {size} tokens was refused")
            if layers and request.gpu_layers == "auto":  # fewer layers cost less than a shorter memory
                raise LoadError("memory", f"{Path(request.path).name} does not fit on the GPU.") from error
            if size <= SMALLEST_CONTEXT:
                message = f"There is not memory enough for even {size} tokens of context."
                raise LoadError("memory", message) from error
            size = max(SMALLEST_CONTEXT, size // 2)
    if not context.has_memory:
        context.close()
        raise LoadError("load", f"{Path(request.path).name} is an encoder, which cannot write text.")
    if size < wanted:
        notes.append(f"The context is {size} tokens: memory holds no more.")
    return context


def _describe(
    request: Load,
    model: Model,
    vocabulary: Vocabulary,
    context: Context | None,
    layers: int,
    notes: list[str],
    seconds: float,
) -> Loaded:
    total = model.layers
    on_gpu = min(layers, total + 1) if layers > 0 else 0
    found = offload.gpus() if on_gpu else []
    return Loaded(
        id=request.id,
        path=request.path,
        context=context.size if context is not None else 0,
        context_trained=model.context_trained,
        layers=total,
        gpu_layers=on_gpu,
        device=", ".join(device.description or device.name for device in found) or "CPU",
        vocabulary=vocabulary.size,
        threads=request.threads or offload.available_threads(),
        bos=vocabulary.text(vocabulary.bos).decode("utf-8", "replace") if vocabulary.bos >= 0 else "",
        eos=vocabulary.text(vocabulary.eos).decode("utf-8", "replace") if vocabulary.eos >= 0 else "",
        seconds=seconds,
        notes=notes,
    )

"""Asking the engine what it can use, for the verbs that load no model."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat.engine.client import Engine
    from chat.engine.protocol import Build
    from chat.settings import Folders

__all__ = ["asked_engine", "build_for_gpu", "has_gpu_backend"]

BACKENDS = ("cann", "cuda", "hip", "metal", "musa", "opencl", "sycl", "vulkan")
"""Of ggml, those that run on a GPU: each is a library `ggml-NAME` beside llama.cpp's own."""


@contextmanager
def asked_engine(folders: Folders) -> Iterator[Engine]:
    """An engine for a question or two; where rpchat has never run it leaves no folder behind."""
    from chat.engine.client import Engine

    log = folders.worker_log
    with (
        tempfile.TemporaryDirectory() as passing,
        closing(Engine(log if log.parent.is_dir() else Path(passing, log.name))) as engine,
    ):
        yield engine


def build_for_gpu(folders: Folders) -> Build | None:
    """The build of llama.cpp with the devices that it sees, where it has a backend for GPUs; else None, and
    no process is started. Raises EngineError when llama.cpp does not start."""
    if not has_gpu_backend():
        return None
    with asked_engine(folders) as engine:
        return engine.devices()


def has_gpu_backend() -> bool:
    """Whether the installed build of llama.cpp was made for some GPU, from the names of its libraries: it may
    not be imported here."""
    names = [path.name for folder in _libraries() for path in folder.glob("*ggml-*")]
    return any(f"ggml-{backend}" in name for name in names for backend in BACKENDS)


def _libraries() -> list[Path]:
    """Where llama-cpp-python looks for them."""
    given = os.environ.get("LLAMA_CPP_LIB_PATH")
    if given is not None:
        return [Path(given)]
    found = importlib.util.find_spec("llama_cpp")
    folders = found.submodule_search_locations if found is not None else None
    return [Path(folder, "lib") for folder in folders or ()]

"""The values that planning speaks in: what memory there is, what was asked for, and what goes where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chat.engine.needs import SEQUENCES
from chat.engine.protocol import CacheChoice, CacheType, Device, FlashAttention

__all__ = ["MARGIN", "MARGIN_MAIN", "GpuMemory", "Machine", "Plan", "Share", "Wanted"]

MARGIN = 1 << 30
"""Left free on a GPU: the screen, the driver, and what the estimate does not know."""
MARGIN_SHARED = 256 << 20
"""The same where GPU and CPU share their memory: the system keeps its part back by itself."""
MARGIN_MAIN = 300 << 20
"""Left free in main memory: the program itself."""


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """One GPU."""

    name: str
    free: int
    """Bytes."""
    shared: bool = False
    """Its memory is main memory: Apple's chips, integrated GPUs."""

    @property
    def room(self) -> int:
        """Bytes that a model may take."""
        return max(0, self.free - (MARGIN_SHARED if self.shared else MARGIN))


@dataclass(frozen=True, slots=True)
class Machine:
    """What memory there is."""

    free: int | None
    """Bytes of main memory that can be had; None where the system does not say."""
    gpus: tuple[GpuMemory, ...] = ()

    @classmethod
    def of(cls, free: int | None, devices: Sequence[Device]) -> Machine:
        """From what the worker says. An integrated GPU counts only where there is no other, as llama.cpp
        has it."""
        gpus = [device for device in devices if device.kind == "gpu"]
        own = [device for device in gpus if not device.shared] or gpus[:1]
        return cls(free, tuple(GpuMemory(d.description or d.name, d.memory_free, d.shared) for d in own))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for. None and `auto`: as it fits."""

    context: int | None = None
    gpu_layers: int | None = None
    cache_type: CacheChoice = "auto"
    flash_attention: FlashAttention = "auto"
    full_window: bool = False
    gpu_limit: int | None = None
    """Bytes on all GPUs together, where a larger plan has failed."""
    quantized: bool = True
    """False: an `auto` cache stays f16, since this model has refused another one."""


@dataclass(frozen=True, slots=True)
class Share:
    """What lies in one memory; bytes."""

    weights: int = 0
    cache: int = 0
    second: int = 0
    """Of the cache, the room for what is prepared in advance, counted apart."""
    buffers: int = 0
    checkpoints: int = 0
    """The most that snapshots for going back come to, of models that need them."""

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.second + self.buffers + self.checkpoints

    def __add__(self, other: Share) -> Share:
        return Share(
            self.weights + other.weights,
            self.cache + other.cache,
            self.second + other.second,
            self.buffers + other.buffers,
            self.checkpoints + other.checkpoints,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes where."""

    context: int
    """Tokens that one prompt and its reply may fill."""
    cells: int
    """Tokens that the cache holds."""
    cache_type: CacheType
    layers: int
    """On GPUs, as llama.cpp counts them: the output is one more after the last."""
    of_layers: int
    experts_aside: int
    """Layers, from the first, whose experts stay in main memory."""
    gpus: tuple[Share, ...]
    """On each GPU."""
    main: Share
    machine: Machine
    given_up: tuple[str, ...] = ()
    fits: bool = True
    """False: even the least needs more than there is; loading is tried all the same."""

    sequences: int = SEQUENCES
    """That the cache has room for; several replies at once are bounded by it."""

    flash: bool = True
    """False: flash attention stays off."""

    @property
    def second(self) -> bool:
        """Whether the next turns of a full context can be prepared in advance."""
        return self.cells > self.context

    @property
    def checkpoint_budget(self) -> int:
        """Bytes for the snapshots of one sequence: what is prepared in advance has its own."""
        return self.main.checkpoints // (2 if self.second else 1)

    @property
    def gpu_bytes(self) -> int:
        """Bytes on all GPUs together."""
        return sum(share.total for share in self.gpus)

    @property
    def needed(self) -> int:
        """Bytes in all memories together."""
        return self.gpu_bytes + self.main.total

    def __str__(self) -> str:
        """The plan and its arithmetic, in one line."""
        if not self.layers:
            line = f"{self._sum(self.main)}{_of(self.main.total, self.machine.free)}: on the CPU"
        else:
            gpu = sum(self.gpus, Share())
            free = sum(each.free for each in self.machine.gpus)
            count, whole = len(self.machine.gpus), self.layers >= self.of_layers
            layers = f"all {self.layers}" if whole else f"{self.layers} of {self.of_layers}"
            where = f"{count} GPUs" if count > 1 else "the GPU"
            line = f"{self._sum(gpu)}{_of(gpu.total, free)}: {layers} layers on {where}"
            if self.experts_aside:
                line += f", the experts of {self.experts_aside} in main memory"
            if self.layers < self.of_layers or self.experts_aside:
                line += f"; main memory {_gb(self.main.total)}{_of(self.main.total, self.machine.free)}"
            elif self.main.checkpoints:
                line += f"; main memory: checkpoints up to {_gb(self.main.checkpoints)}"
        if self.given_up:
            line += f"; given up: {', '.join(self.given_up)}"
        return line if self.fits else f"{line}; more than there is"

    def _sum(self, share: Share) -> str:
        parts = [
            f"weights {_gb(share.weights)}",
            f"cache {_gb(share.cache)} ({self.cache_type}, {self.context:,} tokens)",
            *([f"next turns {_gb(share.second)}"] if self.second else []),
            f"buffers {_gb(share.buffers)}",
            *([f"checkpoints up to {_gb(share.checkpoints)}"] if share.checkpoints else []),
        ]
        return f"{' + '.join(parts)} = {_gb(share.total)}"


def _of(used: int, free: int | None) -> str:
    return "" if free is None else f" of {_gb(free)} free"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.0f} MB"

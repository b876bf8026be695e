"""How a model is laid out in the memory of this machine, decided before anything is loaded.

What is given up first when memory is short, in this order: the second sequence in which a full context is
prepared for its next turns, the f16 cache (to q8_0), context above 16 384 tokens, then layers on the GPU (of
a mixture of experts first the experts); on the CPU, which has no other place for layers, the context again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chat.engine.needs import FEW_SEQUENCES, SEQUENCES, Needs
from chat.engine.protocol import CacheChoice, CacheType, Device, FlashAttention

__all__ = ["USUAL_CONTEXT", "GpuMemory", "Machine", "Plan", "PlanError", "Wanted", "lesser_plan", "make_plan"]

USUAL_CONTEXT = 16_384
"""Tokens, unless more is asked for; a context above it goes before layers do."""
SMALLEST_CONTEXT = 2_048
"""Tokens; with less a chat is no pleasure."""
LEAST_CONTEXT = 512
"""Tokens; with less nothing is tried."""
CONTEXT_STEP = 1_024

ADVANCE, F16_CACHE = "what is prepared in advance", "the f16 cache"
"""What may be given up, as `Plan.given_up` names it; a shorter context is `context above N`."""

SECOND = 0.7
"""Room for the kept part of the history once more, as a part of the context: what is prepared in advance."""

MARGIN = 1 << 30
"""Left free on a GPU: the screen, the driver, and what the estimate does not know."""
MARGIN_SHARED = 256 << 20
"""The same where GPU and CPU share their memory: the system keeps its part back by itself."""
MARGIN_MAIN = 300 << 20
"""Left free in main memory: the program itself."""


class PlanError(ValueError):
    """Wishes that exclude each other; one line that says which and what to do."""


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

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.second + self.buffers

    def __add__(self, other: Share) -> Share:
        return Share(
            self.weights + other.weights,
            self.cache + other.cache,
            self.second + other.second,
            self.buffers + other.buffers,
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

    @property
    def second(self) -> bool:
        """Whether the next turns of a full context can be prepared in advance."""
        return self.cells > self.context

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
        if self.given_up:
            line += f"; given up: {', '.join(self.given_up)}"
        return line if self.fits else f"{line}; more than there is"

    def _sum(self, share: Share) -> str:
        parts = [
            f"weights {_gb(share.weights)}",
            f"cache {_gb(share.cache)} ({self.cache_type}, {self.context:,} tokens)",
            *([f"next turns {_gb(share.second)}"] if self.second else []),
            f"buffers {_gb(share.buffers)}",
        ]
        return f"{' + '.join(parts)} = {_gb(share.total)}"


def make_plan(needs: Needs, machine: Machine, wanted: Wanted) -> Plan:
    """The best plan that fits. Raises PlanError where the wishes exclude each other."""
    _check(needs, wanted)
    if not machine.gpus or wanted.gpu_layers == 0:
        return _on_cpu(needs, machine, wanted)
    plan = None
    for choice in _choices(needs, wanted):
        plan = _laid_out(needs, machine, wanted, choice, wanted.gpu_layers)
        if plan.fits:
            return plan
    if plan is None:
        raise AssertionError("there is always a choice")
    if wanted.gpu_layers is not None:  # taken at its word
        return plan
    return _fewer_layers(needs, machine, wanted, plan) or _on_cpu(needs, machine, wanted)


def lesser_plan(needs: Needs, wanted: Wanted, plan: Plan) -> Plan | None:
    """The next smaller plan when llama.cpp refused one, with the layers where they are; None: there is none.

    Where it was a quantized cache that was refused, `wanted.quantized` is False and the cache is f16 again.
    """
    auto = wanted.cache_type == "auto" and wanted.flash_attention != "off" and needs.quantizable
    given_up = tuple(what for what in plan.given_up if wanted.quantized or what != F16_CACHE)
    choice = _Choice(plan.context, plan.second, plan.cache_type, given_up, plan.sequences)
    if auto and not wanted.quantized and plan.cache_type != "f16":
        choice = replace(choice, cache_type="f16")
    elif plan.second:
        few = FEW_SEQUENCES if needs.checkpointed else SEQUENCES
        choice = replace(choice, second=False, given_up=(*given_up, ADVANCE), sequences=few)
    elif auto and wanted.quantized and plan.cache_type == "f16":
        choice = replace(choice, cache_type="q8_0", given_up=(*given_up, F16_CACHE))
    elif plan.context // 2 >= LEAST_CONTEXT:
        others = tuple(what for what in given_up if not what.startswith("context"))
        shorter = plan.context // 2
        choice = replace(choice, context=shorter, given_up=(*others, f"context above {shorter:,}"))
    else:
        return None
    return _laid_out(needs, plan.machine, wanted, choice, plan.layers, plan.experts_aside)


@dataclass(frozen=True, slots=True)
class _Choice:
    context: int
    second: bool
    cache_type: CacheType
    given_up: tuple[str, ...] = ()
    sequences: int = SEQUENCES

    @property
    def cells(self) -> int:
        extra = int(self.context * SECOND) if self.second else 0
        return -(-(self.context + extra) // 256) * 256 if extra else self.context


def _check(needs: Needs, wanted: Wanted) -> None:
    kind = wanted.cache_type
    if kind in ("q8_0", "q4_0"):
        if wanted.flash_attention == "off":
            mend = "set flash attention to auto, or the cache type to f16"
            raise PlanError(f"A {kind} cache needs flash attention, which is off; {mend}.")
        if needs.head and not needs.quantizable:
            raise PlanError(
                f"A {kind} cache is not possible with this model: its heads have {needs.head} numbers, "
                "not a multiple of 32; set the cache type to f16."
            )


def _choices(needs: Needs, wanted: Wanted) -> Iterator[_Choice]:
    """All that may be given up before layers, the most first."""
    trained = needs.context or USUAL_CONTEXT
    context = min(wanted.context or USUAL_CONTEXT, trained)
    best: CacheType = "f16" if wanted.cache_type == "auto" else wanted.cache_type
    yield _Choice(context, True, best)
    given_up = [ADVANCE]
    few = FEW_SEQUENCES if needs.checkpointed else SEQUENCES
    yield _Choice(context, False, best, tuple(given_up), few)
    may = wanted.quantized and wanted.flash_attention != "off" and needs.quantizable
    if wanted.cache_type == "auto" and may:
        best = "q8_0"
        given_up.append(F16_CACHE)
        yield _Choice(context, False, best, tuple(given_up), few)
    for shorter in range(context - context % CONTEXT_STEP, USUAL_CONTEXT - 1, -CONTEXT_STEP):
        if shorter < context:
            yield _Choice(shorter, False, best, (*given_up, f"context above {shorter:,}"), few)


def _on_cpu(needs: Needs, machine: Machine, wanted: Wanted) -> Plan:
    """Everything in main memory. A context of up to 16 384 that was asked for is not made shorter here."""
    plan = None
    for choice in _cpu_choices(needs, wanted):
        plan = _laid_out(needs, replace(machine, gpus=()), wanted, choice, 0)
        if plan.fits:
            break
    if plan is None:
        raise AssertionError("there is always a choice")
    return plan


def _cpu_choices(needs: Needs, wanted: Wanted) -> Iterator[_Choice]:
    choice = None
    for choice in _choices(needs, wanted):
        yield choice
    while choice is not None and wanted.context is None and choice.context // 2 >= SMALLEST_CONTEXT:
        shorter = choice.context // 2
        given_up = tuple(what for what in choice.given_up if not what.startswith("context"))
        choice = replace(choice, context=shorter, given_up=(*given_up, f"context above {shorter:,}"))
        yield choice


def _fewer_layers(needs: Needs, machine: Machine, wanted: Wanted, plan: Plan) -> Plan | None:
    """The most layers that fit, with all else given up; None when none do."""
    choice = _Choice(plan.context, plan.second, plan.cache_type, plan.given_up, plan.sequences)
    aside = 0
    if any(needs.experts):
        aside = needs.blocks
        found = _first_that_fits(
            [partial(_laid_out, needs, machine, wanted, choice, None, n) for n in range(1, aside + 1)]
        )
        if found is not None:
            return found
    return _first_that_fits(
        [partial(_laid_out, needs, machine, wanted, choice, n, aside) for n in range(needs.blocks, 0, -1)]
    )


def _first_that_fits(plans: Sequence[Callable[[], Plan]]) -> Plan | None:
    """Of plans that need less and less the first that fits, by halving; None when none does."""
    low, high, found = 0, len(plans), None
    while low < high:
        middle = (low + high) // 2
        plan = plans[middle]()
        if plan.fits:
            high, found = middle, plan
        else:
            low = middle + 1
    return found


def _laid_out(
    needs: Needs, machine: Machine, wanted: Wanted, choice: _Choice, asked: int | None, aside: int = 0
) -> Plan:
    """One choice as a plan, whether it fits or not."""
    most = needs.blocks + 1
    layers = min(most if asked is None else asked, most) if machine.gpus else 0
    flash = wanted.flash_attention != "off"
    first = most - layers
    shares = [Share() for _ in machine.gpus]
    main = Share(weights=needs.embeddings)
    owner = _owners(machine, layers)
    for layer in range(most):
        share = _layer(needs, layer, choice, wanted.full_window)
        if layer < first:
            main += share
            continue
        experts = needs.experts[layer] if layer < min(aside, needs.blocks) and needs.experts else 0
        main += Share(weights=experts)
        if layer == needs.blocks:
            share = Share(weights=needs.output_on_gpu)
        index = owner[layer - first]
        shares[index] += replace(share, weights=share.weights - experts)
    for index, share in enumerate(shares):
        if share.total:
            last = index == owner[-1]
            shares[index] = share + Share(buffers=needs.buffer(choice.cells, flash, output=last))
    main += Share(buffers=needs.buffer(choice.cells, flash, output=not layers))
    given_up = choice.given_up
    return Plan(
        context=choice.context,
        cells=choice.cells,
        cache_type=choice.cache_type,
        layers=layers,
        of_layers=most,
        experts_aside=aside if layers else 0,
        gpus=tuple(shares),
        main=main,
        machine=machine,
        given_up=given_up,
        fits=_fits(machine, wanted, shares, main),
        sequences=choice.sequences,
    )


def _layer(needs: Needs, layer: int, choice: _Choice, full_window: bool) -> Share:
    if layer == needs.blocks:
        return Share(weights=needs.output)
    once = needs.cache(layer, choice.context, choice.cache_type, choice.sequences, full_window)
    whole = needs.cache(layer, choice.cells, choice.cache_type, choice.sequences, full_window)
    return Share(weights=needs.weights[layer], cache=once, second=whole - once)


def _owners(machine: Machine, layers: int) -> list[int]:
    """The GPU of each layer that is on one: llama.cpp splits them in proportion to free memory
    (`llama-model.cpp`, `splits`)."""
    total = sum(gpu.free for gpu in machine.gpus)
    owners = []
    for layer in range(layers):
        reached, share = 0.0, layer / layers
        for index, gpu in enumerate(machine.gpus):
            reached += gpu.free / total if total else 1 / len(machine.gpus)
            if share < reached or index == len(machine.gpus) - 1:
                owners.append(index)
                break
    return owners


def _fits(machine: Machine, wanted: Wanted, shares: list[Share], main: Share) -> bool:
    used = sum(share.total for share in shares)
    if wanted.gpu_limit is not None and used > wanted.gpu_limit:
        return False
    if any(share.total > gpu.room for share, gpu in zip(shares, machine.gpus, strict=True)):
        return False
    if machine.free is None:
        return True
    beside = used if any(gpu.shared for gpu in machine.gpus) else 0
    if machine.gpus and not beside:  # what lies in main memory is read from the file as it is needed
        return main.cache + main.second + main.buffers + MARGIN_MAIN <= machine.free
    return main.total + beside + MARGIN_MAIN <= machine.free


def _of(used: int, free: int | None) -> str:
    return "" if free is None else f" of {_gb(free)} free"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.0f} MB"

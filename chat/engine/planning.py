"""How a model is laid out in the memory of this machine, decided before anything is loaded.

What is given up first when memory is short, in this order: the second sequence in which a full context is
prepared for its next turns, the f16 cache (to q8_0), context above 16 384 tokens, then layers on the GPU (of
a mixture of experts first the experts); on the CPU, which has no other place for layers, the context again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chat.engine.needs import FEW_SEQUENCES, SEQUENCES, Needs
from chat.engine.plan import MARGIN_MAIN, Machine, Plan, Share, Wanted
from chat.engine.protocol import CacheType

__all__ = ["USUAL_CONTEXT", "PlanError", "beyond_training", "lesser_plan", "make_plan"]

USUAL_CONTEXT = 16_384
"""Tokens, unless more is asked for; a context above it goes before layers do."""
SMALLEST_CONTEXT = 2_048
"""Tokens; with less a chat is no pleasure."""
LEAST_CONTEXT = 512
"""Tokens; with less nothing is tried."""
CONTEXT_STEP = 1_024

ADVANCE, F16_CACHE = "what is prepared in advance", "the f16 cache"
"""What may be given up, as `Plan.given_up` names it; a shorter context is `context above N`."""

SMALL_SCORES = 256 << 20
"""Bytes of attention scores that `auto` spends on the CPU to do without flash attention."""

SECOND = 0.7
"""Room for the kept part of the history once more, as a part of the context: what is prepared in advance."""
SECOND_EDGES = 256
"""Cells more, since it begins and goes on at the edges of pages."""


class PlanError(ValueError):
    """Wishes that exclude each other; one line that says which and what to do."""


def make_plan(needs: Needs, machine: Machine, wanted: Wanted) -> Plan:
    """The best plan that fits. Raises PlanError where the wishes exclude each other."""
    _check(needs, wanted)
    if not machine.gpus or wanted.gpu_layers == 0:
        return _on_cpu(needs, machine, wanted)
    plan = None
    for choice in _choices(needs, wanted):
        plan = _laid_out(needs, machine, wanted, choice, wanted.gpu_layers)
        if plan.fits:
            return _with_main_memory(plan)
    if plan is None:
        raise AssertionError("there is always a choice")
    if wanted.gpu_layers is not None:  # taken at its word
        return plan
    fewer = _fewer_layers(needs, machine, wanted, plan)
    return _with_main_memory(fewer) if fewer is not None else _on_cpu(needs, machine, wanted)


def beyond_training(needs: Needs, wanted: Wanted) -> str:
    """One sentence where more context is asked for than the model was trained for; else empty."""
    if not wanted.context or not needs.context or wanted.context <= needs.context:
        return ""
    said = f"The context is {needs.context} tokens, not {wanted.context}"
    return f"{said}: the model was trained for no more."


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
        extra = int(self.context * SECOND) + SECOND_EDGES if self.second else 0
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


def _with_main_memory(plan: Plan) -> Plan:
    """A plan for the GPUs, which is no fit where the layers beside them are more than main memory: they are
    read from the file again and again then. It is the best that there is all the same."""
    free, needed = plan.machine.free, plan.main.total + MARGIN_MAIN
    beside = plan.layers < plan.of_layers or plan.experts_aside
    return replace(plan, fits=False) if beside and free is not None and needed > free else plan


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
    flash = _flash(needs, wanted, choice, layers)
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
    sets = 2 if choice.second else 1  # what is prepared in advance has its own
    few, many = needs.checkpoints(choice.context, choice.cache_type, wanted.full_window)
    main += Share(checkpoints=few * sets)
    fits = _fits(machine, wanted, shares, main)
    main += Share(checkpoints=min((many - few) * sets, _left(machine, shares, main)))
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
        fits=fits,
        sequences=choice.sequences,
        flash=flash,
    )


def _flash(needs: Needs, wanted: Wanted, choice: _Choice, layers: int) -> bool:
    """Whether flash attention is on. On the CPU llama.cpp's sums fewer than 64 rows in 16 bits, so that what
    is read depends on how it is cut into batches, and what comes after a slide on how it was read: `auto`
    does without, as long as the scores of a batch are small. (The demo model, 1 024 deep: 115 tokens a second
    instead of 118, and reading as quick.)"""
    if wanted.flash_attention != "auto" or layers or choice.cache_type != "f16":
        return wanted.flash_attention != "off"
    return needs.scores(choice.cells) > SMALL_SCORES


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


def _left(machine: Machine, shares: list[Share], main: Share) -> int:
    """Bytes of main memory that nothing takes: checkpoints may, and what they do not get costs time only."""
    if machine.free is None:
        return sys.maxsize
    beside = sum(share.total for share in shares) if any(gpu.shared for gpu in machine.gpus) else 0
    return max(0, machine.free - MARGIN_MAIN - main.total - beside)

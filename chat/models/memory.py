"""Whether a model fits this machine: the engine's own plan for its memory, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chat.engine.needs import Needs
from chat.engine.plan import Machine, Plan, Wanted
from chat.engine.planning import USUAL_CONTEXT, make_plan

__all__ = ["Fit", "fit"]

Verdict = Literal["yes", "shorter", "no"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model's needs compare with the memory that is free now."""

    plan: Plan
    usual: int
    """Tokens: the context that it gets where memory is no matter."""
    machine: Machine

    @property
    def verdict(self) -> Verdict | None:
        """`shorter`: with a shorter context than it could have. None: the system does not say what is
        free."""
        if self.free is None and not self.plan.layers:
            return None
        if not self.plan.fits:
            return "no"
        return "yes" if self.context == self.usual else "shorter"

    @property
    def needed(self) -> int:
        """Bytes in all memories, for the weights, the cache of `context` tokens and the buffers."""
        return self.plan.needed

    @property
    def free(self) -> int | None:
        """Bytes of main memory."""
        return self.machine.free

    @property
    def context(self) -> int:
        """Tokens that the estimate is for: the most that fit."""
        return self.plan.context

    def __str__(self) -> str:
        if self.verdict is None:
            return f"needs {_gb(self.needed)}"
        if self.verdict == "no":
            return self._lacking()
        tokens = f"{self.context:,} tokens"
        where = self._where()
        if self.verdict == "yes":
            return f"fits {where}".rstrip()
        return f"fits {where}, {tokens}" if where else f"fits with {tokens}"

    def _where(self) -> str:
        """Which memory holds it; nothing to say on a machine without a GPU."""
        plan, count = self.plan, len(self.machine.gpus)
        gpu = f"{count} GPUs" if count > 1 else "the GPU"
        if not plan.layers:
            return "on the CPU" if count else ""
        if plan.layers < plan.of_layers:
            return f"with {plan.layers} of {plan.of_layers} layers on {gpu}"
        if plan.experts_aside:
            return f"on {gpu} but for the experts of {plan.experts_aside} layers"
        return f"on {gpu}"

    def _lacking(self) -> str:
        plan = self.plan
        if not plan.layers:
            return f"needs {_gb(self.needed)}, {_gb(self.free or 0)} free"
        room = sum(gpu.room for gpu in self.machine.gpus)
        beside = f"{_gb(plan.main.total)}{'' if self.free is None else f' of {_gb(self.free)}'}"
        layers = f"{plan.layers} of {plan.of_layers} layers"
        return f"{layers} need {_gb(plan.gpu_bytes)} of {_gb(room)} on the GPU, {beside} in main memory"


def fit(needs: Needs, machine: Machine, wanted: Wanted | None = None) -> Fit:
    """A model in the memory of a machine, loaded as it is wanted; None: as it fits.

    Raises PlanError where the wishes exclude each other for this model.
    """
    wanted = wanted or Wanted()
    asked = wanted.context or USUAL_CONTEXT
    return Fit(make_plan(needs, machine, wanted), min(needs.context or USUAL_CONTEXT, asked), machine)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"

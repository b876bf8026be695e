"""Whether a model fits this machine: the engine's own plan for the main memory, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chat.engine.machine import free_memory
from chat.engine.needs import Needs
from chat.engine.plan import Machine, Plan, Wanted
from chat.engine.planning import USUAL_CONTEXT, make_plan

__all__ = ["Fit", "fit", "free_memory"]

Verdict = Literal["yes", "shorter", "no"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model's needs compare with the memory that is free now.

    Memory of a GPU is not counted here: `rpchat doctor` asks llama.cpp for it.
    """

    plan: Plan
    usual: int
    """Tokens: the context that it gets where memory is no matter."""

    @property
    def verdict(self) -> Verdict | None:
        """`shorter`: with a shorter context than it could have. None: the system does not say what is
        free."""
        if self.free is None:
            return None
        if not self.plan.fits:
            return "no"
        return "yes" if self.context == self.usual else "shorter"

    @property
    def needed(self) -> int:
        """Bytes for the weights, the cache of `context` tokens and the buffers."""
        return self.plan.needed

    @property
    def free(self) -> int | None:
        """Bytes."""
        return self.plan.machine.free

    @property
    def context(self) -> int:
        """Tokens that the estimate is for: the most that fit."""
        return self.plan.context

    def __str__(self) -> str:
        needed = f"{self.needed / 1e9:.1f} GB"
        if self.verdict is None or self.free is None:
            return f"needs {needed}"
        if self.verdict == "no":
            return f"needs {needed}, {self.free / 1e9:.1f} GB free"
        return f"fits with {self.context:,} tokens" if self.verdict == "shorter" else "fits"


def fit(needs: Needs, free: int | None) -> Fit:
    """A model beside `free` bytes of main memory."""
    plan = make_plan(needs, Machine(free), Wanted())
    return Fit(plan, min(needs.context or USUAL_CONTEXT, USUAL_CONTEXT))

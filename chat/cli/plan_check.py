"""`rpchat doctor`: where a model would lie in memory, and what would be given up, before it is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat.cli.checks import Check
from chat.engine.machine import free_memory
from chat.engine.needs import Needs
from chat.engine.plan import Machine, Plan, Wanted
from chat.engine.planning import PlanError, beyond_training, make_plan
from chat.engine.protocol import Load
from chat.engine.remembered import known_limit
from chat.launch import Launch
from chat.loading import PLANS_FILE, LoadChoices, load_choices
from chat.models import ModelError, choose_model
from chat.settings import SettingsError
from presets.errors import PresetError
from presets.library import PresetLibrary

if TYPE_CHECKING:
    from chat.engine.protocol import Build
    from chat.settings import Settings

__all__ = ["PlanAnswer", "check_plan", "machine_now", "plan_values", "wanted_for"]


@dataclass(frozen=True)
class PlanAnswer:
    """What the doctor says about one model."""

    checks: tuple[Check, ...] = ()
    plan: Plan | None = None


def check_plan(build: Build | None, settings: Settings | None, launch: Launch | None = None) -> PlanAnswer:
    """The plan for the model that is asked for, else for the one that would be used, with the options given;
    the devices are those that the build of llama.cpp can use. Nothing where there is no model."""
    launch = launch or Launch()
    if settings is None:
        return PlanAnswer()
    try:
        choice = choose_model(launch.model, settings, PresetLibrary(settings.folders.presets))
        if choice.path is None or choice.file is None or choice.file.needs is None:
            return PlanAnswer()
        machine = machine_now(build)
        wanted = wanted_for(choice.path, settings, machine, launch)
        plan = make_plan(choice.file.needs, machine, wanted)
    except (ModelError, PresetError) as error:
        return PlanAnswer((Check("FAIL" if launch.model else "note", str(error)),))
    except (SettingsError, PlanError) as error:
        return PlanAnswer((Check("FAIL", str(error)),))
    checks = [Check("ok" if plan.fits else "note", f"plan for {choice.path.name}: {plan}")]
    beyond = beyond_training(choice.file.needs, wanted)
    if beyond:
        checks.append(Check("note", beyond))
    if not plan.fits:
        checks.append(Check("note", _smaller(choice.path.name, choice.file.needs, machine, wanted)))
    return PlanAnswer(tuple(checks), plan)


def machine_now(build: Build | None) -> Machine:
    """What memory there is, with the GPUs that a build of llama.cpp can use."""
    return Machine.of(
        free_memory(), build.devices if build is not None and build.supports_gpu_offload else []
    )


def wanted_for(path: Path, settings: Settings, machine: Machine, launch: Launch | None = None) -> Wanted:
    """What loading a model would ask a plan for: the options given, else what is settled, and what an earlier
    run has learned of these devices. Raises SettingsError."""
    choices = load_choices(launch or Launch(), settings, path)
    layers = choices["gpu_layers"]
    return Wanted(
        context=choices["context"],
        gpu_layers=None if layers == "auto" else layers,
        cache_type=choices["cache_type"],
        flash_attention=choices["flash_attention"],
        full_window=choices["full_window"],
        gpu_limit=_known_limit(settings, path, choices, machine),
    )


def plan_values(plan: Plan | None) -> dict[str, Any] | None:
    """A plan for JSON; sizes in bytes."""
    if plan is None:
        return None
    return {
        "line": str(plan),
        "fits": plan.fits,
        "context": plan.context,
        "cells": plan.cells,
        "cache_type": plan.cache_type,
        "flash_attention": plan.flash,
        "gpu_layers": plan.layers,
        "layers": plan.of_layers,
        "experts_in_main_memory": plan.experts_aside,
        "given_up": list(plan.given_up),
        "main": {**asdict(plan.main), "free": plan.machine.free},
        "gpus": [
            {**asdict(share), "name": gpu.name, "free": gpu.free}
            for share, gpu in zip(plan.gpus, plan.machine.gpus, strict=False)
        ],
    }


def _known_limit(settings: Settings, model: Path, choices: LoadChoices, machine: Machine) -> int | None:
    """What an earlier run has learned of these devices, as the worker asks for it."""
    if choices["gpu_layers"] != "auto" or not machine.gpus:
        return None
    plans = settings.folders.cache / PLANS_FILE
    return known_limit(Load(id=0, path=str(model), plans=str(plans), **choices), machine)


def _smaller(name: str, needs: Needs, machine: Machine, wanted: Wanted) -> str:
    """What to do where the plan does not fit: what would, if less were asked for."""
    free = replace(wanted, context=None, gpu_layers=None, cache_type="auto", flash_attention="auto")
    best = make_plan(needs, machine, free)
    if best.fits:
        return f"{name} does not fit like that; left to itself it does: {best}"
    return f"{name} is larger than the memory that is free: it would be slow; take a smaller one (Q4_K_M, 7B)"

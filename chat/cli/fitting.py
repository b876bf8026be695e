"""Whether models fit this machine, for the verbs that load none."""

from __future__ import annotations

from functools import cached_property

from chat.cli.devices import build_for_gpu
from chat.cli.plan_check import machine_now, wanted_for
from chat.cli.printing import warn
from chat.engine.plan import Machine
from chat.engine.planning import PlanError
from chat.engine.surface import EngineError
from chat.models import ModelFile
from chat.models.memory import Fit
from chat.settings import Settings, SettingsError

__all__ = ["Fitting"]


class Fitting:
    """Judges models by the plans that loading them would make now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._said: set[str] = set()

    def of(self, file: ModelFile) -> Fit:
        """How one fits. Where the settings allow no plan for it that is said, and they are left aside."""
        try:
            return file.fit(self._machine, wanted_for(file.path, self._settings, self._machine))
        except PlanError as error:
            self._say(f"{file.label}: {error}")
        except SettingsError as error:
            self._say(str(error))
        return file.fit(self._machine)

    @cached_property
    def _machine(self) -> Machine:
        try:
            return machine_now(build_for_gpu(self._settings.folders))
        except EngineError as error:
            self._say(
                f"llama.cpp does not start, so only main memory is counted; see `rpchat doctor`: {error}"
            )
            return machine_now(None)

    def _say(self, what: str) -> None:
        """Once for all models that it is about."""
        if what not in self._said:
            self._said.add(what)
            warn(what)

"""From what was asked for to an open chat, in steps, so that a screen can paint before a model is read.

The order for a screen: make an `Opening`; `start_engine()` (a process is spawned, nothing waits); `card()` and
`session(None)` (the chat can be shown); then, in a thread, `model()` and `load()`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chat.launch import Launch
from chat.settings import Folders, Settings, reason
from presets.values import Persona

if TYPE_CHECKING:
    from cards.card import Card
    from cards.library import CardLibrary
    from chat.engine.client import Engine, Operation
    from chat.engine.surface import EngineSurface
    from chat.models import ModelChoice
    from chat.session import Session
    from chat.store import Store
    from presets.format import PromptFormat
    from presets.library import PresetLibrary
    from presets.sampling import Sampling

DEFAULT_CARD = "samuel"
DEFAULT_MAX_TOKENS = 400


class OpeningError(Exception):
    """A chat cannot be opened; one line: what, where, what to do. `usage` is True for a wrong option."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage


class Opening:
    """Everything that a chat needs, resolved from a Launch; each part is found when it is first asked for."""

    def __init__(
        self, launch: Launch, folders: Folders | None = None, settings: Settings | None = None
    ) -> None:
        """Reads the settings when none are given. Raises SettingsError."""
        self.launch = launch
        self.folders = folders or Folders.find()
        self.settings = settings or Settings(self.folders)
        self.notices: list[str] = []
        """Sentences the person should see: a model that is gone, a database set aside ..."""

    @cached_property
    def store(self) -> Store:
        """The chats. Raises OpeningError."""
        raise OpeningError("being written")

    @cached_property
    def library(self) -> CardLibrary:
        """The user's cards and the starters."""
        from cards.library import CardLibrary

        return CardLibrary(self.folders.cards)

    @cached_property
    def presets(self) -> PresetLibrary:
        """The shipped formats and samplings and the user's own."""
        from presets.library import PresetLibrary

        return PresetLibrary(self.folders.presets)

    @property
    def persona_needed(self) -> bool:
        """A first start: nobody has said who they are, neither in the settings nor with an option."""
        return not (self.settings.persona_settled or self.launch.persona or self.launch.user)

    def persona(self) -> Persona:
        """Who the user is. Raises OpeningError for a `--persona` that is not stored."""
        raise OpeningError("being written")

    @cached_property
    def card(self) -> Card:
        """The card: `--card`, else that of `--chat`, else that of the last chat, else Samuel. Raises OpeningError."""
        raise OpeningError("being written")

    @cached_property
    def model(self) -> ModelChoice:
        """The model to load and why, `path` None when there is none at hand (its notices say how to get one)."""
        raise OpeningError("being written")

    def format(self) -> PromptFormat:
        """`--format`, else what is settled for this model, else what fits it. Remembers `--format` for the model."""
        raise OpeningError("being written")

    def sampling(self) -> tuple[Sampling, dict[str, str]]:
        """The sampling in force with `--set` applied, and the format options that `--set` named."""
        raise OpeningError("being written")

    def start_engine(self) -> Engine:
        """Spawn the worker process at once; returns before it is ready."""
        from chat.engine.client import Engine

        engine = Engine(self.folders.worker_log)
        engine.start()
        return engine

    def load(self, engine: EngineSurface) -> Operation | None:
        """Begin loading the chosen model; iterate over the events in a thread. None when there is no model."""
        raise OpeningError("being written")

    def session(self, engine: EngineSurface | None) -> Session:
        """The open chat. Raises OpeningError."""
        raise OpeningError("being written")

"""From what was asked for to an open chat, in steps, so that a screen can paint before a model is read.

The order for a screen: make an `Opening`; `start_engine()` (a process is spawned, nothing waits);
`session(None)` (the chat can be shown; of the model no more than its header is read); then, in a thread,
`load(engine)`, and `session.engine = engine` when that has ended well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cards.errors import CardError
from cards.library import CardLibrary
from chat.engine.shelf import Shelf
from chat.files import make_private_folder
from chat.launch import Launch
from chat.loading import PLANS_FILE, load_choices
from chat.models import ModelChoice, ModelError, choose_model, settled_match
from chat.settings import Folders, ModelOverride, Settings, SettingsError, reason
from chat.states import SavedState, shelf_of
from presets.errors import PresetError
from presets.idle import idle_settings
from presets.library import NamedSampling, PresetLibrary
from presets.matching import (
    ModelFacts,
    apply_settings,
    family_sampling,
    format_for,
    match,
    sampling_for,
)
from presets.values import Persona

if TYPE_CHECKING:
    from cards.card import Card
    from chat.engine.client import Engine
    from chat.engine.protocol import Event, Loaded
    from chat.engine.surface import EngineSurface, Operation
    from chat.records import Chat
    from chat.session import Session
    from chat.store import Store
    from presets.format import PromptFormat
    from presets.sampling import Sampling

DEFAULT_CARD = "samuel"


class OpeningError(Exception):
    """A chat cannot be opened; one line: what, where, what to do."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage
        """An option was used wrongly (exit status 2), rather than something failing."""


def _unwritable(folder: Path, error: OSError) -> OpeningError:
    return OpeningError(f"{folder}: {reason(error)}; RPCHAT_HOME names another folder to write to")


@contextmanager
def _one_line(*, usage: bool = False) -> Iterator[None]:
    """Errors of every layer below, which carry their one line already, as OpeningError."""
    from chat.store import StoreError

    try:
        yield
    except (CardError, ModelError, PresetError, SettingsError, StoreError) as error:
        raise OpeningError(str(error), usage=usage) from error


class Opening:
    """Everything that a chat needs, resolved from a Launch; each part is found when it is first asked for.

    What cannot be found raises OpeningError.
    """

    def __init__(
        self, launch: Launch, folders: Folders | None = None, settings: Settings | None = None
    ) -> None:
        """Reads the settings when none are given. Raises SettingsError."""
        self.launch = launch
        self.folders = folders or Folders.find()
        self.settings = settings or Settings(self.folders)
        self.notices: list[str] = []
        """Sentences the person should see: a model that is gone, a database set aside ..."""
        self.state_notices: list[str] = []
        """The same about the saved states of chats, also of those that have been left."""

    def another(self, *, card: str | None = None, chat: str | None = None, new: bool = False) -> Opening:
        """The same for another chat: store, cards, presets and model are shared. `card` is a path, or what
        chats know a card by."""
        card = str(self.library.known_as(card) or card) if card is not None else None
        other = Opening(replace(self.launch, card=card, chat=chat, new=new), self.folders, self.settings)
        other.store, other.library, other.presets = self.store, self.library, self.presets
        other.model, other.state_notices = self.model, self.state_notices
        return other

    def check(self) -> None:
        """Raise for what was asked for and is not there, before a screen or a model is started for it."""
        launch = self.launch
        _ = self.persona_asked_for
        if launch.card is not None:
            _ = self.card
        if launch.chat is not None:
            self.chat_asked_for(self.store)
        if launch.model is not None:
            _ = self.model
        if launch.format or launch.sampling or launch.settings:
            self.sampling()

    def close(self) -> None:
        """Leave the store, if it was opened. Raises StoreError."""
        if "store" in vars(self):
            self.store.close()

    # What lies on disk --------------------------------------------------------------------------------------

    @cached_property
    def store(self) -> Store:
        """The chats."""
        from chat.store import Store

        try:
            make_private_folder(self.folders.database.parent)
        except OSError as error:
            raise _unwritable(self.folders.database.parent, error) from error
        with _one_line():
            store = Store(self.folders.database)
        self.notices.extend(store.notices)
        return store

    @cached_property
    def library(self) -> CardLibrary:
        """The user's cards and the starters."""
        return CardLibrary(self.folders.cards)

    @cached_property
    def presets(self) -> PresetLibrary:
        """The shipped formats and samplings and the user's own."""
        with _one_line():
            return PresetLibrary(self.folders.presets)

    # Who ----------------------------------------------------------------------------------------------------

    @property
    def persona_needed(self) -> bool:
        """A first start: nobody has said who they are, neither in the settings nor with an option."""
        return not self.settings.persona_settled and self.persona_asked_for is None

    def persona(self) -> Persona:
        """Who the user is in a new chat."""
        return self.persona_asked_for or self.settings.default_persona

    @property
    def persona_asked_for(self) -> Persona | None:
        """Who `--persona`, `--user` and `--user-persona` make the user; None when none is given."""
        launch = self.launch
        if launch.persona is not None:
            stored = self.settings.persona(launch.persona)
            if stored is None:
                raise OpeningError(f"no persona is called {launch.persona!r}; see `rpchat persona list`")
            return stored
        if launch.user is None and launch.user_persona is None:
            return None
        name = launch.user if launch.user is not None else self.settings.default_persona.name
        return Persona(name or Persona().name, launch.user_persona or "")

    @cached_property
    def card_path(self) -> Path:
        """The card's file: `--card`, else that of the chat, else that of the last chat, else Samuel's."""
        with _one_line():
            if self.launch.card:
                return self.library.find(self.launch.card)
            ref = self._card_ref_of_chat() or DEFAULT_CARD
            return self.library.known_as(ref) or self.library.find(ref)

    def _card_ref_of_chat(self) -> str:
        if self.launch.chat is not None:
            return self.store.open_chat(self.store.find_chat(self.launch.chat)).chat.card_ref
        chats = self.store.chats() if self.folders.database.exists() else []
        return chats[0].card_ref if chats else ""

    @cached_property
    def card(self) -> Card:
        """The card, read from its file."""
        from cards.reading import read_card_file

        with _one_line():
            return read_card_file(self.card_path)[0]

    @property
    def card_ref(self) -> str:
        """What chats know the card by: the stem of a library's or a starter's file, else the path."""
        return self.library.ref_of(self.card_path) or str(self.card_path.absolute())

    # With what ----------------------------------------------------------------------------------------------

    @cached_property
    def model(self) -> ModelChoice:
        """The model to load and why; its `path` is None when there is none (notices say how to get one)."""
        with _one_line():
            choice = choose_model(
                self.launch.model, self.settings, self.presets, counting=self.launch.counting
            )
            asked_for = (self.launch.format, self.launch.sampling)
            if choice.file is not None and "auto" in asked_for:
                settled = self.settings.override(choice.file.path)
                kept = ModelOverride(
                    settled.format if self.launch.format != "auto" else None,
                    settled.sampling if self.launch.sampling != "auto" else None,
                )
                choice = replace(choice, match=settled_match(choice.file, kept, self.presets)[0])
        self.notices.extend(choice.notices)
        return choice

    def format(self, chat: Chat | None = None) -> PromptFormat:
        """`--format`, else what the chat keeps, else what is settled for the model or fits it."""
        asked_for = self.launch.format if self.launch.format != "auto" else None
        if asked_for is not None:
            with _one_line(usage=True):
                return format_for(asked_for, self._facts, self.presets)
        if chat is not None and chat.format:
            try:
                return format_for(chat.format, self._facts, self.presets)
            except PresetError as error:
                self.notices.append(f"the format that this chat keeps is not there: {error}")
        with _one_line():
            found = self.model.match or match(ModelFacts(file_name=""), self.presets)
            return format_for(found.format, self._facts, self.presets)

    @property
    def _facts(self) -> ModelFacts | None:
        """What the model's file says: formats and samplings may depend on it."""
        return self.model.file.facts if self.model.file is not None else None

    def sampling(self, chat: Chat | None = None) -> tuple[Sampling, dict[str, str]]:
        """The sampling in force with `--set` applied, and the format options that `--set` named."""
        format = self.format(chat)
        with _one_line(usage=True):
            sampling = self._sampling(format, chat)
            parts = (setting.partition("=") for setting in self.launch.settings)
            given = [(name, value) for name, _, value in parts]
            chosen, options = apply_settings(sampling, format, given)
        idle = idle_settings(chosen, [name for name, _ in given])
        self.notices += [note for note in idle if note not in self.notices]
        return chosen, options

    def _sampling(self, format: PromptFormat, chat: Chat | None) -> Sampling:
        asked_for, found = self.launch.sampling, self.model.match
        if asked_for is not None and asked_for != "auto":
            return self._noted(sampling_for(asked_for, self._facts, self.presets))
        if chat is not None and chat.sampling is not None:
            from presets.sampling import Sampling

            return Sampling.model_validate(chat.sampling)
        facts = self._facts or ModelFacts(file_name="")
        same = found is not None and found.format == format.id
        fits = found.sampling if found and same else family_sampling(facts, format, self.presets)
        return self._noted(sampling_for(fits, facts, self.presets))

    def _noted(self, preset: NamedSampling) -> Sampling:
        """What a preset asks for in vain is said once."""
        self.notices += [note for note in preset.notes if note not in self.notices]
        return preset.sampling

    def remember_choices(self) -> None:
        """Settle `--format` and `--sampling` for a model that was named in the same breath."""
        if self.launch.model is not None and self.model.path is not None:
            with _one_line():
                self.settings.remember_override(
                    self.model.path, format=self.launch.format, sampling=self.launch.sampling
                )

    # Engine and session -----------------------------------------------------------------------------

    def start_engine(self) -> Engine:
        """Spawn the worker process at once; returns before it is ready."""
        from chat.engine.client import Engine

        try:
            make_private_folder(self.folders.logs)
        except OSError as error:
            raise _unwritable(self.folders.logs, error) from error
        engine = Engine(self.folders.worker_log, self.folders.cache / PLANS_FILE)
        engine.start()
        return engine

    def load(self, engine: EngineSurface) -> Operation[Loaded] | None:
        """Begin loading the chosen model: iterate to the end, in a thread. None when there is no model.

        A model that has loaded is the one that the next start uses, the demo model excepted.
        """
        path, file = self.model.path, self.model.file
        if path is None:
            return None
        with _one_line():
            choices = load_choices(self.launch, self.settings, path)
        operation = engine.load(path, **choices)
        if file is not None and file.demo and self.launch.model is None:
            return operation
        return _Remembered(operation, path, self.settings)

    def session(self, engine: EngineSurface | None = None, store: Store | None = None) -> Session:
        """The open chat: `--chat`, else the card's last one, else (with `--new` always) a new one.

        It lives in `store` when one is given. `--format` and `--sampling` are settled for `--model` here.
        """
        from chat.session import MAX_TOKENS, Choices, Session

        store = store or self.store
        with _one_line():
            max_tokens = self.launch.max_tokens or self.settings.max_tokens or MAX_TOKENS
            chat_id = self.chat_asked_for(store)
            chat = store.open_chat(chat_id).chat if chat_id is not None else None
        format = self.format(chat)
        sampling, options = self.sampling(chat)
        self.remember_choices()
        with _one_line():
            choices: Choices = {"engine": engine, "options": options, "seed": self.launch.seed}
            choices["max_tokens"] = max_tokens
            if chat is None:
                who = self.card, self.persona()
                session = Session.begin(store, *who, format, sampling, card_ref=self.card_ref, **choices)
            else:
                card, persona = self._card_or_none(), self.persona_asked_for
                session = Session.resume(
                    store, chat.id, format, sampling, card=card, persona=persona, **choices
                )
            shelf = shelf_of(self.folders.states, self.settings.state_quota)
            session.saved = SavedState(
                shelf, session.chat.id, read_only=store.path is None, notices=self.state_notices
            )
            return session

    def chat_asked_for(self, store: Store) -> str | None:
        """Id of the chat in `store` to go on with; None: a new one is to begin."""
        with _one_line():
            if self.launch.chat is not None:
                return store.find_chat(self.launch.chat)
            if self.launch.new:
                return None
            chats = store.chats(self.card_ref) if self.launch.card is not None else store.chats()
            return chats[0].id if chats else None

    def delete_chat(self, chat_id: str) -> None:
        """Take a chat out of every list; what the engine has read of it goes for good. Raises StoreError."""
        self.store.delete_chat(chat_id)
        Shelf(self.folders.states).forget(chat_id)

    def _card_or_none(self) -> Card | None:
        """The card as its file stands now; None, for the copy in the chat, when the file has gone."""
        try:
            return self.card
        except OpeningError as error:
            if self.launch.card is not None:
                raise
            self.notices.append(f"the card's file cannot be read, its copy in the chat is used: {error}")
            return None


class _Remembered:
    """A loading that makes its model the last used one when it has ended well."""

    def __init__(self, operation: Operation[Loaded], path: Path, settings: Settings) -> None:
        self._operation = operation
        self._path = path
        self._settings = settings

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = next(self._operation)
        if event.op == "loaded":
            self._settings.remember_model(self._path)
        return event

    def cancel(self) -> None:
        self._operation.cancel()

    def wait(self) -> Loaded:
        loaded = self._operation.wait()
        self._settings.remember_model(self._path)
        return loaded

    @property
    def result(self) -> Loaded | None:
        return self._operation.result

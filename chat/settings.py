"""Where everything lies, and what the user and the program have settled.

Two files, both YAML mappings with the same keys: `config.yaml` belongs to the user and is never written by
the program; `settings.yaml` beside it holds what the screens and the command line change. Where both speak,
the user's file wins. Keys that this version does not know are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cards.filenames import expanded
from chat.files import make_private_folder, write_atomically
from presets.placing import place_of, placed_persona
from presets.values import Persona

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SettingsError(Exception):
    """A settings file cannot be read or written; one line that names the file, the place and what to do."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the program reads and writes. Nothing here is created before it is needed."""

    config: Path
    """The user's own `config.yaml`."""
    settings: Path
    """The program's `settings.yaml`, beside it."""
    database: Path
    cards: Path
    models: Path
    presets: Path
    logs: Path
    cache: Path

    @classmethod
    def find(cls, home: Path | None = None) -> Folders:
        """All below `home`, else below RPCHAT_HOME, else where the system keeps such things."""
        if home is None and os.environ.get("RPCHAT_HOME"):
            home = expanded(os.environ["RPCHAT_HOME"]).absolute()
        if home is not None:
            config = data = home
            logs, cache = home / "logs", home / "cache"
        else:
            import platformdirs

            config = platformdirs.user_config_path("rpchat", appauthor=False)
            data = platformdirs.user_data_path("rpchat", appauthor=False)
            logs = platformdirs.user_log_path("rpchat", appauthor=False)
            cache = platformdirs.user_cache_path("rpchat", appauthor=False)
        return cls(
            config=config / "config.yaml",
            settings=config / "settings.yaml",
            database=data / "chats.db",
            cards=data / "cards",
            models=data / "models",
            presets=config / "presets",
            logs=logs,
            cache=cache,
        )

    @property
    def states(self) -> Path:
        """What the engine has read of each chat, so that it need not be read again."""
        return self.cache / "states"

    @property
    def worker_log(self) -> Path:
        """What llama.cpp and the worker process say."""
        return self.logs / "worker.log"

    @property
    def program_log(self) -> Path:
        """Tracebacks of the program itself; never any text of a chat."""
        return self.logs / "rpchat.log"


@dataclass(frozen=True, slots=True)
class ModelOverride:
    """What the user settled for one model; None: what the model itself suggests."""

    format: str | None = None
    sampling: str | None = None


class Settings:
    """What is settled, read once; every change is written at once, on top of what another program wrote."""

    def __init__(self, folders: Folders) -> None:
        """Reads both files. Raises SettingsError when one of them is not a YAML mapping."""
        self.folders = folders
        self._users = _read_mapping(folders.config)
        self._ours = _read_mapping(folders.settings)

    # Reading ------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """The value in force, None when neither file speaks."""
        return self._users.get(key, self._ours.get(key))

    def from_config(self, key: str) -> bool:
        """Whether the user's own file settles this key, so that a change here would have no effect."""
        return key in self._users

    def whole_number(self, key: str) -> int | None:
        """A positive whole number, None when it is not settled. Raises SettingsError on anything else."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise SettingsError(f"{key}: a whole number above 0 is needed in {self._file_of(key)}")
        return value

    @property
    def context(self) -> int | None:
        """Context size in tokens."""
        return self.whole_number("context")

    @property
    def max_tokens(self) -> int | None:
        """Longest reply, in tokens."""
        return self.whole_number("max_tokens")

    @property
    def threads(self) -> int | None:
        """Threads of the model."""
        return self.whole_number("threads")

    @property
    def gpu_layers(self) -> str:
        """`auto` or a number."""
        value = self.get("gpu_layers")
        return "auto" if value is None else str(value)

    @property
    def state_quota(self) -> float | None:
        """Gigabytes that the saved states of all chats may take; 0: none are saved. None: not settled."""
        value = self.get("state_quota")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            file = self._file_of("state_quota")
            raise SettingsError(f"state_quota: a number of gigabytes, or 0 for none, is needed in {file}")
        return float(value)

    # Personas -----------------------------------------------------------------------------------------------

    @property
    def personas(self) -> list[Persona]:
        """All stored personas by name; the user's file wins where both have one of that name."""
        stored = {**_personas(self._ours), **_personas(self._users)}
        return [stored[name] for name in sorted(stored, key=str.casefold)]

    def persona(self, name: str) -> Persona | None:
        """The stored persona of that name, case-insensitive."""
        return next((p for p in self.personas if p.name.casefold() == name.casefold()), None)

    @property
    def default_persona(self) -> Persona:
        """The persona of new chats; a nameless `User` when none is settled."""
        name = self.get("persona")
        return (self.persona(str(name)) if name is not None else None) or Persona()

    @property
    def persona_settled(self) -> bool:
        """False on a first start: nobody has said who they are, or that they will not say."""
        return self.get("persona") is not None

    def save_persona(self, persona: Persona, *, default: bool = False) -> None:
        """Store a persona under its name; the first one, or a `default`, becomes that of new chats."""

        def change(settings: dict[str, Any]) -> None:
            stored = _mapping(settings.get("personas"))
            for name in [name for name in stored if str(name).casefold() == persona.name.casefold()]:
                del stored[name]
            placed = place_of(persona) if place_of(persona) != place_of(Persona()) else {}
            stored[persona.name] = {"description": persona.description, **placed}
            settings["personas"] = stored
            if default or settings.get("persona") is None:
                settings["persona"] = persona.name

        self._change(change)

    def delete_persona(self, name: str) -> bool:
        """Forget a persona; False when the program's file has none of that name."""
        found = [known for known in _personas(self._ours) if known.casefold() == name.casefold()]

        def change(settings: dict[str, Any]) -> None:
            stored = _mapping(settings.get("personas"))
            settings["personas"] = {k: v for k, v in stored.items() if str(k).casefold() != name.casefold()}
            if str(settings.get("persona", "")).casefold() == name.casefold():
                del settings["persona"]

        if found:
            self._change(change)
        return bool(found)

    # Models -------------------------------------------------------------------------------------------------

    @property
    def model_places(self) -> list[Path]:
        """Files and folders that `model add` named, and the program's own models folder last."""
        places = [*_strings(self._users.get("models")), *_strings(self._ours.get("models"))]
        paths = [expanded(place) for place in places]
        return list(dict.fromkeys([*paths, self.folders.models]))

    def add_model_place(self, path: Path) -> bool:
        """Remember a GGUF file or a folder of them; False when it was known."""
        path = expanded(path).absolute()
        if path in self.model_places:
            return False

        def change(settings: dict[str, Any]) -> None:
            settings["models"] = list(dict.fromkeys([*_strings(settings.get("models")), str(path)]))

        self._change(change)
        return True

    @property
    def last_model(self) -> Path | None:
        """The model that was used last."""
        value = self.get("model")
        return expanded(str(value)) if value else None

    def remember_model(self, path: Path) -> None:
        """Make a model the one that the next start uses."""
        if self._ours.get("model") != str(path):
            self._change(lambda settings: settings.update(model=str(path)))

    def override(self, model: Path) -> ModelOverride:
        """What was settled for a model, by its file name: a model that moves keeps its format."""
        format, sampling = (self.of_model(model, key) for key in ("format", "sampling"))
        return ModelOverride(_text(format), _text(sampling))

    def remember_override(
        self, model: Path, *, format: str | None = None, sampling: str | None = None
    ) -> None:
        """Settle the format, the sampling or both for a model; `auto` forgets what was settled."""
        chosen = {key: value for key, value in (("format", format), ("sampling", sampling)) if value}
        if chosen:
            self._settle(model, {key: None if value == "auto" else value for key, value in chosen.items()})

    def of_model(self, model: Path, key: str) -> Any:
        """Another value that was settled for a model, by its file name; None when there is none."""
        found: Any = None
        for source in (self._ours, self._users):
            found = _mapping(_mapping(source.get("overrides")).get(model.name)).get(key, found)
        return found

    def remember_of_model(self, model: Path, key: str, value: Any) -> None:
        """Settle another value for a model; None forgets it."""
        self._settle(model, {key: value})

    def _settle(self, model: Path, values: Mapping[str, Any]) -> None:
        def change(settings: dict[str, Any]) -> None:
            overrides = _mapping(settings.get("overrides"))
            entry = {**_mapping(overrides.get(model.name)), **values}
            overrides[model.name] = {name: kept for name, kept in entry.items() if kept is not None}
            settings["overrides"] = {name: kept for name, kept in overrides.items() if kept}

        self._change(change)

    # Writing ------------------------------------------------------------------------------------------------

    def set(self, key: str, value: Any) -> None:
        """Settle one key in the program's file; None forgets it."""

        def change(settings: dict[str, Any]) -> None:
            if value is None:
                settings.pop(key, None)
            else:
                settings[key] = value

        self._change(change)

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply one change to the newest `settings.yaml`: two programs lose nothing of each other's."""
        from filelock import FileLock

        file = self.folders.settings
        try:
            make_private_folder(file.parent)
            with FileLock(file.with_name(".settings.lock"), timeout=10, mode=0o600):
                settings = _read_mapping(file)
                change(settings)
                text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, width=110)
                write_atomically(file, text.encode("utf-8"))
        except (OSError, TimeoutError) as error:
            raise SettingsError(f"settings not saved: {file}: {reason(error)}") from error
        self._ours = settings

    def _file_of(self, key: str) -> Path:
        return self.folders.config if key in self._users else self.folders.settings


def reason(error: BaseException) -> str:
    """The system's own word for an error, without numbers and paths."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()


def _read_mapping(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        what = f"not UTF-8 at byte {error.start}; save it as UTF-8 or move it away"
        raise SettingsError(f"{file}: {what}") from error
    except OSError as error:
        raise SettingsError(f"{file}: {reason(error)}") from error
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise SettingsError(
            f"{file}: {place}: {error.problem or 'not YAML'}; mend that line or move the file away"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = str(error).splitlines()[0] if str(error) else "not YAML"
        raise SettingsError(f"{file}: {what}; mend it or move the file away") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{file}: line 1: no lines of `key: value`; mend it or move the file away")
    return value


def _mapping(value: Any) -> dict[Any, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def _personas(source: Mapping[str, Any]) -> dict[str, Persona]:
    stored = _mapping(source.get("personas"))
    return {
        str(name): placed_persona(str(name), _description(entry), entry) for name, entry in stored.items()
    }


def _description(entry: Any) -> str:
    if isinstance(entry, Mapping):
        entry = entry.get("description")
    return str(entry) if entry is not None else ""

"""`/lora`: the adapters of the loaded model, listed, added, scaled and removed while it stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cards.filenames import expanded
from chat.adapters import AdapterTextError, adapter_of, adapter_text
from chat.engine.protocol import Adapter
from chat.engine.surface import EngineError, EngineSurface
from chat.loading import remember_adapters
from chat.settings import Settings, SettingsError

__all__ = ["change_adapters"]

HELP = "Say it as /lora FILE, /lora FILE=0.5, /lora --control FILE, /lora remove FILE or /lora clear."


def change_adapters(engine: EngineSurface | None, settings: Settings, argument: str) -> str:
    """Does what was said and keeps it for the model; the line to show. Blocks while files are read.

    What cannot be used is told in the line, and nothing has changed then.
    """
    loaded = engine.loaded if engine is not None else None
    if engine is None or loaded is None:
        return "No model is loaded yet."
    text = argument.strip()
    if not text:
        return _told(loaded.adapters)
    try:
        wanted = _wanted(loaded.adapters, text)
        adapters = engine.adapt(wanted)
    except (AdapterTextError, EngineError) as error:
        return str(error)
    try:
        remember_adapters(settings, Path(loaded.path), adapters)
    except SettingsError as error:
        return f"{_told(adapters)} Not kept: {error}"
    return _told(adapters)


def _wanted(known: Sequence[Adapter], text: str) -> list[Adapter]:
    """All adapters after a change. Raises AdapterTextError."""
    word, _, rest = text.partition(" ")
    if text == "clear":
        return []
    if word == "remove":
        gone = _found(known, rest.strip())
        return [one for one in known if one is not gone]
    asked = adapter_of(rest.strip(), "control") if word == "--control" else adapter_of(text)
    same = next((one for one in known if one.path == asked.path), None)
    if same is None and not Path(asked.path).exists():
        same = _named(known, Path(asked.path).name)
    if same is None:
        return [*known, asked]
    return [one.model_copy(update={"scale": asked.scale}) if one is same else one for one in known]


def _found(known: Sequence[Adapter], name: str) -> Adapter:
    found = next((one for one in known if one.path == str(expanded(name))), None)
    found = found or _named(known, Path(name).name)
    if found is None:
        raise AdapterTextError(f"No adapter is called {name!r}. {_told(known)}")
    return found


def _named(known: Sequence[Adapter], name: str) -> Adapter | None:
    """By the file's name, with or without its ending."""
    return next((one for one in known if name in (Path(one.path).name, Path(one.path).stem)), None)


def _told(adapters: Sequence[Adapter]) -> str:
    if not adapters:
        return f"The model has no adapters. {HELP}"
    names = []
    for one in adapters:
        name = adapter_text(one.model_copy(update={"path": Path(one.path).name}))
        names.append(f"{name} (control vector)" if one.kind == "control" else name)
    return f"Adapters: {', '.join(names)}."

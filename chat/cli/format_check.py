"""`rpchat doctor`: whether the format of the model that would be used is one that its vocabulary knows."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from chat.cli.checks import Check
from chat.engine.surface import EngineError
from chat.marking import marker_check
from chat.models import ModelError, choose_model
from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.matching import format_for

if TYPE_CHECKING:
    from chat.engine.surface import EngineSurface
    from chat.settings import Settings


def check_format(engine: EngineSurface, settings: Settings) -> list[Check]:
    """Loads the model's vocabulary and looks the format's control markers up; nothing without a model."""
    presets = PresetLibrary(settings.folders.presets)
    try:
        choice = choose_model(None, settings, presets)
        if choice.path is None or choice.file is None or choice.match is None:
            return []
        format = format_for(choice.match.format, choice.file.facts, presets)
    except (ModelError, PresetError) as error:
        return [Check("note", str(error))]
    name = choice.path.name
    try:
        engine.load(choice.path, vocabulary_only=True).wait()
        found = marker_check(engine, format)
    except EngineError as error:
        return [Check("note", f"model {name}: its vocabulary cannot be read: {error.message}")]
    if found.sentence:
        settled = settings.override(choice.path).format
        fix = f"rpchat --model {quote(str(choice.path))} --format auto" if settled else "rpchat preset list"
        return [Check("note", f"model {name}: {found.sentence}", fix)]
    if found.verified:
        return [Check("ok", f"model {name}: the markers of format {format.id} are control tokens of it")]
    return [Check("ok", f"model {name}: format {format.id}, which needs no control tokens")]

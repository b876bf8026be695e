"""SillyTavern's preset files on disk, into the user's own formats and samplings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from chat.files import make_private_folder, write_atomically
from presets.errors import PresetError
from presets.format import SillyTavernFiles
from presets.reading import read_document
from presets.sillytavern.importing import (
    LARGEST,
    FormatFiles,
    Kind,
    Part,
    format_document,
    format_ids,
    grouped,
    read_parts,
)
from presets.sillytavern.samplings import sampling_document
from presets.sillytavern.yaml_text import yaml_text

_SUFFIXES = (".json", ".settings")
"""KoboldAI presets of old end in the latter."""


class TooMany(Exception):
    """`--as` names one preset and there are several. `str()` is one line."""


@dataclass
class Row:
    """What became of one preset of one file."""

    path: str
    kind: str | None = None
    id: str | None = None
    """Of the format or sampling that it is now a part of."""
    name: str | None = None
    warnings: list[str] = field(default_factory=list)
    error: str | None = None

    def values(self) -> dict[str, Any]:
        return asdict(self)


def import_presets(
    paths: Sequence[Path], folder: Path, shipped: tuple[set[str], set[str]], wanted: str | None
) -> list[Row]:
    """Reads files and folders and writes what they make under `folder`. A bad file is a row with an error.

    `wanted` is the id of the one format, or the one sampling, or one of each. Raises TooMany.
    """
    rows: list[Row] = []
    parts: list[Part] = []
    for path in paths:
        for file, problem in _files(path):
            try:
                if problem:
                    raise PresetError(f"{file}: {problem}")
                parts += read_parts(_data(file), str(file), file.stem)
            except PresetError as error:
                rows.append(Row(str(file), error=str(error)))
    formats, left = grouped(parts)
    taken = {part.name.casefold() for files in formats for part in files.parts()}
    for part in list(left):
        [id] = [wanted] if wanted else format_ids([part.name], shipped[0])
        if part.name.casefold() not in taken and _former(folder / "formats" / f"{id}.yaml") is not None:
            formats.append(FormatFiles(part.name, sysprompt=part))
            taken.add(part.name.casefold())
            left.remove(part)
    samplings = [part for part in parts if part.kind == "sampling"]
    if wanted and (len(formats) > 1 or len(samplings) > 1):
        found = f"{len(formats)} formats and {len(samplings)} samplings"
        raise TooMany(f"--as {wanted} names one preset, and these files make {found}")
    ids = [wanted] if wanted else format_ids([files.name for files in formats], shipped[0])
    for files, id in zip(formats, ids, strict=False):
        rows += _format_rows(files, id, folder / "formats")
    ids = [wanted] if wanted else format_ids([part.name for part in samplings], shipped[1])
    for part, id in zip(samplings, ids, strict=False):
        rows.append(_sampling_row(part, id, folder / "samplings"))
    return rows + _left_over(left, any(row.error is None for row in rows), taken)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Each file to read, and what is wrong with the path itself."""
    if not path.exists():
        yield path, "no such file or folder"
    elif not path.is_dir():
        yield path, "" if path.is_file() else "not a file"
    else:
        found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        if not found:
            yield path, "no .json or .settings file in this folder"
        yield from ((file, "") for file in found)


def _data(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST:
            raise PresetError(f"{file}: {file.stat().st_size} bytes is no preset")
        return file.read_bytes()
    except OSError as error:
        raise PresetError(f"{file}: cannot be read: {error.strerror or error}") from error


def _format_rows(files: FormatFiles, id: str, folder: Path) -> list[Row]:
    parts = files.parts()
    file = folder / f"{id}.yaml"
    kept = _with_former_parts(files, file)
    try:
        document, notes = format_document(files, id)
        notes += kept + _stored(document, file, parts[0].origin)
    except PresetError as error:
        return [Row(part.origin, part.kind, None, part.name, error=str(error)) for part in parts]
    rows = [Row(part.origin, part.kind, id, part.name) for part in parts]
    rows[0].warnings = notes
    return rows


def _former(file: Path) -> SillyTavernFiles | None:
    """What the format in `file` was imported from; None: there is none, or it is the user's own."""
    try:
        return SillyTavernFiles.model_validate(
            read_document(file.read_text("utf-8"), str(file)).get("sillytavern")
        )
    except (OSError, ValueError, PresetError):
        return None


def _with_former_parts(files: FormatFiles, file: Path) -> list[str]:
    """Gives `files` what they lack from the format of their id that was imported before; says so."""
    held = _former(file)
    if held is None:
        return []

    def former_part(kind: Kind, document: dict[str, Any] | None) -> Part | None:
        if document is None:
            return None
        given.append(kind)
        name = document.get("name")
        return Part(kind, name if isinstance(name, str) else files.name, str(file), document)

    given: list[str] = []
    files.instruct = files.instruct or former_part("instruct", held.instruct)
    files.context = files.context or former_part("context", held.context)
    files.sysprompt = files.sysprompt or former_part("sysprompt", held.sysprompt)
    if named := files.instruct or files.context:
        files.name = named.name
    return [f"its former {' and '.join(given)} kept"] if given else []


def _sampling_row(part: Part, id: str, folder: Path) -> Row:
    document, notes = sampling_document(part.document, id, part.name)
    try:
        notes += _stored(document, folder / f"{id}.yaml", part.origin)
    except PresetError as error:
        return Row(part.origin, part.kind, None, part.name, error=str(error))
    return Row(part.origin, part.kind, id, part.name, notes)


def _stored(document: dict[str, Any], file: Path, origin: str) -> list[str]:
    """Writes a preset; what stood in its place is kept beside it. Raises PresetError for what is too long to
    be read again."""
    data = yaml_text(document).encode("utf-8")
    if len(data) > LARGEST:
        raise PresetError(
            f"{origin}: written as YAML it has {len(data)} bytes, {LARGEST} at most can be read"
        )
    make_private_folder(file.parent)
    notes = []
    if file.is_file() and (former := file.read_bytes()) != data:
        kept = _free_place(file, former)
        write_atomically(kept, former)
        notes.append(f"takes the place of a former one, kept as {kept}")
    write_atomically(file, data)
    return notes


def _free_place(file: Path, former: bytes) -> Path:
    """Where `former` is kept: beside `file`, over nothing but the same."""
    places = (file.with_name(f"{file.name}.bak{number if number > 1 else ''}") for number in count(1))
    return next(p for p in places if not p.exists() or (p.is_file() and p.read_bytes() == former))


def _left_over(parts: Iterable[Part], imported: bool, taken: set[str]) -> list[Row]:
    """System prompts that no format took. `taken`: the names of the presets that became formats."""
    why = "a system prompt is a part of a format: give it together with its instruct or context file"
    rows = []
    for part in parts:
        row = Row(part.origin, part.kind, None, part.name)
        if imported:
            another = part.name.casefold() in taken
            reason = "another system prompt" if another else "no instruct or context file"
            row.warnings = [f"not used: {reason} is called {part.name!r}"]
        else:
            row.error = f"{part.origin}: {why}"
        rows.append(row)
    return rows

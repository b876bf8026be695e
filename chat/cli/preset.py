"""`rpchat preset`: prompt formats and samplings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cards.filenames import expanded
from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
    from chat.cli.preset_import import Row
    from chat.settings import Folders
    from presets.format import PromptFormat
    from presets.library import NamedSampling, PresetLibrary


@click.group()
def command() -> None:
    """Presets: prompt formats and samplings."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Every format and sampling: the shipped ones and your own."""
    library = _library()
    formats, samplings = library.formats(), library.samplings()
    if as_json:
        rows = [("format", preset) for preset in formats] + [("sampling", preset) for preset in samplings]
        write_json([{"kind": kind, "id": p.id, "title": p.title, "source": p.source} for kind, p in rows])
    else:
        write_table([("format", f.id, f.title) for f in formats])
        write_table([("sampling", s.id, s.title) for s in samplings])
    for problem in library.problems():
        warn(f"left out: {problem}")


@command.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(id: str, as_json: bool) -> None:
    """One format, sampling or both, whole; of a format also what it makes of a small scene."""
    library = _library()
    presets = {"format": _find(library.formats(), id), "sampling": _find(library.samplings(), id)}
    found = {kind: _values(preset) for kind, preset in presets.items() if preset is not None}
    if not found:
        raise _unknown(library, id)
    example = _example(presets["format"]) if presets["format"] is not None else None
    if as_json:
        write_json(found if example is None else {**found, "example": example})
        return
    from presets.sillytavern.yaml_text import yaml_text

    write(yaml_text(found).rstrip())
    if example is not None:
        write(f"\nexample:\n{example}")


@command.command("import")
@click.argument("paths", metavar="FILE|FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--as", "id", metavar="ID", help="What to call it; without it, its own name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(paths: tuple[Path, ...], id: str | None, as_json: bool) -> None:
    """Take over presets of SillyTavern's.

    Instruct, context and sysprompt files of one name, or one of each, become one format; textgen and
    KoboldAI files become samplings. Given one at a time, each joins what its format has already. Settings
    that have no effect here are kept and named.
    """
    from chat.cli.preset_import import TooMany, import_presets

    if id is not None and not re.fullmatch(r"[a-z0-9](?:[a-z0-9._-]{0,58}[a-z0-9_])?", id):
        raise click.UsageError(
            f"--as {id[:70]!r}: an id is at most 60 lower-case letters, digits, dots and dashes"
        )
    library = _library()
    try:
        rows = import_presets([expanded(path) for path in paths], _folders().presets, library.shipped(), id)
    except TooMany as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        write_json([row.values() for row in rows])
    else:
        _write_rows(rows)
    for problem in dict.fromkeys(row.error for row in rows if row.error is not None):
        warn(problem)
    if any(row.error is not None for row in rows):
        raise click.exceptions.Exit(1)


def _write_rows(rows: list[Row]) -> None:
    """What each id is made of; remarks go to stderr."""
    made: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.id is not None:
            made.setdefault(("sampling" if row.kind == "sampling" else "format", row.id), []).append(row)
    if made:
        described = {key: ", ".join(f"{row.kind} {row.name}" for row in held) for key, held in made.items()}
        write_table([(kind, id, text) for (kind, id), text in described.items()])
    for row in rows:
        for warning in row.warnings:
            warn(f"{row.id or row.path}: {warning}")


@command.command()
@click.argument("id")
@click.option("-o", "output", metavar="FILE|FOLDER|-", default="-", help="Where to; - is stdout.")
def export(id: str, output: str) -> None:
    """A format or sampling as SillyTavern reads it.

    A format is one file of several parts (SillyTavern's master import reads it); into a folder, each part is
    a file of its own.
    """
    documents, notes = _exported(id)
    for note in notes:
        warn(f"{id}: {note}")
    if output == "-":
        click.echo(_json(documents), nl=False)
        return
    from chat.files import write_atomically

    target = expanded(output)
    if target.is_dir() or output.endswith(("/", "\\")):
        target.mkdir(parents=True, exist_ok=True)
        for kind, document in documents.items():
            file = target / f"{id.lower()}.{kind}.json"
            write_atomically(file, _json({kind: document}))
            write(f"{file}: {kind}")
        return
    write_atomically(target, _json(documents))
    write(f"{target}: {', '.join(documents)}")


def _exported(id: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """SillyTavern's documents by kind, and what they do not say."""
    from presets.sillytavern.exporting import exported_format
    from presets.sillytavern.samplings import exported_sampling

    library = _library()
    format, sampling = _find(library.formats(), id), _find(library.samplings(), id)
    documents: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    if format is not None:
        documents, notes = exported_format(cast("PromptFormat", format))
    if sampling is not None:
        held = cast("NamedSampling", sampling)
        documents = {**documents, "preset": exported_sampling(held.values, held.sillytavern)}
    if not documents:
        raise _unknown(library, id)
    return documents, notes


def _example(format: PromptFormat | NamedSampling) -> str:
    from presets.scene import example_prompt

    return example_prompt(cast("PromptFormat", format)).text


def _json(documents: dict[str, dict[str, Any]]) -> bytes:
    """One document as it is; of more, SillyTavern's master file."""
    import json

    whole = documents if len(documents) > 1 else next(iter(documents.values()))
    return f"{json.dumps(whole, ensure_ascii=False, indent=4)}\n".encode("utf-8", "replace")


def _unknown(library: PresetLibrary, id: str) -> click.ClickException:
    from presets.errors import nearest

    names = [f.id for f in library.formats()] + [s.id for s in library.samplings()]
    return click.ClickException(f"no format and no sampling is called {id!r}{nearest(id, names)}")


def _folders() -> Folders:
    from chat.settings import Folders

    return Folders.find()


def _library() -> PresetLibrary:
    from presets.library import PresetLibrary

    return PresetLibrary(_folders().presets)


def _find(presets: list[PromptFormat] | list[NamedSampling], id: str) -> PromptFormat | NamedSampling | None:
    return next((preset for preset in presets if preset.id == id.lower()), None)


def _values(preset: PromptFormat | NamedSampling) -> dict[str, Any]:
    """What a preset says; of a sampling all values in force, of a format what differs from the rest, and its
    rules for names, lengths, stops and control tokens in any case."""
    values = preset.model_dump(mode="json", exclude_defaults=True)
    if not hasattr(preset, "values"):
        rules = preset.model_dump(mode="json", include={"names", "length", "stops", "control"})
        return {**values, **rules}
    from presets.idle import idle_settings

    held = cast("NamedSampling", preset)
    values["sampling"] = held.sampling.model_dump(mode="json")
    values.pop("values", None)
    if idle := idle_settings(held.sampling):
        values["without_effect"] = list(idle)
    return values

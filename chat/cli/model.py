"""`rpchat model`: GGUF files and the format that fits each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
    from chat.models import ModelFile
    from chat.settings import Settings
    from presets.library import PresetLibrary


@click.group()
def command() -> None:
    """Models: GGUF files, and the format that fits each."""


def _at_hand() -> tuple[Settings, PresetLibrary]:
    from chat.settings import Folders, Settings
    from presets.library import PresetLibrary

    folders = Folders.find()
    return Settings(folders), PresetLibrary(folders.presets)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Every model that is known: size, quantization, context, the format chosen and why."""
    from chat.models import how_to_get_a_model, known_models

    settings, presets = _at_hand()
    models = known_models(settings)
    described = [_values(file, settings, presets) for file in models]
    if as_json:
        write_json(described)
        return
    if not models:
        write("\n".join(how_to_get_a_model(settings)))
        return
    write_table([_row(file, values) for file, values in zip(models, described, strict=True)])


def _row(file: ModelFile, values: dict[str, Any]) -> tuple[str, ...]:
    mark = "*" if values["last"] else " "
    if file.problem:
        return (mark, file.path.name, size_text(file.size), "", "", "", file.problem)
    context = f"{file.context_trained:,}" if file.context_trained else "?"
    return (
        mark,
        file.path.name,
        size_text(file.size),
        file.quantization or "?",
        context,
        values["format"],
        values["why"],
    )


def _values(file: ModelFile, settings: Settings, presets: PresetLibrary) -> dict[str, Any]:
    from chat.models import settled_match

    found, notices = settled_match(file, settings.override(file.path), presets)
    for notice in notices:
        warn(notice)
    usable = file.problem is None
    return {
        "path": str(file.path),
        "name": file.name,
        "size": file.size,
        "quantization": file.quantization or None,
        "context": file.context_trained,
        "architecture": file.architecture or None,
        "layers": file.layers,
        "format": found.format if usable else None,
        "sampling": found.sampling if usable else None,
        "why": found.why if usable else None,
        "certain": found.certain if usable else None,
        "alternatives": list(found.alternatives) if usable else [],
        "demo": file.demo,
        "last": file.path == settings.last_model,
        "problem": file.problem,
    }


def size_text(size: int) -> str:
    """Bytes as people read them: `98 MB`, `7.3 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@command.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
def add(paths: tuple[Path, ...]) -> None:
    """Remember GGUF files, or folders of them, where they lie; nothing is copied."""
    from chat.models import ModelError, describe, find_models

    settings, _ = _at_hand()
    for path in paths:
        path = path.expanduser().absolute()
        files = find_models([path]) if path.is_dir() else [describe(path)]
        if not path.is_dir() and files[0].problem:
            raise ModelError(f"{path}: {files[0].problem}")
        if not files:
            raise ModelError(f"{path}: no .gguf file in this folder or below it")
        known = "" if settings.add_model_place(path) else " (was known)"
        write(f"{path}: {len(files)} model{'' if len(files) == 1 else 's'}{known}")


@command.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(ref: str, as_json: bool) -> None:
    """One model: what its header says, and the format chosen for it."""
    from chat.models import ModelError, find_model

    settings, presets = _at_hand()
    file = find_model(ref, settings)
    values = _values(file, settings, presets)
    if as_json:
        write_json(values)
    else:
        shown = {**values, "size": size_text(file.size), "alternatives": ", ".join(values["alternatives"])}
        hidden = ("demo", "last", "problem", "certain")
        write_table([(k, str(v)) for k, v in shown.items() if k not in hidden and v not in (None, "")])
    if file.problem:
        raise ModelError(f"{file.path}: {file.problem}")

"""`rpchat preset`: prompt formats and samplings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
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
    """One format, sampling or both, whole."""
    library = _library()
    presets = {"format": _find(library.formats(), id), "sampling": _find(library.samplings(), id)}
    found = {kind: _values(preset) for kind, preset in presets.items() if preset is not None}
    if not found:
        from presets.errors import nearest

        names = [f.id for f in library.formats()] + [s.id for s in library.samplings()]
        raise click.ClickException(f"no format and no sampling is called {id!r}{nearest(id, names)}")
    if as_json:
        write_json(found)
    else:
        write(_yaml(found).rstrip())


def _library() -> PresetLibrary:
    from chat.settings import Folders
    from presets.library import PresetLibrary

    return PresetLibrary(Folders.find().presets)


def _find(presets: list[PromptFormat] | list[NamedSampling], id: str) -> PromptFormat | NamedSampling | None:
    return next((preset for preset in presets if preset.id == id.lower()), None)


def _values(preset: PromptFormat | NamedSampling) -> dict[str, Any]:
    """What a preset says; of a sampling all values in force, of a format only what differs from the rest."""
    values = preset.model_dump(mode="json", exclude_defaults=True)
    if "values" in values:
        values["sampling"] = preset.model_dump(mode="json")["sampling"]
        del values["values"]
    return values


def _yaml(values: dict[str, Any]) -> str:
    """YAML in which a text with line breaks stays on one line, its breaks written as escapes."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(values, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=100)

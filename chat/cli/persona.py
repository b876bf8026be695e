"""`rpchat persona`: who the user is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chat.cli.options import text_or_stdin
from chat.cli.printing import write, write_json, write_table

if TYPE_CHECKING:
    from presets.values import Persona


@click.group()
def command() -> None:
    """Personas: who you are in a chat."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """All stored personas; the one of new chats is marked."""
    from chat.settings import Folders, Settings

    settings = Settings(Folders.find())
    default = settings.default_persona.name if settings.persona_settled else None
    personas = settings.personas
    if as_json:
        write_json([{**_values(p), "default": p.name == default} for p in personas])
        return
    rows = [("*" if p.name == default else " ", p.name, _beginning(p.description)) for p in personas]
    write_table(rows, empty="no persona yet; `rpchat persona set NAME --description TEXT` stores one")


def _beginning(text: str) -> str:
    from cards.display import display_text

    return display_text(text, single_line=True, limit=80)


def _values(persona: Persona) -> dict[str, Any]:
    """With its place where that is not the header."""
    from presets.placing import place_of

    place = place_of(persona) if persona.position != "header" else {}
    return {"name": persona.name, "description": persona.description, **place}


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """One persona, whole."""
    from chat.settings import Folders, Settings

    persona = Settings(Folders.find()).persona(name)
    if persona is None:
        raise click.ClickException(f"no persona is called {name!r}; see `rpchat persona list`")
    if as_json:
        write_json(_values(persona))
        return
    from presets.placing import words_for

    placed = f"\n({words_for(persona)})" if persona.position != "header" else ""
    write(f"{persona.name}\n{persona.description}".rstrip() + placed)


@command.command("set")
@click.argument("name")
@click.option(
    "--description", metavar="TEXT|@FILE|-", help="Who you are, as the character knows you; - reads stdin."
)
@click.option(
    "--position",
    type=click.Choice(["header", "none", "note-top", "note-bottom", "depth"]),
    help="Where the description stands: in the header, nowhere, with the author's note, between messages.",
)
@click.option(
    "--depth",
    type=click.IntRange(0, 9999),
    metavar="N",
    help="Messages from the end, for --position depth; 2 when not said.",
)
@click.option(
    "--role",
    type=click.Choice(["system", "user", "char"]),
    help="Who seems to say it, for --position depth; system when not said.",
)
@click.option("--default", is_flag=True, help="Be this one in new chats.")
def set_(
    name: str,
    description: str | None,
    position: str | None,
    depth: int | None,
    role: str | None,
    default: bool,
) -> None:
    """Store a persona, or change one. The first one becomes that of new chats."""
    from chat.settings import Folders, Settings
    from presets.placing import place_of, placed_persona
    from presets.values import Persona

    name = " ".join(name.split())
    if not name:
        raise click.UsageError("a persona needs a name; give one word or more")
    settings = Settings(Folders.find())
    known = settings.persona(name)
    text = text_or_stdin(description) if description is not None else known.description if known else ""
    said = {"position": position, "depth": depth, "role": role}
    place = place_of(known or Persona()) | {key: value for key, value in said.items() if value is not None}
    persona = placed_persona(name, text, place)
    if persona.position != "depth" and (depth is not None or role is not None):
        raise click.UsageError("--depth and --role belong to --position depth; give that too")
    settings.save_persona(persona, default=default)
    write(f"persona {name} is stored")
    if settings.from_config("personas") and settings.persona(name) != persona:
        write(f"{settings.folders.config} has a persona of that name, which wins")


@command.command()
@click.argument("name")
def delete(name: str) -> None:
    """Forget a persona. Chats that began with it keep it."""
    from chat.settings import Folders, Settings

    settings = Settings(Folders.find())
    if not settings.delete_persona(name):
        known = settings.persona(name)
        where = f"stands in {settings.folders.config}; delete it there" if known else "is not stored"
        raise click.ClickException(f"persona {name!r} {where}; see `rpchat persona list`")
    write(f"persona {name} is forgotten")

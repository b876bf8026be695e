"""`rpchat card check`, `new` and `export`: cards as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_library import at_hand, card_at, row
from chat.cli.printing import warn, write, write_json

if TYPE_CHECKING:
    from cards.card import Card

FORMS = ("png", "json", "charx", "yaml", "md")


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """What is odd or wrong in card files and folders of them, with field and place.

    Exit status 1 when one of them cannot be read.
    """
    from cards.errors import CardError
    from cards.library import expanded
    from cards.library.arriving import card_files
    from cards.reading import read_card_file

    library = at_hand()
    rows: list[dict[str, Any]] = []
    for path in card_files(map(expanded, paths)):
        ref = library.ref_of(path)
        try:
            card, warnings = read_card_file(path)
        except CardError as error:
            rows.append(row(path, ref, error=error.message))
        else:
            rows.append(row(path, ref, card.name, card.spec, warnings))
    bad = sum(found["error"] is not None for found in rows)
    if as_json:
        write_json(rows)
    else:
        for found in rows:
            _write_checked(found)
        if len(rows) != 1:
            write(f"{len(rows) - bad} cards can be read, {bad} cannot")
    context.exit(1 if bad else 0)


def _write_checked(found: dict[str, Any]) -> None:
    """A line for a card, then one for each thing that is odd."""
    if found["error"] is not None:
        write(_line(f"{found['path']}: error: {found['error']}"))
        return
    odd = len(found["warnings"])
    verdict = f"{odd} warning{'s' if odd > 1 else ''}" if odd else "ok"
    write(_line(f"{found['path']}: {found['name']}, {found['spec']}, {verdict}"))
    for warning in found["warnings"]:
        write(_line(f"  warning: {warning}"))


def _line(text: str) -> str:
    from cards.display import display_text

    indent = text[: len(text) - len(text.lstrip(" "))]
    return indent + display_text(text, single_line=True)


@click.command()
@click.argument("name")
@click.option("--to", "form", type=click.Choice(FORMS), default="png", help="The file's kind.")
@click.option(
    "--avatar", metavar="FILE", type=click.Path(path_type=Path), help="A PNG, JPEG or WebP picture."
)
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=TEXT|@FILE", help="Fill a field: description=@d.txt"
)
def new(name: str, form: Any, avatar: Path | None, settings: tuple[str, ...]) -> None:
    """A new card of this name in the library; `rpchat card edit` opens it."""
    from cards.avatar import with_avatar
    from cards.card import card_from_document
    from cards.library import expanded, read_file, save_file
    from cards.library.arriving import ENDINGS
    from cards.writing import export_card
    from chat.cli.card_edit import with_field

    if not name.strip():
        raise click.UsageError("a card needs a name; give one word or more")
    card, _ = card_from_document(_empty(name.strip()))
    for setting in settings:
        card = with_field(card, setting)
    if avatar is not None:
        card = with_avatar(card, read_file(expanded(avatar)))
    library = at_hand()
    path = library.new_path(card.name, ENDINGS["markdown" if form == "md" else form])
    save_file(path, export_card(card, form), backup=False)
    write(f"{card.name}: {path.stem}, in {path}")


def _empty(name: str) -> dict[str, Any]:
    data: dict[str, Any] = dict.fromkeys(
        (
            "name",
            "description",
            "personality",
            "scenario",
            "first_mes",
            "mes_example",
            "creator_notes",
            "system_prompt",
            "post_history_instructions",
            "creator",
            "character_version",
        ),
        "",
    )
    lists: dict[str, Any] = {
        "alternate_greetings": [],
        "group_only_greetings": [],
        "tags": [],
        "extensions": {},
    }
    created = {"creation_date": int(time.time())}
    return {
        "spec": "chara_card_v3",
        "spec_version": "3.0",
        "data": {**data, "name": name, **lists, **created},
    }


@click.command()
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option("--to", "form", type=click.Choice(FORMS), default="png", help="The file's kind.")
@click.option(
    "--spec", type=click.Choice(["1", "2", "3"]), help="Convert; what that loses is said first on stderr."
)
@click.option("--keep-private", is_flag=True, help="Keep SillyTavern's chat name, favourite mark and dates.")
@click.option(
    "-o", "output", metavar="FILE|FOLDER|-", help="Where to; - is stdout. Default: the card's name, here."
)
def export(
    refs: tuple[str, ...], form: Any, spec: str | None, keep_private: bool, output: str | None
) -> None:
    """Cards as files for other programs. One that was not changed is written as it came, byte for byte.

    A file that is there already stays as FILE.bak when -o names it, and is never overwritten otherwise.
    """
    from cards.library import expanded, save_file
    from cards.writing import export_card

    library = at_hand()
    folder = expanded(Path(output)) if output and output != "-" else Path()
    if len(refs) > 1 and output is not None and not folder.is_dir():
        raise click.UsageError(f"-o {output}: several cards are exported into a folder; name one that exists")
    if output is not None and not folder.is_dir() and not folder.parent.is_dir():
        raise click.UsageError(f"-o {output}: there is no folder {folder.parent}; make it first")
    for ref in refs:
        path, card, _ = card_at(library, ref)
        _report_losses(card, form, spec, path.name)
        data = export_card(card, form, spec=None if spec is None else int(spec), keep_private=keep_private)  # type: ignore[arg-type]
        if output == "-":
            click.echo(data, nl=False)
            continue
        target = folder if output and not folder.is_dir() else _free_target(folder, card, form)
        save_file(target, data)
        write(f"{card.name}: {target}")


def _free_target(folder: Path, card: Card, form: str) -> Path:
    from cards.filenames import export_name, free_name

    name = free_name(export_name(card.name), f".{form}", lambda name: (folder / name).exists())
    return folder / name


def _report_losses(card: Card, form: str, spec: str | None, name: str) -> None:
    """Says what the file cannot hold before it is written."""
    from cards.writing import losses

    if spec is None or form in ("png", "charx"):
        # A PNG carries V3 beside V2, and a CHARX is V3.
        return
    lost = losses(card, int(spec))  # type: ignore[arg-type]
    if lost:
        warn(f"{name}: as V{spec} it loses {', '.join(lost)}")

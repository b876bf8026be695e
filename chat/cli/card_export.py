"""`rpchat card export`: cards as files for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_library import at_hand, card_at, counted, named, write_line
from chat.cli.printing import warn

if TYPE_CHECKING:
    from cards.card import Card
    from cards.conversion import SpecNumber
    from cards.writing import ExportFormat

FORMS = ("png", "json", "charx", "yaml", "md")
FORM_OF = {
    ".png": "png",
    ".apng": "png",
    ".json": "json",
    ".charx": "charx",
    ".zip": "charx",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".md": "md",
    ".markdown": "md",
}
OWN_ONLY = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".byaf": "byaf"}
"""Endings of what is not written, only passed on as it came: the container that each is."""


@click.command()
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option(
    "--to",
    "form",
    type=click.Choice(FORMS),
    help="The file's kind. Default: by the ending that -o names, else what the card came in.",
)
@click.option(
    "--spec", type=click.Choice(["1", "2", "3"]), help="Convert; what that loses is said first on stderr."
)
@click.option("--keep-private", is_flag=True, help="Keep SillyTavern's chat name, favourite mark and dates.")
@click.option(
    "-o",
    "output",
    metavar="FILE|FOLDER/|-",
    help="Where to; a folder that ends in / is made, - is stdout. Default: the card's name, here.",
)
def export(
    refs: tuple[str, ...], form: Any, spec: str | None, keep_private: bool, output: str | None
) -> None:
    """Cards as files for other programs. One that was not changed is written as it came, byte for byte.

    A file that is there already stays as FILE.bak when -o names it, and is never overwritten otherwise.
    """
    from cards.library import save_file
    from cards.writing import export_card, file_ending

    folder, file = _place(output, several=len(refs) > 1)
    number: SpecNumber | None = None if spec is None else int(spec)  # type: ignore[assignment]
    library = at_hand()
    for ref in refs:
        path, card, _ = card_at(library, ref)
        to = form if file is None else _form_for(card, form, number, file)
        _report_losses(card, to, number, path.name)
        data = export_card(card, to, spec=number, keep_private=keep_private)
        if output == "-":
            click.echo(data, nl=False)
            continue
        target = file or _free_target(folder, card, file_ending(card, to, number))
        if file is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        save_file(target, data)
        write_line(f"{named(card.name)}: {target}")


def _place(output: str | None, *, several: bool) -> tuple[Path, Path | None]:
    """The folder that is exported into, and the file, None where cards are called by their names."""
    from cards.filenames import expanded

    if output == "-":
        if several:
            raise click.UsageError("-o -: one card goes to stdout at a time; name a folder for several")
        return Path(), None
    if output is None:
        return Path(), None
    path = expanded(Path(output))
    if output.endswith(("/", os.sep)) and not path.is_dir():
        if path.exists():
            raise click.UsageError(f"-o {output}: this is a file; name a folder, or the file without the /")
        return path, None
    if path.is_dir():
        return path, None
    if several:
        raise click.UsageError(f"-o {output}: several cards are exported into a folder; write {output}/")
    if not path.parent.is_dir():
        raise click.UsageError(f"-o {output}: there is no folder {path.parent}; make it first")
    return path.parent, path


def _form_for(
    card: Card, form: ExportFormat | None, spec: SpecNumber | None, file: Path
) -> ExportFormat | None:
    """The form that a file's name asks for; None for the card's own container."""
    from cards.writing import leaves_as_it_came

    ending = file.suffix.lower()
    wanted: Any = FORM_OF.get(ending)
    if ending in OWN_ONLY:
        wanted = "charx" if card.container == "jpeg" else None
        if card.container != OWN_ONLY[ending] or not (wanted or leaves_as_it_came(card, None, spec)):
            raise click.UsageError(
                f"-o {file.name}: a {ending[1:]} file is not made of this card; end the name in "
                ".png, .json, .charx, .yaml or .md"
            )
    elif wanted is None:
        return form
    if form not in (None, wanted):
        raise click.UsageError(f"-o {file.name} and --to {form} contradict each other; give one of them")
    return None if ending in OWN_ONLY else wanted


def _free_target(folder: Path, card: Card, ending: str) -> Path:
    from cards.filenames import export_name, free_name

    return folder / free_name(export_name(card.name), ending, lambda name: (folder / name).exists())


def _report_losses(card: Card, to: ExportFormat | None, spec: SpecNumber | None, name: str) -> None:
    """Says what the file cannot hold before it is written."""
    from cards.writing import dropped_bytes, left_behind, losses, own_form

    if spec is not None and (to or own_form(card)) != "charx":
        lost = losses(card, spec)
        if lost:
            warn(f"{name}: as V{spec} it loses {', '.join(lost)}")
    files = left_behind(card, to)
    if files:
        warn(f"{name}: {counted(len(files), 'file')} beside the card stay behind, such as {named(files[0])}")
    dropped = dropped_bytes(card, to, spec)
    if dropped:
        warn(f"{name}: {counted(dropped, 'byte')} after the picture's end are left out")

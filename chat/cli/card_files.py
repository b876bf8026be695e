"""`rpchat card check` and `new`: what is wrong with card files, and a card from nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_export import FORMS
from chat.cli.card_library import at_hand, counted, named, nothing_in, row, write_line
from chat.cli.printing import write, write_json

if TYPE_CHECKING:
    from cards.errors import CardError, CardWarning


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """What is odd or wrong in card files and folders of them, with field and place.

    Exit status 1 when one of them cannot be read.
    """
    from cards.filenames import expanded
    from cards.library.arriving import card_files

    library = at_hand()
    checked = [_Checked.read(path) for path in card_files(map(expanded, paths))]
    if not checked:
        raise click.ClickException(nothing_in(paths))
    bad = sum(found.error is not None for found in checked)
    if as_json:
        write_json([found.row(library.ref_of(found.path)) for found in checked])
    else:
        for found in checked:
            found.write()
        if len(checked) != 1:
            write(f"{counted(len(checked) - bad, 'card')} can be read, {bad} cannot")
    context.exit(1 if bad else 0)


@dataclass(frozen=True)
class _Checked:
    """A card's file and what was found in it."""

    path: Path
    name: str = ""
    spec: str = ""
    warnings: tuple[CardWarning, ...] = ()
    error: CardError | None = None

    @classmethod
    def read(cls, path: Path) -> _Checked:
        from cards.errors import CardError
        from cards.prompt_tokens import prompt_token_warnings
        from cards.reading import read_card_file

        try:
            card, warnings = read_card_file(path)
        except CardError as error:
            return cls(path, error=error)
        return cls(path, card.name, card.spec, (*warnings, *prompt_token_warnings(card)))

    def row(self, ref: str | None) -> dict[str, Any]:
        return row(self.path, ref, self.name, self.spec, self.warnings, self.error)

    def write(self) -> None:
        """A line for the card, then one for each thing that is odd."""
        if self.error is not None:
            write(_line(f"{self.path}: error: {self.error.message}"))
            return
        verdict = counted(len(self.warnings), "warning") if self.warnings else "ok"
        write(_line(f"{self.path}: {named(self.name)}, {self.spec}, {verdict}"))
        for warning in self.warnings:
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
    from cards.filenames import expanded
    from cards.library import read_file, save_file
    from cards.writing import export_card, file_ending
    from chat.cli.card_fields import with_field

    if not name.strip():
        raise click.UsageError("a card needs a name; give one word or more")
    card, _ = card_from_document(_empty(name.strip()))
    for setting in settings:
        card = with_field(card, setting)
    if avatar is not None:
        if form not in ("png", "charx"):
            raise click.UsageError(f"--avatar: a {form} file holds no picture; --to png or charx does")
        card = with_avatar(card, read_file(expanded(avatar)))
    library = at_hand()
    path = library.new_path(card.name, file_ending(card, form))
    save_file(path, export_card(card, form), backup=False)
    write_line(f"{named(card.name)}: {path.stem}, in {path}")


def _empty(name: str) -> dict[str, Any]:
    from cards.shapes import TEXT_FIELDS

    texts = {field: "" for field in TEXT_FIELDS if field != "nickname"}
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
        "data": {**texts, "name": name, **lists, **created},
    }

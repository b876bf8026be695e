"""`rpchat card edit`: in an editor, or field by field from the command line."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_fields import pair, with_field
from chat.cli.card_library import at_hand, can_ask, counted, named, write_line
from chat.cli.failure import FAILED
from chat.cli.options import text_of_file, text_or_stdin
from chat.cli.printing import warn, write

if TYPE_CHECKING:
    from cards.card import Card
    from cards.library import CardLibrary, FileState


@click.command()
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=TEXT|@FILE",
    help="Change a field: description=@file, tags=a,b, data.extensions.world=Eldoria.",
)
@click.option(
    "--avatar", metavar="FILE", type=click.Path(path_type=Path), help="A PNG, JPEG or WebP picture."
)
@click.option("--from", "source", metavar="FILE|-", help="Take the whole card from its Markdown form.")
@click.option(
    "--copy", type=click.IntRange(min=1), metavar="N", help="Take copy N of the card that its PNG holds."
)
@click.option(
    "--fix-text", "fix_text", is_flag=True, help="Mend text read in the wrong encoding: Ã© becomes é."
)
@click.option("--add-tag", "added", multiple=True, metavar="TAG", help="Add a tag to all the cards named.")
@click.option("--remove-tag", "removed", multiple=True, metavar="TAG", help="Take a tag off all of them.")
@click.option(
    "--rename-tag", "renamed", multiple=True, metavar="OLD=NEW", help="Rename a tag on all of them."
)
def edit(
    refs: tuple[str, ...],
    settings: tuple[str, ...],
    avatar: Path | None,
    source: str | None,
    copy: int | None,
    fix_text: bool,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    renamed: tuple[str, ...],
) -> None:
    """Change a card: its Markdown form in $EDITOR, or with options without one. FILE.bak is the card before.

    An edited starter card becomes a card of yours. Tags can be changed on several cards at once.
    """
    library = at_hand()
    if added or removed or renamed:
        if settings or avatar or source or fix_text or copy:
            raise click.UsageError("tags are changed by themselves; leave the other options to a second edit")
        _edit_tags(library, refs, added, removed, renamed)
        return
    if len(refs) > 1:
        raise click.UsageError("one card is edited at a time; tags can be changed on several")
    _Edit(library, library.find(refs[0])).run(settings, avatar, source, fix_text, copy)


def _edit_tags(
    library: CardLibrary,
    refs: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    renamed: tuple[str, ...],
) -> None:
    from cards.errors import CardError
    from cards.library.saving import retag

    pairs = dict(pair(rename, "--rename-tag", "OLD=NEW") for rename in renamed)
    paths = list(dict.fromkeys(library.find(ref) for ref in refs))
    changed, bad = 0, 0
    for path in paths:
        try:
            changed += len(
                retag(
                    library,
                    [path],
                    add=added,
                    remove=removed,
                    rename=pairs,
                    now=int(time.time()),
                    notice=warn,
                )
            )
        except CardError as error:
            bad += 1
            warn(str(error.at(str(path))))
    write(f"{changed} of {counted(len(paths), 'card')} changed")
    if bad:
        raise click.exceptions.Exit(FAILED)


class _Edit:
    """One card being edited."""

    def __init__(self, library: CardLibrary, path: Path) -> None:
        from cards.library import file_state
        from cards.reading import read_card_file

        self.library = library
        self.path = path
        self.state: FileState | None = file_state(path)
        self.card: Card = read_card_file(path)[0]

    def run(
        self,
        settings: tuple[str, ...],
        avatar: Path | None,
        source: str | None,
        fix_text: bool = False,
        copy: int | None = None,
    ) -> None:
        """Apply the options, or open an editor where there are none, and save."""
        from cards.mojibake import mended_card

        if not (settings or avatar or source is not None or fix_text or copy):
            self._in_editor()
            return
        card = self.card if copy is None else self._copy(copy)
        if source is not None:
            card = read_back(card, _text_from(source))
        card = mended_card(card) if fix_text else card
        for setting in settings:
            card = with_field(card, setting)
        if avatar is not None:
            card = self._with_avatar(card, avatar)
        self._save(card)

    def _copy(self, number: int) -> Card:
        from cards.library import read_file
        from cards.reading import read_copy

        copy = read_copy(read_file(self.path), number, self.path.name)
        return replace(self.card, document=copy.document, shape=copy.shape, source=None, original=self.card)

    def _save(self, card: Card, *, force: bool = False) -> None:
        from cards.library.saving import save_card

        if card.document == self.card.document and card.avatar is self.card.avatar:
            write("nothing changed")
            return
        expected = None if force else self.state
        now = int(time.time())
        saved = save_card(self.library, self.path, card, expected=expected, now=now, notice=warn)
        write_line(f"{named(card.name)}: saved in {saved}")

    def _with_avatar(self, card: Card, picture: Path) -> Card:
        from cards.avatar import with_avatar
        from cards.errors import CardError
        from cards.filenames import expanded
        from cards.library import read_file

        pictureless = card.container in ("json", "yaml", "markdown") and card.avatar is None
        if pictureless and self.library.ref_of(self.path) is None:
            # A card of the library becomes a PNG under the same ref; a file elsewhere stays what it is.
            what = f"this file holds no picture; `rpchat card export {shlex.quote(str(self.path))} --to png`"
            raise CardError("picture", f"{what} makes one that does", str(self.path))
        return with_avatar(card, read_file(expanded(picture)))

    def _in_editor(self) -> None:
        """The Markdown form in an editor, again as long as it does not parse; the text is never thrown
        away."""
        from cards.errors import CardError
        from cards.markdown import write_markdown

        draft = _draft_for(self.path)
        draft.write_text(write_markdown(self.card.document), encoding="utf-8", newline="\n")
        while True:
            self._open_editor(draft)
            try:
                self._save(read_back(self.card, draft.read_text(encoding="utf-8", errors="replace")))
                break
            except CardError as error:
                if error.code == "changed":
                    self._settle(error, draft)
                    return
                if not self._again(error, draft):
                    raise self._kept(error, draft) from error
        draft.unlink(missing_ok=True)

    def _open_editor(self, draft: Path) -> None:
        before = draft.read_bytes()
        try:
            click.edit(filename=str(draft))
        except click.ClickException as error:
            if draft.read_bytes() != before:
                raise self._kept(error, draft) from error
            draft.unlink()
            raise click.ClickException(
                f"{error.message}; EDITOR names the editor, --set does without"
            ) from error

    def _again(self, error: Exception, draft: Path) -> bool:
        if not can_ask():
            return False
        warn(f"{draft.name}: {error}")
        return click.confirm("Back to the editor?", default=True, err=True)

    def _settle(self, error: Exception, draft: Path) -> None:
        """What becomes of an edit whose card was written by another program meanwhile."""
        from cards.library.saving import save_card
        from cards.writing import file_ending

        if not can_ask():
            raise self._kept(error, draft) from error
        warn(str(error))
        choices = click.Choice(["o", "s", "r"])
        question = (
            "[o]verwrite it (it stays as .bak), [s]ave as another card, [r]eload it and keep your text aside"
        )
        answer = click.prompt(question, type=choices, default="s", show_choices=False, err=True)
        if answer == "r":
            warn(f"your text is kept in {draft}")
            _Edit(self.library, self.path)._in_editor()
            return
        card = read_back(self.card, draft.read_text(encoding="utf-8", errors="replace"))
        if answer == "o":
            self._save(card, force=True)
        else:
            path = self.library.new_path(card.name, file_ending(card))
            write_line(
                f"{named(card.name)}: saved in {save_card(self.library, path, card, now=int(time.time()))}"
            )
        draft.unlink(missing_ok=True)

    def _kept(self, error: Exception, draft: Path) -> click.ClickException:
        ref = self.library.ref_of(self.path) or str(self.path.absolute())
        return click.ClickException(
            f"not saved: {error}; your text is kept in {draft}: mend it, then "
            f"rpchat card edit {shlex.quote(ref)} --from {shlex.quote(str(draft))}"
        )


def _draft_for(path: Path) -> Path:
    """A file for the editor, beside those of edits that did not end well."""
    from cards.filenames import free_name
    from chat.files import make_private_folder
    from chat.settings import Folders

    folder = Folders.find().cache / "edits"
    make_private_folder(folder)
    return folder / free_name(path.stem, ".md", lambda name: (folder / name).exists())


def _text_from(source: str) -> str:
    return text_or_stdin("-") if source == "-" else text_of_file(source)


def read_back(card: Card, text: str) -> Card:
    """The card with the document that its Markdown form now holds. Raises CardError with the line."""
    from cards.errors import CardError
    from cards.reading import read_card

    edited, _ = read_card(text.encode("utf-8", "surrogatepass"))
    if edited.container not in ("markdown", "json", "yaml"):
        raise CardError("markdown", "this is not the Markdown form of a card")
    if edited.document == card.document:
        return card
    return replace(
        card,
        document=_mirrored(card, edited),
        shape=edited.shape,
        source=None,
        original=card.original or card,
    )


def _mirrored(before: Card, after: Card) -> dict[str, Any]:
    """The edited document, its V1 mirror following where the text left it as it was."""
    from cards.paths import value_at
    from cards.png import MIRRORED

    document, shape = after.document, after.shape
    if shape.fields == shape.prefix or shape != before.shape:
        return document
    for name in MIRRORED:
        field, mirror = (*shape.fields, name), (*shape.prefix, name)
        old = value_at(before.document, mirror)
        changed = value_at(before.document, field) != value_at(document, field)
        if changed and old is not None and value_at(document, mirror) == old:
            document = after.edited(field, value_at(document, field)).document
            after = replace(after, document=document)
    return document

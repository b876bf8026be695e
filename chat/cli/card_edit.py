"""`rpchat card edit`: in an editor, or field by field from the command line."""

from __future__ import annotations

import difflib
import json
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_library import at_hand, can_ask
from chat.cli.options import text_or_file, text_or_stdin
from chat.cli.printing import warn, write

if TYPE_CHECKING:
    from cards.card import Card
    from cards.library import CardLibrary, FileState

TEXTS = (
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
    "nickname",
)
LISTS = ("tags", "alternate_greetings")


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
    added: tuple[str, ...],
    removed: tuple[str, ...],
    renamed: tuple[str, ...],
) -> None:
    """Change a card: its Markdown form in $EDITOR, or with options without one. FILE.bak is the card before.

    An edited starter card becomes a card of yours. Tags can be changed on several cards at once.
    """
    library = at_hand()
    if added or removed or renamed:
        if settings or avatar or source:
            raise click.UsageError(
                "tags are changed by themselves; leave --set, --avatar and --from to a second edit"
            )
        _edit_tags(library, refs, added, removed, renamed)
        return
    if len(refs) > 1:
        raise click.UsageError("one card is edited at a time; tags can be changed on several")
    _Edit(library, library.find(refs[0])).run(settings, avatar, source)


def _edit_tags(
    library: CardLibrary,
    refs: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    renamed: tuple[str, ...],
) -> None:
    from cards.library.saving import retag

    pairs = dict(_pair(rename, "--rename-tag", "OLD=NEW") for rename in renamed)
    paths = [library.find(ref) for ref in refs]
    changed = retag(library, paths, add=added, remove=removed, rename=pairs, now=int(time.time()))
    write(f"{len(changed)} of {len(paths)} cards changed")


def _pair(setting: str, option: str, form: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"{option} {setting}: {form} is needed")
    return key.strip(), value


class _Edit:
    """One card being edited."""

    def __init__(self, library: CardLibrary, path: Path) -> None:
        from cards.library import file_state
        from cards.reading import read_card_file

        self.library = library
        self.path = path
        self.state: FileState | None = file_state(path)
        self.card = read_card_file(path)[0]

    def run(self, settings: tuple[str, ...], avatar: Path | None, source: str | None) -> None:
        """Apply the options, or open an editor where there are none, and save."""
        if not settings and avatar is None and source is None:
            self._in_editor()
            return
        card = self.card
        if source is not None:
            card = read_back(card, _text_from(source))
        for setting in settings:
            card = with_field(card, setting)
        if avatar is not None:
            card = _with_avatar(card, avatar)
        self._save(card)

    def _save(self, card: Card, *, force: bool = False) -> None:
        from cards.library.saving import save_card

        if card.document == self.card.document and card.avatar is self.card.avatar:
            write("nothing changed")
            return
        expected = None if force else self.state
        saved = save_card(self.library, self.path, card, expected=expected, now=int(time.time()))
        write(f"{card.name}: saved in {saved}")

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
                if error.code != "changed":
                    if self._again(error, draft):
                        continue
                    raise self._kept(error, draft) from error
                if not self._settled(error, draft):
                    raise self._kept(error, draft) from error
                break
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

    def _settled(self, error: Exception, draft: Path) -> bool:
        """What becomes of an edit whose card was written by another program meanwhile."""
        from cards.library.arriving import ENDINGS
        from cards.library.saving import save_card

        if not can_ask():
            return False
        warn(str(error))
        choices = click.Choice(["o", "s", "r"])
        question = (
            "[o]verwrite it (it stays as .bak), [s]ave as another card, [r]eload and keep your text aside"
        )
        answer = click.prompt(question, type=choices, default="s", show_choices=False, err=True)
        if answer == "r":
            return False
        card = read_back(self.card, draft.read_text(encoding="utf-8", errors="replace"))
        if answer == "o":
            self._save(card, force=True)
            return True
        path = self.library.new_path(card.name, ENDINGS[card.container])
        write(f"{card.name}: saved in {save_card(self.library, path, card, now=int(time.time()))}")
        return True

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
    return text_or_stdin("-") if source == "-" else text_or_file(f"@{source}")


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
        document=edited.document,
        shape=edited.shape,
        source=None,
        original=card.original or card,
    )


def with_field(card: Card, setting: str) -> Card:
    """The card with `FIELD=TEXT` or `FIELD=@FILE` applied. Raises UsageError for a field that is none."""
    field, value = _pair(setting, "--set", "FIELD=TEXT or FIELD=@FILE")
    text = text_or_file(value)
    if field in TEXTS:
        return card.edited(field, text)
    if field in LISTS:
        return card.edited(field, _list(text, split=field == "tags"))
    if "." not in field:
        near = difflib.get_close_matches(field, (*TEXTS, *LISTS), n=1)
        hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join((*TEXTS, *LISTS))}"
        raise click.UsageError(f"--set {field}: no field of a card; {hint}")
    return _with_path(card, field, text)


def _with_path(card: Card, path: str, text: str) -> Card:
    from cards.paths import value_at

    old = value_at(card.document, path.split("."))
    value: Any = text
    if old is not None and not isinstance(old, str):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise click.UsageError(
                f"--set {path}: the value there is no text, so JSON is needed: {error}"
            ) from error
    try:
        return card.edited(path, value)
    except KeyError as error:
        raise click.UsageError(f"--set {path}: {error.args[0]}") from error


def _list(text: str, *, split: bool) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return found
    if split:
        return [part.strip() for part in text.split(",") if part.strip()]
    return [text] if text.strip() else []


def _with_avatar(card: Card, picture: Path) -> Card:
    from cards.avatar import with_avatar
    from cards.errors import CardError
    from cards.library import expanded, read_file

    if card.container in ("charx", "jpeg"):
        what = "the pictures of a CHARX lie inside it; export the card with --to png and edit that"
        raise CardError("picture", what, str(picture))
    return with_avatar(card, read_file(expanded(picture)))

"""Importing: many files and folders, one card at a time, the bad ones reported and the rest taken in."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cards.card import Card
from cards.errors import CardError, CardWarning
from cards.library.files import read_file, save_file, set_aside
from cards.library.folder import CARD_ENDINGS, CardLibrary, id_in
from cards.library.index import LibraryCard, described, is_other_text
from cards.library.saving import forget_original
from cards.png import is_png
from cards.reading import read_card
from cards.writing import ENDINGS, export_card

__all__ = ["Arrival", "ClashChoice", "Outcome", "card_files", "import_cards"]

ClashChoice = Literal["keep", "replace", "skip"]
"""Of two cards of one name: keep both, put the new one in the old one's place, leave the new one out."""

Outcome = Literal["new", "same", "kept", "replaced", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one file."""

    path: Path
    outcome: Outcome
    card: LibraryCard | None = None
    """The card in the library; None when it could not be read or was left out."""
    name: str = ""
    spec: str = ""
    warnings: tuple[CardWarning, ...] = ()
    error: CardError | None = None


def card_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are meant by files and folders: of a folder, all below it that are called like cards,
    a Markdown file only where it is a card.

    What is named itself is taken whatever it is called, so that it is imported or refused with a reason.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            wanted = (name for name in sorted(files) if not name.startswith("."))
            here = (Path(folder, name) for name in wanted if name.lower().endswith(CARD_ENDINGS))
            found |= {file: None for file in here if not _is_note(file)}
    return list(found)


def _is_note(file: Path) -> bool:
    try:
        return file.suffix.lower() == ".md" and is_other_text(file, read_file(file))
    except CardError:
        return False  # the import says why


def import_cards(
    library: CardLibrary,
    files: Iterable[Path],
    on_clash: Callable[[Path, Card, LibraryCard], ClashChoice],
) -> Iterator[Arrival]:
    """Copies cards into the library, byte for byte, and says of each what became of it.

    `on_clash` is asked where the library has another card of that name. A file whose bytes the library has
    already is left out. One file is in memory at a time; to cancel, stop iterating.
    """
    known = library.list()
    desk = _Desk(library, known)
    for file in files:
        try:
            data = read_file(file)
            card, warnings = read_card(data, file.name)
        except CardError as error:
            yield Arrival(file, "failed", error=error)
            continue
        facts = (card.name, card.spec, tuple(warnings))
        try:
            outcome, line = desk.take(file, data, card, on_clash)
        except CardError as error:
            yield Arrival(file, "failed", None, *facts, error=error)
        else:
            yield Arrival(file, outcome, line, *facts)


class _Desk:
    """Takes cards in, knowing what is there."""

    def __init__(self, library: CardLibrary, known: Iterable[LibraryCard]) -> None:
        self.library = library
        own = [card for card in known if not card.starter and not card.error]
        self.by_digest = {card.digest: card for card in own}
        self.by_name = {_folded(card.name): card for card in own}
        self.ids = {id_in(card.ref) for card in self.by_name.values()}

    def take(
        self,
        file: Path,
        data: bytes,
        card: Card,
        on_clash: Callable[[Path, Card, LibraryCard], ClashChoice],
    ) -> tuple[Outcome, LibraryCard | None]:
        line = described(card, file, data)
        same = self.by_digest.get(line.digest)
        if same is not None:
            return "same", same
        clash = self.by_name.get(_folded(card.name))
        choice = on_clash(file, card, clash) if clash is not None else "keep"
        if choice == "skip":
            return "skipped", None
        if clash is not None and choice == "replace":
            path, data = _replaced(clash, card, data)
            outcome: Outcome = "replaced"
        else:
            path = self.library.new_path(card.name, ENDINGS[card.container], self.ids)
            # The file that it comes from still stands: a thousand flushes would take ten seconds.
            save_file(path, data, backup=False, flush=False)
            outcome = "new" if clash is None else "kept"
        line = described(card, path, data)
        self.by_digest[line.digest] = self.by_name[_folded(card.name)] = line
        self.ids.add(id_in(line.ref))
        return outcome, line


def _replaced(old: LibraryCard, card: Card, data: bytes) -> tuple[Path, bytes]:
    """Puts a card in another's place: the file keeps its stem, and so its chats; the old one stays as
    `.bak`.

    A card without a portrait takes over the old one's.
    """
    ending = ENDINGS[card.container]
    if card.avatar is None:
        before = read_card(read_file(old.path), old.path.name)[0].avatar
        if before is not None and is_png(before):
            data = export_card(card, "png", image=before, keep_private=True)
            ending = ".png"
    path = old.path if old.path.suffix.lower() == ending else old.path.with_name(old.path.stem + ending)
    if path != old.path and path.exists():
        raise CardError("taken", f"{path.name} is there already; move it away first", str(path))
    save_file(path, data)
    if path != old.path:
        set_aside(old.path)
    forget_original(old.path)
    return path, data


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()

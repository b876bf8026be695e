"""CardLibrary: cards as plain files in one folder, the starter cards behind them.

A file that rpchat puts there is called `Samuel~k3f9x2ab.png`: a name for people, and an id that stays when
the name changes, by hand too. Chats note the whole, and find the card, as the card finds them, by the id.
Files that people put there themselves are as welcome; their id is their name.
"""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Final

from cards import limits
from cards.display import display_text
from cards.errors import CardError
from cards.filenames import LIBRARY_ID, expanded, export_name, plain_stem
from cards.library.index import INDEX_NAME, NO_CARD, CardIndex, LibraryCard

__all__ = ["CARD_ENDINGS", "CardLibrary", "id_in", "lasting"]

CARD_ENDINGS: Final = (
    ".png",
    ".apng",
    ".json",
    ".yaml",
    ".yml",
    ".charx",
    ".jpg",
    ".jpeg",
    ".webp",
    ".byaf",
    ".md",
)
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that looks like another."""


def id_in(stem: str) -> str:
    """The id at the end of a file's stem; "" when it has none."""
    found = LIBRARY_ID.search(stem)
    return found[1] if found else ""


def lasting(ref: str) -> str:
    """What stays of a ref when its file gets another name: the id, else the whole."""
    return id_in(ref) or ref


class CardLibrary:
    """Cards as plain files in one folder, with the starter cards behind them."""

    def __init__(self, folder: Path, starters: Path | None = None) -> None:
        self.folder = folder
        self.starters = starters or Path(__file__).parents[1] / "starters"

    def list(self) -> list[LibraryCard]:
        """Every card of the folder, then the starters that no card of the folder replaces, by name."""
        own = list(self._described(self.folder, starter=False)) if self.folder.is_dir() else []
        taken = {card.ref.casefold() for card in own}
        starters = [
            card for card in self._described(self.starters, starter=True) if card.ref.casefold() not in taken
        ]
        return sorted([*own, *starters], key=lambda card: (card.name.casefold(), card.ref))

    def _described(self, folder: Path, *, starter: bool) -> Iterator[LibraryCard]:
        # The starters' lines are kept beside the user's: the program's own folder is not written to.
        index = CardIndex(self.folder / (".starters.json" if starter else INDEX_NAME))
        for path, found in _stated(folder):
            card = index.card(path, found, starter=starter)
            if card.error != NO_CARD:
                yield card
        if self.folder.is_dir():
            index.save()

    def starter_paths(self) -> Sequence[Path]:
        """The cards that come with the program, by name."""
        return _files(self.starters)

    def find(self, ref: str) -> Path:
        """The file that a REF means: a path, else a file's name or stem, an id, else a card's name, in any
        case.

        The user's folder comes before the starters, with its cards' names too. Raises CardError naming what
        comes close.
        """
        if not ref.strip():
            raise CardError("missing", "no card was named; say a file or a card's name")
        path = expanded(ref)
        if _exists(path) and (len(path.parts) > 1 or not path.is_dir()):
            # A folder that happens to be called like a card is not what is meant.
            return path
        wanted = ref.casefold()
        own = _files(self.folder)
        found = _of_file_name(own, wanted) or _of_id_or_bare_name(own, wanted)
        if found is not None:
            return found
        starter = _of_file_name(self.starter_paths(), wanted)
        if starter is not None and wanted.endswith(CARD_ENDINGS):
            # A file's name is nobody's: the folder's cards need not be listed.
            return starter
        cards = sorted(self.list(), key=lambda card: card.starter)
        named = (card for card in cards if card.name.casefold() == wanted and not card.error)
        mine = next(named, None)
        if mine is not None and not (mine.starter and starter):
            return mine.path
        if starter is not None:
            return starter
        raise CardError("missing", _not_found(ref, cards))

    def known_as(self, ref: str) -> Path | None:
        """The file of the card that a chat has noted as `ref`, whatever others are called; None when it is
        gone."""
        if Path(ref).is_absolute():
            return Path(ref) if _exists(Path(ref)) else None
        own, id = _files(self.folder), id_in(ref)
        found = (
            [file for file in own if file.stem == ref]
            or [file for file in own if id and id_in(file.stem) == id]
            or [file for file in self.starter_paths() if file.stem == ref]
        )
        return found[0] if found else None

    def ref_of(self, path: Path) -> str | None:
        """What chats know the card in a file by; None for a file that lies elsewhere."""
        folders = (self.folder.absolute(), self.starters.absolute())
        return path.stem if path.absolute().parent in folders else None

    def is_starter(self, path: Path) -> bool:
        return path.absolute().parent == self.starters.absolute()

    def new_path(self, name: str, ending: str, taken: Container[str] = ()) -> Path:
        """Where a card of this name is put: a new id, which is not among `taken` nor in the folder."""
        while True:
            id = "".join(secrets.choice(_LETTERS) for _ in range(8))
            path = self.folder / f"{export_name(name)}~{id}{ending}"
            if id not in taken and not path.exists():
                return path


def _stated(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Card files with what the system knows of them, in order."""
    found: list[tuple[str, os.stat_result]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.name.lower().endswith(CARD_ENDINGS):
                    continue
                try:
                    if entry.is_file():
                        found.append((entry.name, entry.stat()))
                except OSError:
                    continue  # a file that vanished, or a link to nowhere
    except OSError:
        return
    for name, state in sorted(found, key=lambda item: item[0]):
        yield folder / name, state


def _files(folder: Path) -> Sequence[Path]:
    return [path for path, _ in _stated(folder)]


def _of_file_name(files: Sequence[Path], wanted: str) -> Path | None:
    return next((file for file in files if wanted in (file.name.casefold(), file.stem.casefold())), None)


def _of_id_or_bare_name(files: Sequence[Path], wanted: str) -> Path | None:
    id = id_in(wanted) or wanted
    for file in files:
        bare = plain_stem(file.name).casefold()
        # A chat's ref may have been noted before the file got another name: the id is what stays.
        if id_in(file.stem) == id or (id_in(file.stem) and wanted in (bare, bare + file.suffix.lower())):
            return file
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):
        return False


def _not_found(ref: str, cards: Sequence[LibraryCard]) -> str:
    said = display_text(ref, single_line=True, limit=limits.NAME_CELLS)
    if any(character in ref for character in "/\\"):
        return f"no such file: {display_text(ref, single_line=True, limit=4 * limits.NAME_CELLS)}"
    names = {card.name.casefold(): card.name for card in cards} | {
        card.ref.casefold(): card.ref for card in cards
    }
    near = [names[name] for name in difflib.get_close_matches(ref.casefold(), names, 3, 0.5)]
    if near:
        listed = ", ".join(
            display_text(name, single_line=True, limit=limits.NAME_CELLS) for name in dict.fromkeys(near)
        )
        return f"no file and no card is called {said!r}; did you mean {listed}?"
    return f"no file and no card is called {said!r}; `rpchat card list` shows all"

"""The folder of cards, and the only I/O under `cards`."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cards import limits
from cards.errors import CardError
from cards.reading import read_card_file

__all__ = ["CARD_ENDINGS", "CardLibrary", "FileState", "LibraryCard", "file_state", "read_file", "save_file"]

CARD_ENDINGS = (".png", ".apng", ".json", ".yaml", ".yml", ".charx", ".jpg", ".jpeg", ".webp", ".byaf", ".md")


@dataclass(frozen=True, slots=True)
class LibraryCard:
    """A card in the library, for a list."""

    ref: str
    """What finds it: its file's name without the ending."""
    path: Path
    name: str
    spec: str
    creator: str = ""
    tags: tuple[str, ...] = ()
    starter: bool = False
    error: str = ""
    """Why it cannot be read; then name is the file's."""


class CardLibrary:
    """Cards as plain files in one folder, with the starter cards behind them."""

    def __init__(self, folder: Path, starters: Path | None = None) -> None:
        self.folder = folder
        self.starters = starters or Path(__file__).with_name("starters")

    def list(self) -> list[LibraryCard]:
        """Every card of the folder, then the starters that no card of the folder replaces, by name."""
        own = [_described(path, starter=False) for path in self._files(self.folder)]
        taken = {card.ref.casefold() for card in own}
        starters = [
            _described(path, starter=True)
            for path in self.starter_paths()
            if path.stem.casefold() not in taken
        ]
        return sorted([*own, *starters], key=lambda card: (card.name.casefold(), card.ref))

    def starter_paths(self) -> Sequence[Path]:
        """The cards that come with the program, by name."""
        return self._files(self.starters)

    def find(self, ref: str) -> Path:
        """The file that a REF means: a path, else a file's name or stem, else a card's name, in any case.

        The user's folder comes before the starters. Raises CardError naming what comes close.
        """
        if not ref.strip():
            raise CardError("missing", "no card was named; say a file or a card's name")
        path = Path(ref).expanduser()
        if _exists(path):
            return path
        wanted = ref.casefold()
        for folder in (self.folder, self.starters):
            for file in self._files(folder):
                if wanted in (file.name.casefold(), file.stem.casefold()):
                    return file
        cards = self.list()
        for card in cards:
            if card.name.casefold() == wanted and not card.error:
                return card.path
        raise CardError("missing", _not_found(ref, cards))

    @staticmethod
    def _files(folder: Path) -> Sequence[Path]:
        try:
            found = [path for path in folder.iterdir() if path.suffix.lower() in CARD_ENDINGS]
        except OSError:
            return []
        return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):
        return False


def _described(path: Path, *, starter: bool) -> LibraryCard:
    try:
        card, _ = read_card_file(path)
    except CardError as error:
        return LibraryCard(path.stem, path, path.stem, "", starter=starter, error=str(error))
    return LibraryCard(path.stem, path, card.name, card.spec, card.creator, tuple(card.tags), starter)


def _not_found(ref: str, cards: Sequence[LibraryCard]) -> str:
    if any(character in ref for character in "/\\"):
        return f"no such file: {ref}"
    names = {card.name.casefold(): card.name for card in cards} | {
        card.ref.casefold(): card.ref for card in cards
    }
    near = [names[name] for name in difflib.get_close_matches(ref.casefold(), names, 3, 0.5)]
    if near:
        return f"no file and no card is called {ref!r}; did you mean {', '.join(dict.fromkeys(near))}?"
    return f"no file and no card is called {ref!r}; `rpchat card list` shows all"


def read_file(path: Path) -> bytes:
    """The bytes of a regular file within the size limit; devices, pipes and folders are not opened. Raises
    CardError."""
    where = str(path)
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise CardError("directory", "this is a folder; name a card file in it", where)
        if not stat.S_ISREG(found.st_mode):
            raise CardError("not-a-file", "not a regular file", where)
        if found.st_size > limits.FILE:
            raise CardError("too-large", f"the file is over the limit of {limits.FILE // 2**20} MB", where)
        with path.open("rb") as file:
            data = file.read(limits.FILE + 1)
    except FileNotFoundError as error:
        raise CardError("missing", "no such file", where) from error
    except PermissionError as error:
        raise CardError("unreadable", "no permission to read this file", where) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CardError("unreadable", f"cannot be read: {reason}", where) from error
    return data


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file was when it was read, to notice that another program has written it since."""

    size: int
    modified: int
    """Nanoseconds."""
    digest: str


def file_state(path: Path) -> FileState | None:
    """The file as it is now, None when there is none. Raises CardError when it cannot be read."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CardError("unreadable", f"cannot be read: {error.strerror}", str(path)) from error
    return FileState(found.st_size, found.st_mtime_ns, hashlib.sha256(read_file(path)).hexdigest())


def save_file(
    path: Path, data: bytes, *, expected: FileState | None = None, backup: bool = True
) -> FileState:
    """Writes a card's file whole or not at all: the old one stays as `NAME.bak`, the new one takes its place
    at once.

    With `expected`, what the file was when it was read, nothing is written when its bytes have changed since:
    a CardError `changed` says so, and the caller asks whether to reload, overwrite or save under another
    name. Raises CardError for a full disk or a folder that cannot be written; the old file is then as it was.
    """
    where = str(path)
    if expected is not None:
        now = file_state(path)
        if now is None or now.digest != expected.digest:
            raise CardError(
                "changed", "another program has changed this file; reload, overwrite or save as", where
            )
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
            if backup:
                shutil.copy2(path, path.with_name(path.name + ".bak"))
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise CardError("unwritable", f"cannot be saved: {error.strerror or error}", where) from error
    state = file_state(path)
    if state is None:
        raise CardError("changed", "the file was removed while it was saved", where)
    return state

"""Changed cards back into their files: the container stays, the card as it was imported is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cards.card import Card
from cards.errors import CardError
from cards.library.files import FileState, file_state, save_file, set_aside
from cards.library.folder import CardLibrary, lasting
from cards.reading import read_card_file
from cards.writing import ExportFormat, dropped_bytes, export_card, own_form

__all__ = ["forget_original", "keep_original", "original_of", "retag", "retagged", "save_card"]

_ORIGINALS: Final = ".originals"
_ENDINGS: Final[Mapping[ExportFormat, tuple[str, ...]]] = {
    "png": (".png", ".apng"),
    "json": (".json",),
    "yaml": (".yaml", ".yml"),
    "charx": (".charx", ".jpg", ".jpeg", ".zip"),
    "md": (".md",),
}
_ONLY_READ: Final = {"webp": "a card in a WebP", "byaf": "Backyard's archive"}
_NAMES: Final = {"json": "JSON", "yaml": "YAML", "markdown": "Markdown"}

Notice = Callable[[str], None]
"""Told in one line what a save could not keep as it was."""


def _nobody(line: str) -> None:
    return


def save_card(
    library: CardLibrary,
    path: Path,
    card: Card,
    *,
    expected: FileState | None = None,
    now: int | None = None,
    notice: Notice = _nobody,
) -> Path:
    """Writes an edited card to its file and returns the path, which has another ending where the container
    had to change.

    An edited starter card is put into the library's folder, where it stands before the starter. `expected` is
    the file as it was when it was read: see `save_file`. `now` is the modification date, seconds since 1970.
    Raises CardError.
    """
    form = own_form(card)
    data = export_card(card, form, keep_private=True, now=now)
    keep_original(library, path)
    if library.is_starter(path):
        target = library.folder / path.name
        save_file(target, data)
        return target
    dropped = dropped_bytes(card, form)
    if dropped:
        notice(f"{path.name}: {dropped} bytes after the picture's end are left out; {path.name}.bak has them")
    first = card.original or card
    stays = own_form(first) == form and first.container not in _ONLY_READ
    if stays or path.suffix.lower() in _ENDINGS[form]:
        save_file(path, data, expected=expected)
        return path
    return _saved_beside(path, data, first, form, expected, notice)


def _saved_beside(
    path: Path, data: bytes, first: Card, form: ExportFormat, expected: FileState | None, notice: Notice
) -> Path:
    """Writes a card whose container had to change under another ending; the file before stays as `.bak`."""
    target = path.with_name(path.stem + _ENDINGS[form][0])
    if target.exists():
        raise CardError("taken", f"{target.name} is there already; move it away first", str(target))
    there = file_state(path)
    if expected is not None and (there is None or there.digest != expected.digest):
        raise CardError("changed", "another program has changed this file; reload or save as", str(path))
    save_file(target, data)
    if there is not None:
        set_aside(path)
        only_read = _ONLY_READ.get(first.container)
        why = (
            f"{only_read} is only read"
            if only_read
            else f"{_NAMES.get(first.container, first.container)} holds no picture"
        )
        notice(f"{path.name} is now {target.name}, for {why}; the file before is {path.name}.bak")
    return target


def keep_original(library: CardLibrary, path: Path) -> None:
    """Keeps a library's card as it is now, unless it has been kept before."""
    if library.ref_of(path) is None or not path.exists() or original_of(library, path) is not None:
        return
    folder = library.folder / _ORIGINALS
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(path, folder / path.name)
    except OSError as error:
        raise CardError("unwritable", f"the original cannot be kept: {error.strerror}", str(path)) from error


def original_of(library: CardLibrary, path: Path) -> Path | None:
    """The card as it was before rpchat first changed it; None when it never did."""
    return next(iter(_kept(library.folder, path)), None)


def forget_original(path: Path) -> None:
    """What was kept of a card that another one replaces."""
    for file in _kept(path.parent, path):
        file.unlink(missing_ok=True)


def _kept(folder: Path, path: Path) -> list[Path]:
    """What is kept of the card in a file, also where the file has got another name since."""
    try:
        names = sorted(os.listdir(folder / _ORIGINALS))
    except OSError:
        return []
    wanted = lasting(path.stem)
    return [folder / _ORIGINALS / name for name in names if lasting(Path(name).stem) == wanted]


def retagged(
    card: Card,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Card:
    """The card with tags added, removed and renamed, in any case and each only once; the same card when
    nothing changes."""
    new_names = {old.strip().casefold(): new.strip() for old, new in (rename or {}).items()}
    unwanted = {tag.strip().casefold() for tag in remove}
    tags: dict[str, str] = {}
    for tag in (*card.tags, *(tag.strip() for tag in add)):
        name = new_names.get(tag.strip().casefold(), tag)
        if name and name.strip().casefold() not in unwanted:
            tags.setdefault(name.strip().casefold(), name)
    changed = list(tags.values())
    return card if changed == card.tags else card.edited("tags", changed)


def retag(
    library: CardLibrary,
    paths: Sequence[Path],
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    now: int | None = None,
    notice: Notice = _nobody,
) -> list[Path]:
    """Changes the tags of a selection of cards; the files that changed. Raises CardError at the first that
    cannot be read or saved."""
    changed: list[Path] = []
    for path in paths:
        state = file_state(path)
        card = read_card_file(path)[0]
        tagged = retagged(card, add=add, remove=remove, rename=rename)
        if tagged is not card:
            changed.append(save_card(library, path, tagged, expected=state, now=now, notice=notice))
    return changed

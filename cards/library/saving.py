"""Changed cards back into their files: the container stays, the card as it was imported is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cards.card import Card, Container
from cards.errors import CardError
from cards.library.files import FileState, file_state, save_file, set_aside
from cards.library.folder import CardLibrary
from cards.reading import read_card_file
from cards.writing import ExportFormat, export_card

__all__ = ["forget_original", "keep_original", "original_of", "retag", "retagged", "save_card"]

_ORIGINALS: Final = ".originals"
_FORMS: Final[Mapping[Container, ExportFormat]] = {
    "png": "png",
    "json": "json",
    "yaml": "yaml",
    "charx": "charx",
    "jpeg": "charx",
    "markdown": "md",
    # Containers that are read only: what is edited becomes a PNG.
    "webp": "png",
    "byaf": "png",
}
_ENDINGS: Final[Mapping[ExportFormat, tuple[str, ...]]] = {
    "png": (".png", ".apng"),
    "json": (".json",),
    "yaml": (".yaml", ".yml"),
    "charx": (".charx", ".jpg", ".jpeg", ".zip"),
    "md": (".md",),
}


def save_card(
    library: CardLibrary,
    path: Path,
    card: Card,
    *,
    expected: FileState | None = None,
    now: int | None = None,
) -> Path:
    """Writes an edited card to its file and returns the path, which has another ending where the container
    had to change.

    An edited starter card is put into the library's folder, where it stands before the starter. `expected` is
    the file as it was when it was read: see `save_file`. `now` is the modification date, seconds since 1970.
    Raises CardError.
    """
    form = _FORMS[card.container]
    data = export_card(card, form, keep_private=True, now=now)
    keep_original(library, path)
    if library.is_starter(path):
        target = library.folder / path.name
        save_file(target, data)
        return target
    first = card.original or card
    stays = _FORMS[first.container] == form and first.container not in ("webp", "byaf")
    if stays or path.suffix.lower() in _ENDINGS[form]:
        save_file(path, data, expected=expected)
        return path
    target = path.with_name(path.stem + _ENDINGS[form][0])
    if target.exists():
        raise CardError("taken", f"{target.name} is there already; move it away first", str(target))
    if expected is not None and (now_there := file_state(path)) is not None and now_there != expected:
        raise CardError("changed", "another program has changed this file; reload or save as", str(path))
    save_file(target, data)
    set_aside(path)
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
    kept = sorted((library.folder / _ORIGINALS).glob("*"))
    return next((file for file in kept if file.stem == path.stem), None)


def forget_original(path: Path) -> None:
    """What was kept of a card that another one replaces."""
    for file in (path.parent / _ORIGINALS).glob("*"):
        if file.stem == path.stem:
            file.unlink(missing_ok=True)


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
) -> list[Path]:
    """Changes the tags of a selection of cards; the files that changed. Raises CardError at the first that
    cannot be read or saved."""
    changed: list[Path] = []
    for path in paths:
        state = file_state(path)
        card = read_card_file(path)[0]
        tagged = retagged(card, add=add, remove=remove, rename=rename)
        if tagged is not card:
            changed.append(save_card(library, path, tagged, expected=state, now=now))
    return changed

"""File names from card names: safe on every system, never a path, never silently another file; and paths as
people write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Final

from cards import limits
from cards.display import display_text

__all__ = ["LIBRARY_ID", "expanded", "export_name", "free_name", "plain_stem"]

LIBRARY_ID: Final = re.compile(r"~([0-9a-hjkmnp-tv-z]{8})$")
"""What the library puts behind a file's stem: the card's id, in Crockford's base 32."""

_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")


def expanded(path: Path | str) -> Path:
    """The path with `~` written out; as it is where `~word` names nobody's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def plain_stem(filename: str) -> str:
    """A file's stem without the library's id: what a card without a name is called by."""
    return LIBRARY_ID.sub("", PurePath(filename).stem)


def export_name(name: str) -> str:
    """A file's stem for a card of this name: composed, without controls, separators and reserved words, at
    most `limits.EXPORT_NAME` bytes, never empty."""
    stem = unicodedata.normalize("NFC", display_text(name, single_line=True))
    stem = _FORBIDDEN.sub("_", stem)
    stem = stem.encode()[: limits.EXPORT_NAME].decode(errors="ignore").strip(". ")
    if not stem.strip("_. "):
        return "card"
    return f"_{stem}" if _RESERVED.fullmatch(stem) else stem


def free_name(stem: str, ending: str, taken: Callable[[str], bool]) -> str:
    """`stem.ending`, or with the first number that is not `taken`: `stem (2).ending`."""
    name = f"{stem}{ending}"
    number = 2
    while taken(name):
        name = f"{stem} ({number}){ending}"
        number += 1
    return name

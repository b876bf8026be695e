"""What the verbs of `rpchat card` share: the library at hand, and a card in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cards.card import Card
    from cards.errors import CardWarning
    from cards.library import CardLibrary


def at_hand() -> CardLibrary:
    """The user's cards, the starters behind them."""
    from cards.library import CardLibrary
    from chat.settings import Folders

    return CardLibrary(Folders.find().cards)


def card_at(library: CardLibrary, ref: str) -> tuple[Path, Card, list[CardWarning]]:
    """The card that a REF means. Raises CardError."""
    from cards.reading import read_card_file

    path = library.find(ref)
    card, warnings = read_card_file(path)
    return path, card, warnings


def row(
    path: Path,
    ref: str | None,
    name: str = "",
    spec: str = "",
    warnings: Iterable[CardWarning] = (),
    error: str | None = None,
) -> dict[str, Any]:
    """A card's row in the JSON of `check` and `import`."""
    return {
        "path": str(path),
        "ref": ref,
        "name": name or None,
        "spec": spec or None,
        "warnings": [str(warning) for warning in warnings],
        "error": error,
    }


def can_ask() -> bool:
    """Whether somebody sits there who can be asked."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())

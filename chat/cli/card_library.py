"""What the verbs of `rpchat card` share: the library at hand, and a card in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cards.card import Card
    from cards.errors import CardError, CardWarning
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


def named(name: str) -> str:
    """A card's name for a line: never two lines, never longer than a line."""
    from cards import limits
    from cards.display import display_text

    return display_text(name, single_line=True, limit=limits.NAME_CELLS)


def write_line(text: str) -> None:
    """One line for people on stdout, also where a file's name would make two of it."""
    from cards.display import display_text
    from chat.cli.printing import write

    write(display_text(text, single_line=True))


def counted(count: int, one: str, many: str = "") -> str:
    """`1 card`, `2 cards`; `many` where an s does not do."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def nothing_in(paths: Iterable[Path]) -> str:
    """What is said of folders in which no card lies."""
    return f"no card in {', '.join(map(str, paths))}"


def row(
    path: Path,
    ref: str | None,
    name: str = "",
    spec: str = "",
    warnings: Iterable[CardWarning] = (),
    error: CardError | None = None,
) -> dict[str, Any]:
    """A card's row in the JSON of `check` and `import`."""
    return {
        "path": str(path),
        "ref": ref,
        "name": name or None,
        "spec": spec or None,
        "warnings": [_finding(warning) for warning in warnings],
        "error": _finding(error) if error else None,
    }


def _finding(found: CardWarning | CardError) -> dict[str, Any]:
    """What was found, for programs: a code, where it is in the document and in the text, and the words."""
    return {
        "code": found.code,
        "field": getattr(found, "field", "") or None,
        "message": found.message,
        "line": found.line,
        "column": found.column,
    }


def can_ask() -> bool:
    """Whether somebody sits there who can be asked."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())

"""Programs inside a card: other programs run them; rpchat keeps them where they are and never does."""

from __future__ import annotations

from typing import Any, Final

from cards.card import Card
from cards.errors import CardWarning
from cards.paths import value_at

__all__ = ["script_warnings"]

_SCRIPTS: Final = {
    ("regex_scripts",): "text replacements of SillyTavern",
    ("TavernHelper_scripts",): "scripts of TavernHelper",
    ("tavern_helper",): "scripts of TavernHelper",
    ("risuai", "triggerscript"): "scripts of RisuAI",
    ("risuai", "virtualscript"): "scripts of RisuAI",
    ("risuai", "customScripts"): "text replacements of RisuAI",
}


def script_warnings(card: Card) -> list[CardWarning]:
    """A notice for each kind of script in a card's extensions."""
    found: list[CardWarning] = []
    for path, what in _SCRIPTS.items():
        value: Any = value_at(card.document, (*card.shape.fields, "extensions", *path))
        if value:
            place = ".".join((*card.shape.fields, "extensions", *path))
            found.append(CardWarning("scripts", f"{what}: kept, and never run", place))
    return found

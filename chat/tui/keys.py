"""Keys that Textual 8.2.8 does not tell apart or does not type."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Any, cast

from textual import _ansi_sequences, events
from textual.widgets import Input


class MoreKeys(StrEnum):
    """Keys beside `textual.keys.Keys`."""

    AltEnter = "alt+enter"


def teach_alt_enter() -> None:
    """Terminals without the Kitty protocol send Alt+Enter as ESC CR, which Textual reads as Enter: it would
    send."""
    sequences = cast("dict[str, Any]", _ansi_sequences.ANSI_SEQUENCES_KEYS)
    sequences.setdefault("\x1b\r", (MoreKeys.AltEnter,))


def unprinted(event: events.Key) -> str:
    """A typed character that Textual's own fields pass over, since Python calls it unprintable; else nothing.

    Joiners and non-joiners (emoji, Persian, Hindi), marks of direction, spaces other than the common one, and
    whatever is newer than this Python's Unicode tables belong to a text. Controls and lone surrogates do not.
    """
    character = event.character
    if character is None or len(character) != 1 or character.isprintable() or "+" in event.key:
        return ""
    return "" if unicodedata.category(character) in ("Cc", "Cs") else character


class Field(Input):
    """An Input that takes the characters that `unprinted` finds, too."""

    async def _on_key(self, event: events.Key) -> None:
        if character := unprinted(event):
            event.stop()
            event.prevent_default()
            self.insert_text_at_cursor(character)

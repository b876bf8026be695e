"""A key that Textual 8.2.8 does not tell apart."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, cast

from textual import _ansi_sequences


class MoreKeys(StrEnum):
    """Keys beside `textual.keys.Keys`."""

    AltEnter = "alt+enter"


def teach_alt_enter() -> None:
    """Terminals without the Kitty protocol send Alt+Enter as ESC CR, which Textual reads as Enter: it would
    send."""
    sequences = cast("dict[str, Any]", _ansi_sequences.ANSI_SEQUENCES_KEYS)
    sequences.setdefault("\x1b\r", (MoreKeys.AltEnter,))

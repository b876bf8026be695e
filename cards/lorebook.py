"""Lorebooks: the value, and which entries fire on a chat, each with its reason."""

from cards.activation import activate
from cards.book import Lorebook
from cards.lore_entry import Entry
from cards.lore_timers import (
    Timer,
    Timers,
    keeps_time,
    replayed,
)
from cards.lore_values import Activation, Fired, LoreScene, LoreSettings, Skipped

__all__ = [
    "Activation",
    "Entry",
    "Fired",
    "LoreScene",
    "LoreSettings",
    "Lorebook",
    "Skipped",
    "Timer",
    "Timers",
    "activate",
    "keeps_time",
    "replayed",
]

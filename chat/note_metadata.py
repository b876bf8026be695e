"""The author's note as SillyTavern keeps it with a chat, in `chat_metadata`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chat.rows import storable
from presets.prompt_options import PROMPT_OPTIONS, PromptOptions

__all__ = ["note_metadata", "note_options"]

_ROLES: Final = ("system", "user", "char")
"""By SillyTavern's number."""

_IN_CHAT: Final = 1
"""`note_position`: between the messages."""


def note_options(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The options of the note in a chat's metadata; empty without a note. What cannot be is left out.

    A note that SillyTavern keeps out of every prompt (interval 0) is none.
    """
    text = metadata.get("note_prompt")
    if not isinstance(text, str) or not text.strip() or metadata.get("note_interval") == 0:
        return {}
    options = {"note": storable(text)}
    for name in ("note_depth", "note_interval"):
        value = metadata.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and str(value) in PROMPT_OPTIONS[name]:
            options[name] = str(value)
    role = metadata.get("note_role")
    if isinstance(role, int) and 0 <= role < len(_ROLES):
        options["note_role"] = _ROLES[role]
    return options


def note_metadata(options: Mapping[str, str]) -> dict[str, Any]:
    """What `note_options` reads; empty without a note."""
    note = PromptOptions.read(options).note
    if not note.text:
        return {}
    return {
        "note_prompt": note.text,
        "note_interval": note.interval,
        "note_position": _IN_CHAT,
        "note_depth": note.depth,
        "note_role": _ROLES.index(note.role),
    }

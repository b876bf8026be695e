"""Messages about the saved state of a chat, and the worker's signs of life."""

from __future__ import annotations

from typing import Literal

from chat.engine.lines import Line

Skipped = Literal["", "empty", "unchanged", "quick", "slow", "quota", "disk"]


class SaveState(Line):
    """Writes the chat's sequence to a file, from which another process may go on."""

    op: Literal["save_state"] = "save_state"
    id: int
    folder: str
    """Of all saved states; made when it is not there."""
    chat: str
    """Names the file, with what the state depends on."""
    quota: int | None = None
    """Bytes that all files may take; None: 8 GB, or a tenth of what the disk has left for them."""
    within: float | None = None
    """Seconds that it may take, as far as can be foreseen."""


class StateSaved(Line):
    """What became of a SaveState."""

    op: Literal["state_saved"] = "state_saved"
    id: int
    tokens: int = 0
    bytes: int = 0
    seconds: float = 0.0
    skipped: Skipped = ""
    """Why nothing was written: nothing is there, all of it is in the file already, reading it again is as
    quick, it would take too long, it is larger than the quota, the disk or llama.cpp refuses."""
    problem: str = ""
    """One line that the person should see."""


class RestoreState(Line):
    """Reads the chat's sequence from its file, where that is for this very model."""

    op: Literal["restore_state"] = "restore_state"
    id: int
    folder: str
    chat: str


class StateRestored(Line):
    """What became of a RestoreState."""

    op: Literal["state_restored"] = "state_restored"
    id: int
    tokens: int = 0
    """Tokens that stand in the cache because of it; 0: there was no file, or none for this model."""
    seconds: float = 0.0


class Ping(Line):
    """Asks for a sign of life; answered at once, whatever the worker is doing."""

    op: Literal["ping"] = "ping"


class Pong(Line):
    op: Literal["pong"] = "pong"
    id: None = None

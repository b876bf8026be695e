"""Lorebooks of few words, and what comes of looking for their keys."""

from __future__ import annotations

from random import Random
from typing import Any

from cards.lorebook import Activation, Lorebook, activate

HERE = "Ann: I saw a dragon."


def book(*entries: dict[str, Any], **more: Any) -> Lorebook:
    """Entries named e0, e1 ... with key `dragon`, unless they say otherwise."""
    listed = [
        {"keys": ["dragon"], "content": f"text {n}", "name": f"e{n}", "insertion_order": n, **entry}
        for n, entry in enumerate(entries)
    ]
    return Lorebook.read({"entries": listed, "recursive_scanning": False, **more})


def ext(**values: Any) -> dict[str, Any]:
    return {"extensions": values}


def scan(lore: Lorebook | list[Lorebook], *messages: str, **more: Any) -> Activation:
    return activate(lore, messages or (HERE,), **{"dice": Random(3), **more})


def fired(result: Activation) -> list[str]:
    return [one.entry.name for one in result.fired]


def why(result: Activation) -> dict[str, str]:
    return {one.entry.name: one.why for one in result.skipped}

"""The turns of a SillyTavern chat file (.jsonl): a header line, then one message a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from presets.values import Role, Turn


def read_turns(path: Path) -> list[Turn]:
    """The chat's turns, hidden messages left out; names come from the card and the user."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path}: not UTF-8 text; a SillyTavern chat is a .jsonl file") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    turns = []
    for number, line in enumerate(lines, 1):
        row = _row(path, number, line) if line.strip() else {}
        if isinstance(row.get("mes"), str) and row.get("is_system") is not True:
            turns.append(Turn(_role(row), "", row["mes"], f"{path.name} line {number}"))
    return turns


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{path}: line {number} is not JSON; a chat is a .jsonl file") from error
    if not isinstance(row, dict):
        raise click.ClickException(f"{path}: line {number} is no message; a chat is a .jsonl file")
    return row


def _role(row: dict[str, Any]) -> Role:
    extra = row.get("extra")
    if isinstance(extra, dict) and extra.get("type") == "narrator":
        return "system"
    return "user" if row.get("is_user") is True else "char"

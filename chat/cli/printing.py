"""What the command line writes: text for people passes `display_text`, JSON keeps every character."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from cards.display import cells, display_text

# Characters that JSON may hold bare but that a terminal acts on, or that UTF-8 cannot hold: written as
# escapes, they mean the same to every JSON reader.
_ESCAPED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]")


def write(text: str) -> None:
    """Lines for people on stdout."""
    click.echo(display_text(text))


def warn(text: str) -> None:
    """One line for people on stderr."""
    click.echo(f"rpchat: {display_text(text, single_line=True)}", err=True)


def write_json(value: Any) -> None:
    """A value as JSON, indented, UTF-8 whatever the locale says."""
    text = _ESCAPED.sub(_escape, json.dumps(value, ensure_ascii=False, indent=2, default=str))
    click.echo(text.encode("utf-8"))


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]


def write_table(rows: Iterable[Sequence[str]], *, empty: str = "") -> None:
    """Rows in columns, each cell on one line; `empty` when there are none."""
    shown = [[display_text(cell, single_line=True) for cell in row] for row in rows]
    if not shown:
        write(empty)
        return
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        padded = [cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())


def stream(text: str) -> None:
    """A piece of a text, at once; control characters show one by one, so a split escape is harmless too."""
    if text:
        click.echo(display_text(text), nl=False)
        sys.stdout.flush()

"""A line on stderr that shows how far something is; where no terminal is, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cards.display import display_text

__all__ = ["ProgressLine", "progress_line"]

EVERY = 0.1
"""Seconds between two drawings in a terminal."""
SELDOM = 5.0
"""Seconds between two lines in a log."""


class ProgressLine:
    """`downloading x.gguf: 34 %, 1.4 of 4.1 GB, 25 MB/s`, drawn over itself in a terminal."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._shown = sys.stderr.isatty()
        self._drawn = 0.0 if self._shown else time.monotonic()
        self._width = 0
        self._begun: tuple[float, int] | None = None

    def count(self, done: int, total: int) -> None:
        """So many things of so many."""
        self._draw(f"{self.what}: {done} of {total}", done >= total)

    def size(self, doing: str, done: int, total: int) -> None:
        """So many bytes of so many, and how quickly they come."""
        now = time.monotonic()
        if self._begun is None or self._begun[1] > done:
            self._begun = (now, done)
        seconds, bytes_since = now - self._begun[0], done - self._begun[1]
        rate = f", {bytes_since / seconds / 1e6:.1f} MB/s" if seconds > 1 else ""
        part = f"{100 * done // total if total else 100} %, {done / 1e9:.2f} of {total / 1e9:.2f} GB"
        self._draw(f"{doing} {self.what}: {part}{rate}", done >= total)

    def clear(self) -> None:
        """Leave the terminal's line empty."""
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0

    def _draw(self, text: str, at_once: bool) -> None:
        now = time.monotonic()
        if now - self._drawn < (EVERY if self._shown else SELDOM) and not (self._shown and at_once):
            return
        self._drawn = now
        text = display_text(text, single_line=True)
        if not self._shown:
            click.echo(text, err=True)
            return
        click.echo("\r" + text.ljust(self._width), nl=False, err=True)
        self._width = max(self._width, len(text))


@contextmanager
def progress_line(what: str) -> Iterator[ProgressLine]:
    """A line that is gone at the end, also after an error."""
    line = ProgressLine(what)
    try:
        yield line
    finally:
        line.clear()

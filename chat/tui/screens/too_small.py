"""What a terminal gets that is too small for anything else."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Static

SMALLEST = Size(40, 10)


def is_too_small(size: Size) -> bool:
    """Below the smallest size in one direction."""
    return size.width < SMALLEST.width or size.height < SMALLEST.height


class TooSmall(Screen[None]):
    """Says so, with the size there is and the size it takes; goes away when there is room."""

    DEFAULT_CSS = """
    TooSmall { align: center middle; overflow: hidden; }
    TooSmall > Static { width: auto; max-width: 100%; height: auto; }
    """

    def compose(self) -> ComposeResult:
        """Two short lines."""
        yield Static()

    def on_mount(self) -> None:
        """Show the sizes."""
        self.on_resize()

    def on_resize(self) -> None:
        """The size there is now."""
        size = self.app.size
        text = f"Too small: {size.width}x{size.height}\nrpchat needs {SMALLEST.width}x{SMALLEST.height}"
        self.query_one(Static).update(Content(text))

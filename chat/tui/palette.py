"""The transcript's colours, read from its component classes, so that any theme and any stylesheet can
change them."""

from __future__ import annotations

from typing import get_args

from rich.style import Style
from textual.widget import Widget

from chat.tui.blocks import Ink, Palette
from chat.tui.markup import Kind

_NAMES: tuple[Ink | Kind, ...] = (*get_args(Ink), *get_args(Kind))

COMPONENTS = {f"transcript--{name}" for name in _NAMES if name != "base"}


def palette(widget: Widget) -> Palette:
    """The styles in force; inline kinds are partial so that they can be laid over one another."""
    partial = set(get_args(Kind)) | {"selection"}
    styles: dict[Ink | Kind, Style] = {"base": widget.rich_style}
    for name in _NAMES:
        if name != "base":
            styles[name] = widget.get_component_rich_style(f"transcript--{name}", partial=name in partial)
    return styles

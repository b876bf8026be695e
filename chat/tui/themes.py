"""Our theme, its sixteen-colour twin, and the chat's own colours for every theme that Textual brings
along."""

from __future__ import annotations

import os

from rich.console import Console
from textual.color import Color
from textual.theme import Theme

from chat.tui.portrait import Colours

RPCHAT = Theme(
    name="rpchat",
    primary="#d9a066",
    secondary="#83b5c6",
    accent="#d9a066",
    warning="#d9a066",
    error="#d4716f",
    success="#8fb573",
    foreground="#bfc3d0",
    background="#13141a",
    surface="#1b1d25",
    panel="#191b22",
    dark=True,
    variables={
        "character": "#d9a066",
        "person": "#83b5c6",
        "speech": "#f1ead9",
        "action": "#8e93a8",
        "code": "#a3be8c",
        "note": "#7d8296",
        "rule": "#343844",
        "block-cursor-background": "#2b2e3a",
        "block-cursor-foreground": "#f1ead9",
        "block-cursor-text-style": "none",
        "border": "#d9a066",
        "border-blurred": "#343844",
        "input-selection-background": "#d9a066 35%",
        "screen-selection-background": "#d9a066 30%",
    },
)
"""Night and lamplight: one warm accent, speech bright, actions dim."""

SIXTEEN = Theme(
    name="rpchat-16",
    ansi=True,
    primary="ansi_yellow",
    secondary="ansi_cyan",
    accent="ansi_yellow",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        "character": "ansi_yellow",
        "person": "ansi_cyan",
        "speech": "ansi_bright_white",
        "action": "ansi_default",
        "code": "ansi_green",
        "note": "ansi_default",
        "rule": "ansi_bright_black",
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border": "ansi_yellow",
        "border-blurred": "ansi_bright_black",
        "block-cursor-background": "ansi_white",
        "block-cursor-foreground": "ansi_black",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-selection-background": "ansi_white",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_white",
        "screen-selection-foreground": "ansi_black",
    },
)
"""The terminal's own sixteen colours, for terminals that have no more and for NO_COLOR."""


def chat_colours(theme: Theme, variables: dict[str, str]) -> dict[str, str]:
    """The chat's colours for a theme that does not name them, made from those it does."""
    if theme.ansi:
        return {name: SIXTEEN.variables[name] for name in _OWN}
    foreground = Color.parse(variables["foreground"])
    background = Color.parse(variables["background"])
    brightest = Color.parse("#ffffff" if theme.dark else "#000000")
    named = {
        "character": Color.parse(variables["accent"]),
        "person": Color.parse(variables["secondary"] if theme.secondary else variables["primary"]),
    }
    if not theme.dark:  # accents are made to shine on dark ground
        named = {name: colour.blend(brightest, 0.4) for name, colour in named.items()}
    return {
        **{name: colour.hex6 for name, colour in named.items()},
        "speech": foreground.blend(brightest, 0.6).hex6,
        "action": background.blend(foreground, 0.65).hex6,
        "code": variables["success"],
        "note": background.blend(foreground, 0.55).hex6,
        "rule": background.blend(foreground, 0.2).hex6,
    }


_OWN = ("character", "person", "speech", "action", "code", "note", "rule")


def colours_of(color_system: str | None, no_color: bool) -> Colours:
    """What a portrait may use on a terminal with this Rich colour system."""
    if no_color or color_system is None:
        return "none"
    return "ansi" if color_system in ("standard", "windows") else "full"


def few_colours() -> bool:
    """NO_COLOR, or a terminal that says it has no more than sixteen."""
    return bool(os.environ.get("NO_COLOR")) or Console().color_system in ("standard", "windows", None)

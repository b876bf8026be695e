"""The last line of the screen: mode, model and device, format, context, speed, and what the last turn
read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from cards.display import display_text

EngineState = Literal["none", "starting", "loading", "ready", "down", "failed"]
BAR = 8
"""Cells of the context bar."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the line tells; counts in tokens."""

    mode: Literal["write", "edit", "read"] = "write"
    engine: EngineState = "none"
    model: str = ""
    device: str = ""
    """`GPU`, `CPU`, or both with their layers."""
    format: str = ""
    loaded_fraction: float = 0.0
    context_used: int | None = None
    context: int | None = None
    reading: tuple[int, int] | None = None
    """Prompt tokens read of those to read, while a prompt is read."""
    writing: bool = False
    speed: float | None = None
    """Tokens a second of the last reply."""
    read: int | None = None
    """Prompt tokens that the last turn read."""
    reused: int | None = None
    """Prompt tokens that it found in the cache."""


def number(value: int) -> str:
    """`2 911`."""
    return f"{value:,}".replace(",", " ")


def bar(fraction: float, cells: int = BAR) -> str:
    """`███░░░░░`."""
    filled = min(cells, max(0, round(fraction * cells)))
    return "█" * filled + "░" * (cells - filled)


class StatusLine(Widget):
    """Shows a Status; what does not fit is left out, least needed first."""

    DEFAULT_CSS = """
    StatusLine { height: 1; width: 100%; background: $panel; color: $note; }
    StatusLine:ansi { text-style: dim; }
    """
    status: reactive[Status] = reactive(Status())

    def change(self, **changes: object) -> None:
        """Replace some of the fields."""
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]

    def render(self) -> Content:
        """The line at the present width."""
        return status_content(self.status, self.size.width)


_MODES = {"write": " WRITE ", "edit": " EDIT ", "read": " READ "}


def status_content(status: Status, width: int) -> Content:
    """The line at a width in cells."""
    chip = Content.styled(
        _MODES[status.mode], "bold $accent" if status.mode == "write" else "bold reverse $accent"
    )
    left, right = _left(status, width), _right(status)
    room = width - cell_len(chip.plain) - 1
    while _cells(left) + _cells(right) + 2 > room and (left or right):
        weakest = max([*left, *right], key=lambda part: part.rank)
        (left if weakest in left else right).remove(weakest)
    left_text = " · ".join(part.text for part in left)
    right_text = "   ".join(part.text for part in right)
    gap = max(1, room - cell_len(left_text) - cell_len(right_text) - 1)
    return Content.assemble(chip, " ", left_text, " " * gap, right_text, " ")


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    rank: int
    """The higher, the sooner it is left out."""


def _cells(parts: list[_Part]) -> int:
    return sum(cell_len(part.text) + 3 for part in parts)


def _left(status: Status, width: int) -> list[_Part]:
    model = display_text(status.model, single_line=True, limit=22 if width < 140 else 36)
    if status.engine == "none":
        return [_Part("no model", 1)]
    if status.engine in ("failed", "down"):
        return [_Part("model not running", 1), _Part(model, 4)]
    if status.engine in ("starting", "loading"):
        share = f"loading {bar(status.loaded_fraction)} {status.loaded_fraction:.0%}"
        return [_Part(share, 1), _Part(model, 2), _Part(display_text(status.format, single_line=True), 7)]
    parts = [_Part(model, 6), _Part(display_text(status.device, single_line=True, limit=24), 5)]
    return [part for part in [*parts, _Part(display_text(status.format, single_line=True), 7)] if part.text]


def _right(status: Status) -> list[_Part]:
    parts = []
    if status.reading is not None and status.reading[1]:
        done, total = status.reading
        parts.append(_Part(f"reading {number(done)} of {number(total)}", 1))
    elif status.writing:
        parts.append(_Part("writing", 3))
    elif status.read is not None:
        parts.append(_Part(f"read {number(status.read)} new, {number(status.reused or 0)} reused", 4))
    if status.speed is not None and status.reading is None:
        parts.append(
            _Part(
                f"{number(round(status.speed))} tok/s" if status.speed >= 10 else f"{status.speed:.1f} tok/s",
                3,
            )
        )
    if status.context:
        used = status.context_used or 0
        parts.append(_Part(f"ctx {bar(used / status.context)} {number(used)}/{number(status.context)}", 2))
    return parts

"""The last line of the screen: mode, model and device, format, context, speed, and what the last turn
read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from cards.display import display_text
from chat.breaks import shown

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
    broken_at: int | None = None
    """Token at which its prompt left what was read before."""
    broken_by: str = ""
    """What stands there: `lore Eldoria/tower`."""


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
CHIP = max(map(len, _MODES.values()))
PART = " · "
GAP = 3
"""Cells between the pieces on the right."""
LONGEST_PLACE = 32
"""Cells for what stands where a prompt broke."""
SHORTEST_MODEL = 8
"""Cells of a model's name that still say something."""


def status_content(status: Status, width: int) -> Content:
    """The line at a width in cells.

    The left side is laid out for the longest right side that the width has room for, so that it stands still
    while replies come and go. The model's name is shortened before anything goes; then hints go, then what
    the turn cost, the speed and the name; the device, the format and the context stay longest.
    """
    chip = Content.styled(
        _MODES[status.mode].ljust(CHIP), "bold $accent" if status.mode == "write" else "bold reverse $accent"
    )
    room = width - CHIP - 2
    left = _left(status, room)
    right = _right(status, room - cell_len(left) - (2 if left else 0))
    gap = max(1, room - cell_len(left) - cell_len(right))
    return Content.assemble(chip, " ", left, " " * gap, right, " ")


def _left(status: Status, room: int) -> str:
    """Model, device and format, in so many cells beside what is needed on the right."""
    model = display_text(status.model, single_line=True)
    format = display_text(status.format, single_line=True, limit=24)
    before, after = "", [display_text(status.device, single_line=True, limit=24), format]
    if status.engine == "none":
        return "no model"
    if status.engine in ("failed", "down"):
        before, after = "model not running", [format]
    elif status.engine in ("starting", "loading"):
        before, after = f"loading {bar(status.loaded_fraction)} {status.loaded_fraction:.0%}", [format]
    fixed = [part for part in [before, *after] if part]
    for reserved in _reserves(status):
        cells = room - reserved - 2
        name = cells - sum(cell_len(part) + len(PART) for part in fixed)
        if model and name >= min(cell_len(model), SHORTEST_MODEL):
            shown = display_text(model, single_line=True, limit=name)
            return PART.join(part for part in (before, shown, *after) if part)
        if not model and name + len(PART) >= 0:
            break
    cells = room - _context_cells(status) - 2
    while len(fixed) > 1 and cell_len(PART.join(fixed)) > cells:
        fixed.pop(0 if not before else -1)
    return display_text(PART.join(fixed), single_line=True, limit=max(cells, 0))


def _reserves(status: Status) -> Iterator[int]:
    """Cells that the right side may need, from all that it could tell to the least that it should."""
    context, speed = _context_cells(status), len("100 tok/s") + GAP
    if not context:
        yield 0
        return
    yield context + speed + len("read 1 999 new, 9 999 reused") + GAP
    yield context + len("reading 1 999 of 9 999") + GAP
    yield context + speed


def _context_cells(status: Status) -> int:
    return 2 * len(number(status.context)) + len("ctx /") if status.context else 0


def _right(status: Status, room: int) -> str:
    """The most that fits of activity, speed and context."""
    long, middle, short = _activity(status)
    speed = "" if status.speed is None or status.reading is not None else _speed(status.speed)
    context, drawn = _context(status, drawn=False), _context(status, drawn=True)
    for pieces in (
        (long, speed, drawn),
        (long, speed, context),
        (middle, speed, context),
        (short, speed, context),
        (speed, context),
        (short, context),
    ):
        text = (" " * GAP).join(piece for piece in pieces if piece)
        if cell_len(text) <= room:
            return text
    return context


def _activity(status: Status) -> tuple[str, str, str]:
    """What is being done, or what the last turn read and why it was so much; long, shorter and short."""
    if status.reading is not None and status.reading[1]:
        done, total = status.reading
        share = f"reading {done / total:.0%}"
        return f"reading {number(done)} of {number(total)}", share, share
    if status.writing:
        return "writing", "writing", "writing"
    if status.read is not None:
        new = f"read {number(status.read)} new"
        whole = f"{new}, {number(status.reused or 0)} reused"
        if status.broken_at is None or not status.broken_by:
            return whole, new, new
        place = display_text(shown(status.broken_by), single_line=True, limit=LONGEST_PLACE)
        return f"{whole}, broke at {number(status.broken_at)}: {place}", f"{new}: {place}", new
    return "", "", ""


def _speed(speed: float) -> str:
    return f"{number(round(speed))} tok/s" if speed >= 10 else f"{speed:.1f} tok/s"


def _context(status: Status, *, drawn: bool) -> str:
    """Tokens of the context that are used, with a bar; a dash while nobody has counted them."""
    if not status.context:
        return ""
    used = status.context_used
    share = f"{bar((used or 0) / status.context)} " if drawn else ""
    return f"ctx {share}{'–' if used is None else number(used)}/{number(status.context)}"

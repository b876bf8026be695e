"""The sampler inspector: for each token of a reply, the best candidates before and after each sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from cards.display import cells, display_text
from chat.engine.protocol import Candidate, SamplerStep, TokenProbs
from chat.inspector import BEST

WIDTH = 108
"""Cells of the page with its frame, at most."""
BESIDE = 90
"""From this width on the samplers stand in a column of their own."""
COLUMN = 30
PAGE = 10
"""Tokens that Page Up and Page Down go."""
_IN_LINE = str.maketrans({"\n": "⏎", "\t": "⇥", "\r": "␍"})
_VISIBLE = {**_IN_LINE, ord(" "): "␣"}


class InspectorScreen(ModalScreen[None]):
    """Left and right walk the reply's tokens, up and down the samplers."""

    DEFAULT_CSS = """
    InspectorScreen {
        align: center middle;
        & > Vertical {
            width: 108; max-width: 100%; height: auto; max-height: 100%;
            padding: 0 1; border: round $rule; background: $background;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c,enter", "dismiss", show=False, priority=True),
        Binding("left,h", "token(-1)", show=False),
        Binding("right,l", "token(1)", show=False),
        Binding("pageup", f"token(-{PAGE})", show=False),
        Binding("pagedown", f"token({PAGE})", show=False),
        Binding("home", "token(-1000000)", show=False),
        Binding("end", "token(1000000)", show=False),
        Binding("up,k", "sampler(-1)", show=False),
        Binding("down,j", "sampler(1)", show=False),
    ]

    def __init__(self, tokens: Sequence[TokenProbs]) -> None:
        """`tokens`: at least one, each with at least the model's own candidates."""
        super().__init__()
        self._tokens = tokens
        self._at = Position(0, len(tokens[0].steps) - 1)

    def compose(self) -> ComposeResult:
        """One page that is drawn anew with every key."""
        with Vertical():
            yield Static(id="inspector")

    def on_mount(self) -> None:
        """Draw it."""
        self._draw()

    def on_resize(self) -> None:
        """Columns where they fit."""
        self._draw()

    def _draw(self) -> None:
        size = self.app.size
        page = inspector_page(self._tokens, self._at, min(size.width, WIDTH) - 4, size.height - 2)
        self.query_one("#inspector", Static).update(page)

    def action_token(self, step: int) -> None:
        """Another token; the sampler stays, where the other token has it."""
        before = self._tokens[self._at.token].steps
        was_last = self._at.step == len(before) - 1
        token = min(max(self._at.token + step, 0), len(self._tokens) - 1)
        last = len(self._tokens[token].steps) - 1
        self._at = Position(token, last if was_last else min(self._at.step, last))
        self._draw()

    def action_sampler(self, step: int) -> None:
        """The sampler before or behind."""
        last = len(self._tokens[self._at.token].steps) - 1
        self._at = Position(self._at.token, min(max(self._at.step + step, 0), last))
        self._draw()


@dataclass(frozen=True, slots=True)
class Position:
    """What is looked at."""

    token: int
    step: int
    """Of the token's samplers; 0 is the model itself."""


def inspector_page(tokens: Sequence[TokenProbs], at: Position, width: int, height: int) -> Content:
    """The whole page, in at most `height` rows of `width` cells."""
    token = tokens[at.token]
    beside = width >= BESIDE
    table_width = width - COLUMN - 2 if beside else width
    table = _table(token, at.step, table_width, height - 5 - (0 if beside else 2))
    rows = [_title(tokens, at, width), *_reply(tokens, at.token, width), Content("")]
    if beside:
        names = _names(token, at.step, len(table))
        blank = Content(" " * COLUMN)
        for index in range(max(len(names), len(table))):
            name = names[index] if index < len(names) else blank
            row = table[index] if index < len(table) else Content("")
            rows.append(Content.assemble(name, "  ", row))
    else:
        rows += [_path(token, at.step, width), Content(""), *table]
    rows += [Content(""), Content.styled(_keys(width), "$note")] if len(rows) + 2 <= height else []
    return Content("\n").join(rows[:height])


def _title(tokens: Sequence[TokenProbs], at: Position, width: int) -> Content:
    token = tokens[at.token]
    place = f"Token {at.token + 1} of {len(tokens)}"
    chances = _chances(token)
    if len(place) + len(chances) + 12 > width:
        chances = ""
    name = _shown(token.text, max(4, width - len(place) - len(chances) - 6))
    return Content.assemble(
        Content.styled(place, "bold $accent"),
        "   ",
        Content.styled(name, "bold $speech"),
        Content.styled(f"   {chances}", "$note"),
    )


def _chances(token: TokenProbs) -> str:
    """The chosen token's probability as the model gave it and as it was drawn."""
    first, last = _of(token.steps[0].best, token.id), _of(token.steps[-1].best, token.id)
    before = percent(first.p) if first else f"not among the best {len(token.steps[0].best)}"
    return f"{before} → {percent(last.p) if last else '?'}"


def _reply(tokens: Sequence[TokenProbs], at: int, width: int) -> list[Content]:
    """One row of the reply around the token."""
    shown = [_in_line(token.text) for token in tokens]
    here = _shown(tokens[at].text, width // 2)
    room = width - cells(here)
    before = _tail("".join(shown[:at]), room // 2)
    after = _head("".join(shown[at + 1 : at + 1 + width]), room - cells(before))
    return [
        Content.assemble(
            Content.styled(before, "$note"), Content.styled(here, "reverse"), Content.styled(after, "$note")
        )
    ]


def _names(token: TokenProbs, step: int, room: int) -> list[Content]:
    """The samplers, one a row, with what each leaves; those around the one looked at where room is short."""
    room = max(room, 3)
    first = min(max(0, step - room + 2), max(0, len(token.steps) - room))
    rows = []
    for index, one in enumerate(token.steps[first : first + room], first):
        left = f"{one.left:,}"
        name = display_text(one.sampler, single_line=True, limit=COLUMN - 3 - len(left))
        mark = "▸ " if index == step else "  "
        row = f"{mark}{name}{' ' * (COLUMN - 2 - cells(name) - len(left))}{left}"
        rows.append(Content.styled(row, "bold $accent" if index == step else "$foreground"))
    return rows


def _path(token: TokenProbs, step: int, width: int) -> Content:
    """The sampler looked at between its neighbours."""
    one = token.steps[step]
    name = display_text(one.sampler, single_line=True, limit=width)
    before = f"{_in_line(token.steps[step - 1].sampler)} › " if step else ""
    after = _in_line(token.steps[step + 1].sampler) if step + 1 < len(token.steps) else "drawn"
    before = _tail(before, (width - cells(name)) // 2)
    after = _head(f" › {after}", width - cells(name) - cells(before))
    return Content.assemble(
        Content.styled(before, "$note"), Content.styled(name, "bold $accent"), Content.styled(after, "$note")
    )


def _table(token: TokenProbs, step: int, width: int, height: int) -> list[Content]:
    """The candidates before and after the sampler, side by side."""
    after = token.steps[step]
    before = token.steps[step - 1] if step else None
    half = (width - 2) // 2
    count = max(1, min(BEST, height - 1))
    heads = (f"before: {before.left:,}" if before else "", f"after: {after.left:,}" if step else "the model")
    rows = [
        Content.assemble(
            Content.styled(heads[0].ljust(half), "$character"), "  ", Content.styled(heads[1], "$character")
        )
    ]
    stays = {candidate.id for candidate in after.best}
    for index in range(count):
        rows.append(
            Content.assemble(
                _cell(before, index, half, token.id, stays), "  ", _cell(after, index, half, token.id, stays)
            )
        )
    while len(rows) > 2 and not rows[-1].plain.strip():
        rows.pop()
    return rows


def _cell(step: SamplerStep | None, index: int, width: int, chosen: int, stays: set[int]) -> Content:
    """`▸ ␣word      31.2 % ████`; dim where the sampler drops it or another ten took its place."""
    if step is None or index >= len(step.best):
        return Content(" " * width)
    candidate = step.best[index]
    chance = percent(candidate.p).rjust(7)
    name_room = max(4, min(18, width - 2 - len(chance) - 1))
    name = _shown(candidate.text, name_room)
    mark = "▸ " if candidate.id == chosen else "  "
    text = f"{mark}{name}{' ' * (name_room - cells(name))} {chance}"
    room = width - cells(text) - 1
    bar = f" {'█' * round(candidate.p * room)}" if room >= 4 else ""
    style = "bold $speech" if candidate.id == chosen else "$foreground" if candidate.id in stays else "$note"
    padding = " " * max(0, width - cells(text) - cells(bar))
    return Content.assemble(Content.styled(text, style), Content.styled(bar, "$accent"), padding)


def _keys(width: int) -> str:
    keys = "←→ token · ↑↓ sampler · PgUp PgDn ten tokens · Home End · Esc back"
    return keys if cells(keys) <= width else "←→ token · ↑↓ sampler · Esc back"


def percent(p: float) -> str:
    """`31.2 %`; what is less than a tenth of one says so."""
    return f"{p:.1%}".replace("%", " %") if p >= 0.0005 or p == 0 else "<0.1 %"


def _of(candidates: Sequence[Candidate], token: int) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate.id == token), None)


def _shown(text: str, limit: int) -> str:
    """A token's text with its white space visible."""
    return display_text(text.translate(_VISIBLE), single_line=True, limit=limit)


def _in_line(text: str) -> str:
    """A token's text among others."""
    return display_text(text.translate(_IN_LINE))


def _head(text: str, room: int) -> str:
    while text and cells(text) > room:
        text = text[: -max(1, (cells(text) - room) // 2)]
    return text


def _tail(text: str, room: int) -> str:
    while text and cells(text) > room:
        text = text[max(1, (cells(text) - room) // 2) :]
    return text

"""Lore that keeps its place, so that the next prompt begins as the last one did.

Where SillyTavern puts lore, an entry that fires before the character changes the prompt's head, and one at a
depth moves with every turn: either way much is read again. Here an entry that fires late goes near the end,
between two messages, and stays between them. One that fires no longer is taken out only where that costs less
to read again than the entry itself takes up, and where lore has no room left. A history that begins anew puts
all that fires on its first turns where the book wants it.

All of it follows from the chat alone: what fired at which turn, and where the history begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from cards.card import Card
from presets.values import AuthorsNote, LoreInsertion, Persona

__all__ = ["LoreScan", "moving_depth", "settled_lore"]

NEAR = 4
"""Chat messages from the end: what fires late stands no deeper."""

ALWAYS_LAST = 1
"""An entry at this depth or below means the very end, and goes on standing there."""

_IN_THE_HEAD = ("before_char", "after_char", "examples_top", "examples_bottom")


@dataclass(frozen=True, slots=True)
class LoreScan:
    """What fired when a prompt was made after the first `length` turns of a chat."""

    length: int
    fired: Sequence[LoreInsertion]
    moving: int = 0
    """Depth of the deepest text that moves along with the chat (`moving_depth`)."""


@dataclass(slots=True)
class _Standing:
    entry: LoreInsertion
    size: int
    place: int | None
    """Index of the turn that it stands before, below 0 too; None: in the head, where the book wants it."""


_Key = tuple[str, str]


def moving_depth(card: Card, persona: Persona, note: AuthorsNote, fired: Iterable[LoreInsertion]) -> int:
    """Depth of the deepest text that moves along with the chat; 0: none does."""
    fired = list(fired)
    depths = [entry.depth for entry in fired if entry.position == "depth" and not _settles(entry)]
    on_the_note = any(entry.position in ("note_top", "note_bottom") for entry in fired)
    described = bool(persona.description.strip())
    if note.text.strip() or on_the_note or (described and persona.position in ("note_top", "note_bottom")):
        depths.append(note.depth)
    if described and persona.position == "depth":
        depths.append(persona.depth)
    if card.depth_prompt is not None:
        depths.append(card.depth_prompt.depth)
    return max(depths, default=0)


def settled_lore(
    scans: Sequence[LoreScan],
    sizes: Sequence[int],
    size: Callable[[str], int],
    *,
    first: int,
    room: int | None = None,
) -> list[LoreInsertion]:
    """The lore of a prompt, each entry where it stands.

    `scans` are those since the history began, ascending, the last for this prompt; `sizes` of all turns and
    `size` of a text are in one unit, as is `room` for all lore; `first` is the turn that the history begins
    with.
    """
    table = _Table(sizes, size, first, room)
    before: LoreScan | None = None
    for scan in scans:
        if before is None:
            table.begin(scan)
        else:
            table.step(scan, before)
        before = scan
    return table.placed(scans[-1]) if scans else []


def _settles(entry: LoreInsertion) -> bool:
    """Whether an entry may stay between two messages; others stand where the book wants them."""
    if entry.position in _IN_THE_HEAD:
        return True
    return entry.position == "depth" and entry.depth > ALWAYS_LAST and not entry.constant


def _reached(scan: LoreScan, before: LoreScan) -> int:
    """The turn from which on a prompt differs from the one before whatever lore does: where the texts stand
    and stood that move."""
    # Where nothing moves, the reply that was written to that prompt need not be read either.
    stood = before.length - before.moving if before.moving else before.length + 1
    return min(stood, scan.length - scan.moving) if scan.moving else stood


def _key(entry: LoreInsertion) -> _Key:
    return entry.source, entry.text


class _Table:
    """What stands where, from one scan to the next."""

    def __init__(
        self, sizes: Sequence[int], size: Callable[[str], int], first: int, room: int | None
    ) -> None:
        self._read = list(accumulate(sizes, initial=0))
        """Of all turns before one, the size."""
        self._size = size
        self._first = first
        self._room = room
        self._standing: dict[_Key, _Standing] = {}

    def begin(self, scan: LoreScan) -> None:
        """The first prompt of a history is read whole: every entry takes its own place."""
        for entry in scan.fired:
            if _settles(entry):
                place = None if entry.position in _IN_THE_HEAD else scan.length - entry.depth
                self._add(entry, place)

    def step(self, scan: LoreScan, before: LoreScan) -> None:
        """One more prompt, after the one `before` it."""
        fires = {_key(entry) for entry in scan.fired}
        self._take_out_what_costs_little(fires, _reached(scan, before))
        near = min(max(scan.moving, 1), NEAR)
        for entry in scan.fired:
            if _settles(entry) and _key(entry) not in self._standing:
                self._add(entry, scan.length - near)
        self._make_room(scan, fires)

    def placed(self, scan: LoreScan) -> list[LoreInsertion]:
        """All that stands, and what of this scan never settles."""
        loose = [entry for entry in scan.fired if not _settles(entry)]
        standing = [
            one.entry
            if one.place is None
            else replace(one.entry, position="depth", depth=max(scan.length - one.place, 0), settled=True)
            for one in self._standing.values()
        ]
        return [*standing, *loose]

    def _add(self, entry: LoreInsertion, place: int | None) -> None:
        self._standing[_key(entry)] = _Standing(entry, self._size(entry.text), place)

    def _take_out_what_costs_little(self, fires: set[_Key], reached: int) -> None:
        """Of what fires no longer, the latest few whose going makes less to be read again than they hold.

        What stands before turn `reached` would be read already.
        """
        standing = self._standing.items()
        idle = [(one.place, one.size, key) for key, one in standing if key not in fires]
        placed = [(place, size, key) for place, size, key in idle if place is not None]
        staying = [(one.place, one.size) for key, one in standing if key in fires and one.place is not None]
        left = sum(size for _, size, _ in placed)
        saved, best, taken = 0, 0, 0
        for number, (place, size, _) in enumerate(sorted(placed, reverse=True), 1):
            saved += size
            again = self._read_again(place, reached, staying)
            if saved - again > best or again == 0:
                best, taken = saved - again, number
            if again >= left:
                break
        for _, _, key in sorted(placed, reverse=True)[:taken]:
            del self._standing[key]

    def _read_again(self, place: int, reached: int, staying: Sequence[tuple[int, int]]) -> int:
        """What is read again because of a change at `place` and would not be without it; `staying` are places
        and sizes of the entries that stay."""
        start = max(place, self._first, 0)
        turns = self._read[max(reached, start)] - self._read[start]
        return turns + sum(size for at, size in staying if place <= at < reached)

    def _make_room(self, scan: LoreScan, fires: set[_Key]) -> None:
        """Entries that fire no longer go, the one nearest to the end first, until all lore fits its room."""
        if self._room is None:
            return
        held = sum(one.size for one in self._standing.values())
        held += sum(self._size(entry.text) for entry in scan.fired if not _settles(entry))
        idle = [key for key in self._standing if key not in fires]
        idle.sort(key=lambda key: self._place_of(key), reverse=True)
        for key in idle:
            if held <= self._room:
                break
            held -= self._standing.pop(key).size

    def _place_of(self, key: _Key) -> float:
        place = self._standing[key].place
        return float("-inf") if place is None else place

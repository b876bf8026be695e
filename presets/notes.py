"""What stands between the turns: the author's note, the character's note, the persona and lore at a depth.

The order at one depth is SillyTavern's: author's note, character's note, persona, lore.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cards.card import Card
from presets.expansion import Expand
from presets.text import lines
from presets.values import AuthorsNote, LoreInsertion, Persona, Role, Segment, SegmentKind, Turn

NOTE = "author's note"
"""Source of the user's own note."""


@dataclass(frozen=True, slots=True)
class Note:
    """A text that stands between the turns, `depth` chat messages from the end."""

    texts: tuple[Segment, ...]
    depth: int
    role: Role
    settled: bool = False
    """It does not move while the chat goes on, and stands before what does."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A text that was meant for the prompt and has no place in it."""

    kind: SegmentKind
    source: str
    text: str
    why: str


def note_is_due(note: AuthorsNote, turns: Sequence[Turn]) -> bool:
    """Whether the author's note stands in this prompt: at every so manieth turn of the user's."""
    said = sum(turn.role == "user" for turn in turns)
    return note.interval == 1 or (said > 0 and said % note.interval == 0)


def notes_of(
    card: Card | None,
    persona: Persona,
    note: AuthorsNote,
    lore: Sequence[LoreInsertion],
    turns: Sequence[Turn],
    expand: Expand,
) -> tuple[list[Note], list[LeftOut]]:
    """The notes of one prompt in their order, and what is left out with an author's note that is not due.

    `lore` has its macros expanded, the other texts have not; `turns` are the whole chat.
    """
    around = list(_authors_note(persona, note, lore, expand))
    due = note_is_due(note, turns)
    notes = [Note((text,), note.depth, note.role) for text in around if due]
    why = f"the author's note stands in one prompt of {note.interval}"
    left_out = [LeftOut(text.kind, text.source, text.text, why) for text in around if not due]
    notes += _of_the_card(card, expand)
    if persona.position == "depth" and (text := _written("persona", persona.description, expand)):
        notes.append(Note((text,), persona.depth, persona.role))
    notes += _at_depth(lore)
    return notes, left_out


def _authors_note(
    persona: Persona, note: AuthorsNote, lore: Sequence[LoreInsertion], expand: Expand
) -> Iterator[Segment]:
    """The author's note with what hangs on it: lore outside, the persona inside."""
    yield from _lore(lore, "note_top")
    yield from _persona(persona, "note_top", expand)
    yield from _own(NOTE, note.text, expand)
    yield from _persona(persona, "note_bottom", expand)
    yield from _lore(lore, "note_bottom")


def _lore(lore: Sequence[LoreInsertion], position: str) -> Iterator[Segment]:
    for entry in lore:
        if entry.position == position and (text := entry.text.strip()):
            yield Segment("lore", entry.source, text, False)


def _persona(persona: Persona, position: str, expand: Expand) -> Iterator[Segment]:
    if persona.position == position:
        yield from _own("persona", persona.description, expand)


def _own(source: str, text: str, expand: Expand) -> Iterator[Segment]:
    if written := _written(source, text, expand):
        yield written


def _written(source: str, text: str, expand: Expand) -> Segment | None:
    written = lines(expand(source, text))
    return Segment("note", source, written, False) if written else None


def _of_the_card(card: Card | None, expand: Expand) -> Iterator[Note]:
    """The character's note."""
    own = card.depth_prompt if card is not None else None
    if own is not None and (text := _written("card depth_prompt", own.prompt, expand)):
        yield Note((text,), max(own.depth, 0), own.role)


def _at_depth(lore: Sequence[LoreInsertion]) -> Iterator[Note]:
    for entry in lore:
        if entry.position == "depth" and (text := entry.text.strip()):
            kind: SegmentKind = "lore" if entry.source.startswith("lore ") else "note"
            texts = (Segment(kind, entry.source, text, False),)
            yield Note(texts, max(entry.depth, 0), entry.role, entry.settled)

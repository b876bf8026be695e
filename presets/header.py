"""The head of a prompt: opening sentence, persona block, lore around it, as the format lays them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cards.card import Card
from cards.macros import Macros
from presets.format import Piece
from presets.text import Cast, joined, lines, one_line
from presets.values import LoreInsertion, Persona, Segment

_ORIGINAL = re.compile(r"\{\{\s*original\s*\}\}", re.IGNORECASE)

Line = list[Segment]


@dataclass(frozen=True, slots=True)
class HeaderText:
    """What a header is written from."""

    card: Card
    persona: Persona
    macros: Macros
    lore: Sequence[LoreInsertion]
    card_system_prompt: bool
    """The card's `system_prompt` may do what the format lets it do."""


def header(content: HeaderText, cast: Cast, *, shared: bool) -> list[Segment]:
    """The header's segments. `shared`: the first turn is the user's and stands in the header's section.

    Empty, wrap included, where there is nothing to say.
    """
    shape = cast.format.header
    persona_lines = _persona_lines(content, cast)
    block = [
        *_lore_lines(content, cast, "before_char"),
        *persona_lines,
        *_lore_lines(content, cast, "after_char"),
    ]
    held = {
        "always": True,
        "persona": bool(persona_lines),
        "no persona": not persona_lines,
        "block": bool(block),
        "no block": not block,
    }
    text: list[Segment] = []
    for piece in shape.pieces:
        if held[piece.when]:
            text += _piece(piece, content, cast, block)
    if not any(segment.text.strip() for segment in text):
        return []
    around = shape.with_user if shared and shape.with_user else shape
    return joined([*cast.fill(around.opening, "header"), *text, *cast.fill(around.closing, "header")])


def _piece(piece: Piece, content: HeaderText, cast: Cast, block: list[Line]) -> list[Segment]:
    if piece.instruction:
        return _instruction(content, cast)
    if piece.text is not None:
        return cast.fill(piece.text, "header")
    if not block:
        return []
    result = cast.fill(piece.before, "header")
    for index, line in enumerate(block):
        result += cast.fill(cast.format.header.separator, "header") if index else []
        result += line
    return result


def _instruction(content: HeaderText, cast: Cast) -> list[Segment]:
    """The opening sentence, or the card's `system_prompt` with `{{original}}` standing for it."""
    shape = cast.format.header
    sentence = cast.fill(shape.instruction, "header")
    written = lines(content.card.system_prompt)
    if not content.card_system_prompt or shape.system_prompt == "ignore" or not written:
        return sentence
    original = sentence if shape.system_prompt == "replace" else []
    result: list[Segment] = []
    for index, stretch in enumerate(_ORIGINAL.split(written)):
        result += original if index else []
        expanded = content.macros.expand(stretch)
        result.append(Segment("header", "card system_prompt", expanded, False))
    result = _stripped(result)
    if not result:
        return sentence
    if shape.system_prompt == "append":
        return [*sentence, *cast.fill(shape.append_separator, "header"), *result]
    return result


def _stripped(segments: list[Segment]) -> list[Segment]:
    """Without white space at either end."""
    kept = joined(segments)
    while kept and not kept[0].text.lstrip():
        kept = kept[1:]
    while kept and not kept[-1].text.rstrip():
        kept = kept[:-1]
    if kept:
        first = kept[0]
        kept[0] = Segment(first.kind, first.source, first.text.lstrip(), first.trusted)
        last = kept[-1]
        kept[-1] = Segment(last.kind, last.source, last.text.rstrip(), last.trusted)
    return kept


def _persona_lines(content: HeaderText, cast: Cast) -> list[Line]:
    """Persona, user persona and scenario with their labels; an empty one leaves no line."""
    labels = cast.format.header.labels
    part = _part_of(content, cast)
    description = part("card description", content.card.description)
    personality = part("card personality", content.card.personality)
    found: list[Line] = []
    if description or personality:
        line = [*cast.fill(labels.persona, "header"), *(description or personality)]
        if description and personality:
            line += cast.fill(labels.before_personality + labels.personality, "header") + personality
        found.append(line)
    if persona := part("persona", content.persona.description):
        found.append([*cast.fill(labels.user, "header"), *persona])
    if scenario := part("card scenario", content.card.scenario):
        found.append([*cast.fill(labels.scenario, "header"), *scenario])
    return found


def _part_of(content: HeaderText, cast: Cast) -> Callable[[str, str], list[Segment]]:
    """Macros are expanded before line breaks are flattened, so that what they hold is flattened too."""
    tidy = one_line if cast.format.header.one_line else lines

    def part(source: str, text: str) -> list[Segment]:
        written = tidy(content.macros.expand(text))
        return [Segment("header", source, written, False)] if written else []

    return part


def _lore_lines(content: HeaderText, cast: Cast, position: str) -> list[Line]:
    tidy = one_line if cast.format.header.one_line else lines
    entries = [entry for entry in content.lore if entry.position == position]
    return [[Segment("lore", entry.source, text, False)] for entry in entries if (text := tidy(entry.text))]

"""The head of a prompt: opening sentence, persona block, lore around it, as the format lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from presets.format import Piece
from presets.text import Cast, joined, lines, one_line
from presets.values import LoreInsertion, Segment

Line = list[Segment]


@dataclass(frozen=True, slots=True)
class HeaderText:
    """What a header is written from, macros expanded."""

    description: str = ""
    personality: str = ""
    scenario: str = ""
    persona: str = ""
    """The user's description."""
    system_prompt: tuple[str, ...] = ()
    """The card's, cut at each `{{original}}`; empty where there is none or the user wants none."""
    lore: Sequence[LoreInsertion] = ()


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
    text += _thinking_note(cast)
    around = shape.with_user if shared and shape.with_user else shape
    return joined([*cast.fill(around.opening, "header"), *text, *cast.fill(around.closing, "header")])


def _thinking_note(cast: Cast) -> list[Segment]:
    """A line that switches the model's thinking, where its format knows no other way."""
    style = cast.format.thinking
    note = (style.note_off if cast.think == "off" else style.note_on) if style else ""
    return [Segment("header", cast.source, f"\n\n{note}", True)] if note else []


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
    """The opening sentence, or the card's `system_prompt` with its first `{{original}}` standing for it."""
    shape = cast.format.header
    sentence = cast.fill(shape.instruction, "header")
    if shape.system_prompt == "ignore" or not any(text.strip() for text in content.system_prompt):
        return sentence
    original = sentence if shape.system_prompt == "replace" else []
    result: list[Segment] = []
    for index, stretch in enumerate(content.system_prompt):
        result += original if index == 1 else []
        result.append(Segment("header", "card system_prompt", stretch, False))
    result = _stripped(result)
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
    description = _part("card description", content.description, cast)
    personality = _part("card personality", content.personality, cast)
    found: list[Line] = []
    if description or personality:
        line = [*cast.fill(labels.persona, "header"), *(description or personality)]
        if description and personality:
            line += cast.fill(labels.before_personality + labels.personality, "header") + personality
        found.append(line)
    if persona := _part("persona", content.persona, cast):
        found.append([*cast.fill(labels.user, "header"), *persona])
    if scenario := _part("card scenario", content.scenario, cast):
        found.append([*cast.fill(labels.scenario, "header"), *scenario])
    return found


def _part(source: str, text: str, cast: Cast) -> list[Segment]:
    written = one_line(text) if cast.format.header.one_line else lines(text)
    return [Segment("header", source, written, False)] if written else []


def _lore_lines(content: HeaderText, cast: Cast, position: str) -> list[Line]:
    tidy = one_line if cast.format.header.one_line else lines
    entries = [entry for entry in content.lore if entry.position == position]
    return [[Segment("lore", entry.source, text, False)] for entry in entries if (text := tidy(entry.text))]

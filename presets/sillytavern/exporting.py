"""Formats and samplings of ours as SillyTavern's files. No I/O.

An imported format gives its own documents back, unknown keys included. Of the others SillyTavern can say
nearly all; `exported_format` tells what not.
"""

from __future__ import annotations

from typing import Any

from presets.format import PLACEHOLDER, Piece, PromptFormat, TurnShape

__all__ = ["exported_format"]


def exported_format(format: PromptFormat) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """`instruct`, `context` and `sysprompt` documents, those that there are, and what they do not say."""
    if format.sillytavern is not None:
        files = format.sillytavern
        held = {"instruct": files.instruct, "context": files.context, "sysprompt": files.sysprompt}
        return {kind: _named(document, format) for kind, document in held.items() if document}, []
    shape = format.header
    documents = {
        "instruct": _instruct(format),
        "context": _context(format),
        "sysprompt": {"name": format.title, "content": _words(shape.instruction, format)},
    }
    return documents, list(_lost(format))


def _named(document: dict[str, Any], format: PromptFormat) -> dict[str, Any]:
    return document if "name" in document else {"name": format.title, **document}


def _instruct(format: PromptFormat) -> dict[str, Any]:
    user, char = format.turns.user, format.turns.char
    system = format.turns.system
    opening = char.open_bare if format.names.default == "off" and char.open_bare is not None else char.open
    words = {
        "input_sequence": user.prefix,
        "input_suffix": user.suffix,
        "output_sequence": char.prefix,
        "output_suffix": char.suffix,
        "last_output_sequence": opening if opening is not None and opening != char.prefix else "",
        "system_sequence": system.prefix if system else "",
        "system_suffix": system.suffix if system else "",
        "system_sequence_prefix": "",
        "system_sequence_suffix": "",
        "first_output_sequence": "",
        "first_input_sequence": "",
        "last_input_sequence": "",
        "last_system_sequence": "",
        "stop_sequence": "\n".join(stop for stop in format.stops if "\n" not in stop),
        "user_alignment_message": format.first_turn,
    }
    return {
        "name": format.title,
        **{key: _words(text, format) for key, text in words.items()},
        "wrap": False,
        "macro": True,
        "names_behavior": "always" if format.names.default == "on" else "none",
        "activation_regex": "",
        "system_same_as_user": system is None,
        "skip_examples": False,
    }


def _context(format: PromptFormat) -> dict[str, Any]:
    shape = format.header
    story = shape.opening + "".join(_piece(piece, format) for piece in shape.pieces)
    if shape.pieces and shape.pieces[-1].block:
        # Each line of the block ends with a newline; the last one's goes. Where the closing begins with one,
        # Handlebars takes that away itself: it follows a tag that stands alone on its line.
        story += shape.closing if shape.closing.startswith("\n") else "{{trim}}" + shape.closing
    else:
        story += shape.closing
    return {
        "name": format.title,
        "story_string": _words(story, format),
        "example_separator": "",
        "chat_start": _words(format.chat_start.removesuffix("\n"), format),
        "use_stop_strings": False,
        "allow_jailbreak": True,
        "names_as_stop_strings": format.names.stops == "always"
        or (format.names.stops == "with names" and format.names.default == "on"),
        "always_force_name2": True,
        "trim_sentences": False,
        "single_line": False,
    }


def _piece(piece: Piece, format: PromptFormat) -> str:
    if piece.instruction:
        return "{{#if system}}{{system}}{{/if}}"
    if piece.text is not None:
        return _conditional(piece)
    labels, end = format.header.labels, format.header.separator
    own = f"{labels.persona}{{{{description}}}}"
    personality = labels.before_personality + labels.personality + "{{personality}}"
    personality = f"{{{{#if personality}}}}{personality}{{{{/if}}}}"
    parts = {
        "wiBefore": "{{wiBefore}}",
        "description": own + personality,
        "persona": labels.user + "{{persona}}",
        "scenario": labels.scenario + "{{scenario}}",
        "wiAfter": "{{wiAfter}}",
    }
    lines = "".join(f"{{{{#if {name}}}}}{text}{end}{{{{/if}}}}" for name, text in parts.items())
    return piece.before + lines


def _conditional(piece: Piece) -> str:
    """A text that stands only with, or only without, a description."""
    if piece.when in ("persona", "block"):
        return f"{{{{#if description}}}}{piece.text}{{{{/if}}}}"
    if piece.when in ("no persona", "no block"):
        return f"{{{{#unless description}}}}{piece.text}{{{{/unless}}}}"
    return piece.text or ""


def _words(text: str, format: PromptFormat) -> str:
    """Our placeholders as SillyTavern's macros; the length is the default's word."""
    length = format.length.words[format.length.default] if format.length else ""
    held = {"char": "{{char}}", "user": "{{user}}", "length": length}
    return PLACEHOLDER.sub(lambda match: held[match[1]], text)


def _lost(format: PromptFormat) -> list[str]:
    notes = []
    if format.length is not None:
        notes.append(
            f"the message length is fixed at {format.length.default!r}: SillyTavern has no such setting"
        )
    if any(stop for stop in format.stops if "\n" in stop):
        notes.append("stop strings with line breaks are left out: SillyTavern cuts them at each line")
    if format.header.one_line:
        notes.append("line breaks inside a card's texts stay: SillyTavern cannot join the lines")
    if format.header.with_user is not None:
        notes.append("a first turn of the user's does not share the header's section in SillyTavern")
    if format.ban_eos:
        notes.append(
            "end-of-text tokens are banned: set that in SillyTavern's sampler settings (ban_eos_token)"
        )
    if any(_fresh(shape) for shape in (format.turns.user, format.turns.char)):
        notes.append("a marker's first newline is always written, also where a line has just ended")
    return notes


def _fresh(shape: TurnShape) -> bool:
    return shape.fresh_line

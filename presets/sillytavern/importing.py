"""SillyTavern's preset files, told apart by what they hold, and put together to formats of ours. No I/O."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from presets.errors import PresetError
from presets.format import AS_SILLYTAVERN, PromptFormat
from presets.sillytavern.documents import schema_notes, settings_of
from presets.story_string import parse

__all__ = ["FormatFiles", "Kind", "Part", "format_document", "format_ids", "grouped", "id_of", "read_parts"]

Kind = Literal["instruct", "context", "sysprompt", "sampling"]

LARGEST = 1_000_000
"""Bytes; a preset is a few thousand."""

LONGEST = 200_000
"""Characters of all texts of an instruct, context or sysprompt preset."""

DEEPEST = 50

_BUNDLE: dict[str, Kind] = {
    "instruct": "instruct",
    "context": "context",
    "sysprompt": "sysprompt",
    "preset": "sampling",
}
_SAMPLERS = {
    "temp",
    "rep_pen",
    "top_p",
    "top_k",
    "typical",
    "typical_p",
    "min_p",
    "tfs",
    "sampler_order",
    "temperature",
}
_FILLED_BY_KOBOLDCPP = re.compile(r"\{\{\[(?:INPUT|OUTPUT|SYSTEM)(?:_END)?\]\}\}")
_NOT_ID = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True)
class Part:
    """One preset of SillyTavern's."""

    kind: Kind
    name: str
    """Its own, else its file's."""
    origin: str
    """The file, for messages."""
    document: dict[str, Any]
    beside: tuple[str, ...] = ()
    """What else a master export holds that is no part of a format or sampling."""


@dataclass
class FormatFiles:
    """The parts that become one format."""

    name: str
    instruct: Part | None = None
    context: Part | None = None
    sysprompt: Part | None = None

    def parts(self) -> list[Part]:
        return [part for part in (self.context, self.instruct, self.sysprompt) if part is not None]


@dataclass
class _Pile:
    """Parts of one import, by kind."""

    instruct: list[Part] = field(default_factory=list)
    context: list[Part] = field(default_factory=list)
    sysprompt: list[Part] = field(default_factory=list)


# Reading --------------------------------------------------------------------------------------------------


def read_parts(data: bytes, origin: str, stem: str) -> list[Part]:
    """The presets of one file, several in a master export. Raises PresetError, in one line."""
    document = _document(data, origin)
    inside = {kind: document[key] for key, kind in _BUNDLE.items() if isinstance(document.get(key), dict)}
    own = _kind(document)
    if inside and own is None:
        beside = tuple(key for key, held in document.items() if key not in _BUNDLE and held)
        parts = [Part(kind, _name(held, stem), origin, held, beside) for kind, held in inside.items()]
    elif own is None:
        raise PresetError(f"{origin}: {_what_else(document)}")
    else:
        parts = [Part(own, _name(document, stem), origin, document)]
    for part in parts:
        length = sum(len(value) for value in part.document.values() if isinstance(value, str))
        if part.kind != "sampling" and length > LONGEST:
            raise PresetError(f"{origin}: {length} characters are no {part.kind} preset")
    return parts


def _document(data: bytes, origin: str) -> dict[str, Any]:
    if len(data) > LARGEST:
        raise PresetError(f"{origin}: {len(data)} bytes is no preset")
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PresetError(f"{origin}: not UTF-8 text; save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise PresetError(f"{origin} line {error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{origin}: not JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict):
        raise PresetError(f"{origin}: a preset is a JSON object, this is a {type(document).__name__}")
    if _is_deep(document):
        raise PresetError(f"{origin}: lists within lists, more than {DEEPEST} deep, are no preset")
    return document


def _is_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        held = [value.values() if isinstance(value, dict) else value for value in level]
        level = [value for values in held for value in values if isinstance(value, (dict, list))]
    return bool(level)


def _kind(document: dict[str, Any]) -> Kind | None:
    if "story_string" in document:
        return "context"
    if "input_sequence" in document or "output_sequence" in document:
        return "instruct"
    if len(_SAMPLERS & document.keys()) >= 2 and "chat_completion_source" not in document:
        return "sampling"
    if isinstance(document.get("content"), str) or isinstance(document.get("post_history"), str):
        return "sysprompt"
    return None


def _what_else(document: dict[str, Any]) -> str:
    if "chat_completion_source" in document or "prompts" in document:
        return "a chat-completion preset, for web services; give instruct, context or textgen files"
    if "entries" in document:
        return "a lorebook, not a preset"
    if {"prefix", "suffix", "separator"} <= document.keys():
        return "a reasoning preset: thoughts are found by their own markers, nothing is taken over"
    if "spec" in document or "first_mes" in document:
        return "a card, not a preset; use `rpchat card import`"
    return "not a preset of SillyTavern's (instruct, context, sysprompt, textgen, KoboldAI)"


def _name(document: dict[str, Any], stem: str) -> str:
    name = document.get("name")
    return name.strip() if isinstance(name, str) and name.strip() else stem


# Putting together -----------------------------------------------------------------------------------------


def grouped(parts: Sequence[Part]) -> tuple[list[FormatFiles], list[Part]]:
    """The formats that the parts make, and the system prompts that belong to none.

    One instruct and one context file make one format whatever they are called, as do those of a master
    export; of more, those of one name belong together. A single file that finds no namesake serves all.
    """
    formats: list[FormatFiles] = []
    pile = _Pile()
    by_origin: dict[str, list[Part]] = {}
    for part in parts:
        by_origin.setdefault(part.origin, []).append(part)
    for held in by_origin.values():
        kinds = [part.kind for part in held if part.kind != "sampling"]
        if len(kinds) > 1:
            _fill(formats, held)
        else:
            for part in held:
                _lay(pile, part)
    _fill(formats, [*pile.instruct, *pile.context]) if _is_one(pile) else formats.extend(_by_name(pile))
    left = _with_system_prompts(formats, pile.sysprompt)
    return formats, left


def _lay(pile: _Pile, part: Part) -> None:
    match part.kind:
        case "instruct":
            pile.instruct.append(part)
        case "context":
            pile.context.append(part)
        case "sysprompt":
            pile.sysprompt.append(part)


def _is_one(pile: _Pile) -> bool:
    return len(pile.instruct) <= 1 and len(pile.context) <= 1 and bool(pile.instruct or pile.context)


def _fill(formats: list[FormatFiles], parts: Iterable[Part]) -> None:
    whole = FormatFiles("")
    for part in parts:
        match part.kind:
            case "instruct":
                whole.instruct = part
            case "context":
                whole.context = part
            case "sysprompt":
                whole.sysprompt = part
    if whole.instruct is None and whole.context is None:
        return
    named = whole.instruct or whole.context
    whole.name = named.name if named else ""
    formats.append(whole)


def _by_name(pile: _Pile) -> Iterator[FormatFiles]:
    contexts, instructs = _named(pile.context), _named(pile.instruct)
    only = pile.context[0] if len(pile.context) == 1 else None
    only = None if only is None or only.name.casefold() in instructs else only
    one = pile.instruct[0] if len(pile.instruct) == 1 else None
    one = None if one is None or one.name.casefold() in contexts else one
    used: set[int] = set()
    for part in pile.instruct if one is None or not pile.context else ():
        context = _fellow(part, instructs, contexts) or only
        if context is not None:
            used.add(id(context))
        yield FormatFiles(part.name, part, context)
    for context in pile.context:
        if id(context) not in used:
            yield FormatFiles(context.name, one, context)


def _named(parts: Iterable[Part]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.name.casefold(), []).append(part)
    return found


def _fellow(part: Part, same: dict[str, list[Part]], others: dict[str, list[Part]]) -> Part | None:
    """The other kind's preset of the same name; where several have one name, in their order."""
    name = part.name.casefold()
    number = next(n for n, held in enumerate(same[name]) if held is part)
    found = others.get(name)
    return found[min(number, len(found) - 1)] if found else None


def _with_system_prompts(formats: Sequence[FormatFiles], prompts: Sequence[Part]) -> list[Part]:
    """Gives each format the system prompt of its name, or the only one there is; returns the others."""
    named = _named(prompts)
    names_of = [_names_of(files) for files in formats]
    only = prompts[0] if len(prompts) == 1 else None
    if only is not None and len(formats) > 1 and any(only.name.casefold() in names for names in names_of):
        only = None
    used: set[int] = set()
    for files, names in zip(formats, names_of, strict=True):
        if files.sysprompt is not None:
            continue
        waiting = next((named[name] for name in names if name in named), [only] if only else [])
        # Of several with one name each format takes the next; the last one serves those that follow.
        found = next((part for part in waiting if id(part) not in used), waiting[-1] if waiting else None)
        if found is not None:
            files.sysprompt = found
            used.add(id(found))
    return [part for part in prompts if id(part) not in used]


def _names_of(files: FormatFiles) -> list[str]:
    return [part.name.casefold() for part in (files.instruct, files.context) if part is not None]


# As ours --------------------------------------------------------------------------------------------------


def format_document(files: FormatFiles, id: str) -> tuple[dict[str, Any], list[str]]:
    """The format's file as a document, and what to know about it, a line each.

    Raises PresetError where SillyTavern itself could not render the story string.
    """
    held = {kind: part.document for kind, part in _kinds(files)}
    instruct, context = held.get("instruct"), held.get("context")
    settings = settings_of(instruct, context, held.get("sysprompt"))
    if problems := parse(settings.context.story_string).problems:
        origin = files.context.origin if files.context else "the context"
        raise PresetError(
            f"{origin}: story_string: {problems[0]}; correct it in SillyTavern and export it again"
        )
    notes = schema_notes(instruct, context)
    if instruct is None:
        notes.append("no instruct file was given: turns are plain lines, as with instruct mode off")
    if context is None:
        notes.append("no context file was given: the parts of the prompt stand on lines of their own")
    if not settings.system_prompt:
        notes.append("no system prompt was given: only a card's own is sent")
    sequences = " ".join(text for text in (instruct or {}).values() if isinstance(text, str))
    if filled := _FILLED_BY_KOBOLDCPP.search(sequences):
        notes.append(
            f"{filled[0]} is filled in by KoboldCpp alone and stays as it is: use the model's own format"
        )
    if beside := next((part.beside for part in files.parts() if part.beside), ()):
        notes.append(f"left out: {', '.join(beside[:6])} of the same file, no part of a format here")
    if context is not None and context.get("trim_sentences"):
        notes.append("trim_sentences is a setting of the chat here: --set trim_sentences=on")
    if instruct is not None and instruct.get("activation_regex"):
        notes.append("activation_regex is kept in the file; models choose their format by rpchat's own rules")
    sources = ", ".join(f"{part.kind} {part.name!r}" for part in files.parts())
    document: dict[str, Any] = {
        "id": id,
        "title": files.name,
        "source": f"imported from SillyTavern: {sources}",
        "names": AS_SILLYTAVERN,
        "sillytavern": held,
    }
    PromptFormat.model_validate(document)
    return document, notes


def _kinds(files: FormatFiles) -> Iterator[tuple[str, Part]]:
    for part in files.parts():
        yield part.kind, part


def format_ids(names: Sequence[str], shipped: Collection[str]) -> list[str]:
    """An id for each name, none twice and none of a shipped preset, which it would take the place of."""
    result: list[str] = []
    for name in names:
        base = id_of(name)
        base = f"{base}-st" if base in shipped else base
        id, number = base, 2
        while id in result or id in shipped:
            id, number = f"{base}-{number}", number + 1
        result.append(id)
    return result


def id_of(name: str) -> str:
    """A name as an id: `Llama 3 Instruct` is `llama-3-instruct`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    return _NOT_ID.sub("-", plain)[:60].strip("-.") or "preset"

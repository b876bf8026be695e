"""SillyTavern's instruct, context and sysprompt documents as settings, whatever schema they were saved in.

Migrations: `separator_sequence` became `output_suffix`; `names` and `names_force_groups` became
`names_behavior`; `system_prompt` left the instruct preset for one of its own (1.12.6); the wrap of the system
text became one of the whole story string, and the context lost its role tokens (1.13.3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Naming = Literal["none", "force", "always"]
Document = Mapping[str, Any]

DEFAULT_STORY = (
    "{{#if system}}{{system}}\n{{/if}}{{#if wiBefore}}{{wiBefore}}\n{{/if}}"
    "{{#if description}}{{description}}\n{{/if}}"
    "{{#if personality}}{{char}}'s personality: {{personality}}\n{{/if}}"
    "{{#if scenario}}Scenario: {{scenario}}\n{{/if}}{{#if wiAfter}}{{wiAfter}}\n{{/if}}"
    "{{#if persona}}{{persona}}\n{{/if}}"
)
"""What stands in for a missing context file: every part on a line of its own."""

_CONTROL = re.compile(
    r"<\|(?:im_start|im_end|im_sep|start_header_id|end_header_id|eot_id|end|START_OF_TURN_TOKEN"
    r"|END_OF_TURN_TOKEN|USER_TOKEN|CHATBOT_TOKEN|SYSTEM_TOKEN)\|>|<(?:start|end)_of_turn>|\[/?SYSTEM_PROMPT\]"
)
"""Markers that are control tokens in every model that knows them; others are plain text in some."""

_MARKER = re.compile(
    r"<\|[^|<>\s]+\|>|<[｜][^<>\s]+[｜]>|<(?:start|end)_of_turn>|\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>"
    r"|#{2,4} ?\w+:|<<\w+>>"
)


_ROLE_TOKEN = re.compile(r"<\|(?!begin)[^|<>\s]+\|>|<(?:start|end)_of_turn>|\[/?INST\]")
_PLAIN_ROLE = re.compile(r"<\|(?:system|user|assistant|model|observation|end|endoftext)\|>")


@dataclass(frozen=True, slots=True)
class Instruct:
    """How turns are written. `enabled` False: instruct mode is off, turns are `Name: text` lines."""

    enabled: bool = True
    input_sequence: str = ""
    input_suffix: str = ""
    output_sequence: str = ""
    output_suffix: str = ""
    system_sequence: str = ""
    system_suffix: str = ""
    first_input_sequence: str = ""
    last_input_sequence: str = ""
    first_output_sequence: str = ""
    last_output_sequence: str = ""
    last_system_sequence: str = ""
    system_prefix: str = ""
    """Around the system text alone (up to 1.13.2)."""
    system_end: str = ""
    story_prefix: str = ""
    """Around the whole story string (from 1.13.3 on)."""
    story_suffix: str = ""
    stop_sequence: str = ""
    user_alignment_message: str = ""
    wrap: bool = True
    macro: bool = True
    names: Naming = "force"
    skip_examples: bool = False
    system_same_as_user: bool = False
    sequences_as_stops: bool = True

    @property
    def separator(self) -> str:
        return "\n" if self.wrap else ""


@dataclass(frozen=True, slots=True)
class Context:
    """How the head of the prompt is laid out."""

    story_string: str = DEFAULT_STORY
    example_separator: str = "***"
    chat_start: str = "***"
    use_stop_strings: bool = False
    names_as_stop_strings: bool = True
    post_history: bool = False
    """Whether a card's post-history instructions are sent (`allow_jailbreak`)."""
    single_line: bool = False
    always_force_name: bool = True
    stops: tuple[str, ...] = ()
    """Custom stop strings of old files."""
    story_depth: int | None = None
    """The story string as a message so many messages from the end; None: at the top."""
    story_role: Literal["system", "user", "char"] = "system"


@dataclass(frozen=True, slots=True)
class Settings:
    """The three documents together."""

    instruct: Instruct
    context: Context
    system_prompt: str = ""
    post_history: str = ""


def settings_of(instruct: Document | None, context: Document | None, sysprompt: Document | None) -> Settings:
    """Settings from the documents that there are; what a document does not say is SillyTavern's default."""
    turns = _instruct(instruct)
    new = is_new_context(context) or is_new_instruct(instruct) or "post_history" in (sysprompt or {})
    frame = _context(context, new)
    if is_wrapped_twice(instruct, context):
        turns = _without(turns, "story")
    elif turns.story_prefix and turns.story_prefix == turns.system_prefix:
        turns = _without(turns, "system")
    held = sysprompt if sysprompt is not None else {"content": (instruct or {}).get("system_prompt")}
    return Settings(turns, frame, _text(held, "content"), _text(held, "post_history"))


def control_markers(instruct: Document | None, context: Document | None) -> tuple[str, ...]:
    """The markers in these documents that must be single control tokens of a model's vocabulary."""
    documents = [document for document in (instruct, context) if document is not None]
    texts = [value for document in documents for value in document.values() if isinstance(value, str)]
    return tuple(dict.fromkeys(marker for text in texts for marker in _CONTROL.findall(text)))


def preset_macros(settings: Settings) -> dict[str, str]:
    """What a preset gives to macros, by lower-case name."""
    turns, context = settings.instruct, settings.context
    named = {
        "systemprompt defaultsystemprompt instructsystem instructsystemprompt": settings.system_prompt,
        "instructsystempromptprefix": turns.system_prefix,
        "instructsystempromptsuffix": turns.system_end,
        "instructinput instructuserprefix": turns.input_sequence,
        "instructusersuffix": turns.input_suffix,
        "instructoutput instructassistantprefix": turns.output_sequence,
        "instructseparator instructassistantsuffix": turns.output_suffix,
        "instructsystemprefix": turns.system_sequence,
        "instructsystemsuffix": turns.system_suffix,
        "instructfirstoutput instructfirstassistantprefix": turns.first_output_sequence
        or turns.output_sequence,
        "instructlastoutput instructlastassistantprefix": turns.last_output_sequence or turns.output_sequence,
        "instructfirstinput instructfirstuserprefix": turns.first_input_sequence or turns.input_sequence,
        "instructlastinput instructlastuserprefix": turns.last_input_sequence or turns.input_sequence,
        "instructstop": turns.stop_sequence,
        "instructuserfiller": turns.user_alignment_message,
        "instructsysteminstructionprefix": turns.last_system_sequence,
        "exampleseparator chatseparator": context.example_separator,
        "chatstart": context.chat_start,
    }
    return {name: text for names, text in named.items() for name in names.split()}


def is_new_instruct(document: Document | None) -> bool:
    """Whether an instruct document wraps the story string (1.13.3 and later)."""
    return document is not None and ("story_string_prefix" in document or "story_string_suffix" in document)


def is_new_context(document: Document | None) -> bool:
    return document is not None and any(
        key in document for key in ("story_string_position", "story_string_depth", "story_string_role")
    )


def is_wrapped_twice(instruct: Document | None, context: Document | None) -> bool:
    """Whether a new instruct document would wrap a story string that brings its own role tokens."""
    if instruct is None or context is None:
        return False
    prefix, suffix = _text(instruct, "story_string_prefix"), _text(instruct, "story_string_suffix")
    return _shares_markers(prefix + "\n" + suffix, _text(context, "story_string"))


def schema_notes(instruct: Document | None, context: Document | None) -> list[str]:
    """What to know about documents of different schemas, a line each."""
    if instruct is None or context is None:
        return []
    story = _text(context, "story_string")
    if is_wrapped_twice(instruct, context):
        return [
            "the story string brings its own role tokens (context of 1.13.2 or older) and the instruct "
            "preset (1.13.3 or newer) wraps it again: the story string's own are kept, the wrap is left out"
        ]
    own, brought = _families(*(value for value in instruct.values())), _families(story)
    if own and brought and not own & brought:
        return [
            f"the story string brings role tokens of another format ({', '.join(sorted(brought))}) than the "
            f"instruct preset ({', '.join(sorted(own))}): take both files from one format"
        ]
    old_wrap = _text(instruct, "system_sequence_prefix") + "\n" + _text(instruct, "system_sequence_suffix")
    if not is_new_instruct(instruct) and _shares_markers(old_wrap, story):
        return [
            "the story string and the instruct preset's system_sequence_prefix bring the same role tokens: "
            "both are written, as SillyTavern does; clear one of them if that is not meant"
        ]
    tokens = _MARKER.search(_text(instruct, "system_sequence") or _text(instruct, "input_sequence"))
    bare = not (old_wrap.strip() or _MARKER.search(story) or is_new_instruct(instruct))
    if tokens and bare and is_new_context(context):
        return [
            "the story string brings no role tokens (context of 1.13.3 or newer) and the instruct preset "
            "(1.13.2 or older) does not wrap it: the system text stands outside any turn; "
            "take both files from one version"
        ]
    return []


def _families(*texts: object) -> set[str]:
    """The role tokens in texts; those of plain words (`<|user|>`, `<|system|>` ...) count as one."""
    found = {marker for text in texts if isinstance(text, str) for marker in _ROLE_TOKEN.findall(text)}
    return {"<|user|>" if _PLAIN_ROLE.fullmatch(marker) else marker for marker in found}


def _shares_markers(one: str, other: str) -> bool:
    markers = {match.lower() for match in _MARKER.findall(one)} or ({one.strip()} if one.strip() else set())
    return any(marker in other.lower() for marker in markers)


def _without(turns: Instruct, wrap: Literal["story", "system"]) -> Instruct:
    if wrap == "story":
        return replace(turns, story_prefix="", story_suffix="")
    return replace(turns, system_prefix="", system_end="")


def _instruct(document: Document | None) -> Instruct:
    if document is None:
        return Instruct(enabled=False, wrap=False)
    return Instruct(
        input_sequence=_text(document, "input_sequence"),
        input_suffix=_text(document, "input_suffix"),
        output_sequence=_text(document, "output_sequence"),
        output_suffix=_text(
            document, "separator_sequence" if "separator_sequence" in document else "output_suffix"
        ),
        system_sequence=_text(document, "system_sequence"),
        system_suffix=_text(document, "system_suffix"),
        first_input_sequence=_text(document, "first_input_sequence"),
        last_input_sequence=_text(document, "last_input_sequence"),
        first_output_sequence=_text(document, "first_output_sequence"),
        last_output_sequence=_text(document, "last_output_sequence"),
        last_system_sequence=_text(document, "last_system_sequence"),
        system_prefix=_text(document, "system_sequence_prefix"),
        system_end=_text(document, "system_sequence_suffix"),
        story_prefix=_text(document, "story_string_prefix"),
        story_suffix=_text(document, "story_string_suffix"),
        stop_sequence=_text(document, "stop_sequence"),
        user_alignment_message=_text(document, "user_alignment_message"),
        wrap=_switch(document, "wrap", True),
        macro=_switch(document, "macro", True),
        names=_naming(document),
        skip_examples=_switch(document, "skip_examples", False),
        system_same_as_user=_switch(document, "system_same_as_user", False),
        sequences_as_stops=_switch(document, "sequences_as_stop_strings", True),
    )


def _naming(document: Document) -> Naming:
    if "names" in document:
        if _switch(document, "names", False):
            return "always"
        return "force" if _switch(document, "names_force_groups", False) else "none"
    match document.get("names_behavior"):
        case "none":
            return "none"
        case "always":
            return "always"
    return "force"


def _context(document: Document | None, new: bool) -> Context:
    if document is None:
        return Context(post_history=new)
    in_chat = _number(document, "story_string_position", 0) == 1
    roles: tuple[Literal["system", "user", "char"], ...] = ("system", "user", "char")
    role = _number(document, "story_string_role", 0)
    return Context(
        story_string=_text(document, "story_string") if "story_string" in document else DEFAULT_STORY,
        example_separator=_text(document, "example_separator"),
        chat_start=_text(document, "chat_start"),
        use_stop_strings=_switch(document, "use_stop_strings", False),
        names_as_stop_strings=_switch(document, "names_as_stop_strings", True),
        post_history=_switch(document, "allow_jailbreak", new),
        single_line=_switch(document, "single_line", False),
        always_force_name=_switch(document, "always_force_name2", True),
        stops=_custom_stops(document.get("custom_stopping_strings")),
        story_depth=max(_number(document, "story_string_depth", 1), 0) if in_chat else None,
        story_role=roles[role] if role in (0, 1, 2) else "system",
    )


def _custom_stops(value: object) -> tuple[str, ...]:
    """A JSON list in a string; anything else is none, as in SillyTavern."""
    try:
        held = json.loads(value) if isinstance(value, str) and value.strip() else value
    except (ValueError, RecursionError):
        return ()
    return tuple(text for text in held if isinstance(text, str) and text) if isinstance(held, list) else ()


def _text(document: Document, key: str) -> str:
    value = document.get(key)
    return value.replace("\r", "") if isinstance(value, str) else ""


def _switch(document: Document, key: str, otherwise: bool) -> bool:
    value = document.get(key)
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), otherwise)
    return bool(value) if isinstance(value, (bool, int, float)) else otherwise


def _number(document: Document, key: str, otherwise: int) -> int:
    value = document.get(key)
    return int(value) if isinstance(value, (int, float)) and abs(value) < 1e6 else otherwise

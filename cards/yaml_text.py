"""YAML documents: text-generation-webui's characters, and the YAML that rpchat writes.

Values are JSON's: no dates, no Python objects, and `yes`, `no`, `on` and `off` are words. Nesting and size
are judged on the parser's events before anything is built, aliases on what they stand for.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import yaml

from cards import limits
from cards.errors import CardError
from cards.json_text import dump_json

__all__ = ["dump_yaml", "looks_like_yaml_card", "parse_yaml"]

_CARD_KEY: Final = re.compile(
    r"^[\"']?(?:name|bot|<\|bot\|>|char_name|context|greeting|char_persona|char_greeting|spec|data|card|character"
    r"|chara_card|persona|kind|description|personality|scenario|world_scenario|first_mes|mes_example"
    r"|example_dialogue|system_prompt)"
    r"[\"']?[ \t]*:(?:[ \t\r]|$)",
    re.MULTILINE,
)
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader, without dates, merges and the words that mean true and false."""

    yaml_implicit_resolvers: ClassVar[Any] = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rsplit(":", 1)[-1] in ("null", "int", "float")
            or (tag.endswith(":bool") and first in "tTfF")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """PyYAML's safe dumper; text of several lines is written as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def looks_like_yaml_card(text: str) -> bool:
    """Whether one of a card's keys begins a line."""
    return _CARD_KEY.search(text) is not None


def parse_yaml(text: str) -> Any:
    """The document. Raises CardError with line and column."""
    if len(text) > limits.YAML_TEXT:
        raise CardError("too-large", f"the YAML text is over the limit of {limits.YAML_TEXT // 2**20} MB")
    try:
        _judge_events(text)
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        place = f" at line {line} column {column}" if mark else ""
        message = f"broken YAML{place}: {error.problem or error.context}"
        raise CardError("yaml", message, line=line, column=column) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardError("yaml", f"broken YAML: {error}") from error
    _judge_values(document)
    return document


def _judge_events(text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > limits.JSON_DEPTH:
            raise CardError("too-deep", f"the YAML is nested over {limits.JSON_DEPTH} levels deep")
        if count > limits.YAML_NODES:
            raise CardError("too-large", f"the YAML has over {limits.YAML_NODES} values")


def _judge_values(document: Any) -> None:
    """Counts what aliases stand for: a small file may mean billions of values, or contain itself."""
    waiting = [document]
    count = size = 0
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            odd = next((key for key in value if not isinstance(key, str)), "")
            if odd != "":
                raise CardError(
                    "yaml", f"a key of the YAML is not text: {str(odd)[:40]}; put quotes around it"
                )
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            size += len(value)
        elif value is not None and not isinstance(value, (bool, int, float)):
            raise CardError("yaml", "the YAML holds something that is neither text nor number")
        if count > 2 * limits.YAML_NODES or size > 2 * limits.YAML_TEXT:
            raise CardError("too-large", f"the YAML's aliases stand for over {limits.YAML_NODES} values")


def dump_yaml(document: Any) -> str:
    """`document` as YAML that `parse_yaml` reads back equal; as JSON, which is YAML too, where none would."""
    plain = dump_json(document, indent=2) + "\n"
    try:
        text = str(yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**6))
        text.encode()
        same = dump_json(parse_yaml(text)) == dump_json(document)
    except (yaml.YAMLError, UnicodeEncodeError, CardError):
        return plain
    return text if same else plain

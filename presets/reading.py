"""A YAML document checked against its model, with errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from presets.errors import PresetError

Model = TypeVar("Model", bound=BaseModel)

# The same YAML by libyaml, eight times as quick, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; `where` is the file's name for errors."""
    try:
        document = yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = f" line {mark.line + 1}" if mark else ""
        raise PresetError(f"{where}{line}: not YAML: {problem}") from error
    except (RecursionError, ValueError) as error:
        raise PresetError(f"{where}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict):
        raise PresetError(f"{where} line 1: expected `name: value` lines")
    return document


def checked(model: type[Model], document: dict[str, Any], text: str, where: str) -> Model:
    """`document` as a `model`; `text` is the YAML that it came from, for the line of an error."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        line = _line(text, first["loc"])
        raise PresetError(f"{where} line {line}: {place + ': ' if place else ''}{problem}") from error


def _line(text: str, path: Sequence[int | str]) -> int:
    """The line of the deepest node on `path` that the text holds, counted from 1."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for part in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, found = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return line

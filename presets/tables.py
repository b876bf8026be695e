"""Markdown tables of the formats, the samplings, the sampler settings and the options, made from the data.

README holds them between markers, `<!-- formats -->` and `<!-- /formats -->`; a test holds README to them.
`python -m presets.tables README.md` writes them there anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from presets.library import PresetLibrary
from presets.option_help import OPTION_HELP, option_values
from presets.sampling import Sampling

__all__ = ["tables", "with_tables"]


def tables(library: PresetLibrary) -> dict[str, str]:
    """Name of each table, and the table."""
    return {
        "formats": _table(
            ("format", "for", "names", "sampling"),
            ((f"`{one.id}`", one.title, one.names.default, f"`{one.sampling}`") for one in library.formats()),
        ),
        "samplings": _table(
            ("sampling", "for", "what it sets"),
            ((f"`{one.id}`", one.title, _settings(one.sampling) or "nothing") for one in library.samplings()),
        ),
        "options": _table(
            ("option", "values", "what it does"),
            ((f"`{name}`", values, OPTION_HELP[name]) for name, values in option_values().items()),
        ),
        "settings": _table(
            ("setting", "neutral", "what it does"),
            (
                (f"`{name}`", _value(field.default), " ".join((field.description or "").split()))
                for name, field in Sampling.model_fields.items()
            ),
        ),
    }


def with_tables(text: str, library: PresetLibrary) -> str:
    """A Markdown text with every table between its markers as it should be."""
    for name, table in tables(library).items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        text = marked.sub(lambda found, table=table: found[1] + table + found[2], text)  # type: ignore[misc]
    return text


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _settings(sampling: Sampling) -> str:
    """What differs from neutral: `temperature 0.7, tfs_z 0.85`."""
    neutral = Sampling()
    changed = {name: value for name, value in sampling if value != getattr(neutral, name)}
    return ", ".join(f"{name} {_value(value)}" for name, value in changed.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return " ".join(f"`{item}`".replace("\n", "\\n") for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(with_tables(readme.read_text(encoding="utf-8"), PresetLibrary(None)), encoding="utf-8")

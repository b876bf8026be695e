"""A card as Markdown: to edit in any editor and to keep in git, where a changed line is one changed line.

Front matter between `---` lines holds the document as YAML, long texts left out. Each of these follows under
a comment that names its path, `<!-- data.first_mes -->`, as it stands. A line of a text that looks like such
a comment has a backslash put before it. Every document reads back equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from cards.errors import CardError, CardWarning
from cards.json_text import parse_json
from cards.paths import parsed_path, value_at, written_path
from cards.yaml_text import dump_yaml, parse_yaml

__all__ = ["document_from_markdown", "has_front_matter", "looks_like_markdown_card", "write_markdown"]

_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
_MARKER: Final = re.compile(r"^<!-- (\S.*\S|\S) -->[ \t]*\r?$", re.MULTILINE)
_ESCAPED: Final = re.compile(r"^(\\*<!-- )", re.MULTILINE)
_CARD_KEY: Final = re.compile(
    r"^[\"']?(?:spec|data|name|char_name|bot|card|character|chara_card)[\"']?[ \t]*:|\A\s*\{", re.MULTILINE
)
_LONG: Final = 80
_HOLE: Final = "(below)"
_Path = tuple[str | int, ...]


def has_front_matter(text: str) -> bool:
    """Whether the text begins with front matter, in which a card may lie."""
    return _FRONT.match(text) is not None


def looks_like_markdown_card(text: str) -> bool:
    """Whether a Markdown file is a card: in a folder of cards lie READMEs and pages with front matter too."""
    front = _FRONT.match(text.lstrip("\ufeff"))
    return front is not None and _CARD_KEY.search(front[1]) is not None


def write_markdown(document: dict[str, Any]) -> str:
    """`document` in the Markdown form."""
    texts: list[tuple[_Path, str]] = []
    front = _taken_out(document, (), texts)
    parts = [f"---\n{dump_yaml(front)}---\n"]
    for path, text in texts:
        escaped = _ESCAPED.sub(r"\\\1", text)
        parts.append(f"\n<!-- {written_path(path)} -->\n{escaped}\n")
    return "".join(parts)


def _taken_out(value: Any, path: _Path, texts: list[tuple[_Path, str]]) -> Any:
    """The value with long texts replaced; a short text that reads like the replacement is taken out as
    well."""
    if isinstance(value, dict):
        return {key: _taken_out(child, (*path, key), texts) for key, child in value.items()}
    if isinstance(value, list):
        return [_taken_out(child, (*path, place), texts) for place, child in enumerate(value)]
    if isinstance(value, str) and _belongs_below(value):
        texts.append((path, value))
        return _HOLE
    return value


def _belongs_below(text: str) -> bool:
    if text == _HOLE:
        return True
    if "\r" in text or (len(text) <= _LONG and "\n" not in text):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return text.isprintable() or not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]", text)


def document_from_markdown(text: str, warnings: list[CardWarning]) -> Any:
    """The document of a Markdown form. Raises CardError naming what does not parse."""
    # What an editor made of the line ends; a carriage return that belongs to a text is written as an escape.
    text = text.replace("\r\n", "\n")
    front = _FRONT.match(text)
    if front is None:
        raise CardError("markdown", "no front matter between `---` lines")
    body = "\n" + front[1]  # so that an error names the line of the whole text
    is_json = body.lstrip().startswith("{")
    document = parse_json(body, warnings) if is_json else _without_aliases(parse_yaml(body))
    holes = set(_holes(document, ()))
    rest = text[front.end() :]
    markers = list(_MARKER.finditer(rest))
    for number, marker in enumerate(markers):
        last = number + 1 == len(markers)
        section = rest[marker.end() + 1 : len(rest) if last else markers[number + 1].start()]
        # A section ends in its text's own newline, and a blank line before the next one.
        section = (section if last else section.removesuffix("\n")).removesuffix("\n")
        section = re.sub(r"^\\(\\*<!-- )", r"\1", section, flags=re.MULTILINE)
        try:
            path = parsed_path(marker[1])
            if not isinstance(value_at(document, path), str):
                raise KeyError(marker[1])
            holder, key = value_at(document, path[:-1]), path[-1]
            holder[int(key) if isinstance(holder, list) else str(key)] = section
        except (ValueError, KeyError) as error:
            line = text[: front.end() + marker.start()].count("\n") + 1
            message = f"line {line}: there is no text {marker[1][:60]!r} in the front matter"
            raise CardError("markdown", message) from error
        holes.discard(path)
    if holes:
        missing = written_path(min(holes, key=str))
        raise CardError("markdown", f"the text of {missing} is missing: no comment names it")
    return document


def _without_aliases(value: Any) -> Any:
    """The document with a copy of its own wherever YAML repeats a value: texts are put into it in place."""
    if isinstance(value, dict):
        return {key: _without_aliases(child) for key, child in value.items()}
    return [_without_aliases(child) for child in value] if isinstance(value, list) else value


def _holes(value: Any, path: _Path) -> Iterator[_Path]:
    """Where the front matter says that a text follows."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _holes(child, (*path, key))
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from _holes(child, (*path, place))
    elif value == _HOLE:
        yield path

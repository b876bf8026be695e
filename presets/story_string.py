"""Story strings: the Handlebars subset in which SillyTavern lays out the head of a prompt.

`{{var}}`, `{{#if var}} .. {{else if other}} .. {{else}} .. {{/if}}`, `{{#unless var}}`, comments, and the
white-space rules of Handlebars 4 (a block's tag alone on its line takes the line with it, `~` takes all white
space on its side). Everything else between braces is left to whoever renders, who knows about macros.

Parsing never fails: what cannot be understood stays as text, and `StoryString.problems` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

__all__ = ["StoryString", "parse"]

Value = TypeVar("Value")

DEEPEST = 40
"""Blocks within blocks; no story string is anywhere near."""

_TAG = re.compile(
    r"""(?P<escape>(?<!\\)\\+)? (?:
        \{\{ ~? !-- (?: (?!--~?\}\}|\{\{~?!--) . )* --~?\}\}
      | \{\{ ~? ! [^{}]* \}\}
      | \{\{\{ [^{}]* \}\}\}
      | \{\{ (?!\{) (?: [^{}] | \{\{[^{}]*\}\} )* \}\}
    )""",
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z_][\w]*\Z")
_BLOCK = re.compile(r"#\s*(if|unless)\s+([A-Za-z_]\w*)\s*\Z")
_ELSE = re.compile(r"(?:else|\^)(?:\s+(if|unless)\s+([A-Za-z_]\w*))?\s*\Z")
_CLOSE = re.compile(r"/\s*(\w+)\s*\Z")


@dataclass(slots=True)
class _Text:
    text: str
    original: str
    cut_left: bool = False
    cut_right: bool = False


@dataclass(slots=True)
class _Value:
    name: str
    raw: str


@dataclass(slots=True)
class _Comment:
    pass


@dataclass(slots=True)
class _Branch:
    """One way through a block. The last may have no condition: `{{else}}`."""

    name: str
    wanted: bool
    body: list[_Node] = field(default_factory=list)


@dataclass(slots=True)
class _Choice:
    word: str
    branches: list[_Branch]
    tags: list[tuple[bool, bool]]
    """For each tag, opening to closing, whether `~` stands on its left and on its right."""


_Node = _Text | _Value | _Comment | _Choice


@dataclass(frozen=True)
class StoryString:
    """A parsed template. `problems`: one line for each thing that Handlebars would not take."""

    nodes: tuple[_Node, ...]
    problems: tuple[str, ...]

    def names(self) -> set[str]:
        """Every variable that is shown or asked for."""
        return set(_names(self.nodes))

    def render(
        self,
        values: Mapping[str, list[Value]],
        text: Callable[[str], list[Value]],
        unknown: Callable[[str], list[Value]],
    ) -> list[Value]:
        """The pieces of the whole, in order. A variable holds when its list is not empty.

        `text` makes pieces of the template's own words, `unknown` of a tag that names no variable, braces
        included.
        """
        result: list[Value] = []
        _render(self.nodes, values, text, unknown, result)
        return result


@lru_cache(maxsize=64)
def parse(template: str) -> StoryString:
    """`template` as a StoryString; never raises."""
    problems: list[str] = []
    root: list[_Node] = []
    _read(template, root, problems)
    _control(root, True)
    return StoryString(tuple(root), tuple(problems))


# Reading ------------------------------------------------------------------------------------------------


def _read(template: str, root: list[_Node], problems: list[str]) -> None:
    stack: list[_Choice] = []
    body = root
    position = 0
    for found in _TAG.finditer(template):
        before = template[position : found.start()]
        position = found.end()
        slashes = found["escape"] or ""
        tag = found[0][len(slashes) :]
        if slashes:  # one backslash makes text of a tag, two are one backslash before it
            before += slashes[1:] if len(slashes) % 2 else slashes[: len(slashes) // 2]
            if len(slashes) % 2:
                _add(body, before + tag)
                continue
        _add(body, before)
        content, left, right = _inside(tag)
        if content.startswith("!"):
            body.append(_Comment())
            continue
        if block := _BLOCK.match(content):
            if len(stack) >= DEEPEST:
                problems.append(f"blocks lie more than {DEEPEST} deep")
                _add(body, tag)
                continue
            choice = _Choice(block[1], [_Branch(block[2], block[1] == "if")], [(left, right)])
            body.append(choice)
            stack.append(choice)
            body = choice.branches[-1].body
        elif (other := _ELSE.match(content)) and stack and stack[-1].branches[-1].name:
            choice = stack[-1]
            choice.branches.append(_Branch(other[2] or "", other[1] != "unless"))
            choice.tags.append((left, right))
            body = choice.branches[-1].body
        elif (close := _CLOSE.match(content)) and stack and close[1] == stack[-1].word:
            stack.pop().tags.append((left, right))
            body = stack[-1].branches[-1].body if stack else root
        elif other or content[:1] in ("/", "#", ">", "^"):
            problems.append(f"{tag} is not understood here")
            _add(body, tag)
        else:
            body.append(_Value(content if _NAME.match(content) else "", "{{" + content + "}}"))
            _squeeze(body, left, right)
    _add(body, template[position:])
    for choice in stack:
        problems.append(f"{{{{#{choice.word} {choice.branches[0].name}}}}} is never closed")
        choice.tags.append((False, False))


def _inside(tag: str) -> tuple[str, bool, bool]:
    """What a tag holds, and whether `~` stands on its left and on its right."""
    content = tag.strip("{}") if tag.startswith("{{{") else tag[2:-2]
    left, right = content.startswith("~"), content.endswith("~") and len(content) > 1
    content = content[1:] if left else content
    content = content[:-1] if right else content
    return content.strip().removeprefix("&").strip(), left, right


def _add(body: list[_Node], text: str) -> None:
    if text:
        body.append(_Text(text, text))


def _squeeze(body: list[_Node], left: bool, right: bool) -> None:
    """`~` of a value: at its left now, at its right once the text there is read."""
    if left:
        _cut_end(body, len(body) - 1, everything=True)
    if right:
        body.append(_Choice("~", [], []))


# White space --------------------------------------------------------------------------------------------


def _control(body: list[_Node], root: bool) -> None:
    """Handlebars' white-space rules, for one body; a tag's line goes when it holds nothing but the tag."""
    for index, node in enumerate(body):
        if isinstance(node, _Comment):
            if _line_begins(body, index, root) and _line_ends(body, index, root):
                _cut_start(body, index + 1)
                _cut_end(body, index)
        elif isinstance(node, _Choice):
            if node.word == "~":
                _cut_start(body, index + 1, everything=True)
                continue
            _control_block(node)
            first, last = node.branches[0].body, node.branches[-1].body
            opening = _line_ends(first, -1, False) and _line_begins(body, index, root)
            second = node.branches[1].body if len(node.branches) > 1 else first
            closing = _line_begins(second, len(second), False) and _line_ends(body, index, root)
            if node.tags[-1][1]:
                _cut_start(body, index + 1, everything=True)
            if node.tags[0][0]:
                _cut_end(body, index, everything=True)
            if opening:
                _cut_start(first, 0)
                _cut_end(body, index)
            if closing:
                _cut_start(body, index + 1)
                # What follows an `else if` is a block within the block to Handlebars, which keeps its blanks.
                if not any(branch.name for branch in node.branches[1:]):
                    _cut_end(last, len(last))


def _control_block(node: _Choice) -> None:
    for branch in node.branches:
        _control(branch.body, False)
    for number, branch in enumerate(node.branches):
        if node.tags[number][1]:
            _cut_start(branch.body, 0, everything=True)
        if node.tags[number + 1][0]:
            _cut_end(branch.body, len(branch.body), everything=True)
    for one, other in zip(node.branches, node.branches[1:], strict=False):
        if _line_begins(one.body, len(one.body), False) and _line_ends(other.body, -1, False):
            _cut_end(one.body, len(one.body))
            _cut_start(other.body, 0)


def _line_begins(body: list[_Node], index: int, root: bool) -> bool:
    """Whether nothing but blanks stands on the line before `index`."""
    if index == 0:
        return root
    before = body[index - 1]
    if not isinstance(before, _Text):
        return False
    blanks = before.original[len(before.original.rstrip()) :]
    return "\n" in blanks or (root and index == 1 and blanks == before.original)


def _line_ends(body: list[_Node], index: int, root: bool) -> bool:
    """Whether nothing but blanks stands on the line after `index`."""
    if index + 1 >= len(body):
        return root
    after = body[index + 1]
    if not isinstance(after, _Text):
        return False
    blanks = after.original[: len(after.original) - len(after.original.lstrip())]
    return "\n" in blanks or (root and index + 2 >= len(body) and blanks == after.original)


def _cut_start(body: list[_Node], index: int, *, everything: bool = False) -> None:
    node = body[index] if index < len(body) else None
    if isinstance(node, _Text) and (everything or not node.cut_left):
        shorter = node.text.lstrip() if everything else re.sub(r"^[ \t]*\r?\n?", "", node.text)
        node.cut_left = shorter != node.text
        node.text = shorter


def _cut_end(body: list[_Node], index: int, *, everything: bool = False) -> None:
    node = body[index - 1] if index > 0 else None
    if isinstance(node, _Text) and (everything or not node.cut_right):
        shorter = node.text.rstrip() if everything else node.text.rstrip(" \t")
        node.cut_right = shorter != node.text
        node.text = shorter


# Rendering ----------------------------------------------------------------------------------------------


def _render(
    nodes: Iterable[_Node],
    values: Mapping[str, list[Value]],
    text: Callable[[str], list[Value]],
    unknown: Callable[[str], list[Value]],
    result: list[Value],
) -> None:
    for node in nodes:
        if isinstance(node, _Text):
            result += text(node.text)
        elif isinstance(node, _Value):
            result += values[node.name] if node.name in values else unknown(node.raw)
        elif isinstance(node, _Choice):
            for branch in node.branches:
                if not branch.name or bool(values.get(branch.name)) == branch.wanted:
                    _render(branch.body, values, text, unknown, result)
                    break


def _names(nodes: Iterable[_Node]) -> Iterable[str]:
    for node in nodes:
        if isinstance(node, _Value) and node.name:
            yield node.name
        elif isinstance(node, _Choice):
            for branch in node.branches:
                if branch.name:
                    yield branch.name
                yield from _names(branch.body)

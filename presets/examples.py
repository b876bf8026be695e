"""A card's example dialogue as past turns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from presets.text import Cast, lines
from presets.values import Role, Turn

SOURCE = "card mes_example"

_START = re.compile(r"<START>", re.IGNORECASE)


def example_turns(text: str, cast: Cast, *names: str, source: str = SOURCE) -> list[Turn]:
    """The turns of `text`, a `mes_example` whose macros are expanded.

    Blocks are split at `<START>`. A line that starts with either name and a colon opens a turn, other lines
    continue it; what names nobody is the character's. `names` are more names of the character's (a card's
    name beside its nickname).
    """
    roles = _roles(cast, names)
    blocks = (lines(block) for block in _START.split(lines(text)))
    return [turn for block in blocks for turn in _block_turns(block, roles, cast, source)]


def lore_examples(text: str, source: str, cast: Cast, *names: str) -> list[Turn]:
    """A lorebook entry that stands with the examples: turns where it is dialogue, else a narrator's."""
    openers = _roles(cast, names)
    is_dialogue = any(line.lstrip().startswith(start) for line in text.splitlines() for start in openers)
    if is_dialogue or _START.search(text):
        return example_turns(text, cast, *names, source=source)
    written = lines(text)
    return [Turn("system", "", written, source)] if written else []


def _roles(cast: Cast, names: Sequence[str]) -> dict[str, Role]:
    """Who speaks, by how a line begins."""
    roles: dict[str, Role] = {f"{name}:": "char" for name in names if name}
    return roles | {f"{cast.user}:": "user", f"{cast.char}:": "char"}


def _block_turns(block: str, roles: dict[str, Role], cast: Cast, source: str) -> Iterator[Turn]:
    role: Role = "char"
    spoken: list[str] = []
    for line in block.split("\n"):
        opener = next((start for start in roles if line.lstrip().startswith(start)), None)
        if opener is None:
            spoken.append(line)
            continue
        yield from _turn(role, spoken, cast, source)
        role, spoken = roles[opener], [line.lstrip()[len(opener) :]]
    yield from _turn(role, spoken, cast, source)


def _turn(role: Role, spoken: list[str], cast: Cast, source: str) -> Iterator[Turn]:
    if text := "\n".join(spoken).strip():
        yield Turn(role, cast.user if role == "user" else cast.char, text, source)

"""A card's example dialogue as past turns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from presets.text import Cast, lines
from presets.values import Role, Turn

SOURCE = "card mes_example"

_START = re.compile(r"<START>", re.IGNORECASE)


def example_turns(text: str, cast: Cast, *names: str) -> list[Turn]:
    """The turns of `text`, a `mes_example` whose macros are expanded.

    Blocks are split at `<START>`. A line that starts with either name and a colon opens a turn, other lines
    continue it; what names nobody is the character's. `names` are more names of the character's (a card's
    name beside its nickname).
    """
    roles: dict[str, Role] = {f"{name}:": "char" for name in names if name}
    roles |= {f"{cast.user}:": "user", f"{cast.char}:": "char"}
    return [turn for block in _START.split(lines(text)) for turn in _block_turns(lines(block), roles, cast)]


def _block_turns(block: str, roles: dict[str, Role], cast: Cast) -> Iterator[Turn]:
    role: Role = "char"
    spoken: list[str] = []
    for line in block.split("\n"):
        opener = next((start for start in roles if line.lstrip().startswith(start)), None)
        if opener is None:
            spoken.append(line)
            continue
        yield from _turn(role, spoken, cast)
        role, spoken = roles[opener], [line.lstrip()[len(opener) :]]
    yield from _turn(role, spoken, cast)


def _turn(role: Role, spoken: list[str], cast: Cast) -> Iterator[Turn]:
    if text := "\n".join(spoken).strip():
        yield Turn(role, cast.user if role == "user" else cast.char, text, SOURCE)

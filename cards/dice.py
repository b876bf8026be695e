"""`{{roll:2d6+1}}`: dice with a cap on how many are thrown."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from cards import limits

__all__ = ["roll"]

_DICE: Final = re.compile(r"\s*([0-9]{0,9})\s*[dD]\s*([0-9]{1,12})\s*(?:([+-])\s*([0-9]{1,12}))?\s*")


def roll(text: str, dice: Random) -> str:
    """The sum of `NdM+K`; a bare number is one die with that many sides. "" for what is no roll, or too
    large a one."""
    text = text.strip()
    found = _DICE.fullmatch("1d" + text if text.isascii() and text.isdecimal() else text)
    if found is None:
        return ""
    count, sides = int(found[1] or 1), int(found[2])
    if not (0 < count <= limits.DICE and 0 < sides <= limits.DICE_SIDES):
        return ""
    extra = int(found[4] or 0) * (-1 if found[3] == "-" else 1)
    return str(sum(dice.choices(range(1, sides + 1), k=count)) + extra)

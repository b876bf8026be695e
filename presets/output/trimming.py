"""Cleaning the end of a reply: what helps of SillyTavern's `cleanUpMessage`, and nothing that destroys.

The raw reply is kept beside what comes out of here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from presets.output.sentences import trim_incomplete

__all__ = ["trimmed", "without_name_lines", "without_stop_prefix", "without_user_turns"]

_CLOSING = set("*\"'”’»)]}」』_~`.!?… \n")


def trimmed(
    text: str,
    *,
    stops: Sequence[str] = (),
    user_names: Sequence[str] = (),
    own_name: str = "",
    cut: bool = False,
    sentences: bool = False,
) -> str:
    """A finished reply as it is stored.

    `stops` are the prompt's, `user_names` those whose turns do not belong here, `cut` says that the length
    limit ended the reply, `sentences` that an incomplete last one goes. Never empty for a text that is not.
    """
    result = without_user_turns(text, user_names)
    result = without_name_lines(result, own_name)
    result = without_stop_prefix(result, stops, cut=cut).rstrip()
    if sentences:
        result = trim_incomplete(result)
    return result if result.strip() else text.rstrip()


def without_stop_prefix(text: str, stops: Sequence[str], *, cut: bool) -> str:
    """The text without an end that is the beginning of a stop string.

    One character alone goes only from a reply that was cut, and a closing mark never.
    """
    text = text.rstrip()
    padded = [stop for stop in stops if stop]
    for start in range(max(0, len(text) - max(map(len, padded), default=0)), len(text)):
        tail = text[start:]
        visible = tail.strip()
        if len(visible) < (1 if cut else 2) or set(tail) <= _CLOSING:
            continue
        if any(len(stop) > len(tail) and stop.startswith(tail) for stop in padded):
            return text[:start].rstrip()
    return text


def without_user_turns(text: str, names: Sequence[str]) -> str:
    """The text up to a line that begins with `Name:` of the user; a first line stays."""
    ends = [place for name in names if name and (place := text.find(f"\n{name}:")) > 0]
    return text[: min(ends)].rstrip() if ends else text


def without_name_lines(text: str, name: str) -> str:
    """The text without the character's own `Name:` at the beginning of its later lines."""
    return re.sub(rf"(?<=\n){re.escape(name)}:[ \t]*", "", text) if name else text

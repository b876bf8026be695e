"""What goes wrong with presets, in one line that says what, where and what to do."""

from __future__ import annotations


class PresetError(Exception):
    """A preset that is not there or not right, or a setting that makes no sense. `str()` is one line."""


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean X?` for the known name that is closest, else the names there are."""
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=1, cutoff=0.4)
    if found:
        return f"; did you mean {found[0]}?"
    return f"; there are {', '.join(known)}" if known else ""

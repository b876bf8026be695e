"""Repetition across replies: shared runs of words, the same opening, the same skeleton of paragraphs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from presets.sampling import Sampling

__all__ = ["LOOKED_BACK", "Repetition", "find_repetition", "longest_shared_run", "remark"]

LOOKED_BACK = 10
"""Earlier replies that a reply is compared with."""
RUN = 10
"""Words in a row that may not stand in an earlier reply."""
OPENING = 4
"""Words at the beginning that may not be those of OPENINGS earlier replies."""
OPENINGS = 2
PARAGRAPHS = 3
"""Fewer have no skeleton."""
SKELETONS = 3
MOST_WORDS = 2000
"""Of one reply that are looked at."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SHORT, _LONG = 12, 45
"""Words: shorter paragraphs are short, longer ones long."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a reply repeats."""

    kind: Literal["words", "opening", "skeleton"]
    count: int
    """Words of the shared run; else the earlier replies that have the same."""


def find_repetition(text: str, earlier: Sequence[str]) -> Repetition | None:
    """The first that is over its threshold. `earlier` are the replies before it, newest last."""
    earlier = earlier[-LOOKED_BACK:]
    words, *others = [_words(one)[:MOST_WORDS] for one in (text, *earlier)]
    run = longest_shared_run(words, others)
    if run >= RUN:
        return Repetition("words", run)
    same = sum(other[:OPENING] == words[:OPENING] for other in others)
    if len(words) > OPENING and same >= OPENINGS:
        return Repetition("opening", same)
    bones = _skeleton(text)
    same = sum(_skeleton(other) == bones for other in earlier)
    if len(bones) >= PARAGRAPHS and same >= SKELETONS:
        return Repetition("skeleton", same)
    return None


def longest_shared_run(words: Sequence[str], others: Sequence[Sequence[str]]) -> int:
    """Length of the longest run of words that also stands in one of the others."""
    low, high = 0, len(words)
    while low < high:  # a run is shared only if every shorter one is
        middle = (low + high + 1) // 2
        mine = {tuple(words[i : i + middle]) for i in range(len(words) - middle + 1)}
        if any(tuple(o[i : i + middle]) in mine for o in others for i in range(len(o) - middle + 1)):
            low = middle
        else:
            high = middle - 1
    return low


def remark(found: Repetition, sampling: Sampling) -> str:
    """One line: what is repeated, and the setting that makes it rarer."""
    match found.kind:
        case "words":
            what = f"{found.count} words in a row stand in an earlier reply too"
            help = "dry_multiplier=0.8" if not sampling.dry_multiplier else "repeat_penalty=1.1"
        case "opening":
            what = f"{found.count} of the last replies begin with the same words"
            help = "xtc_probability=0.5" if not sampling.xtc_probability else "temperature=1.2"
        case "skeleton":
            what = f"{found.count} of the last replies are built of the same paragraphs"
            help = "reply_length=short" if sampling.xtc_probability else "xtc_probability=0.5"
    return f"{what}; {help} makes that rarer"


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _skeleton(text: str) -> tuple[tuple[str, bool, int], ...]:
    """Of each paragraph: what it begins with, whether something is said in it, and how long it is."""
    bones = []
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        first = "*" if line[0] == "*" else '"' if line[0] in '"“«„「' else "a"
        count = len(_WORD.findall(line))
        bones.append((first, bool(re.search('["“«„「]', line)), (count > _SHORT) + (count > _LONG)))
    return tuple(bones)

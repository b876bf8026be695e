"""Where sentences end in roleplay prose, and closing what a cut leaves open."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["close", "next_end", "sentence_spans", "trim_incomplete"]

_END = re.compile(
    r"""(?<![.!?…])[.!?…]++[\"'”’»)\]}*_`]*(?=\s|\Z)"""  # Latin: white space must follow
    r"""|(?<![—–-])[—–-]++[\"”»][*_]*(?=\s|\Z)"""  # speech that is broken off
    r"""|[。！？]++[”’」』）】*]*"""
    r"""|\n"""
)
LOOKED_AT = 3000
"""Characters before the end in which open marks and a last sentence are looked for."""
ROUNDS = 20
_SPACES = re.compile(" *")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sgt|Lt|Capt|vs|etc|[A-Z])\.\Z")
_FINISHED = frozenset(".!?…*\"')}`]$_。！？”）】’」』»~")
"""SillyTavern's list of what may end a sentence, with a few more."""
_MARKS = re.compile(r"\*+|[\"“”„«»「」『』]")
_CLOSERS = {"“": "”", "„": "“”", "«": "»", "「": "」", "『": "』"}


def next_end(text: str, start: int = 0, *, final: bool = False) -> int | None:
    """Where the first sentence or paragraph that ends at `start` or later ends; None where this is not sure.

    Until the text is `final`, what follows must be seen: a quotation mark may still come, and a lower-case
    letter goes on with the sentence (`"Stop!" he said`).
    """
    for found in _END.finditer(text, max(0, start - 16)):
        if found[0] == "\n":
            end = len(text[: found.start()].rstrip())
            if end >= start and end:
                return end
            continue
        end = found.end()
        if end < start:
            continue
        after = next(_SPACES.finditer(text, end)).end()
        if after == len(text) and not final:
            return None
        if text[after : after + 1].islower() or _ABBREVIATION.search(text[max(0, end - 8) : end]):
            continue
        return end
    return None


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence, the white space between them left out."""
    spans = []
    start = 0
    while start < len(text):
        if text[start].isspace():
            start += 1
            continue
        end = next_end(text, start + 1, final=True)
        stop = len(text.rstrip()) if end is None else end
        spans.append((start, stop))
        start = max(stop, start + 1)
    return spans


def close(text: str) -> str:
    """The text with the `*` and quotation marks closed that its last line leaves open.

    A mark that opens at the very end opens nothing and goes.
    """
    text = text.rstrip()
    open_marks = _open_marks(text)
    for _ in range(ROUNDS):  # a mark before one that went may be the last now
        before = text
        while open_marks and open_marks[-1][0] == len(text) - len(open_marks[-1][1]):
            text = text[: open_marks.pop()[0]].rstrip()
        if text == before or not text:
            break
        open_marks = _open_marks(text)
    return text + "".join(_CLOSERS[mark][0] if mark in _CLOSERS else mark for _, mark in reversed(open_marks))


def trim_incomplete(text: str) -> str:
    """The text without a last sentence that has no end; unchanged where no other sentence would be left."""
    text = text.rstrip()
    rounds = 0
    for end in range(len(text), max(0, len(text) - LOOKED_AT), -1):
        if rounds == ROUNDS:
            break
        if end < len(text) and not text[end].isspace():
            continue
        last = text[end - 1]
        if last.isspace() or (last not in _FINISHED and unicodedata.category(last) != "So"):
            continue
        if end < len(text) and _ABBREVIATION.search(text[max(0, end - 8) : end]):
            continue
        rounds += 1
        kept = close(text[:end])
        if end == len(text) or kept.strip():
            return kept if end < len(text) else text
    return text


def _open_marks(text: str) -> list[tuple[int, str]]:
    """Place and text of the marks of the last line that nothing closes, outermost first."""
    offset = max(text.rfind("\n") + 1, len(text) - LOOKED_AT)
    line = text[offset:]
    opened: list[tuple[int, str]] = []
    for found in _MARKS.finditer(line):
        mark, place = found[0], offset + found.start()
        before = line[found.start() - 1] if found.start() else " "
        after = line[found.end()] if found.end() < len(line) else ""
        if mark.startswith("*"):
            if not before.isspace() and _close_stars(opened, len(mark)):
                continue
            if len(mark) <= 3 and not after.isspace() and not before.isalnum():
                opened.append((place, mark))
            continue
        closed = [i for i, (_, known) in enumerate(opened) if mark in _CLOSERS.get(known, known)]
        if closed:
            del opened[closed[-1]]
        elif mark in _CLOSERS or (mark == '"' and not before.isdigit()):
            opened.append((place, mark))
    return opened


def _close_stars(opened: list[tuple[int, str]], count: int) -> bool:
    """Take away what so many stars close; False when that is nothing."""
    before = len(opened)
    while count:
        known = [i for i, (_, mark) in enumerate(opened) if mark[0] == "*" and len(mark) <= count]
        if not known:
            break
        count -= len(opened[known[-1]][1])
        del opened[known[-1]]
    return len(opened) < before

"""Sentences of a reply in which the user's persona acts or speaks. English; a line `Name:` in any language.

They are found to be marked, so a sentence too few is better than one too many: only a persona that is the
subject of its clause, in the narration and not in what the character says, counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from presets.output.sentences import sentence_spans

__all__ = ["UserFinder", "is_second_person"]

_HIDDEN = "\0"
_QUOTES = re.compile(r'"[^"\n]*(?:"|$)|“[^”\n]*(?:”|$)|«[^»\n]*(?:»|$)|„[^“”\n]*(?:[“”]|$)', re.MULTILINE)
_ACTIONS = re.compile(r"\*+[^*\n]+(?:\*+|$)")

_ADVERBS = r"(?:\s+(?:\w+ly|then|just|also|still|only|always|never|now|soon|almost|once more))*"
_LEAD = r"(?:(?:\w+ly|then|now|again|instead|finally|still|meanwhile|for a moment|at last|in turn)\s+)?"
_JOINT = r"(?:(?:and|but|then|while|so|yet|as)\s+)?"
_CLAUSE = rf"(?:(?:^|[{_HIDDEN}.!?…;:—–,)])[*_(\s]*+{_JOINT}|\b(?:as|while)\s+)[*_(]*+{_LEAD}"

_NO_ACTS = (
    "is|was|has|had|does|seems|seemed|appears|appeared|remains|remained|as|this|its|his|hers|us|yes|perhaps|"
    "always|towards|besides|afterwards|indeed|hundred|naked|red|bed|need|used|supposed|across|less|"
    "needs|deserves|deserved|belongs|belonged|knows|was|owes|owed"
)
_PAST = (
    "said|told|took|went|came|stood|sat|ran|got|gave|made|felt|thought|saw|heard|left|held|fell|drew|spoke|"
    "broke|rose|shook|woke|wrote|read|let|put|set|threw|caught|brought|bought|leant|knelt|slept|swung|spun|"
    "slid|stole|struck|bit|bent|clung|crept|dug|drove|ate|drank|began|found|fought|lay|lit|met|rode|sang|"
    "sent|shot|shut|swam|swore|tore|wept|forgot|understood|stuck|wore|froze|chose|grew|grinned"
)
_DOING = r"(?:is|was)\s+(?:\w+ly\s+)?(?!\w*thing\b)[a-z]+ing"
_THIRD = rf"(?:(?!(?:{_NO_ACTS})\b)[a-z]+(?:s|ed)|{_PAST}|{_DOING})\b(?!['’])"
_NO_DEEDS = (
    "are|were|re|ll|d|ve|can|could|may|might|must|will|would|shall|should|have|had|do|did|don|didn|aren|weren|"
    "see|saw|hear|heard|smell|notice|noticed|feel|felt|sense|sensed|know|knew|seem|seemed|look|looked|need|"
    "find|found|recognize|recognise|remember|want|two|three|both|all|guys|and|or|who|whose|whom|not|in|on|at|"
    "of|for|with|from|by|as|to|into|onto|through|like|than|that|the|a|an|is|was|has|but|before|after|if|when|"
    "already|really|there|here|up|down|over|under|alone|too|then|now|so|again|never|ever|always|just|still|"
    "also|only|are|themselves|people|got|get|could|cannot|couldn|wouldn|shouldn|won|can|isn|haven|hadn"
)
_SECOND = rf"(?!(?:{_NO_DEEDS})\b)[a-z]+\b(?!['’])"
_SAYS = (
    r"(?:says?|said|asks?|asked|repl(?:y|ies|ied)|answers?|answered|whispers?|whispered|murmurs?|murmured|"
    r"shouts?|shouted|cr(?:y|ies|ied)|mutters?|muttered|exclaims?|exclaimed|adds?|added|calls?|called)"
)
_TAG = re.compile(rf"\b{_SAYS}\Z")


class UserFinder:
    """Finds them for one persona. `second_person`: the card's narrator calls the user `you`."""

    def __init__(self, names: Sequence[str], *, second_person: bool = False) -> None:
        self._names = _name_pattern(tuple(names))
        self._patterns = _patterns(self._names, second_person)

    def spans(self, text: str, *, growing: bool = False) -> list[tuple[int, int]]:
        """Start and end of each such sentence, in order, none overlapping.

        Of a `growing` text the last word, which may not be whole, is not looked at.
        """
        if growing:
            text = text[: max(text.rfind(" "), text.rfind("\n")) + 1]
        shown = narration(text)
        found = []
        start = 0
        for line in text.split("\n"):
            end = start + len(line)
            found += self._in_line(text, shown, start, end)
            start = end + 1
        return _merged(found)

    def _in_line(self, text: str, shown: str, start: int, end: int) -> list[tuple[int, int]]:
        if self._names and re.match(rf"\s*[*_]*(?:{self._names})[*_]*\s*:", text[start:end]):
            return [(start, start + len(text[start:end].rstrip()))]
        line = shown[start:end]
        hits = [match for pattern in self._patterns for match in pattern.finditer(line)]
        if not hits:
            return []
        spans = sentence_spans(text[start:end])
        return [_whole(line, spans, match, start) for match in hits]


def narration(text: str) -> str:
    """The text, of the same length, with speech hidden.

    Speech is what stands in quotation marks; where there are none but there are `*actions*`, what stands
    outside of those.
    """
    hide = lambda match: _HIDDEN * len(match[0])  # noqa: E731
    if _QUOTES.search(text):
        return _QUOTES.sub(hide, text)
    if not _ACTIONS.search(text):
        return text
    kept = "".join(" " if letter != "\n" else letter for letter in text)
    hidden = list(re.sub(r"[^\n]", _HIDDEN, kept))
    for action in _ACTIONS.finditer(text):
        hidden[action.start() : action.end()] = action[0]
    return "".join(hidden)


def is_second_person(texts: Sequence[str], names: Sequence[str] = ()) -> bool:
    """Whether a card's greetings call the user `you` where they narrate."""
    yous = named = 0
    for text in texts:
        marked = bool(_QUOTES.search(text) or _ACTIONS.search(text))
        shown = narration(text)
        # Without marks nobody can tell speech from narration: a sentence must begin with `You`.
        yous += len(re.findall(r"\b[Yy]ou(?:r|rself)?\b" if marked else r"(?:^|[.!?]\s)You\s+[a-z]", shown))
        named += sum(len(re.findall(rf"\b{re.escape(name)}\b", shown)) for name in names if name)
    return yous >= 2 and yous > 2 * named


def _name_pattern(names: tuple[str, ...]) -> str:
    known = {name.strip() for name in names if name.strip()}
    known |= {first for name in known if len(first := name.split()[0]) > 2}
    return "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))


@lru_cache(maxsize=32)
def _patterns(names: str, second_person: bool) -> tuple[re.Pattern[str], ...]:
    patterns = []
    if names:
        patterns.append(rf"{_CLAUSE}(?:{names}){_ADVERBS}\s+{_THIRD}")
        patterns.append(rf"(?P<tag>{_HIDDEN})\s*,?\s*{_SAYS}\s+(?:{names})\b")
    compiled = [re.compile(pattern) for pattern in patterns]
    if second_person:
        compiled.append(re.compile(rf"{_CLAUSE}[Yy]ou{_ADVERBS}\s+{_SECOND}"))
    return tuple(compiled)


def _whole(line: str, spans: Sequence[tuple[int, int]], match: re.Match[str], offset: int) -> tuple[int, int]:
    """The sentence around a hit, with speech that is the persona's own (`"Yes," Alex says.`)."""
    place = match.end() - 1
    start, end = next(((s, e) for s, e in spans if s <= place < e), (match.start(), match.end()))
    if match[0].startswith(_HIDDEN) and ("tag" in match.re.groupindex or _TAG.search(match[0])):
        start = min(start, _run_start(line, match.start()))
    elif start < len(line) and line[start] == _HIDDEN:
        start = _run_start(line, start)
    while end < len(line) and line[end] == _HIDDEN and line[end - 1] == _HIDDEN:
        end += 1
    return offset + start, offset + end


def _run_start(line: str, place: int) -> int:
    while place > 0 and line[place - 1] == _HIDDEN:
        place -= 1
    return place


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result

"""A preset's own text as segments: its words are trusted, what its macros stand for is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from presets.expansion import Expand
from presets.text import Cast, joined
from presets.values import Segment, SegmentKind

TRIM = Segment("header", "macro trim", "", True)
"""Stands where `{{trim}}` stood: the line breaks on both its sides go. Told by identity."""

_TOKEN = re.compile(
    r"(?P<open>\{\{)|(?P<close>\}\})|(?<!<)<(?:user|bot|char|group|charifnotgroup)>(?!>)", re.IGNORECASE
)
_WORD = re.compile(r"(?:\{\{|<)\s*(//|\w+)")
_PLAIN = re.compile(r"\{\{(\w+)\}\}")
_SPEAKER = re.compile(r"\{\{name\}\}", re.IGNORECASE)

_SOURCES = {
    "char": "card name",
    "bot": "card name",
    "group": "card name",
    "charifnotgroup": "card name",
    "user": "persona name",
    "persona": "persona",
    "description": "card description",
    "personality": "card personality",
    "scenario": "card scenario",
    "mesexamples": "card mes_example",
    "charprompt": "card system_prompt",
}

_OWN_WORDS = frozenset(
    (
        *("newline", "noop", "random", "pick", "roll", "reverse", "setvar", "//", "comment", "banned"),
        *("time", "date", "weekday", "isotime", "isodate", "datetimeformat", "time_utc", "idle_duration"),
    )
)
"""Macros that say what the preset or the clock says, unless another macro stands inside."""

_BREAKS = "\r\n"


@dataclass(frozen=True, slots=True)
class Wording:
    """Fills the texts of one preset."""

    cast: Cast
    macros: Expand
    own_macros: Mapping[str, str] = field(default_factory=dict)
    """What the preset itself gives to macros, by lower-case name: `{{systemPrompt}}`, `{{chatStart}}` ..."""

    def expand(self, source: str, text: str) -> str:
        """A text that is not the preset's, its macros filled in."""
        return self.macros(source, self._quoted(text))

    def _quoted(self, text: str) -> str:
        if not self.own_macros or "{{" not in text:
            return text
        return _PLAIN.sub(lambda found: self.own_macros.get(found[1].lower(), found[0]), text)

    def fill(self, text: str, kind: SegmentKind, speaker: str | None = None) -> list[Segment]:
        """`text` with its macros filled in. `speaker` is what `{{name}}` stands for; None: nothing."""
        return trimmed(self.pieces(text, kind, speaker))

    def plain(self, text: str) -> str:
        """`text` filled in, as a string."""
        return "".join(segment.text for segment in self.fill(text, "header"))

    def pieces(self, text: str, kind: SegmentKind, speaker: str | None = None) -> list[Segment]:
        """As `fill`, with TRIM where `{{trim}}` stands."""
        result: list[Segment] = []
        position = 0
        text = self._quoted(text)
        for start, end in _macros(text):
            result.append(self.own(text[position:start], kind))
            result.append(self._macro(text[start:end], kind, speaker))
            position = end
        result.append(self.own(text[position:], kind))
        return [piece for piece in result if piece.text or piece is TRIM]

    def own(self, text: str, kind: SegmentKind) -> Segment:
        """The preset's words as they stand."""
        return Segment(kind, self.cast.source, text, True)

    def _macro(self, raw: str, kind: SegmentKind, speaker: str | None) -> Segment:
        word = _WORD.match(raw)
        name = word[1].lower() if word else ""
        if raw.startswith("{{") and name == "trim" and raw[2:-2].strip().lower() == "trim":
            return TRIM
        if speaker is not None and _SPEAKER.fullmatch(raw):
            source = "card name" if speaker == self.cast.char else "persona name"
            return Segment(kind, source, speaker, False) if speaker else self.own("System", kind)
        value = self.expand(f"{self.cast.source} {raw}", raw)
        if value == raw:
            return self.own(raw, kind)
        trusted = name in _OWN_WORDS and not _TOKEN.search(raw[2:-2])
        return Segment(
            kind, self.cast.source if trusted else _SOURCES.get(name, f"macro {name}"), value, trusted
        )


def _macros(text: str) -> Iterator[tuple[int, int]]:
    """Where macros stand that stand in no other, in order."""
    opened: list[int] = []
    pairs: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(text):
        if token["open"]:
            opened.append(token.start())
        elif not token["close"]:
            pairs.append(token.span())
        elif opened:
            pairs.append((opened.pop(), token.end()))
    reached = 0
    for start, end in sorted(pairs):
        if start >= reached:
            yield start, end
            reached = end


def trimmed(pieces: Sequence[Segment]) -> list[Segment]:
    """The pieces joined; at each TRIM the line breaks before and after it are gone."""
    result: list[Segment] = []
    trimming = False
    for piece in pieces:
        if piece is TRIM:
            result = without_end(result, _BREAKS)
            trimming = True
            continue
        text = piece.text.lstrip(_BREAKS) if trimming else piece.text
        if text:
            result.append(Segment(piece.kind, piece.source, text, piece.trusted))
            trimming = False
    return joined(result)


def without_start(segments: Sequence[Segment], characters: str | None = None) -> list[Segment]:
    """Without these characters at the start; None: without any white space."""
    for index, segment in enumerate(segments):
        if text := segment.text.lstrip(characters):
            return [Segment(segment.kind, segment.source, text, segment.trusted), *segments[index + 1 :]]
    return []


def without_first(segments: Sequence[Segment], count: int) -> list[Segment]:
    """Without so many characters at the start."""
    result: list[Segment] = []
    for segment in segments:
        text, count = segment.text[count:], max(count - len(segment.text), 0)
        result += [Segment(segment.kind, segment.source, text, segment.trusted)] if text else []
    return result


def without_end(segments: Sequence[Segment], characters: str | None = None) -> list[Segment]:
    """Without these characters at the end; None: without any white space."""
    for index in range(len(segments) - 1, -1, -1):
        segment = segments[index]
        if text := segment.text.rstrip(characters):
            return [*segments[:index], Segment(segment.kind, segment.source, text, segment.trusted)]
    return []


def without_last_break(segments: Sequence[Segment]) -> list[Segment]:
    """Without one newline at the very end."""
    if not segments or not segments[-1].text.endswith("\n"):
        return list(segments)
    last = segments[-1]
    return joined([*segments[:-1], Segment(last.kind, last.source, last.text[:-1], last.trusted)])

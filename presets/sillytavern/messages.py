"""One message as SillyTavern writes it, finished, continued or still to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from presets.sillytavern.documents import Instruct, Naming
from presets.sillytavern.wording import Wording, without_end, without_first, without_start
from presets.text import joined
from presets.values import Role, Segment, SegmentKind

Place = Literal["", "first", "last"]
"""Whether a message takes the sequence of the chat's first message, or of its last."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message of the chat, or a text that is put between the messages as one."""

    kind: SegmentKind
    role: Role
    name: str
    texts: tuple[Segment, ...]
    turn: int | None = None
    """Index in the history, for its turns."""
    foreign: bool = False
    """Said under another name than the persona's or the character's now: `force` shows that name."""

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.texts)


@dataclass(frozen=True, slots=True)
class Messages:
    """Writes messages by one instruct preset."""

    instruct: Instruct
    names: Naming
    wording: Wording
    forced_name: bool
    """With instruct mode off: the open turn begins with the character's name."""

    def finished(self, line: Line, place: Place) -> list[Segment]:
        """`line` as a message that is over."""
        if not self.instruct.enabled:
            name = [] if line.role == "system" else self._name(line.name, line.role, line.kind, ": ")
            return joined([*name, *line.texts, self.wording.own("\n", line.kind)])
        prefix, suffix = self._sequences(line.role, place)
        return self.written(
            prefix, line.texts, suffix, line.name, line.role, self._named(line), line.kind, self.instruct.wrap
        )

    def written(
        self,
        prefix: str,
        texts: Sequence[Segment],
        suffix: str,
        name: str,
        role: Role,
        named: bool,
        kind: SegmentKind,
        breaks: bool,
    ) -> list[Segment]:
        """Prefix, name and text and suffix; `breaks`: an empty suffix is a newline."""
        end = self._filled(suffix, kind, name)
        if not end and breaks:
            end = [self.wording.own("\n", kind)]
        body = [*(self._name(name, role, kind, ": ") if named else []), *texts, *end]
        return self._joined(self._filled(prefix, kind, name), body, kind)

    def continued(self, line: Line, alone: bool) -> list[Segment]:
        """`line` as the message that goes on: nothing after its text. `alone`: the chat has no other."""
        if not self.instruct.enabled:
            name = self._name(line.name, line.role, line.kind, ":")
            if alone:
                return joined([*name, self.wording.own(" ", line.kind), *line.texts])
            name = name if self.forced_name else []
            return joined([*name, self.wording.own(" ", line.kind), *without_start(line.texts)])
        prefix = self._filled(self._sequences(line.role, "last")[0], line.kind, line.name)
        name = self._name(line.name, line.role, line.kind, ": ") if self._named(line) else []
        text = self._joined(prefix, [*name, *line.texts], line.kind)
        return text if alone else self._without_own_name(text)

    def _without_own_name(self, segments: list[Segment]) -> list[Segment]:
        """Where no marker stands before it, SillyTavern takes the name for what the model wrote."""
        opener = f"{self.wording.cast.char}:"
        if not "".join(segment.text for segment in segments).lstrip().startswith(opener):
            return segments
        return without_start(without_first(without_start(segments), len(opener)))

    def open(self, role: Role, name: str, line_ended: bool) -> list[Segment]:
        """The turn that the model is to write. `line_ended`: the text before it ends a line."""
        if not self.instruct.enabled:
            if role == "char" and not self.forced_name:
                return []
            start = [] if line_ended else [self.wording.own("\n", "open")]
            return joined([*start, *self._name(name, role, "open", ":")])
        turns, wording = self.instruct, self.wording
        last = turns.last_output_sequence if role == "char" else ""
        sequence = turns.input_sequence if role == "user" else last or turns.output_sequence
        break_ = wording.own(turns.separator, "open")
        text = [break_, *self._filled(sequence, "open", name)]
        if self.names == "always" and name:
            text += [
                break_,
                wording.own(self._filler(sequence), "open"),
                *self._name(name, role, "open", ":"),
            ]
            return without_end(joined(text)) if turns.wrap else joined(text)
        text = without_end(joined(text)) if turns.wrap else text
        return joined([*text, break_])

    def _filler(self, sequence: str) -> str:
        """The space that Mistral's last sequence lacks and its others have."""
        last, usual = self.instruct.last_output_sequence, self.instruct.output_sequence
        if last and usual and sequence == last and usual[-1].isspace() and not last[-1].isspace():
            return usual[-1]
        return ""

    def _sequences(self, role: Role, place: Place) -> tuple[str, str]:
        turns = self.instruct
        if role == "user":
            special = {"first": turns.first_input_sequence, "last": turns.last_input_sequence}.get(place, "")
            return special or turns.input_sequence, turns.input_suffix
        if role == "char":
            special = {"first": turns.first_output_sequence, "last": turns.last_output_sequence}.get(
                place, ""
            )
            return special or turns.output_sequence, turns.output_suffix
        if turns.system_same_as_user:
            return turns.input_sequence, turns.input_suffix
        return turns.system_sequence, turns.system_suffix

    def _named(self, line: Line) -> bool:
        if line.role == "system":
            return False
        return self.names == "always" or (self.names == "force" and line.foreign)

    def _name(self, name: str, role: Role, kind: SegmentKind, after: str) -> list[Segment]:
        if not name:
            return []
        source = "persona name" if role == "user" else "card name"
        return [Segment(kind, source, name, False), self.wording.own(after, kind)]

    def _filled(self, text: str, kind: SegmentKind, name: str) -> list[Segment]:
        if self.instruct.macro:
            return self.wording.fill(text, kind, name)
        return [self.wording.own(text, kind)] if text else []

    def _joined(self, prefix: list[Segment], body: list[Segment], kind: SegmentKind) -> list[Segment]:
        between = self.wording.own(self.instruct.separator, kind)
        full = any(segment.text for segment in body)
        return joined([*prefix, between, *body] if prefix and full else [*prefix, *body])

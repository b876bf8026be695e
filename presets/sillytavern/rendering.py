"""A prompt as SillyTavern 1.12.6 renders it from an imported preset.

The order of its text-completion prompts: story string, examples, chat start, the chat with what is put
between its messages, and the open turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cards.card import Card
from presets.assembly import Block, Play
from presets.expansion import Expand
from presets.format import PromptFormat
from presets.sillytavern.documents import Naming, Settings, preset_macros
from presets.sillytavern.head import Head
from presets.sillytavern.messages import Line, Messages, Place
from presets.sillytavern.wording import Wording, without_end, without_last_break, without_start
from presets.text import Cast, joined
from presets.values import LoreInsertion, Mode, Persona, Role, Segment, SegmentKind, Turn

_NAME = re.compile(r"\{\{name\}\}", re.IGNORECASE)
_ORIGINAL = re.compile(r"\{\{\s*original\s*\}\}", re.IGNORECASE)

_AT_ONE_DEPTH: tuple[Role, ...] = ("char", "user", "system")
"""The later stands nearer to the end."""


def play(
    card: Card,
    persona: Persona,
    format: PromptFormat,
    turns: Sequence[Turn],
    mode: Mode,
    expand: Expand,
    lore: Sequence[LoreInsertion],
    chosen: Mapping[str, str],
    cast: Cast,
) -> Play:
    """How `format`, an imported one, is rendered. `chosen` are its options, all of them.

    Raises ValueError for a `continue` that has nothing to continue.
    """
    assert format.sillytavern is not None
    settings = format.sillytavern.settings()
    history = [
        replace(turn, text=turn.text.replace("\r", ""), source=turn.source or f"message {number}")
        for number, turn in enumerate(turns, 1)
    ]
    if mode == "continue" and (not history or history[-1].role != "char"):
        raise ValueError(f"there is nothing to continue: the last message is not {cast.char}'s")
    naming: dict[str, Naming] = {"on": "always", "off": "none"}
    wording = Wording(cast, expand, preset_macros(settings))
    names = naming.get(chosen["names"], settings.instruct.names)
    messages = Messages(settings.instruct, names, wording, settings.context.always_force_name)
    entries = [replace(e, text=wording.expand(e.source, e.text).replace("\r", "")) for e in lore]
    own_system = chosen.get("card_system_prompt") == "on"
    head = Head(settings, messages, card, persona, entries, own_system)
    staging = _Staging(settings, head, messages, mode, history)
    base_text = history[-1].text if mode == "continue" else ""
    return Play(staging.blocks, stop_strings(settings, wording, mode), history, base_text)


def stop_strings(settings: Settings, wording: Wording, mode: Mode) -> tuple[str, ...]:
    """Names, then the lines of every sequence, then the separators, then the user's own."""
    context, turns, cast = settings.context, settings.instruct, wording.cast
    found = ["\n"] if context.single_line else []
    if context.names_as_stop_strings:
        found += [f"\n{cast.char}:"] if mode == "impersonate" else []
        found.append(f"\n{cast.user}:")
    for line in dict.fromkeys(_sequence_lines(settings, cast)):
        if line.strip():
            stop = ("\n" if turns.wrap else "") + line
            found.append(wording.plain(stop) if turns.macro else stop)
    if context.use_stop_strings:
        separators = (context.chat_start, context.example_separator)
        found += [f"\n{wording.plain(text)}" for text in separators if text]
    found += [wording.plain(text) for text in context.stops]
    return tuple(dict.fromkeys(stop for stop in found if stop))


def _sequence_lines(settings: Settings, cast: Cast) -> Iterator[str]:
    turns = settings.instruct
    if not turns.enabled:
        return
    yield from turns.stop_sequence.split("\n")
    spoken = (
        (turns.input_sequence, cast.user),
        (turns.output_sequence, cast.char),
        (turns.first_output_sequence, cast.char),
        (turns.last_output_sequence, cast.char),
        (turns.system_sequence, "System"),
        (turns.last_system_sequence, "System"),
    )
    for sequence, name in spoken if turns.sequences_as_stops else ():
        yield from name.join(_NAME.split(sequence)).split("\n")


@dataclass(frozen=True, slots=True)
class _Injection:
    line: Line
    gap: int
    """It stands before the chat message of this index; after the last one where they are as many."""


@dataclass(frozen=True)
class _Staging:
    """All that a prompt could hold, before anything is left out."""

    settings: Settings
    head: Head
    messages: Messages
    mode: Mode
    history: Sequence[Turn]

    def blocks(self, first: int, with_examples: bool) -> list[Block]:
        """The prompt from the `first` turn of the history on, in order, block by block."""
        wording, turns = self.messages.wording, self.settings.instruct
        at_top = self.settings.context.story_depth is None
        result = [Block("header", segments=self.head.story if at_top else [])]
        if with_examples:
            result += [Block("examples", segments=list(message)) for message in self.head.examples]
        start = self.settings.context.chat_start
        result.append(Block("header", segments=wording.fill(start + "\n", "header") if start else []))
        injected = self._injected()
        chat = self._chat(first, injected)
        whole = first == 0 or any(injection.gap == 0 for injection in injected)
        last_user = max((n for n, line in enumerate(chat) if line.role == "user"), default=-1)
        said = []
        for number, line in enumerate(chat):
            # The first message that is also the user's last takes the sequence of the last.
            place: Place = "last" if number == last_user else "first" if number == 0 and whole else ""
            said.append(Block(line.kind, line.turn, self.messages.finished(line, place)))
        if turns.enabled and turns.user_alignment_message and not (chat and chat[0].role == "user"):
            result.append(Block("header", segments=self._alignment()))
        last = self.history[-1] if self.mode == "continue" else None
        if said and last is None and (turns.wrap or not turns.enabled):
            said[-1].segments = without_last_break(said[-1].segments)
        result += said
        result.append(Block("open", segments=self._continued(bool(said)) if last else self._open(said)))
        return result

    def _chat(self, first: int, injected: Sequence[_Injection]) -> list[Line]:
        """What stands between the head and the open turn. Injections keep their places when turns leave."""
        count = len(self.history) - (1 if self.mode == "continue" else 0)
        lines: list[Line] = []
        for gap in range(first, count + 1):
            lines += [i.line for i in injected if i.gap == gap or (gap == first and i.gap < gap)]
            if gap < count:
                lines.append(self._said(gap))
        return [*lines, *self._post_history()]

    def _said(self, index: int) -> Line:
        turn, cast = self.history[index], self.messages.wording.cast
        usual = cast.user if turn.role == "user" else cast.char
        text = (Segment("turn", turn.source, turn.text, False),) if turn.text else ()
        name = turn.name or usual
        return Line("turn", turn.role, name, text, index, foreign=name != usual)

    def _injected(self) -> list[_Injection]:
        """Notes, lore and a story string that has its place in the chat, as messages in their order."""
        cast, own = self.messages.wording.cast, self.messages.wording.own
        placed = list(self._depth_texts())
        # Nothing may stand between a message and its continuation.
        nearest = 1 if self.mode == "continue" else 0
        result: list[_Injection] = []
        for depth in sorted({at for at, _, _ in placed}, reverse=True):
            for role in _AT_ONE_DEPTH:
                texts: list[Segment] = []
                for at, of, segments in placed:
                    if at == depth and of == role:
                        texts += [own("\n", segments[0].kind)] if texts else []
                        texts += segments
                if texts:
                    # A narrator has no name of its own: {{name}} is the character's.
                    name = cast.user if role == "user" else cast.char
                    gap = max(len(self.history) - max(depth, nearest), 0)
                    result.append(_Injection(Line(texts[0].kind, role, name, tuple(joined(texts))), gap))
        return result

    def _depth_texts(self) -> Iterator[tuple[int, Role, list[Segment]]]:
        """Depth, role and text of all that stands between the messages."""
        own = self.head.card.depth_prompt
        expand = self.messages.wording.expand
        if own is not None and (text := expand("card depth_prompt", own.prompt).replace("\r", "").strip()):
            yield max(own.depth, 0), own.role, [Segment("note", "card depth_prompt", text, False)]
        context = self.settings.context
        if context.story_depth is not None and (story := without_start(without_end(self.head.story))):
            yield context.story_depth, context.story_role, story
        for entry in self.head.lore:
            if entry.position == "depth" and (text := entry.text.strip()):
                kind: SegmentKind = "lore" if entry.source.startswith("lore ") else "note"
                yield max(entry.depth, 0), entry.role, [Segment(kind, entry.source, text, False)]

    def _post_history(self) -> list[Line]:
        """The last word, as a message of a user without a name."""
        if not self.settings.context.post_history:
            return []
        wording = self.messages.wording
        preset = wording.fill(self.settings.post_history, "post_history")
        written = self.head.card.post_history_instructions.strip()
        texts: list[Segment] = []
        for index, stretch in enumerate(_ORIGINAL.split(written)):
            texts += preset if index == 1 else []
            value = wording.expand("card post_history_instructions", stretch).replace("\r", "")
            texts.append(Segment("post_history", "card post_history_instructions", value, False))
        texts = joined(texts) or preset
        return [Line("post_history", "user", "", tuple(texts))] if texts else []

    def _alignment(self) -> list[Segment]:
        """What the user says before a chat that does not begin with the user."""
        wording = self.messages.wording
        texts = wording.fill(self.settings.instruct.user_alignment_message, "header")
        return self.messages.finished(Line("header", "user", wording.cast.user, tuple(texts)), "first")

    def _continued(self, follows: bool) -> list[Segment]:
        line = replace(self._said(len(self.history) - 1), kind="open")
        texts = tuple(Segment("open", s.source, s.text, s.trusted) for s in line.texts)
        return self.messages.continued(replace(line, texts=texts), alone=not follows)

    def _open(self, said: Sequence[Block]) -> list[Segment]:
        cast = self.messages.wording.cast
        role: Role = "user" if self.mode == "impersonate" else "char"
        ended = bool(said and said[-1].segments and said[-1].segments[-1].text.endswith("\n"))
        return self.messages.open(role, cast.user if role == "user" else cast.char, ended)

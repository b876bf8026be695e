"""A prompt as SillyTavern 1.12.6 renders it from an imported preset.

The order of its text-completion prompts: story string, examples, chat start, the chat with what is put
between its messages, and the open turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cards.card import Card
from presets.assembly import Block, Play, at_one_place
from presets.expansion import Expand
from presets.notes import Note, notes_of
from presets.sillytavern.documents import Naming, Settings, preset_macros
from presets.sillytavern.head import Head
from presets.sillytavern.messages import Line, Messages, Place
from presets.sillytavern.wording import Wording, without_end, without_last_break, without_start
from presets.text import Cast, joined
from presets.values import AuthorsNote, LoreInsertion, Mode, Persona, Role, Segment, Turn

_NAME = re.compile(r"\{\{name\}\}", re.IGNORECASE)


def play(
    card: Card,
    persona: Persona,
    turns: Sequence[Turn],
    mode: Mode,
    expand: Expand,
    lore: Sequence[LoreInsertion],
    chosen: Mapping[str, str],
    cast: Cast,
    *,
    note: AuthorsNote | None = None,
    prefill: str = "",
) -> Play:
    """How the format of `cast`, an imported one, is rendered. `chosen` are its options, all of them.

    Raises ValueError for a `continue` that has nothing to continue.
    """
    assert cast.format.sillytavern is not None
    settings = cast.format.sillytavern.settings()
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

    def filled(source: str, text: str) -> str:
        return wording.expand(source, text).replace("\r", "")

    entries = [replace(e, text=filled(e.source, e.text)) for e in lore if e.position != "outlet"]
    notes, left_out = notes_of(card, persona, note or AuthorsNote(), entries, turns, filled)
    described = persona if persona.position == "header" else replace(persona, description="")
    own_system = chosen.get("card_system_prompt") == "on"
    head = Head(settings, messages, card, described, entries, own_system)
    last_word = chosen.get("card_post_history") == "on"
    staging = _Staging(settings, head, messages, mode, history, notes, last_word, prefill)
    base_text = history[-1].text if mode == "continue" else prefill
    stops = stop_strings(settings, wording, mode)
    return Play(staging.blocks, stops, history, base_text, lambda: left_out)


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
    notes: Sequence[Note]
    last_word: bool
    """Post-history instructions are sent."""
    prefill: str

    def blocks(self, first: int, with_examples: bool) -> list[Block]:
        """The prompt from the `first` turn of the history on, in order, block by block."""
        wording, turns = self.messages.wording, self.settings.instruct
        at_top = self.settings.context.story_depth is None
        result = [Block("header", segments=self.head.story if at_top else [])]
        result += [
            Block(message.part, segments=list(message.segments))
            for message in self.head.examples
            if with_examples or message.part == "lore"
        ]
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
            said.insert(0, Block("header", segments=self._alignment()))
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
        # SillyTavern calls a narrator so in the chat.
        usual = {"user": cast.user, "char": cast.char, "system": "System"}[turn.role]
        text = (Segment("turn", turn.source, turn.text, False),) if turn.text else ()
        name = turn.name or usual
        return Line("turn", turn.role, name, text, index, foreign=name != usual)

    def _injected(self) -> list[_Injection]:
        """Notes, lore and a story string that has its place in the chat, as messages in their order."""
        cast, own = self.messages.wording.cast, self.messages.wording.own
        # Nothing may stand between a message and its continuation.
        nearest = 1 if self.mode == "continue" else 0
        result: list[_Injection] = []
        for role, together in at_one_place(self._placed()):
            texts: list[Segment] = []
            for note in together:
                texts += [own("\n", note.texts[0].kind)] if texts else []
                texts += note.texts
            # A narrator has no name of its own: {{name}} is the character's.
            name = cast.user if role == "user" else cast.char
            gap = max(len(self.history) - max(together[0].depth, nearest), 0)
            result.append(_Injection(Line(texts[0].kind, role, name, tuple(joined(texts))), gap))
        return result

    def _placed(self) -> list[Note]:
        """What stands between the messages; the story string, where it does, before lore at that depth."""
        context = self.settings.context
        notes = list(self.notes)
        if context.story_depth is not None and (story := without_start(without_end(self.head.story))):
            lore = sum(entry.position == "depth" and bool(entry.text.strip()) for entry in self.head.lore)
            place = len(notes) - lore
            notes.insert(place, Note(tuple(story), context.story_depth, context.story_role))
        return notes

    def _post_history(self) -> list[Line]:
        """The last word, as a message of a user without a name."""
        if not self.last_word:
            return []
        source, written = "card post_history_instructions", self.head.card.post_history_instructions
        texts = self.head.instructions(source, written, self.settings.post_history, "post_history")
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
        opened = self.messages.open(role, cast.user if role == "user" else cast.char, ended)
        if not self.prefill:
            return opened
        between = " " if opened and opened[-1].text.endswith(":") and not self.prefill[0].isspace() else ""
        own = self.messages.wording.own(between, "open")
        return joined([*opened, own, Segment("open", "prefill", self.prefill, False)])

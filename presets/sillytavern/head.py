"""What stands before the chat: the story string and the example dialogue, as SillyTavern renders them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cards.card import Card
from presets.assembly import Block
from presets.sillytavern.dialogue import blocks_of, lines_of
from presets.sillytavern.documents import Settings
from presets.sillytavern.messages import Messages
from presets.sillytavern.wording import trimmed, without_start
from presets.story_string import parse
from presets.text import ORIGINAL, joined
from presets.values import LoreInsertion, Persona, Segment, SegmentKind


@dataclass(frozen=True)
class Head:
    """The head of one prompt."""

    settings: Settings
    messages: Messages
    card: Card
    persona: Persona
    lore: Sequence[LoreInsertion]
    """Macros expanded."""
    own_system: bool
    """The card's system prompt takes the preset's place."""

    @cached_property
    def story(self) -> list[Segment]:
        """The story string: no newline at its start, one at its end where turns begin on a new line."""
        turns, context, wording = self.settings.instruct, self.settings.context, self.messages.wording

        def words(text: str) -> list[Segment]:
            return wording.pieces(text, "header")

        story = parse(context.story_string).render(self._values(), words, words)
        segments = without_start(trimmed(story), "\n")
        in_chat = context.story_depth is not None
        if not segments or in_chat:
            return joined(segments)
        if not segments[-1].text.endswith("\n") and (
            not turns.enabled or (turns.wrap and not turns.story_suffix)
        ):
            segments.append(wording.own("\n", "header"))
        if not turns.enabled:
            return joined(segments)
        before = wording.fill(turns.story_prefix, "header", "")
        before += [wording.own(turns.separator, "header")] if turns.story_prefix else []
        return joined([*before, *segments, *wording.fill(turns.story_suffix, "header")])

    @cached_property
    def examples(self) -> list[Block]:
        """Each message of the examples, lore among them. Names in them go by a rule of their own: `force`
        names the user."""
        turns, wording = self.settings.instruct, self.messages.wording
        heading = self._separator()
        result: list[Block] = []
        written = self._example_blocks if turns.enabled and not turns.skip_examples else []
        for source, block in written:
            lines = lines_of(block, wording.cast.user, wording.cast.char)
            result += [_part(source, heading)] if lines and heading else []
            result += [_part(source, self._example(line.user, line.text, source)) for line in lines]
        return result or [_part(source, [*heading, *raw]) for source, raw in self._raw_blocks()]

    def _example(self, user: bool, text: str, source: str) -> list[Segment]:
        turns, cast, names = self.settings.instruct, self.messages.wording.cast, self.messages.names
        return self.messages.written(
            turns.input_sequence if user else turns.output_sequence,
            [Segment(_kind(source), source, text, False)] if text else [],
            turns.input_suffix if user else turns.output_suffix,
            cast.user if user else cast.char,
            "user" if user else "char",
            names == "always" or (names == "force" and user),
            _kind(source),
            # Only where macros are on does an empty suffix become a newline here, unlike in the chat.
            turns.wrap and turns.macro,
        )

    def _values(self) -> dict[str, list[Segment]]:
        """What the story string's variables stand for."""
        cast = self.messages.wording.cast
        before, after = self._lore("before_char"), self._lore("after_char")
        return {
            "system": self._system(),
            "description": self._field("card description", self.card.description),
            "personality": self._field("card personality", self.card.personality),
            "persona": self._field("persona", self.persona.description),
            "scenario": self._field("card scenario", self.card.scenario),
            "char": [Segment("header", "card name", cast.char, False)],
            "user": [Segment("header", "persona name", cast.user, False)],
            "wiBefore": before,
            "loreBefore": before,
            "wiAfter": after,
            "loreAfter": after,
            "mesExamples": [segment for message in self.examples for segment in message.segments],
            "mesExamplesRaw": self._raw_examples(),
            "anchorBefore": [],
            "anchorAfter": [],
        }

    def _system(self) -> list[Segment]:
        """The system text in its wrap: the card's, the preset's for its `{{original}}`, else the preset's."""
        turns, wording = self.settings.instruct, self.messages.wording
        written = self.card.system_prompt if self.own_system else ""
        text = self.instructions("card system_prompt", written, self.settings.system_prompt, "header")
        if not text or not turns.enabled:
            return text
        between = wording.own(turns.separator, "header")
        if turns.system_prefix:
            text = [*wording.fill(turns.system_prefix, "header", ""), between, *text]
        if turns.system_end:
            text = [*text, between, *wording.fill(turns.system_end, "header")]
        return joined(text)

    def instructions(self, source: str, written: str, preset: str, kind: SegmentKind) -> list[Segment]:
        """The card's, the preset's standing for its first `{{original}}`; else the preset's."""
        own = self.messages.wording.fill(preset, kind)
        text: list[Segment] = []
        for index, stretch in enumerate(ORIGINAL.split(written.strip())):
            text += own if index == 1 else []
            text += self._expanded(source, stretch, kind)
        return joined(text) or own

    def _field(self, source: str, text: str) -> list[Segment]:
        return self._expanded(source, text.strip())

    def _expanded(self, source: str, text: str, kind: SegmentKind = "header") -> list[Segment]:
        value = self.messages.wording.expand(source, text).replace("\r", "")
        return [Segment(kind, source, value, False)] if value else []

    def _lore(self, position: str) -> list[Segment]:
        result: list[Segment] = []
        for entry in self.lore:
            if entry.position == position and entry.text:
                result += [self.messages.wording.own("\n", "lore")] if result else []
                result.append(Segment("lore", entry.source, entry.text, False))
        return result

    # Examples as they are written ---------------------------------------------------------------------------

    @cached_property
    def _example_blocks(self) -> list[tuple[str, str]]:
        """Source and text of each block: lore at the top, the card's own, lore at the bottom."""
        own = self._expanded("card mes_example", self.card.mes_example.strip())
        # SillyTavern puts each entry before those that it put there already.
        top = reversed([e for e in self.lore if e.position == "examples_top"])
        bottom = [e for e in self.lore if e.position == "examples_bottom"]
        texts = [
            *((entry.source, entry.text) for entry in top),
            ("card mes_example", own[0].text if own else ""),
            *((entry.source, entry.text) for entry in bottom),
        ]
        return [(source, block) for source, text in texts for block in blocks_of(text)]

    def _separator(self) -> list[Segment]:
        separator = self.settings.context.example_separator
        return self.messages.wording.fill(separator + "\n", "examples") if separator else []

    def _raw_blocks(self) -> list[tuple[str, list[Segment]]]:
        own = self.messages.wording.own
        return [
            (source, joined([Segment(_kind(source), source, block, False), own("\n", _kind(source))]))
            for source, block in self._example_blocks
        ]

    def _raw_examples(self) -> list[Segment]:
        start = [self.messages.wording.own("<START>\n", "examples")]
        heading = start if self.settings.instruct.enabled else self._separator()
        return [segment for _, block in self._raw_blocks() for segment in (*heading, *block)]


def _kind(source: str) -> SegmentKind:
    return "lore" if source.startswith("lore ") else "examples"


def _part(source: str, segments: Sequence[Segment]) -> Block:
    """A message of the examples; lore among them stays when those go."""
    return Block(_kind(source), segments=list(segments))

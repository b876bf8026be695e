"""The values that a prompt is made from and made of. Pure data, no I/O.

`build` (prompt.py) takes a Card, a Persona and Turns and returns one Prompt: what the model receives, what
the prompt view shows, what is counted and what is compared for reuse are this same value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["user", "char", "system"]
"""Who speaks: the person at the keyboard, the character, or a narrator outside both."""

Mode = Literal["reply", "continue", "impersonate"]
"""What the open turn asks for: the character's next turn, more of its last one, or the user's next turn."""

SegmentKind = Literal["header", "lore", "examples", "turn", "note", "post_history", "open"]


PersonaPosition = Literal["header", "none", "note_top", "note_bottom", "depth"]
"""Where the persona's description stands: in the header, nowhere, around the author's note, at a depth."""

LorePosition = Literal[
    "before_char",
    "after_char",
    "examples_top",
    "examples_bottom",
    "note_top",
    "note_bottom",
    "depth",
    "outlet",
]
"""Around the persona block, the examples or the author's note, at a depth, or where a text asks for it."""

NOTE_DEPTH = 4
"""Where the author's note stands when nothing else is said, in chat messages from the end."""


@dataclass(frozen=True, slots=True)
class Persona:
    """The user as the character meets them."""

    name: str = "User"
    description: str = ""
    position: PersonaPosition = "header"
    depth: int = 2
    """Chat messages counted from the end; only for position `depth`, like `role`."""
    role: Role = "system"


@dataclass(frozen=True, slots=True)
class AuthorsNote:
    """What the user has the model keep in mind, and where that stands between the turns."""

    text: str = ""
    depth: int = NOTE_DEPTH
    """Chat messages counted from the end; 0 stands after the last one."""
    role: Role = "system"
    interval: int = 1
    """It stands in every so manieth prompt, counted by the user's turns; 1: in each."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the chat as the prompt sees it: hidden ones are already left out."""

    role: Role
    name: str
    text: str
    source: str = ""
    """Where it comes from, for the prompt view: `message 0193...`, or a line of a file."""


@dataclass(frozen=True, slots=True)
class LoreInsertion:
    """A lorebook entry that fired, and where it goes."""

    text: str
    source: str
    """`lore BOOK/ENTRY`."""
    position: LorePosition = "before_char"
    depth: int = 4
    """Chat messages counted from the end; 0 stands after the last one. Only for position `depth`."""
    role: Role = "system"
    outlet: str = ""
    """Name that `{{outlet::NAME}}` asks for it by. Only for position `outlet`."""
    constant: bool = False
    """It fires in every prompt."""
    settled: bool = False
    """It keeps its place between two messages while the chat goes on; other texts at its depth stand after
    it, since they move."""


LoreAt = Callable[[int], Sequence[LoreInsertion]]
"""What stands in a prompt whose history begins with the turn of that index."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the prompt with one origin.

    Only a trusted segment (from a format's file) may hold control tokens; a name, a card's text or a message
    is never trusted, also where it stands in the middle of a format's sentence.
    """

    kind: SegmentKind
    source: str
    """`format limarp-v1`, `card description`, `persona`, `lore Eldoria/north tower`, `message ID` ..."""
    text: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """A part that did not go into the prompt."""

    kind: SegmentKind
    source: str
    why: str
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Window:
    """What of a chat still takes part in its prompts; stored with the chat so that the prefix stays put."""

    first_turn: str = ""
    """`source` of the oldest turn that is kept; empty: all are."""
    without_examples: bool = False


CountTokens = Callable[[Sequence[Segment]], list[int]]
"""Tokens of each segment when all are tokenized as one prompt; a token counts where its first byte lies."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a prompt may be, in tokens, and who counts them."""

    tokens: int
    """Context size minus the reply length."""
    count: CountTokens


@dataclass(frozen=True, slots=True)
class ThinkPlan:
    """How the reply's thinking is to be read (`presets.reasoning.Splitter`) and bounded."""

    wanted: bool = False
    inside: bool = False
    """The prompt has opened a block: the reply begins with thinking."""
    limit: int | None = None
    """Tokens of thinking after which `close` is to be written for the model; None: no limit."""
    open: str = "<think>\n"
    close: str = "\n</think>\n\n"
    """Trusted text, as the format has it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, whole: every byte with its origin, what was left out, and what ends the reply."""

    segments: tuple[Segment, ...]
    stops: tuple[str, ...]
    """Text that ends the reply, matched in the stream; the earliest in the text wins."""
    ban_eos: bool = False
    """No end-of-generation token may be sampled."""
    strip_names: tuple[str, ...] = ()
    """`Name:` prefixes that are cut off the start of a reply."""
    keep_leading_space: bool = False
    """True after a text that is continued: the reply's first space belongs to the text."""
    base_text: str = ""
    """When continuing: the message as it stands in the prompt, without spaces at its end. What the model
    writes is appended to this, not to the stored text, so that one space stands between them and not two.
    In a reply: the beginning that was put into its mouth."""
    think: ThinkPlan = ThinkPlan()
    dropped: tuple[Dropped, ...] = ()
    window: Window = field(default_factory=Window)
    """The window that was used; store it with the chat."""
    tokens: tuple[int, ...] | None = None
    """Tokens of each segment, when a budget was given."""

    @property
    def text(self) -> str:
        """The exact prompt as text. No BOS: the tokenizer adds it."""
        return "".join(segment.text for segment in self.segments)


class PromptTooLong(Exception):
    """Header, injections and the last turn alone do not fit; the message names the three largest parts."""

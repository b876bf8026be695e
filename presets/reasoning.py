"""Models that think before they answer: their thinking told apart from the reply, and switched on or off.

`Splitter` sorts a stream, `split` a whole text. How a format switches thinking is a `Thinking`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "PAIRS",
    "THINK",
    "Choices",
    "Pair",
    "Piece",
    "Split",
    "Splitter",
    "Thinking",
    "listed",
    "split",
    "think_opening",
    "think_tokens",
]

Kind = Literal["text", "thinking", "all_thinking"]
"""`all_thinking`, which has no text: all that came as `text` so far was thinking, whose beginning nobody saw
(the prompt had opened the block). It comes at most once, before any other thinking."""

Piece = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """What stands before and after a model's thinking."""

    open: str
    close: str


PAIRS = (
    Pair("<think>", "</think>"),  # DeepSeek R1, Qwen 3, QwQ, SmolLM3, GLM 4.5 and most others
    Pair("<thinking>", "</thinking>"),
    Pair("<thought>", "</thought>"),
    Pair("<reasoning>", "</reasoning>"),
    Pair("[THINK]", "[/THINK]"),  # Magistral
    Pair("<|START_THINKING|>", "<|END_THINKING|>"),  # Command R7B, Command A reasoning
    Pair("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker
    Pair("<seed:think>", "</seed:think>"),  # Seed-OSS
    Pair("◁think▷", "◁/think▷"),  # Kimi
    Pair("<|channel>thought", "<channel|>"),  # Gemma 4
    Pair(  # gpt-oss, which begins a message of its own for the answer
        "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
    ),
    Pair("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)


class Thinking(BaseModel):
    """How a format has a model think, or answer at once. All of it is trusted text of the open turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open: str = "<think>\n"
    """Begins a block."""
    close: str = "\n</think>\n\n"
    """Ends a block that is long enough."""
    off: str = ""
    """Stands before a reply that shall have no block; empty: nothing is known that would keep it away."""
    note_off: str = ""
    """A line at the header's end that asks for no thinking, where the format knows no other switch."""
    note_on: str = ""
    """A line at the header's end that asks for thinking."""


class Choices(tuple[str, ...]):
    """The values of the option `think`: `off`, `on`, and any number of tokens, which cannot be listed."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return tuple.__contains__(self, value) or think_tokens(str(value)) is not None


THINK = Choices(("off", "on"))


def listed(values: tuple[str, ...]) -> str:
    """The values of an option, for people."""
    return ", ".join(values) + (" or a number of tokens" if isinstance(values, Choices) else "")


def think_tokens(value: str) -> int | None:
    """The number of tokens that a `think` value allows; None for `on`, `off` and what is no number."""
    is_number = value.isascii() and value.isdecimal() and len(value) <= 6
    return int(value) if is_number and int(value) > 0 else None


def think_opening(style: Thinking | None, think: str, mode: str, before: str) -> tuple[str, bool]:
    """What the open turn needs, after `before`, for the option `think`; and whether the reply begins inside a
    block of thinking. `mode` is the prompt's."""
    if mode == "impersonate":
        return "", False
    known = style or Thinking()
    is_open = bool(known.open.strip()) and before.rstrip().endswith(known.open.strip())
    if think != "off" and mode == "reply":
        return ("", True) if is_open else (known.open, True)
    if is_open:
        return known.close, False
    if style is None or think != "off" or before.rstrip().endswith(known.close.strip()):
        return "", False
    return style.off, False


class Splitter:
    """Sorts the pieces of one reply, however they are cut, into text and thinking.

    What might still become a marker is held back. The white space beside a marker belongs to neither side:
    it is dropped behind an opening and around a closing one. Two blocks stand a blank line apart.
    `inside`: the prompt has opened that pair's block already.
    """

    def __init__(self, pairs: Sequence[Pair] = PAIRS, *, inside: Pair | None = None) -> None:
        self._pairs = pairs
        self._closes = [inside.close] if inside else []
        self._held = ""
        self._lead = bool(inside)
        """White space is dropped until something else comes."""
        self._tail = ""
        """White space at the end of thinking, given only if more thinking comes."""
        self._thought = bool(inside)
        self._said_thinking = False

    @property
    def thinking(self) -> bool:
        """A block is open: at the end of a stream, it was never closed."""
        return bool(self._closes)

    @property
    def closes(self) -> tuple[str, ...]:
        """What may end the block that is open; empty outside of one."""
        return tuple(self._closes)

    def push(self, text: str) -> list[Piece]:
        """Takes a piece of the reply; returns what is now certain, often nothing."""
        self._held += text
        return list(_joined(self._sorted(final=False)))

    def finish(self) -> list[Piece]:
        """The reply is over: what was held back was no marker."""
        return list(_joined(self._sorted(final=True)))

    def _sorted(self, *, final: bool) -> Iterator[Piece]:
        while self._held:
            markers = self._markers()
            place, marker = _earliest(self._held, markers)
            if place < 0:
                end = len(self._held) if final else _certain(self._held, markers)
                yield from self._give(self._held[:end])
                self._held = self._held[end:]
                return
            yield from self._give(self._held[:place])
            self._held = self._held[place + len(marker) :]
            yield from self._turn(marker)

    def _markers(self) -> list[str]:
        if self._closes:
            return self._closes
        opens = [pair.open for pair in self._pairs]
        return opens if self._thought else [*opens, *(pair.close for pair in self._pairs)]

    def _turn(self, marker: str) -> Iterator[Piece]:
        """Past a marker."""
        opened = [pair.close for pair in self._pairs if pair.open == marker]
        if not self._closes and not opened:
            yield "all_thinking", ""
        self._closes = [] if self._closes else opened
        self._lead = True
        self._tail = "\n\n" if self._said_thinking and opened else ""
        self._thought = True

    def _give(self, text: str) -> Iterator[Piece]:
        if self._lead:
            text = text.lstrip()
            self._lead = not text
        if not text:
            return
        if not self._closes:
            yield "text", text
            return
        whole = self._tail + text
        body = whole.rstrip()
        self._tail = whole[len(body) :]
        if body:
            self._said_thinking = True
            yield "thinking", body


@dataclass(frozen=True, slots=True)
class Split:
    """A whole reply, sorted."""

    text: str
    thinking: str
    closed: bool
    """False: the reply ended while it was thinking."""


def split(text: str, pairs: Sequence[Pair] = PAIRS) -> Split:
    """Sorts a whole text. One without a block comes back as it is, white space included."""
    if not any(marker in text for pair in pairs for marker in (pair.open, pair.close)):
        return Split(text, "", True)
    splitter = Splitter(pairs)
    said: list[str] = []
    thought: list[str] = []
    for kind, piece in [*splitter.push(text), *splitter.finish()]:
        if kind == "all_thinking":
            thought, said = ["".join(said).strip()], []
        else:
            (said if kind == "text" else thought).append(piece)
    return Split("".join(said), "".join(thought), not splitter.thinking)


def _earliest(text: str, markers: Sequence[str]) -> tuple[int, str]:
    """Place and text of the marker that begins first; -1 without one."""
    found = [(place, marker) for marker in markers if (place := text.find(marker)) >= 0]
    return min(found, default=(-1, ""))


def _certain(text: str, markers: Sequence[str]) -> int:
    """Characters at the beginning that cannot be part of a marker that is still to come."""
    longest = max(map(len, markers))
    for start in range(max(0, len(text) - longest + 1), len(text)):
        if any(marker.startswith(text[start:]) for marker in markers):
            return start
    return len(text)


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Neighbours of one kind made one."""
    kind: Kind = "text"
    text = ""
    for next_kind, more in pieces:
        if next_kind != kind or kind == "all_thinking":
            if text or kind == "all_thinking":
                yield kind, text
            kind, text = next_kind, ""
        text += more
    if text or kind == "all_thinking":
        yield kind, text

"""What leaves a prompt that is too long: the examples for good, then the oldest turns in a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from presets.assembly import Block
from presets.values import Budget, Dropped, PromptTooLong, Turn, Window

KEPT_SHARE = 0.7
"""History keeps at most this share of its room when it slides, so that it need not slide again soon."""

REOPENED_SHARE = KEPT_SHARE / 2
"""Below this share of its room a window is computed anew: the chat was cut short or the context has grown."""

COUNTED_AT_MOST = 400
"""Turns left out whose tokens are counted; a chat may have tens of thousands."""

LONGEST_TOKEN = 32
"""Characters that prose never puts into a token on average: what is longer is not even counted."""

Render = Callable[[int, bool], list[Block]]
"""The prompt from a turn of the history on, with or without examples."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits."""

    blocks: list[Block]
    tokens: tuple[int, ...]
    """Of each segment, in order."""
    window: Window
    dropped: tuple[Dropped, ...]
    first: int
    """Index of the oldest turn that is kept."""


@dataclass(frozen=True, slots=True)
class _Counted:
    blocks: list[Block]
    tokens: list[int]

    @property
    def total(self) -> int:
        return sum(self.tokens)

    @property
    def has_examples(self) -> bool:
        return any(block.part == "examples" for block in self.blocks)

    def of_blocks(self) -> list[int]:
        at, result = 0, []
        for block in self.blocks:
            result.append(sum(self.tokens[at : at + len(block.segments)]))
            at += len(block.segments)
        return result

    def of_turns(self) -> dict[int, int]:
        """Tokens of each turn of the history, by its index."""
        each = zip(self.blocks, self.of_blocks(), strict=True)
        return {block.turn: tokens for block, tokens in each if block.turn is not None}


def fit(render: Render, turns: Sequence[Turn], budget: Budget, window: Window, examples: str) -> Fitted:
    """The longest prompt that fits, by the rules of this module.

    `turns` are the whole chat's, the continued one included; the last of them always stays. `examples` is
    `gradual`, `pinned` or `never`.

    Raises PromptTooLong when not even that fits.
    """
    sources = [turn.source for turn in turns]
    last = max(len(turns) - 1, 0)
    oldest = _oldest_to_count(turns, budget)
    first = max(oldest, sources.index(window.first_turn) if window.first_turn in sources else 0)
    with_examples = examples == "pinned" or (examples == "gradual" and not window.without_examples)
    counted = _count(render(first, with_examples), budget)
    if counted.total > budget.tokens and examples == "gradual" and counted.has_examples:
        with_examples = False
        counted = _count(render(first, with_examples), budget)
    if first > oldest and counted.total <= budget.tokens and _is_short(counted, budget):
        first = oldest
        counted = _count(render(first, with_examples), budget)
    while counted.total > budget.tokens:
        if first >= last:
            raise _too_long(counted, budget)
        first = _slide(counted, budget, first, last)
        counted = _count(render(first, with_examples), budget)
    left_out = examples == "gradual" and not with_examples
    return Fitted(
        counted.blocks,
        tuple(counted.tokens),
        Window(sources[first] if first else "", left_out or window.without_examples),
        _dropped(render, counted, budget, sources[:first], examples if not with_examples else ""),
        first,
    )


def _count(blocks: list[Block], budget: Budget) -> _Counted:
    return _Counted(blocks, budget.count([segment for block in blocks for segment in block.segments]))


def _oldest_to_count(turns: Sequence[Turn], budget: Budget) -> int:
    """The turn before which there is surely no room, so that a chat of years is not tokenized whole."""
    left = LONGEST_TOKEN * max(budget.tokens, 0)
    for index in range(len(turns) - 1, 0, -1):
        left -= len(turns[index].text)
        if left < 0:
            return index
    return 0


def _room(counted: _Counted, budget: Budget) -> int:
    """Tokens that the history may take: what all the rest leaves."""
    return budget.tokens - counted.total + sum(counted.of_turns().values())


def _is_short(counted: _Counted, budget: Budget) -> bool:
    return sum(counted.of_turns().values()) < REOPENED_SHARE * _room(counted, budget)


def _slide(counted: _Counted, budget: Budget, first: int, last: int) -> int:
    """The turn that the history begins with after it left in a block: later than `first`, at most `last`."""
    turns = counted.of_turns()
    left = KEPT_SHARE * _room(counted, budget)
    start = max(turns, default=last - 1) + 1
    while start > first + 1 and turns[start - 1] <= left:
        start -= 1
        left -= turns[start]
    return min(max(start, first + 1), last)


def _dropped(
    render: Render, counted: _Counted, budget: Budget, turns: Sequence[str], examples: str
) -> tuple[Dropped, ...]:
    """What was left out: the turns with these sources, and the examples where `examples` says why not."""
    if not turns and not examples:
        return ()
    start = max(0, len(turns) - COUNTED_AT_MOST)
    gone = [
        block
        for block in render(start, bool(examples))
        if (block.part == "examples" and examples) or (block.turn is not None and block.turn < len(turns))
    ]
    # The prompt's own first segment stands before them: what begins a prompt counts a token more.
    begin = [block.segments[0] for block in counted.blocks if block.segments][:1]
    tokens = budget.count([*begin, *(segment for block in gone for segment in block.segments)])[len(begin) :]
    each = _Counted(gone, tokens)
    result = []
    if each.has_examples:
        why = (
            "the setting examples=never" if examples == "never" else "no room; left out for good in this chat"
        )
        sizes = zip(gone, each.of_blocks(), strict=True)
        total = sum(size for block, size in sizes if block.part == "examples")
        result.append(Dropped("examples", "card mes_example", why, total))
    sized = each.of_turns()
    why = "older than what the context holds"
    result += [Dropped("turn", source, why, sized.get(index)) for index, source in enumerate(turns)]
    return tuple(result)


def _too_long(counted: _Counted, budget: Budget) -> PromptTooLong:
    sizes: dict[str, int] = {}
    at = 0
    for block in counted.blocks:
        for segment in block.segments:
            whole = "" if block.part == "header" else _said_by(block)
            part = whole or ("the format's text" if segment.trusted else segment.source)
            sizes[part] = sizes.get(part, 0) + counted.tokens[at]
            at += 1
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{part} {tokens}" for part, tokens in largest)
    return PromptTooLong(
        f"the prompt needs {counted.total} tokens and {max(budget.tokens, 0)} fit; "
        f"the largest parts are {parts}: shorten one of them or raise the context size"
    )


def _said_by(block: Block) -> str:
    """The origin of what a block says, whatever names and markers stand around it."""
    origins = [
        s.source for s in block.segments if not s.trusted and s.source not in ("card name", "persona name")
    ]
    return origins[0] if origins else ""

"""The order of a prompt: header, examples, chat with its notes, post-history instructions, open turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from presets.header import HeaderText, header
from presets.notes import LeftOut, Note
from presets.text import Cast
from presets.turns import open_turn, turn_segments
from presets.values import Mode, Role, Segment, SegmentKind, Turn

_AT_ONE_DEPTH: tuple[Role, ...] = ("char", "user", "system")
"""The later stands nearer to the end, so that the system's word counts most."""


@dataclass(frozen=True, slots=True)
class Script:
    """All that a prompt could hold, before anything is left out."""

    header: HeaderText
    examples: Sequence[Turn]
    history: Sequence[Turn]
    """The whole chat, without the turn that is continued."""
    notes: Sequence[Note]
    post_history: str
    mode: Mode
    continued: Turn | None
    """The turn that is continued, its text without spaces at the end."""
    before_examples: Sequence[Turn] = ()
    """Lore at the top of the examples, which stays when those go."""
    after_examples: Sequence[Turn] = ()
    prefill: str = ""
    """How the reply begins, without spaces at the end; only in a reply."""


@dataclass(slots=True)
class Block:
    """A stretch of the prompt that stays or goes as a whole."""

    part: SegmentKind
    turn: int | None = None
    """Index in the history, for its turns."""
    segments: list[Segment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Play:
    """How a format makes a prompt of all that it could hold."""

    render: Callable[[int, bool], list[Block]]
    """The prompt from a turn of the history on, with or without examples."""
    stops: tuple[str, ...]
    spoken: Sequence[Turn]
    """The whole chat, the continued turn included."""
    base_text: str
    """The text that is continued, as it stands in the prompt."""
    left_out: Callable[[], Sequence[LeftOut]] = lambda: ()
    """What has no place in the prompt whatever the budget; to be asked once it is rendered."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A turn on its way into the prompt."""

    block: Block
    texts: list[Segment]
    role: Role
    name: str = ""


def blocks(script: Script, cast: Cast, first: int, *, with_examples: bool) -> list[Block]:
    """The prompt from the `first` turn of the history on, in order, block by block."""
    examples, chat = spoken_turns(script, cast, first, with_examples=with_examples)
    opener: Role = "user" if script.mode == "impersonate" else "char"
    before_open = [*examples, *chat]
    first_role = _first_role(before_open, opener, cast)
    may_share = cast.format.header.with_user is not None and first_role == "user"
    head = Block("header", segments=header(script.header, cast, shared=may_share))
    shares = may_share and bool(head.segments)
    result = [head]
    if not head.segments and cast.format.first_turn and first_role == "char":
        filler = cast.fill(cast.format.first_turn, "header")
        result.append(Block("header", segments=_finished(Spoken(head, filler, "user"), cast, result, False)))
    for index, spoken in enumerate(before_open):
        if index == len(examples):
            result.append(_chat_start(cast))
        spoken.block.segments = _finished(spoken, cast, result, shares and index == 0)
        result.append(spoken.block)
    if len(before_open) == len(examples):
        result.append(_chat_start(cast))
    result.append(_open(script, cast, shares=shares and not before_open))
    return result


def spoken_turns(
    script: Script, cast: Cast, first: int, *, with_examples: bool
) -> tuple[list[Spoken], list[Spoken]]:
    """The examples, and the chat from the `first` turn on with its notes; the open turn is not among them."""
    examples = [_said(turn, Block("lore"), cast) for turn in script.before_examples]
    examples += [_said(turn, Block("examples"), cast) for turn in script.examples if with_examples]
    examples += [_said(turn, Block("lore"), cast) for turn in script.after_examples]
    return examples, list(_chat(script, cast, first))


def open_parts(script: Script, cast: Cast) -> tuple[Segment | None, str]:
    """The text that is continued or begins the reply, and the name of who speaks in the open turn."""
    turn = script.continued
    partial = Segment("open", turn.source, turn.text, False) if turn is not None else None
    if script.prefill:
        partial = Segment("open", "prefill", script.prefill, False)
    return partial, cast.user if script.mode == "impersonate" else (turn.name if turn else "") or cast.char


def _first_role(spoken: Sequence[Spoken], opener: Role, cast: Cast) -> Role:
    """Whose turn opens the prompt; a note is the user's in a format that knows no system turn."""
    role = spoken[0].role if spoken else opener
    return "user" if role == "system" and cast.format.turns.system is None else role


def _chat_start(cast: Cast) -> Block:
    return Block("header", segments=cast.fill(cast.format.chat_start, "header"))


def _finished(spoken: Spoken, cast: Cast, before: Sequence[Block], shares: bool) -> list[Segment]:
    ends = (block.segments[-1].text for block in reversed(before) if block.segments)
    return turn_segments(
        spoken.texts,
        spoken.role,
        spoken.name,
        spoken.block.part,
        cast,
        follows=next(ends, ""),
        shares=shares,
    )


def _said(turn: Turn, block: Block, cast: Cast) -> Spoken:
    name = turn.name or (cast.user if turn.role == "user" else cast.char)
    return Spoken(block, [Segment(block.part, turn.source, turn.text, False)], turn.role, name)


def _chat(script: Script, cast: Cast, first: int) -> Iterator[Spoken]:
    """The history from `first` on with the notes at their depths, then the post-history instructions."""
    # The continued message counts as one: nothing may stand between it and its continuation.
    ahead = 1 if script.continued is not None else 0
    count = len(script.history) - first
    for index in range(count + 1):
        yield from _notes_here(
            script.notes, count - index + ahead, cast, first=index == 0, last=index == count
        )
        if index < count:
            yield _said(script.history[first + index], Block("turn", first + index), cast)
    if script.post_history:
        text = Segment("post_history", "card post_history_instructions", script.post_history, False)
        yield Spoken(Block("post_history"), [text], "system")


def _notes_here(
    notes: Sequence[Note], depth: int, cast: Cast, *, first: bool, last: bool
) -> Iterator[Spoken]:
    """Notes whose place is `depth` messages from the end; deeper ones stand first, shallower ones last."""
    here = [n for n in notes if n.depth == depth or (first and n.depth > depth) or (last and n.depth < depth)]
    for role, together in at_one_place(here):
        texts: list[Segment] = []
        for note in together:
            texts += cast.fill("\n", note.texts[0].kind) if texts else []
            texts += note.texts
        name = {"user": cast.user, "char": cast.char, "system": ""}[role]
        yield Spoken(Block(texts[0].kind), texts, role, name)


def at_one_place(notes: Sequence[Note]) -> Iterator[tuple[Role, list[Note]]]:
    """Notes that share a turn, deepest first; at one depth those that stay come first, then by role."""
    places = sorted({(-note.depth, not note.settled) for note in notes})
    for depth, moves in places:
        for role in _AT_ONE_DEPTH:
            together = [n for n in notes if (-n.depth, not n.settled, n.role) == (depth, moves, role)]
            if together:
                yield role, together


def _open(script: Script, cast: Cast, *, shares: bool) -> Block:
    partial, name = open_parts(script, cast)
    return Block("open", segments=open_turn(script.mode, partial, name, cast, shares=shares))

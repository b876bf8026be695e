"""One turn of a chat in a format's shape, finished or open."""

from __future__ import annotations

from collections.abc import Sequence

from presets.format import TurnShape
from presets.reasoning import think_opening
from presets.text import Cast, joined
from presets.values import Mode, Role, Segment, SegmentKind


def turn_segments(
    texts: Sequence[Segment],
    role: Role,
    name: str,
    kind: SegmentKind,
    cast: Cast,
    *,
    follows: str,
    shares: bool,
) -> list[Segment]:
    """A finished turn.

    `texts` is what is said, each stretch with its origin; `name` the speaker's, empty for one that has
    none; `follows` the text before it (only its end matters); `shares`: it stands in the header's section
    and has no prefix of its own.
    """
    shape = cast.format.shape(role)
    prefix = "" if shares else _prefix(shape, shape.prefix, follows)
    return joined(
        [
            *cast.fill(prefix, kind),
            *name_segments(name, role, kind, cast, ": "),
            *texts,
            *cast.fill(shape.suffix, kind),
        ]
    )


def open_turn(mode: Mode, partial: Segment | None, name: str, cast: Cast, *, shares: bool) -> list[Segment]:
    """The unfinished last turn: the character's next, its last one again (`continue`), or the user's.

    `partial` is the text that is continued, without spaces at its end.
    """
    role: Role = "user" if mode == "impersonate" else "char"
    shape = cast.format.shape(role)
    opening = shape.prefix if shape.open is None else shape.open
    spoken = partial is not None and bool(partial.text)
    if not spoken and not cast.names and shape.open_bare is not None:
        opening = shape.open_bare
    parts = [] if shares else cast.fill(opening, "open")
    before = "".join(segment.text for segment in parts)
    return joined([*parts, *open_words(mode, partial, name, before, cast)])


def open_words(mode: Mode, partial: Segment | None, name: str, before: str, cast: Cast) -> list[Segment]:
    """What stands in the open turn: what opens or closes the model's thinking, the name, the text so far.

    A turn that begins with thinking has no name yet. `before` is the turn's opening.
    """
    role: Role = "user" if mode == "impersonate" else "char"
    spoken = partial is not None and bool(partial.text)
    prefix, thinks = think_opening(cast.format.thinking, cast.think, mode, before)
    parts = [Segment("open", cast.source, prefix, True)]
    if not thinks:
        parts += name_segments(name, role, "open", cast, ": " if spoken else ":")
    return joined([*parts, *([partial] if partial is not None else [])])


def _prefix(shape: TurnShape, prefix: str, follows: str) -> str:
    if shape.fresh_line and prefix.startswith("\n") and (not follows or follows.endswith("\n")):
        return prefix[1:]
    return prefix


def name_segments(name: str, role: Role, kind: SegmentKind, cast: Cast, after: str) -> list[Segment]:
    """`Name` and what stands `after` it, where names are on."""
    if not (cast.names and name) or role == "system":
        return []
    source = "persona name" if role == "user" else "card name"
    return [Segment(kind, source, name, False), Segment(kind, cast.source, after, True)]

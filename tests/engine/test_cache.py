"""What of a new prompt counts as read already."""

from __future__ import annotations

import pytest

from chat.engine.worker.cache import CachedSequence, Plan
from chat.engine.worker.tokens import Tokenized


def prompt(*pieces: str) -> Tokenized:
    """A prompt with one token a piece; the id tells nothing, the bytes all."""
    tokens = Tokenized()
    for index, piece in enumerate(pieces):
        tokens.add(1000 + index, piece.encode(), 0)
    return tokens


def cached(*pieces: str, reply: int | None = None, solid: int | None = None) -> CachedSequence:
    cache = CachedSequence()
    cache.add(range(len(pieces)), [piece.encode() for piece in pieces])
    cache.solid = len(pieces) if solid is None else solid
    if reply is not None:
        cache.reply_starts.add(reply)
    return cache


def read(plan: Plan) -> list[str]:
    return [image.decode() for image in plan.images]


@pytest.mark.parametrize(
    ("cache", "new", "kept", "to_read", "broken_at"),
    [
        pytest.param(cached(), prompt("a", "b"), 0, ["a", "b"], None, id="empty"),
        pytest.param(cached("a", "b"), prompt("a", "b", "c"), 2, ["c"], None, id="grown"),
        pytest.param(cached("a", "b"), prompt("a", "b"), 1, ["b"], None, id="the same again"),
        pytest.param(cached("a", "b", "c"), prompt("a", "b"), 1, ["b"], None, id="regenerate"),
        pytest.param(cached("a", "b", "c"), prompt("a", "x", "c"), 1, ["x", "c"], 1, id="edited"),
        pytest.param(cached("x"), prompt("a"), 0, ["a"], 0, id="another chat"),
        pytest.param(cached("a", "He", "llo"), prompt("a", "Hello", "!"), 3, ["!"], None, id="other tokens"),
        pytest.param(
            cached("a", "Hel", "lo"), prompt("a", "Hello!"), 1, ["Hello!"], None, id="no common boundary"
        ),
        pytest.param(
            cached("a", "b\n", "U", solid=1), prompt("a", "b", "\n#"), 1, ["b", "\n#"], None, id="stop"
        ),
        pytest.param(cached("m>", " Hi", reply=1), prompt("m>", "Hi", "u"), 2, ["u"], None, id="one space"),
        pytest.param(cached("m>", " Hi", reply=1), prompt("m>", " Hi", "u"), 2, ["u"], None, id="with space"),
        pytest.param(cached("m>", " Hi"), prompt("m>", "Hi"), 1, ["Hi"], 1, id="a space that is no reply's"),
        pytest.param(
            cached("a", "", "", "é"), prompt("a", "é", "!"), 4, ["!"], None, id="a character in parts"
        ),
        pytest.param(cached("a", "", ""), prompt("a", "b"), 1, ["b"], None, id="half a character at the end"),
        pytest.param(cached("m>", "  Hi", reply=1), prompt("m>", "Hi"), 1, ["Hi"], 1, id="two spaces"),
    ],
)
def test_plans(
    cache: CachedSequence, new: Tokenized, kept: int, to_read: list[str], broken_at: int | None
) -> None:
    plan = cache.plan(new)
    assert (plan.kept, read(plan), plan.broken_at) == (kept, to_read, broken_at)


def test_what_is_read_again_for_its_logits_is_the_cached_token() -> None:
    plan = cached("a", "Hel", "lo").plan(prompt("a", "Hello"))
    assert (plan.kept, plan.ids) == (2, [2])


def test_solid_ends_with_what_was_shown() -> None:
    cache = cached("p", "Hel", "lo", ".\n", "User")
    cache.mark_solid(1, len("Hello"))
    assert cache.solid == 3
    cache.mark_solid(1, len("Hello.\n"))
    assert cache.solid == 4
    cache.truncate(2)
    assert (cache.solid, cache.ids) == (2, [0, 1])

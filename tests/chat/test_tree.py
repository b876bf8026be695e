"""The message tree: where the path goes, what stands beside what, and that nothing is ever lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chat.tree import Message, Removal, Tree

WHEN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def message(
    id_: str, parent: str | None = None, text: str = "", continues: str | None = None, role: str = "char"
) -> Message:
    assert role in ("char", "user")
    return Message(
        id_,
        "chat",
        parent,
        "char" if role == "char" else "user",
        "Vesna",
        text or id_,
        False,
        WHEN,
        None,
        continues,
    )


def tree_of(*edges: str) -> Tree:
    """`b<a` is b below a, `c=b<a` is c below a that continues b, `a` is a root; added in that order."""
    tree = Tree()
    for edge in edges:
        name, _, parent = edge.partition("<")
        id_, _, continued = name.partition("=")
        tree.add(message(id_, parent or None, continues=continued or None))
    return tree


def ids(messages: list[Message]) -> str:
    return " ".join(message.id for message in messages)


def test_an_empty_tree_has_an_empty_path() -> None:
    tree = Tree()
    assert (tree.path(), tree.head, len(tree), tree.children(None)) == ([], None, 0, [])


def test_the_path_runs_from_the_greeting_to_the_head() -> None:
    tree = tree_of("g1", "g2", "u<g1", "r1<u", "r2<u")
    assert ids(tree.path()) == "g1 u r2"
    assert ids(tree.siblings("g1")) == "g1 g2"
    assert tree.position("r2") == (2, 2)
    assert tree.position("u") == (1, 1)


def test_a_path_that_was_handed_out_does_not_change() -> None:
    tree = tree_of("g")
    path = tree.path()
    tree.add(message("u", "g"))
    assert ids(path) == "g"


def test_walking_to_a_sibling_ends_at_the_leaf_that_was_visited_last() -> None:
    tree = tree_of("g1", "g2", "u1<g1", "r1<u1", "r2<u1", "u2<g1", "r3<u2")
    tree.move_head("r1")
    tree.move_head("g2")
    assert tree.leaf_below("g1") == "r1"
    assert tree.leaf_below("u2") == "r3"
    tree.move_head("r3")
    assert tree.leaf_below("g1") == "r3"
    assert tree.leaf_below("u1") == "r1"


def test_the_newest_leaf_is_taken_where_none_was_visited() -> None:
    tree = Tree([message("g"), message("u", "g"), message("r1", "u"), message("r2", "u")], heads=["g"])
    assert tree.leaf_below("g") == "r2"
    assert ids(tree.path()) == "g"


@pytest.mark.parametrize(("step", "expected"), [(-1, "r1"), (1, "r3"), (2, None), (-2, None), (0, "r2")])
def test_beside(step: int, expected: str | None) -> None:
    tree = tree_of("u", "r1<u", "r2<u", "r3<u")
    found = tree.beside("r2", step)
    assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("removed", "path", "why"),
    [
        ("r2", "g u r3 v3", "the sibling after it, down to its last visited leaf"),
        ("r3", "g u r2", "the sibling before it when it was the last"),
        ("u", "g", "the parent when there is no sibling"),
        ("g", "", "nothing above a root"),
        ("r1", None, "not on the path: the head stays"),
    ],
)
def test_removing_moves_the_head(removed: str, path: str | None, why: str) -> None:
    tree = tree_of("g", "u<g", "r1<u", "r2<u", "r3<u", "v3<r3")
    if removed == "r2":
        tree.move_head("r2")
    before, head = ids(tree.path()), tree.head
    removal = Removal("x", removed, head)
    tree.remove(removal)
    assert ids(tree.path()) == (before if path is None else path), why
    assert not tree.is_live(removed)
    assert removed not in {message.id for message in tree.children(tree[removed].parent_id)}
    tree.restore(removal)
    assert ids(tree.path()) == before
    assert tree.is_live(removed)


def test_a_continued_message_stands_in_the_place_of_the_shorter_one() -> None:
    tree = tree_of("u", "r1<u", "r2<u", "r3<u")
    tree.move_head("r2")
    tree.add(message("r2more", "u", continues="r2"))
    tree.add(message("r2most", "u", continues="r2more"))
    assert ids(tree.siblings("r2most")) == "r1 r2most r3"
    assert tree.position("r2most") == (2, 3)
    assert ids(tree.path()) == "u r2most"


def test_a_continued_message_with_replies_of_its_own_stays_in_sight() -> None:
    tree = tree_of("u", "r<u", "v<r", "more=r<u")
    assert ids(tree.siblings("more")) == "r more"
    tree.remove(Removal("x", "v", tree.head))
    assert ids(tree.siblings("more")) == "more"


def test_removing_a_continued_reply_removes_the_whole_reply() -> None:
    tree = tree_of("u", "r1<u", "r2<u", "more=r2<u")
    tree.remove(Removal("x", "more", tree.head))
    assert ids(tree.path()) == "u r1"
    assert tree.position("r1") == (1, 1)


def test_walking_back_to_a_branch_whose_leaf_was_continued_ends_at_the_longer_form() -> None:
    tree = tree_of("g1", "g2", "u<g1", "r1<u", "r2<u")
    tree.move_head("r1")
    tree.add(message("r1more", "u", continues="r1"), move_head=False)
    tree.move_head("g2")
    assert tree.leaf_below("g1") == "r1more"


def test_a_head_below_a_removed_message_is_moved_when_the_tree_is_read() -> None:
    """Another program removed what this one went on writing below."""
    messages = [message("g"), message("u1", "g"), message("u2", "g"), message("r", "u2")]
    tree = Tree(messages, [Removal("x", "u2", "u2")], ["g", "u1", "u2", "r"])
    assert ids(tree.path()) == "g u1"
    tree = Tree(messages, [Removal("x", "g", "g")], ["r"])
    assert tree.path() == []


@pytest.mark.parametrize(
    ("parent", "id_", "error"), [("nobody", "x", KeyError), ("g", "g", ValueError), (None, "g", ValueError)]
)
def test_what_cannot_be_added(parent: str | None, id_: str, error: type[Exception]) -> None:
    tree = tree_of("g")
    with pytest.raises(error):
        tree.add(message(id_, parent))
    assert ids(tree.path()) == "g"


class Chatting(RuleBasedStateMachine):
    """A person at work on one chat. The rows that a store would hold are kept beside the tree."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.heads: list[str | None] = []
        self.before_removal: list[tuple[Removal, list[str], dict[str, tuple[int, int]]]] = []
        self.texts: dict[str, str] = {}
        self.count = 0

    def new(self, parent: str | None, continues: str | None = None, *, move_head: bool = True) -> None:
        self.count += 1
        made = message(f"m{self.count:03}", parent, continues=continues)
        self.texts[made.id] = made.text
        self.tree.add(made, move_head=move_head)
        self.heads.append(self.tree.head)

    def pick(self, data: st.DataObject, from_path: bool = True) -> str:
        return data.draw(st.sampled_from([step.id for step in self.tree.path()]))

    @initialize(greetings=st.integers(1, 3))
    def greet(self, greetings: int) -> None:
        for _ in range(greetings):
            self.new(None, move_head=False)
        self.tree.move_head("m001")
        self.heads.append("m001")

    @rule()
    def add(self) -> None:
        self.new(self.tree.head)

    @precondition(lambda self: self.tree.path())
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        self.new(self.tree[self.pick(data)].parent_id)

    @precondition(lambda self: self.tree.path())
    @rule(data=st.data())
    def land_elsewhere(self, data: st.DataObject) -> None:
        """A reply that finishes after its user has gone to another branch."""
        target = data.draw(st.sampled_from([step.id for step in self.tree.messages()]))
        self.new(target, move_head=False)

    @precondition(lambda self: self.tree.path())
    @rule()
    def continue_last(self) -> None:
        last = self.tree.path()[-1]
        self.new(last.parent_id, continues=last.id)
        removed = {removal.message_id for removal in self.tree.removals}
        has_replies = any(one.parent_id == last.id and one.id not in removed for one in self.tree.messages())
        assert (last in self.tree.siblings(self.tree.head or "")) == has_replies

    @precondition(lambda self: self.tree.path())
    @rule(data=st.data(), step=st.sampled_from([-1, 1]))
    def swipe(self, data: st.DataObject, step: int) -> None:
        chosen = self.pick(data)
        target = self.tree.beside(chosen, step)
        if target is not None:
            self.tree.move_head(self.tree.leaf_below(target.id))
            self.heads.append(self.tree.head)
            assert target.id in {other.id for other in self.tree.path()}
            assert self.tree.children(self.tree.head) == []

    @precondition(lambda self: self.tree.path())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        chosen = self.pick(data)
        self.count += 1
        removal = Removal(f"x{self.count}", chosen, self.tree.head)
        self.before_removal.append((removal, *self.seen()))
        foretold = self.tree.head_after_removing(chosen)
        self.tree.remove(removal)
        self.heads.append(self.tree.head)
        assert self.tree.head == foretold
        assert chosen not in {step.id for step in self.tree.path()}

    @precondition(lambda self: self.before_removal)
    @rule()
    def undo(self) -> None:
        removal, path, positions = self.before_removal.pop()
        self.tree.restore(removal)
        self.heads.append(self.tree.head)
        now_path, now_positions = self.seen()
        assert now_path == path
        if self.count == int(removal.id[1:]):
            assert now_positions == positions, "nothing was made since: the tree is as it was"

    def seen(self) -> tuple[list[str], dict[str, tuple[int, int]]]:
        """The path, and every message that can be walked to with its `2/3` marker."""
        positions: dict[str, tuple[int, int]] = {}
        waiting: list[str | None] = [None]
        while waiting:
            for child in self.tree.children(waiting.pop()):
                positions[child.id] = self.tree.position(child.id)
                waiting.append(child.id)
        for step in self.tree.path():
            positions[step.id] = self.tree.position(step.id)
        return [step.id for step in self.tree.path()], positions

    @invariant()
    def the_path_is_a_way_down_from_a_root(self) -> None:
        path = self.tree.path()
        assert path == self.tree.path_to(self.tree.head)
        assert all(self.tree.is_live(step.id) for step in path)
        for step in path:
            index, count = self.tree.position(step.id)
            assert self.tree.siblings(step.id)[index - 1] == step
            assert count == len({other.id for other in self.tree.siblings(step.id)})

    @invariant()
    def nothing_is_lost(self) -> None:
        assert {one.id: one.text for one in self.tree.messages()} == self.texts
        _, reachable = self.seen()
        continued = {one.continues for one in self.tree.messages()}
        for one in self.tree.messages():
            assert not self.tree.is_live(one.id) or one.id in continued or one.id in reachable

    @invariant()
    def a_tree_read_back_from_its_rows_is_the_same(self) -> None:
        again = Tree(self.tree.messages(), self.tree.removals, self.heads)
        assert again.path() == self.tree.path()
        for one in self.tree.messages():
            assert again.siblings(one.id) == self.tree.siblings(one.id)
            if self.tree.is_live(one.id):
                assert again.leaf_below(one.id) == self.tree.leaf_below(one.id)


Chatting.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestChatting = Chatting.TestCase

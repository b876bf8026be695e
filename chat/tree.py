"""The message tree of one chat: swipes, branches, edits, deletes and the active path. Pure, no I/O.

Messages are only ever added. What the user does moves a pointer, the head: the active path runs from a root
(a greeting) down to it. Messages with the same parent are siblings; a swipe, a regenerated reply and an edit
are siblings. A removal hides a message with all that lies below it, and can be taken back. A message that
`continues` another is that one made longer and stands in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from presets.values import Role


@dataclass(frozen=True, slots=True)
class Generation:
    """How a reply was made: enough to make it again, and to say what it cost."""

    model: str
    """File name of the model."""
    format: str
    sampling: dict[str, Any]
    seed: int
    prompt_tokens: int = 0
    evaluated_tokens: int = 0
    """Prompt tokens that were read in this turn."""
    reused_tokens: int = 0
    generated_tokens: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds: `read`, `write`, `total`."""
    samplers: list[str] = field(default_factory=list)
    """The chain that was in force, in order, as `name(value)`."""
    finish_reason: str = ""
    """`eos`, `stop`, `length`, `cancelled` (by the user) or `interrupted` (program or worker died)."""
    ended_by: str = ""
    """The setting that ended it, its finish reason being `stop`: `reply_length`, `speaking_for_user`."""
    thinking_tokens: int = 0
    """Tokens of the thinking, roughly; they are among the generated ones. Its seconds: `timings["think"]`."""
    broken_at: int | None = None
    """Token at which the prompt left what had been read before; None: it only grew."""
    broken_by: str = ""
    """What stands there in the prompt, such as `lore Eldoria/tower`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; never changed once it is made."""

    id: str
    """UUIDv7."""
    chat_id: str
    parent_id: str | None
    """None: a root, such as a greeting."""
    role: Role
    name: str
    """Who spoke, as they were called then."""
    text: str
    hidden: bool
    """Kept on the screen, left out of the prompt."""
    created: datetime
    """UTC, in whole milliseconds."""
    generation: Generation | None = None
    """None for what a person wrote and for greetings."""
    continues: str | None = None
    """The sibling that this one is a longer form of."""
    thinking: str = ""
    """What the model thought before it, without the marks around; stays out of prompts unless asked for."""
    raw: str = ""
    """The reply as the model wrote it, thinking and trimmed ends included; empty: the same as the text."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A delete that has not been undone."""

    id: str
    message_id: str
    head_before: str | None


class Tree:
    """All messages of a chat, which of them are removed, and the head.

    Give it messages parents first, removals that still hold oldest first, and every head there was, oldest
    first: the heads tell which leaf below a message was visited last.
    """

    def __init__(
        self,
        messages: Iterable[Message] = (),
        removals: Iterable[Removal] = (),
        heads: Sequence[str | None] = (),
    ) -> None:
        self._messages: dict[str, Message] = {}
        self._children: dict[str | None, list[str]] = {}
        self._rank: dict[str, tuple[int, int]] = {}
        self._continued: set[str] = set()
        self._removals: list[Removal] = []
        self._visited: dict[str | None, str] = {}
        self._path: list[Message] = []
        self._on_path: set[str] = set()
        for message in messages:
            self._insert(message)
        self._removals.extend(removals)
        self._removed = {removal.message_id for removal in self._removals}
        self._replay(heads)

    # What is there ---------------------------------------------------------------------------------------

    @property
    def head(self) -> str | None:
        """Id of the last message of the active path; None when the path is empty."""
        return self._path[-1].id if self._path else None

    @property
    def removals(self) -> tuple[Removal, ...]:
        """Deletes that can be undone, oldest first."""
        return tuple(self._removals)

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._messages

    def __getitem__(self, message_id: str) -> Message:
        """The message of that id, removed or not. Raises KeyError."""
        return self._messages[message_id]

    def messages(self) -> list[Message]:
        """Every message, removed ones too, in the order in which they came."""
        return list(self._messages.values())

    def path(self) -> list[Message]:
        """The active path, root first."""
        return list(self._path)

    def path_to(self, message_id: str | None) -> list[Message]:
        """The way from the root down to a message, itself included; empty for None. Raises KeyError."""
        way = []
        while message_id is not None:
            message = self._messages[message_id]
            way.append(message)
            message_id = message.parent_id
        way.reverse()
        return way

    def is_live(self, message_id: str) -> bool:
        """Neither the message nor one above it is removed. Raises KeyError."""
        return not self._removed or all(
            message.id not in self._removed for message in self.path_to(message_id)
        )

    def children(self, parent_id: str | None) -> list[Message]:
        """The replies to a message that can be walked to, in their order of writing; roots for None.

        One that was continued shows its longest form in its place, unless it has replies of its own.
        """
        return self._in_order(
            child
            for child in self._children.get(parent_id, ())
            if child not in self._removed and not self._replaced(child)
        )

    def siblings(self, message_id: str) -> list[Message]:
        """The messages that stand beside this one, itself included. Raises KeyError."""
        beside = self.children(self._messages[message_id].parent_id)
        if any(message.id == message_id for message in beside):
            return beside
        return self._in_order([message_id, *(message.id for message in beside)])

    def position(self, message_id: str) -> tuple[int, int]:
        """Which of its siblings a message is, from 1, and how many there are: `2/3`. Raises KeyError."""
        beside = [message.id for message in self.siblings(message_id)]
        return beside.index(message_id) + 1, len(beside)

    def beside(self, message_id: str, step: int) -> Message | None:
        """The sibling `step` places away, None past either end. Raises KeyError."""
        siblings = self.siblings(message_id)
        index = [message.id for message in siblings].index(message_id) + step
        return siblings[index] if 0 <= index < len(siblings) else None

    def leaf_below(self, message_id: str) -> str:
        """The end of the branch through a message: the leaf visited last, else the newest."""
        leaf = self._messages[message_id].id
        while children := self.children(leaf):
            visited = self._visited.get(leaf)
            while visited is not None and visited not in {child.id for child in children}:
                visited = self._continuation(visited)
            leaf = visited or children[-1].id
        return leaf

    def head_after_removing(self, message_id: str) -> str | None:
        """Where the head goes when a message is removed. Raises KeyError.

        It stays when the message is not on the active path. Else it goes to the sibling after it, else to the
        one before it, in each case to the leaf visited last; else to the parent.
        """
        return self._beside_or_above(message_id) if message_id in self._on_path else self.head

    # What changes ----------------------------------------------------------------------------------------

    def add(self, message: Message, *, move_head: bool = True) -> None:
        """Add a message below its parent. KeyError: no such parent; ValueError: the id is taken."""
        if message.id in self._messages:
            raise ValueError(f"message {message.id} is in the tree already")
        if message.parent_id is not None and message.parent_id not in self._messages:
            raise KeyError(message.parent_id)
        self._insert(message)
        if move_head:
            self.move_head(message.id)

    def move_head(self, message_id: str | None) -> None:
        """Make a message the end of the active path; None empties the path. Raises KeyError."""
        if message_id is None:
            self._path, self._on_path = [], set()
            return
        message = self._messages[message_id]
        if message.parent_id == self.head:
            self._visited[message.parent_id] = message_id
            self._path.append(message)
            self._on_path.add(message_id)
            return
        path = self.path_to(message_id)
        for step in reversed(path):
            if step.id in self._on_path:
                break
            self._visited[step.parent_id] = step.id
        self._path, self._on_path = path, {step.id for step in path}

    def remove(self, removal: Removal) -> None:
        """Hide a message and all below it, and move the head by `head_after_removing`. Raises KeyError."""
        head = self.head_after_removing(removal.message_id)
        self._removals.append(removal)
        self._removed.add(removal.message_id)
        self.move_head(head)

    def restore(self, removal: Removal) -> None:
        """Take a removal back: messages and head are as before it. Raises ValueError if unknown."""
        self._removals.remove(removal)
        self._removed = {other.message_id for other in self._removals}
        self.move_head(self._nearest_live(removal.head_before))

    # How -------------------------------------------------------------------------------------------------

    def _insert(self, message: Message) -> None:
        index = len(self._messages)
        self._messages[message.id] = message
        self._children.setdefault(message.parent_id, []).append(message.id)
        if message.continues is None:
            self._rank[message.id] = (index, index)
        else:
            self._continued.add(message.continues)
            self._rank[message.id] = (self._rank[message.continues][0], index)

    def _replay(self, heads: Sequence[str | None]) -> None:
        """Set the head, and which child of each message was visited last, from the history of heads.

        Newest first: as soon as a step is known, all steps above it are, so the whole history costs one visit
        a message.
        """
        for head in reversed(heads):
            step = head
            while step is not None:
                parent = self._messages[step].parent_id
                if parent in self._visited:
                    break
                self._visited[parent] = step
                step = parent
        self.move_head(self._nearest_live(heads[-1]) if heads else None)

    def _in_order(self, ids: Iterable[str]) -> list[Message]:
        return [self._messages[id_] for id_ in sorted(ids, key=self._rank.__getitem__)]

    def _replaced(self, message_id: str) -> bool:
        """A longer form of it exists, and nothing was said below it."""
        return message_id in self._continued and not any(
            child not in self._removed for child in self._children.get(message_id, ())
        )

    def _continuation(self, message_id: str) -> str | None:
        """The newest message that continues this one."""
        if message_id not in self._continued:
            return None
        beside = self._children[self._messages[message_id].parent_id]
        return next(id_ for id_ in reversed(beside) if self._messages[id_].continues == message_id)

    def _beside_or_above(self, message_id: str) -> str | None:
        beside = [message.id for message in self.siblings(message_id)]
        index = beside.index(message_id)
        neighbours = beside[index + 1 : index + 2] or beside[max(index - 1, 0) : index]
        return self.leaf_below(neighbours[0]) if neighbours else self._messages[message_id].parent_id

    def _nearest_live(self, head: str | None) -> str | None:
        """A head as it can be shown: another program may have removed a message that it stands below."""
        while head is not None:
            removed = next((step.id for step in self.path_to(head) if step.id in self._removed), None)
            if removed is None:
                return head
            head = self._beside_or_above(removed)
        return None

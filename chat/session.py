"""One open chat: card, persona, format, message tree and engine make replies. No screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Self, TypedDict, Unpack

from cards.card import Card, card_from_document
from chat.engine.surface import EngineSurface
from chat.events import ReplyFailed, SessionEvent
from chat.idle import Idle
from chat.ids import new_id, now
from chat.inspector import Inspector
from chat.landing import Landing
from chat.output import RepetitionWatch, keep_output_options, reply_room
from chat.prompting import greetings_of, known_options
from chat.records import Chat, OpenChat
from chat.replying import Reply, one_line
from chat.rows import new_message, worded
from chat.seeds import Seeds
from chat.states import SavedState
from chat.store import Store, StoreError
from chat.swiping import Swiping
from chat.tree import Generation, Message, Tree
from chat.windows import Windows
from presets.format import PromptFormat
from presets.sampling import Sampling
from presets.values import Mode, Persona, Prompt

MAX_TOKENS = 400
"""Length of a reply, in tokens, when nothing else is asked for."""

CLOSING_SECONDS = 2.0
"""How long leaving a chat waits for its reply to end."""


class Choices(TypedDict, total=False):
    """What may be settled when a chat is opened."""

    engine: EngineSurface | None
    options: Mapping[str, str] | None
    """Format options, over those that the chat keeps."""
    seed: int | None
    max_tokens: int


class Session:
    """One open chat. Iterators of events block: run them in a thread; everything else answers at once.

    What the user does while a reply is being written is allowed: the reply lands where it began, and becomes
    the end of the path if the path has not moved.
    """

    def __init__(
        self,
        store: Store,
        opened: OpenChat,
        card: Card,
        persona: Persona,
        format: PromptFormat,
        sampling: Sampling,
        *,
        engine: EngineSurface | None = None,
        options: Mapping[str, str] | None = None,
        seed: int | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """Use `begin` or `resume`. Raises StoreError."""
        self.store = store
        self.chat: Chat = opened.chat
        self.tree: Tree = opened.tree
        self.card = card
        self.persona = persona
        self.format = format
        """May be replaced at any time; `choose` keeps it with the chat."""
        self.sampling = sampling
        self.options: dict[str, str] = {**known_options(opened.chat.options, format), **(options or {})}
        self.engine = engine
        """May be set later: a chat can be read without a model."""
        self.model_problem = ""
        """One line, set by whoever loads the model, when that has failed: a waiting reply fails with it."""
        self.had_model = False
        """A model stood ready once: a worker that is down has died, and the next reply starts it again."""
        self.seeds = Seeds(seed)
        self.max_tokens = max_tokens
        self.notices: list[str] = []
        """Sentences that the person should see."""
        self.context_used: int | None = None
        """Tokens of prompt and reply after the last turn; None before it."""
        self.last: Generation | None = None
        """How the last reply was made."""
        self.inspector = Inspector()
        self._lock = threading.RLock()
        self.repetition = RepetitionWatch()
        self.windows = Windows(self)
        self.idle = Idle(self)
        self.saved = SavedState(None, self.chat.id)
        """What is kept of the engine's reading; whoever opens a chat may say where."""
        self._reply: Reply | Swiping | None = None
        self._landing = Landing(store)
        keep_output_options(self)
        self._read_last()
        if opened.interrupted:
            self.notices.append("A reply was cut off when rpchat ended; what was written of it is kept.")
        if not store.claim(self.chat.id):
            self.notices.append("This chat is open in another program too: what each one writes is a branch.")

    @classmethod
    def begin(
        cls,
        store: Store,
        card: Card,
        persona: Persona,
        format: PromptFormat,
        sampling: Sampling,
        *,
        card_ref: str = "",
        **choices: Unpack[Choices],
    ) -> Self:
        """A new chat: the card's greetings are its sibling roots. Raises StoreError.

        A given `seed` is also the dice of the card's own macros.
        """
        chat = Chat(
            id=new_id(),
            created=now(),
            card_ref=card_ref,
            card_name=card.name,
            card_document=card.document,
            persona=persona,
            dice=Seeds(choices.get("seed")).next(),
        )
        greetings = [] if format.begins_with_reply else greetings_of(chat, card, persona)
        head = greetings[0].id if greetings else None
        store.create_chat(chat, greetings, head)
        opened = OpenChat(chat, Tree(greetings, heads=[head]))
        return cls(store, opened, card, persona, format, sampling, **choices)

    @classmethod
    def resume(
        cls,
        store: Store,
        chat_id: str,
        format: PromptFormat,
        sampling: Sampling,
        *,
        card: Card | None = None,
        persona: Persona | None = None,
        **choices: Unpack[Choices],
    ) -> Self:
        """A chat that is stored. Card None: the snapshot that the chat holds; persona None: the chat's.

        Raises StoreError, CardError.
        """
        opened = store.open_chat(chat_id)
        if card is None:
            card, _warnings = card_from_document(opened.chat.card_document, opened.chat.card_name)
        persona = persona or opened.chat.persona
        return cls(store, opened, card, persona, format, sampling, **choices)

    def close(self) -> None:
        """Stop a reply under way, keep what was written, and leave the chat. The store stays open.

        Raises StoreError for a reply that could not be stored and still cannot.
        """
        self.idle.stop()
        if self._reply is not None and self.replying:
            self._reply.stop()
            if not self._reply.ended.wait(CLOSING_SECONDS):
                self._reply.save_now()
        self.saved.leave(self.engine)
        self.store.release(self.chat.id)
        self._landing.flush()

    # What there is ---------------------------------------------------------------------------------------

    def path(self) -> list[Message]:
        """The active path, root first."""
        return self.tree.path()

    def position(self, message_id: str) -> tuple[int, int]:
        """Which of its siblings a message is, from 1, and how many there are. Raises KeyError."""
        return self.tree.position(message_id)

    def wants_reply(self) -> bool:
        """The character is to speak: after the user's turn, or first, in a format that begins so."""
        path = self.tree.path()
        return path[-1].role == "user" if path else self.format.begins_with_reply

    @property
    def replying(self) -> bool:
        """A reply is under way."""
        reply = self._reply
        return reply is not None and reply.started and not reply.ended.is_set()

    @property
    def reply_tokens(self) -> int:
        """How long a reply may be."""
        loaded = self.engine.loaded if self.engine else None
        return reply_room(self, loaded.context if loaded else None)

    def prompt(self, mode: Mode = "reply") -> Prompt:
        """The exact prompt that would be sent now. Raises PromptTooLong, ValueError, EngineError."""
        return self.prompt_for(self.tree.path(), mode)

    def prompt_for(self, path: list[Message], mode: Mode) -> Prompt:
        """The prompt for the next turn after another path. Raises PromptTooLong, ValueError, EngineError."""
        return self.windows.prompt(path, mode)

    # What the user does. Each is in the store when it returns; each raises StoreError. -------------------

    def say(self, text: str) -> Message:
        """The user's turn. Raises ValueError for a text without a word."""
        with self._lock:
            message = new_message(
                self.chat.id, self.tree.head, "user", self.persona.name or "User", worded(text)
            )
            return self._add(message)

    def edit(self, message_id: str, text: str) -> Message:
        """A sibling with another text; it ends the path. An edit that changes nothing makes nothing.

        Raises KeyError, ValueError for a text without a word.
        """
        with self._lock:
            before = self.tree[message_id]
            if worded(text) == before.text:
                return before
            message = new_message(
                self.chat.id, before.parent_id, before.role, before.name, text, hidden=before.hidden
            )
            return self._add(message)

    def swipe(self, message_id: str, step: int) -> Message | None:
        """Go to a sibling, down to the leaf below it that was visited last; None past either end."""
        with self._lock:
            target = self.tree.beside(message_id, step)
            if target is not None:
                self.show(target.id)
            return target

    def show(self, message_id: str) -> None:
        """Go to a message, down to the leaf below it that was visited last. Raises KeyError."""
        with self._lock:
            self._landing.flush()
            leaf = self.tree.leaf_below(message_id)
            self.store.move_head(self.chat.id, leaf)
            self.tree.move_head(leaf)

    def delete(self, message_id: str) -> None:
        """Hide a message and all below it. Raises KeyError."""
        with self._lock:
            message = self.tree[message_id]
            if self.tree.is_live(message_id):
                self._landing.flush()
                after = self.tree.head_after_removing(message_id)
                self.tree.remove(self.store.remove(message, self.tree.head, after))

    def undo(self) -> Message | None:
        """Take the last delete back: the message that returned, None when there is nothing to take back."""
        with self._lock:
            if not self.tree.removals:
                return None
            self._landing.flush()
            removal = self.tree.removals[-1]
            self.store.restore(self.chat.id, removal, removal.head_before)
            self.tree.restore(removal)
            return self.tree[removal.message_id]

    def choose(
        self,
        *,
        format: PromptFormat | None = None,
        sampling: Sampling | None = None,
        options: Mapping[str, str] | None = None,
        title: str | None = None,
    ) -> None:
        """Use another format, sampling, options or title, and keep it with the chat."""
        with self._lock:
            chat = self.chat
            if format is not None:
                chat = replace(chat, format=format.id, options=known_options(chat.options, format))
            if sampling is not None:
                chat = replace(chat, sampling=sampling.model_dump(mode="json"))
            if options is not None:
                chat = replace(chat, options=known_options(options, format or self.format))
            if title is not None:
                chat = replace(chat, title=" ".join(title.split()))
            self.store.save_settings(chat)
            self.chat = chat
            self.format = format or self.format
            self.sampling = sampling or self.sampling
            self.options = known_options(self.options if options is None else options, self.format)

    # Replies. Errors are events (ReplyFailed), not exceptions. -------------------------------------------

    def reply(self) -> Iterator[SessionEvent]:
        """The character's next turn."""
        return self._begin("reply", self.tree.path())

    def regenerate(self, message_id: str | None = None) -> Iterator[SessionEvent]:
        """Another sibling of that (else the last) message of the character; else a reply below it."""
        return self._begin("reply", self._path_for_another(message_id))

    def _path_for_another(self, message_id: str | None) -> list[Message]:
        head = self.tree.head if message_id is None else message_id
        if head is None or self.tree[head].role == "user":
            return self.tree.path_to(head)
        return self.tree.path_to(self.tree[head].parent_id)

    def swipes(self, count: int, message_id: str | None = None) -> Iterator[SessionEvent]:
        """So many replies at once, told apart by the ids of their messages, where `regenerate` puts its one.

        Raises ValueError for a count that cannot be had.
        """
        return self._start(Swiping(self, self._path_for_another(message_id), count))

    def choose_swipe(self, message_id: str) -> None:
        """Of several replies under way this one is to end the path, and the others stop; else go to it."""
        if not (isinstance(self._reply, Swiping) and self._reply.choose(message_id)):
            self.show(message_id)

    def continue_reply(self) -> Iterator[SessionEvent]:
        """The last message, longer, when it is the character's."""
        path = self.tree.path()
        return self._begin("continue", path, path[-1] if path and path[-1].role == "char" else None)

    def impersonate(self) -> Iterator[SessionEvent]:
        """The user's next turn as the model would write it (ImpersonationFinished); stores nothing."""
        return self._begin("impersonate", self.tree.path())

    def retry(self) -> Iterator[SessionEvent]:
        """What failed last, again. A reply that broke off gets a fresh sibling; a dead worker starts anew."""
        with self._lock:
            if self._landing.waiting:
                return self._landing.late()
        self.model_problem = ""
        failed = self._reply
        if failed is not None and failed.mode == "impersonate":
            return self.impersonate()
        path = self.tree.path()
        last = path[-1].generation if path else None
        if last is not None and last.finish_reason in ("interrupted", "cancelled"):
            return self.continue_reply() if path[-1].continues else self.regenerate()
        if failed is not None and failed.mode == "continue":
            return self.continue_reply()
        return self.reply()

    def stop(self) -> None:
        """End the reply under way, from any thread; what was written is kept."""
        if self._reply is not None:
            self._reply.stop()

    def _begin(
        self, mode: Mode, path: list[Message], continued: Message | None = None
    ) -> Iterator[SessionEvent]:
        return self._start(Reply(self, mode, path, continued))

    def _start(self, reply: Reply | Swiping) -> Iterator[SessionEvent]:
        with self._lock:
            if self.replying:
                return iter((ReplyFailed(None, "A reply is being written already: stop it first.", None),))
            # Named before anyone iterates, so that a stop which comes at once is not lost.
            self._reply = reply
            self.saved.busy(self.last)
            return reply.events()

    def land(self, message: Message, head_before: str | None) -> str:
        """Add a reply to store and tree. It ends the path if the path still ends where it did.

        Returns what kept it from being stored, in one line; it is in the tree then, and is stored before the
        next change, or by `retry`.
        """
        with self._lock:
            still = message.parent_id is None or self.tree.is_live(message.parent_id)
            move_head = still and self.tree.head == head_before
            self.tree.add(message, move_head=move_head)
            try:
                self._landing.add(message, move_head=move_head)
            except StoreError as error:
                return f"{one_line(error)} The reply is kept in memory until it can be stored."
            return ""

    def _add(self, message: Message) -> Message:
        self._landing.flush()
        self.store.add_message(message)
        self.tree.add(message)
        return message

    def _read_last(self) -> None:
        """What the last turn cost, as its message tells."""
        path = self.tree.path()
        self.last = next((one.generation for one in reversed(path) if one.generation is not None), None)
        if self.last is not None and path[-1].generation is self.last:
            self.context_used = self.last.prompt_tokens + self.last.generated_tokens

"""Several replies to the same turn at once: each becomes a message beside the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chat.drafts import Draft
from chat.engine.protocol import Done, Reading, ReplyDone, Text
from chat.engine.surface import EngineError, EngineSurface, SwipesOperation
from chat.events import ReadingPrompt, ReplyEmpty, ReplyFailed, ReplyStarted, ReplyWritten, SessionEvent
from chat.replying import FAILURES, keep_window, one_line
from chat.stretches import settled
from chat.tree import Message
from chat.underway import Stopped, UnderWay
from presets.values import Mode, Prompt

if TYPE_CHECKING:
    from chat.session import Session

__all__ = ["MOST", "Swiping"]

MOST = 8
"""Replies at once: more than anyone compares."""


class _Swipe:
    """One of the replies."""

    def __init__(self, draft: Draft, seed: int, engine: EngineSurface, prompt: Prompt, way: UnderWay) -> None:
        self.draft = draft
        self.seed = seed
        self.stretches = draft.begin(engine, prompt, seed, way)
        self.done: Done | None = None
        """What the part came to that is written beside the others."""
        self.error = ""
        self.seconds = 0.0


class Swiping:
    """Replies of a session side by side, from the request to the stored messages. `events` may be iterated
    once; they tell the replies apart by `message_id`.

    They are saved as drafts while they grow, and stored in their order when all are whole. The first one ends
    the path then, unless `choose` has named another.
    """

    mode: Mode = "reply"

    def __init__(self, session: Session, path: list[Message], count: int) -> None:
        """`path` is what the prompt shows, root first. Raises ValueError for a count that cannot be had."""
        if not 1 <= count <= MOST:
            raise ValueError(f"{count} replies at once cannot be had: 1 to {MOST} can.")
        self.started = False
        self.ended = threading.Event()
        self._session = session
        self._path = path
        self._under_way = UnderWay(session)
        self._drafts = [Draft(session, "reply", path) for _ in range(count)]
        self._swipes: list[_Swipe] = []
        self._operation: SwipesOperation | None = None
        self._chosen = ""
        self._settled = False
        """The choice can be no other any more."""
        self._lock = threading.Lock()

    @property
    def message_id(self) -> str:
        """Of the first message to be."""
        return self._drafts[0].message_id

    @property
    def message_ids(self) -> list[str]:
        """Of all of them, in their order."""
        return [draft.message_id for draft in self._drafts]

    def stop(self) -> None:
        """End all of them, from any thread, keeping what was written."""
        self._under_way.stop()

    def choose(self, message_id: str) -> bool:
        """This one ends the path when all are whole; the others end now. From any thread.

        False when it is too late, or none of these.
        """
        with self._lock:
            if self.ended.is_set() or self._settled or message_id not in self.message_ids:
                return False
            self._chosen = message_id
        operation = self._operation
        if operation is not None:
            self._end_others(operation)
        return True

    def save_now(self) -> None:
        """Have all that was written on the disk."""
        for draft in self._drafts:
            draft.save_now()

    def events(self) -> Iterator[SessionEvent]:
        """Make them. Whatever fails becomes an event of each that is not whole."""
        self.started = True
        try:
            yield from self._make()
        except Stopped:
            for message_id in self.message_ids:
                yield ReplyEmpty(message_id, "stopped before the first word", cancelled=True)
        except FAILURES as error:
            yield ReplyFailed(None, one_line(error), None)
        finally:
            for draft in self._drafts:
                draft.end()
            self._session.saved.used(self._session.engine, self._session.last)
            self.ended.set()

    # The steps -------------------------------------------------------------------------------------------

    def _make(self) -> Iterator[SessionEvent]:
        engine = yield from self._under_way.engine()
        prompt = self._session.prompt_for(self._path, "reply")
        keep_window(self._session, prompt.window)
        for draft in self._drafts:
            yield ReplyStarted(draft.message_id, draft.parent, prompt.base_text)
        if self._under_way.stopped.is_set():
            raise Stopped
        seeds = self._session.seeds
        self._swipes = [
            _Swipe(draft, seeds.next(), engine, prompt, self._under_way) for draft in self._drafts
        ]
        waiting = list(self._swipes)
        try:
            yield from self._together()
            while waiting:
                yield from self._alone(waiting[0])
                del waiting[0]
            self._go_to_the_chosen()
        except FAILURES as error:
            if isinstance(error, EngineError) and error.code == "room":
                yield ReplyFailed(None, one_line(error), None, refused=True)
                return
            for one in waiting:
                yield one.draft.broken(one_line(error))
        except BaseException:
            # Whoever was listening has gone (closed generator, Ctrl+C): keep the model's words.
            for one in waiting:
                one.draft.broken("")
            raise
        finally:
            self._look_back()

    def _together(self) -> Iterator[SessionEvent]:
        started = time.monotonic()
        operation = self._swipes[0].stretches.several([one.seed for one in self._swipes])
        self._operation = operation
        self._under_way.begin(operation)
        if self._chosen:
            self._end_others(operation)
        try:
            for event in operation:
                if isinstance(event, Reading):
                    yield ReadingPrompt(event.done, event.total, event.reused)
                elif isinstance(event, Text):
                    yield from self._text(self._swipes[event.reply], event, operation)
                elif isinstance(event, ReplyDone):
                    one = self._swipes[event.reply]
                    one.done, one.error, one.seconds = event.done, event.error, time.monotonic() - started
                    yield ReplyWritten(one.draft.message_id)
        except BaseException:
            operation.cancel()
            raise
        finally:
            self._operation = None

    def _text(self, one: _Swipe, text: Text, operation: SwipesOperation) -> Iterator[SessionEvent]:
        for told in one.stretches.push(text.text):
            one.draft.checkpoint()
            yield told
        if one.stretches.has_enough:
            operation.end(text.reply)

    def _alone(self, one: _Swipe) -> Iterator[SessionEvent]:
        """What is left to do for a reply when no other is being written: more of it, and its storing."""
        if one.done is None or one.error:
            yield one.draft.broken(one.error or "The model's process ended without a word.")
            return
        since = time.monotonic()
        for event in one.stretches.after(one.done, one.seed, self._under_way.begin):
            one.draft.checkpoint()
            yield event
        seconds = one.seconds + time.monotonic() - since
        yield from one.draft.finished(settled(one.draft.generation, one.stretches, seconds))

    def _go_to_the_chosen(self) -> None:
        with self._lock:
            self._settled = True
        session = self._session
        if self._chosen in session.tree and session.tree.head in self.message_ids:
            session.show(self._chosen)

    def _end_others(self, operation: SwipesOperation) -> None:
        for number, message_id in enumerate(self.message_ids):
            if message_id != self._chosen:
                operation.end(number)

    def _look_back(self) -> None:
        """The last reply, for who asks what it cost, is the one that is shown."""
        head = self._session.tree.head
        if head in self.message_ids and head is not None:
            self._session.last = self._session.tree[head].generation

"""The two ends of the worker's conversation: a thread reads requests, events are written as lines.

The thread is what notices a cancel and the parent's end while the main one sits in llama_decode.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable

from pydantic import BaseModel, ValidationError

from chat.engine.protocol import (
    Cancel,
    Count,
    Failed,
    Loading,
    Ping,
    Pong,
    Prepare,
    Quit,
    Reading,
    ReplyDone,
    Work,
    request_line,
)

__all__ = ["Pipe", "Work"]

PROGRESS = (Loading, Reading, ReplyDone)
"""Events that come before the one which answers a request."""


class Pipe:
    """Requests in, events out. `take`, `finished` and `cancelled` belong to the main thread.

    `on_start` and `on_cancel` are called under one lock, for the request that the main thread works on;
    `answer_aside` may answer a Count at once on the reading thread and then returns True. Reading ahead ends
    early as soon as any other request waits.
    """

    def __init__(self, requests: int, events: int) -> None:
        self._requests = requests
        self._events = events
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._write_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._current: Work | None = None
        self._unanswered: dict[int | None, Work] = {}
        self._cancelled_early: set[int] = set()
        self.cancelled = False
        """Whether the request that is worked on should end early."""
        self.cancelled_replies: set[int] = set()
        """Which of several replies should."""
        self.on_start: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[], None] = lambda: None
        self.answer_aside: Callable[[Count], bool] = lambda _request: False
        self.on_ping: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """Starts the reading thread. It ends the process when the parent closes its end or asks to quit."""
        threading.Thread(target=self._listen, name="requests", daemon=True).start()

    def take(self) -> Work:
        """Blocks for the next request."""
        request = self._queue.get()
        with self._state_lock:
            self._current = request
            self.on_start()
            early = isinstance(request, Prepare) and not self._queue.empty()
            self.cancelled = early or request.id in self._cancelled_early
            self._cancelled_early.discard(request.id)
            self.cancelled_replies = set()
            if self.cancelled:
                self.on_cancel()
        return request

    def finished(self) -> None:
        """The request that was taken is answered."""
        with self._state_lock:
            self._current = None

    def send(self, event: BaseModel) -> None:
        """Writes an event, from any thread."""
        if not isinstance(event, PROGRESS):
            with self._state_lock:
                self._unanswered.pop(getattr(event, "id", None), None)
        self._write(event.model_dump_json())

    def text(self, id: int, text: str, reply: int = 0) -> None:
        """A Text event, without a model in between: this one comes with every token."""
        self._write(json.dumps({"op": "text", "id": id, "text": text, "reply": reply}))

    def fail(self, id: int | None, code: str, message: str) -> None:
        """Writes a Failed event."""
        self.send(Failed.model_validate({"id": id, "code": code, "message": message}))

    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        with self._write_lock:
            try:
                while data:
                    data = data[os.write(self._events, data) :]
            except OSError:  # the parent is gone
                os._exit(0)

    def _listen(self) -> None:
        """A worker that cannot hear any more is of no use; of what went wrong no values are told."""
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001
            os.write(2, f"{type(error).__name__}: the thread that reads requests ended\n".encode())
            os._exit(1)

    def _read(self) -> None:
        with os.fdopen(self._requests, "rb") as lines:
            for line in lines:
                try:
                    request = request_line.validate_json(line)
                except ValidationError as error:
                    self._refuse(line, error)
                    continue
                if isinstance(request, Quit):
                    break
                if isinstance(request, Ping):
                    self.send(Pong())
                    self.on_ping()
                elif isinstance(request, Cancel):
                    self._cancel(request)
                elif not (isinstance(request, Count) and self._queue.empty() and self.answer_aside(request)):
                    self._enqueue(request)
        self.on_cancel()  # a backend that is told to stop leaves its device in order
        os._exit(0)

    def _cancel(self, cancel: Cancel) -> None:
        id = cancel.id
        with self._state_lock:
            if cancel.reply is not None:
                if self._current is not None and id == self._current.id:
                    self.cancelled_replies.add(cancel.reply)
                return
            if self._current is not None and id == self._current.id:
                self.cancelled = True
                self.on_cancel()
            else:
                self._cancelled_early.add(id)

    def _enqueue(self, request: Work) -> None:
        """What is only read ahead makes way for what comes after it; behind anything else it is not even
        begun, since it may be out of date by then."""
        with self._state_lock:
            busy = any(not isinstance(one, Prepare) for one in self._unanswered.values())
            if isinstance(request, Prepare) and busy:
                self._cancelled_early.add(request.id)
            self._unanswered[request.id] = request
            if isinstance(self._current, Prepare):
                self.cancelled = True
                self.on_cancel()
            self._queue.put(request)

    def _refuse(self, line: bytes, error: ValidationError) -> None:
        """An impossible request: the places are named, the values (prompt text among them) are not."""
        places = {".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False)}
        try:
            id = json.loads(line).get("id")
        except (ValueError, AttributeError):
            id = None
        message = f"The request is not one that the worker knows ({', '.join(sorted(places))})."
        self.fail(id if isinstance(id, int) else None, "request", message)

"""One worker process, from its start to its end: lines in, events out to whoever asked for them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import ValidationError

from chat.engine.death import describe_death, describe_hang, kills_for_memory
from chat.engine.heartbeat import Heartbeat
from chat.engine.logs import claim_log
from chat.engine.protocol import (
    Cancel,
    Event,
    Failed,
    Ping,
    Quit,
    Reading,
    Text,
    Work,
    event_line,
)
from chat.engine.surface import EngineError

__all__ = ["Exchange", "WorkerProcess"]

EXIT_SECONDS = 3.0
"""How long a worker that was asked to quit may take before it is killed."""

COMMAND = (sys.executable, "-P", "-m", "chat.engine.worker")
"""`-P`: a folder `chat` in the user's working directory must not shadow ours. The log's name comes behind."""

ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
"""Unless the user says otherwise. OpenMP's threads spin for milliseconds at every barrier by default: best
on a quiet machine by a few per cent, but one other busy process then makes a reply ten times slower. This is
some tens of microseconds; then a thread sleeps and leaves its core to who needs it."""

STATES = ("state_saved", "state_restored")
FINAL = ("build", "loaded", "adapted", "counted", "done", "prepared", "swipes_done", *STATES, "failed")


class Exchange:
    """A request that was sent, and the events that answer it."""

    def __init__(self, worker: WorkerProcess, id: int) -> None:
        self.id = id
        self._worker = worker
        self._queue: queue.SimpleQueue[Event | EngineError] = queue.SimpleQueue()

    def put(self, event: Event | EngineError) -> None:
        """Called by the thread that reads the worker's lines."""
        self._queue.put(event)

    def cancel(self, reply: int | None = None) -> None:
        """Asks the worker to end this request early, or one of its several replies; says nothing if it is
        over or the worker is gone."""
        with contextlib.suppress(EngineError):
            self._worker.cancel(Cancel(id=self.id, reply=reply))

    def events(self) -> Iterator[Event]:
        """Blocks for each event; ends after the final one. Raises EngineError for Failed and for a death."""
        while True:
            event = self._queue.get()
            if isinstance(event, EngineError):
                raise event
            if isinstance(event, Failed):
                raise EngineError(event.code, event.message)
            yield event
            if event.op in FINAL:
                return


class WorkerProcess:
    """A running worker. Every method may be called from any thread."""

    def __init__(self, log_file: Path) -> None:
        """Its log is `log_file`, or one beside it where another worker has that."""
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()  # its own: a write may block until the worker has read
        self._pending: dict[int, Exchange] = {}
        self._cancelled: set[int] = set()
        """Of those, the ones that are to end."""
        self._death: EngineError | None = None
        self._closing = False
        self._silent = 0.0
        """Seconds without a sign of life after which it was killed."""
        self._kills_before = kills_for_memory()
        self._log = claim_log(log_file)
        try:
            self._process = subprocess.Popen(
                (*COMMAND, str(self._log.path)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self._log.descriptor is None else self._log.descriptor,
                env={**ENVIRONMENT, **os.environ},
                start_new_session=os.name == "posix",  # Ctrl+C and Ctrl+Z in the terminal are not for it
            )
        except OSError as error:
            self._log.release()
            raise EngineError("worker", f"The model's process could not be started: {error}") from error
        finally:
            self._log.close()
        self.heartbeat = Heartbeat(lambda: bool(self._pending), self._ping, self._hung)
        threading.Thread(target=self._read, name="engine events", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._death is None

    def send(self, request: Work) -> Exchange:
        """Sends it under an id of its own. Raises EngineError when the worker is dead."""
        exchange = Exchange(self, next(self._ids))
        with self._lock:
            if self._death is not None:
                raise self._death
            self._pending[exchange.id] = exchange
        self.heartbeat.watch()
        self.write(request.model_copy(update={"id": exchange.id}))
        return exchange

    def cancel(self, request: Cancel) -> None:
        """Asks for the end of a request, or of one reply of several. Raises EngineError when the worker is
        dead."""
        with self._lock:
            if request.reply is None and request.id in self._pending:
                self._cancelled.add(request.id)
                self.heartbeat.hurry()
        self.write(request)

    def write(self, request: Work | Cancel) -> None:
        """One line to the worker. A broken pipe is left to the reading thread, which finds the cause."""
        line = request.model_dump_json().encode() + b"\n"
        if self._death is not None:
            raise self._death
        with self._write_lock, contextlib.suppress(OSError, ValueError):
            stdin = cast(BinaryIO, self._process.stdin)
            stdin.write(line)
            stdin.flush()

    def close(self) -> None:
        """Ends the process: by asking, by closing its input, and at last by force."""
        self._closing = True
        if self._write_lock.acquire(timeout=EXIT_SECONDS):  # else it does not even read any more
            with contextlib.suppress(OSError, ValueError):
                stdin = cast(BinaryIO, self._process.stdin)
                stdin.write(Quit().model_dump_json().encode() + b"\n")
                stdin.close()
            self._write_lock.release()
        try:
            self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.release()  # for the worker that comes in its place

    def _ping(self) -> None:
        """Asks for a sign of life, unless another thread is writing: then that is what it has to read."""
        if self._write_lock.acquire(blocking=False):
            with contextlib.suppress(OSError, ValueError):
                stdin = cast(BinaryIO, self._process.stdin)
                stdin.write(Ping().model_dump_json().encode() + b"\n")
                stdin.flush()
            self._write_lock.release()

    def _hung(self, seconds: float) -> None:
        self._silent = seconds
        self._process.kill()

    def _read(self) -> None:
        stdout = cast(BinaryIO, self._process.stdout)
        with contextlib.suppress(OSError, ValueError), stdout:
            for line in stdout:
                self.heartbeat.sign()
                event = parse_event(line)
                if event is not None:
                    self._dispatch(event)
        self._mourn()

    def _dispatch(self, event: Event) -> None:
        final = event.op in FINAL
        with self._lock:
            id = event.id
            exchange = None if id is None else self._pending.pop(id, None) if final else self._pending.get(id)
            if final and id in self._cancelled:
                self._cancelled.discard(id)
                if not self._cancelled:
                    self.heartbeat.stopped()
        if exchange is not None:
            exchange.put(event)

    def _mourn(self) -> None:
        try:
            status: int | None = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its output and lives on: of no use to anyone
            self._process.kill()
            status = self._process.wait()
        self.heartbeat.end()
        self._log.release()
        message = self._cause_of_death(status)
        with self._lock:
            self._death = EngineError("worker", message)
            pending, self._pending = self._pending, {}
        for exchange in pending.values():
            exchange.put(EngineError("worker", message))

    def _cause_of_death(self, status: int | None) -> str:
        log = self._log
        if self._closing:
            return "The model's process was closed."
        if self._silent:
            return describe_hang(self._silent, log.path)
        for_memory = kills_for_memory() > self._kills_before
        return describe_death(status, log.path, log.start, for_memory=for_memory)


def parse_event(line: bytes) -> Event | None:
    """A worker's line as an event; None for what is none. The two frequent kinds skip validation."""
    try:
        document: dict[str, Any] = json.loads(line)
        op = document["op"]
        if op == "text":
            id, text, reply = document["id"], document["text"], document.get("reply", 0)
            return Text.model_construct(op="text", id=id, text=text, reply=reply)
        if op == "reading":
            return Reading.model_construct(**document)
        return event_line.validate_python(document)
    except (ValueError, KeyError, TypeError, ValidationError):
        return None

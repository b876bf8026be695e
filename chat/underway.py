"""A request of a session under way: it waits for the model, and may be stopped at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from chat.engine.surface import EngineError, EngineSurface, Operation
from chat.events import Remark, SessionEvent, Waiting

if TYPE_CHECKING:
    from chat.session import Session

__all__ = ["Stopped", "UnderWay"]

POLL_SECONDS = 0.05
LOADING_GRACE = 3.0
"""Seconds for which a worker may be down while another thread loads a model: it may be starting anew."""


class Stopped(Exception):
    """The user stopped it before its first word."""


class UnderWay:
    """What is asked of the engine for one reply or several; `stop` may be called from any thread."""

    def __init__(self, session: Session) -> None:
        self.stopped = threading.Event()
        self._session = session
        self._operation: Operation[object] | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End it, keeping what was written."""
        self.stopped.set()
        with self._lock:
            if self._operation is not None:
                self._operation.cancel()

    def begin(self, operation: Operation[object]) -> None:
        """From now on `stop` ends this operation; at once when it came before."""
        with self._lock:
            self._operation = operation
            if self.stopped.is_set():
                operation.cancel()

    def engine(self) -> Generator[SessionEvent, None, EngineSurface]:
        """Wait until a model stands ready; bring back a worker that died since.

        Raises Stopped, EngineError.
        """
        session, told, down_since = self._session, False, None
        while True:
            engine = session.engine
            if self.stopped.is_set():
                raise Stopped
            if engine is None or session.model_problem:
                raise EngineError("request", session.model_problem or "There is no model to answer with.")
            if engine.loaded is not None:
                session.had_model = True
                session.saved.bring(engine)
                for line in session.saved.take_notices():
                    yield Remark("", line)
                if engine.loaded is not None:
                    return engine
                continue
            if engine.alive:
                down_since = None
            elif session.had_model or time.monotonic() - (down_since or time.monotonic()) > LOADING_GRACE:
                yield from self._restart(engine)
                continue
            else:
                down_since = down_since or time.monotonic()
            if not told:
                told = True
                yield Waiting("the model is loading")
            self.stopped.wait(POLL_SECONDS)

    def _restart(self, engine: EngineSurface) -> Iterator[SessionEvent]:
        yield Waiting("the model is starting again")
        operation = engine.restart()
        self.begin(operation)
        try:
            for _event in operation:
                pass
        except EngineError:
            if self.stopped.is_set():
                raise Stopped from None
            raise
        if engine.loaded is None:
            raise EngineError("load", "The model did not start again.")

"""The saved state of an open chat: brought back before its first prompt, written when it is left or idle.

What it saves is a reading: the chat itself is in the store, and a state that is lost costs time and nothing
else.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from chat.engine.shelf import Shelf
from chat.engine.surface import EngineError, EngineSurface

__all__ = ["IDLE_SECONDS", "SavedState", "shelf_of"]

IDLE_SECONDS = 30.0
"""After the last reply, while nothing else is asked for."""

IDLE_APART = 180.0
"""Seconds between two savings of that kind, at least: a state may be a gigabyte, and a disk wears out."""

IDLE_WITHIN = 15.0
"""Seconds that the saving may take then; what is asked for meanwhile has to wait."""

LEAVING_WITHIN = 1.0
"""The same when the chat is left."""


class SavedState:
    """Of one session. Every method may be called from any thread, and none raises.

    `bring` and `wait` block; savings go on in threads of their own.
    """

    def __init__(
        self, shelf: Shelf | None, chat: str, *, read_only: bool = False, notices: list[str] | None = None
    ) -> None:
        """Without a shelf nothing is saved. `notices` gets the sentences that the person should see."""
        self._shelf = shelf
        self._chat = chat
        self._read_only = read_only
        self._notices = notices if notices is not None else []
        self._lock = threading.Lock()
        self._bringing = threading.Lock()  # its own: leaving must not wait for the disk
        self._model: object = None
        """What the engine had loaded when the state was brought back: another one needs it again."""
        self._new = False
        """Something was read or written since the last saving."""
        self._last: object = None
        self._said: set[str] = set()
        self._saved_at = time.monotonic() - IDLE_APART
        self._timer: threading.Timer | None = None
        self._saving: threading.Thread | None = None
        self._left = False

    def bring(self, engine: EngineSurface | None) -> None:
        """Puts the chat's state into the cache, once for each worker and set of adapters."""
        shelf = self._shelf
        with self._bringing:
            loaded = engine.loaded if engine is not None else None
            if shelf is None or engine is None or loaded is None or loaded is self._model:
                return
            self._model = loaded
            try:
                engine.restore_state(shelf.folder, self._chat).wait()
            except EngineError as error:
                if error.code == "worker":  # should the file be what it died of, it must not do so again
                    shelf.forget(self._chat)

    def busy(self, last: object) -> None:
        """A reply begins; `last` is how the last one was made."""
        with self._lock:
            self._last = last
            self._stop_timer()

    def used(self, engine: EngineSurface | None, last: object) -> None:
        """A reply has ended; where that is another one, saves when nothing follows for a while."""
        with self._lock:
            if last is self._last or self._left:
                return
            self._stop_timer()
            if self._shelf is None or self._read_only or engine is None:
                return
            self._new = True
            wait = max(IDLE_SECONDS, self._saved_at + IDLE_APART - time.monotonic())
            self._timer = threading.Timer(wait, self._idle, (engine,))
            self._timer.daemon = True
            self._timer.start()

    def leave(self, engine: EngineSurface | None) -> None:
        """The chat is left: begins to save what is new."""
        with self._lock:
            self._left = True
            self._stop_timer()
            self._begin(engine, LEAVING_WITHIN)

    def wait(self, seconds: float = LEAVING_WITHIN + 1.0) -> None:
        """Until what is being saved is on the disk, but no longer than that."""
        saving = self._saving
        if saving is not None:
            saving.join(seconds)

    def take_notices(self) -> list[str]:
        """What has been remarkable about saving, since it was asked last."""
        taken = list(self._notices)
        del self._notices[: len(taken)]
        return taken

    # How ----------------------------------------------------------------------------------------------------

    def _idle(self, engine: EngineSurface) -> None:
        with self._lock:
            if not self._left:
                self._begin(engine, IDLE_WITHIN)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self, engine: EngineSurface | None, within: float) -> None:
        """Asks at once, so that what another chat asks for comes after it; waits in a thread."""
        shelf = self._shelf
        if not self._new or shelf is None or engine is None or engine.loaded is None:
            return
        self._new, self._saved_at = False, time.monotonic()
        try:
            operation = engine.save_state(shelf.folder, self._chat, quota=shelf.limit, within=within)
        except EngineError:
            return  # the worker is gone, and the state with it

        def follow() -> None:
            try:
                saved = operation.wait()
            except EngineError:
                return
            if saved.problem and saved.problem not in self._said:
                self._said.add(saved.problem)
                self._notices.append(saved.problem)

        self._saving = threading.Thread(target=follow, name="saving a state", daemon=True)
        self._saving.start()


def shelf_of(folder: Path, gigabytes: float | None) -> Shelf | None:
    """The shelf of the settings; None where a quota of 0 says that nothing is to be saved."""
    if gigabytes == 0:
        return None
    return Shelf(folder, None if gigabytes is None else int(gigabytes * 1e9))

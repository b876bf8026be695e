"""What is read ahead while nobody waits: the prompt without the oldest turns, and what is being typed.

When the context is nearly full, the next turns will need the oldest ones to leave, and all that stays behind
them to be read again. That is done here, between two replies, so that it need not be waited for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chat.battery import on_battery
from chat.counting import spans_of
from chat.engine.protocol import Prepared, Purpose
from chat.engine.surface import EngineError, EngineSurface, Operation
from chat.rows import new_message
from chat.tree import Message
from presets.values import Budget, Prompt, PromptTooLong, Segment, Window

if TYPE_CHECKING:
    from chat.session import Session

SLOW = 300.0
"""Tokens a second under which reading ahead of the draft saves a wait that one can feel."""
LEAST_READ = 16
"""Tokens from which on a reading tells how fast the machine reads."""
RATES = 5
"""Readings that the rate is taken from."""
AGAIN_SECONDS = 0.2
"""After a reading that something else came before."""
LOOKED_BACK = 3
"""Turns of each side that tell how long the next one may be."""
UNKNOWN_TURN = 64
"""Tokens of a user's turn, while there is none to go by."""
MARKERS = 16
"""Tokens around a turn, at most."""

FAILURES = (EngineError, PromptTooLong, ValueError)
"""Why something cannot be read ahead; whoever then wants a reply hears of it."""


class Idle:
    """Reads ahead for one session. `work` blocks: call it in a thread; any request comes before its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._readings: deque[tuple[int, float]] = deque(maxlen=RATES)
        self._seen: object = None
        self._full: object = None
        """The loaded model and the window beside which a second sequence is too much."""
        self._lock = threading.Lock()
        self._turn = 0
        self._operation: Operation[Prepared] | None = None
        self._settled: object = None
        """The chat as it was when nothing was left to be read for its next turns."""

    @property
    def reading_rate(self) -> float | None:
        """Prompt tokens a second of the last turns; None while too few were read."""
        last = self._session.last
        if last is not None and last is not self._seen:
            self._seen = last
            self._tell(last.evaluated_tokens, last.timings.get("read", 0.0))
        seconds = sum(seconds for _, seconds in self._readings)
        return sum(tokens for tokens, _ in self._readings) / seconds if seconds else None

    def work(self, draft: str = "") -> None:
        """Reads what can be known of the next turn; `draft` is what stands in the composer.

        Ends when that is read, when a reply begins, or when it is called again.
        """
        with self._lock:
            self._turn += 1
            turn = self._turn
        self._session.saved.bring(self._session.engine)
        try:
            if draft.strip() and self._reads_drafts():
                self._read_draft(draft, turn)
            state = self._state()
            if state != self._settled and self._read_next(turn):
                self._settled = state
        except FAILURES:
            return

    def stop(self) -> None:
        """Ends what is being read ahead, from any thread."""
        with self._lock:
            self._turn += 1
            operation = self._operation
        if operation is not None:
            operation.cancel()

    def _state(self) -> object:
        """What the next turn's prompt depends on, before it is written."""
        session = self._session
        options, engine = tuple(sorted(session.options.items())), session.engine
        of = (session.format.id, options, id(session.card), id(session.persona), session.reply_tokens)
        return session.tree.head, session.chat.window, engine.loaded if engine else None, of

    # The draft ----------------------------------------------------------------------------------------------

    def _reads_drafts(self) -> bool:
        rate = self.reading_rate
        wanted = self._session.options.get("read_ahead") != "off"
        return wanted and rate is not None and rate < SLOW and not on_battery()

    def _read_draft(self, draft: str, turn: int) -> None:
        session = self._session
        path = session.path()
        prompt = session.prompt_for([*path, self._placeholder(path, draft)], "reply")
        self._prepare(prompt.segments, "draft", turn)

    # The next window ----------------------------------------------------------------------------------------

    def _read_next(self, turn: int) -> bool:
        """Whether nothing is left to be read for the chat as it is."""
        session, windows = self._session, self._session.windows
        budget, loaded = windows.budget(), session.engine.loaded if session.engine else None
        path = session.path()
        if budget is None or loaded is None or not path or path[-1].role != "char":
            return False
        beside = loaded, session.chat.window
        if session.options.get("shift") == "on" or beside == self._full or 0 < loaded.cells <= loaded.context:
            return True
        asked = self._placeholder(path, ".")
        prompt = self._after_the_slide([*path, asked], budget)
        before, windows.ahead = windows.ahead, prompt.window if prompt is not None else None
        if prompt is None:
            went_another_way = before not in (None, session.chat.window)
            return not went_another_way or self._prepare((), "next", turn) is not None
        prepared = self._prepare(_before(prompt, asked), "next", turn)
        if prepared is not None and not prepared.room:
            self._full = beside
        return prepared is not None

    def _after_the_slide(self, path: list[Message], budget: Budget) -> Prompt | None:
        """The prompt after the oldest turns have left; None while the next replies still fit without."""
        session, windows = self._session, self._session.windows
        present, asked = session.chat.window, path[-1]
        now = windows.with_window(path, "reply", present, budget)
        if now.window != present and windows.ahead is None:
            return now
        to_come = self._to_come(now, path[:-1])
        if now.window == present and sum(now.tokens or ()) + to_come <= budget.tokens:
            return None
        if windows.ahead is not None:
            known = windows.with_window(path, "reply", windows.ahead, budget)
            if known.window == windows.ahead != present:
                return known
        slid = self._slid(path, budget, present, asked, budget.tokens + 1 - sum(now.tokens or ()))
        return slid if slid.window != present else None

    def _slid(
        self, path: list[Message], budget: Budget, window: Window, asked: Message, surplus: int
    ) -> Prompt:
        """The prompt that would be sent if the user's turn were so many tokens too long."""
        source, windows = f"message {asked.id}", self._session.windows

        def count(segments: Sequence[Segment]) -> list[int]:
            counts = budget.count(segments)
            said = (place for place, segment in enumerate(segments) if segment.source == source)
            if (place := next(said, None)) is not None:
                counts[place] += surplus
            return counts

        slid = windows.with_window(path, "reply", window, replace(budget, count=count))
        return windows.with_window(path, "reply", slid.window, budget)

    def _to_come(self, prompt: Prompt, path: Sequence[Message]) -> int:
        """Tokens by which the prompt may grow in the next two turns, by how long the last ones were."""
        sizes: dict[str, int] = {}
        for segment, tokens in zip(prompt.segments, prompt.tokens or (), strict=True):
            sizes[segment.source] = sizes.get(segment.source, 0) + tokens

        def longest(role: str, unknown: int) -> int:
            of_role = [sizes.get(f"message {one.id}", 0) for one in path if one.role == role]
            return max([size for size in of_role[-LOOKED_BACK:] if size], default=unknown) + MARKERS

        user = longest("user", UNKNOWN_TURN)
        return 2 * user + longest("char", self._session.reply_tokens)

    # The engine ---------------------------------------------------------------------------------------------

    def _placeholder(self, path: Sequence[Message], text: str) -> Message:
        """The user's turn that is not yet said; its id is the same every time."""
        session = self._session
        parent = path[-1].id if path else None
        message = new_message(session.chat.id, parent, "user", session.persona.name or "User", text)
        return replace(message, id="to come")

    def _prepare(self, segments: Sequence[Segment], purpose: Purpose, turn: int) -> Prepared | None:
        """Reads it, as often as something else comes in between; None when it was given up."""
        while (engine := self._free_engine(turn)) is not None:
            with self._lock:
                if turn != self._turn:
                    return None
                self._operation = operation = engine.prepare(spans_of(segments), purpose)
            prepared = operation.wait()
            self._tell(prepared.evaluated, prepared.seconds)
            if prepared.whole or not prepared.room:
                return prepared
            time.sleep(AGAIN_SECONDS)
        return None

    def _free_engine(self, turn: int) -> EngineSurface | None:
        """The engine, if nobody else wants it."""
        session = self._session
        if turn != self._turn or session.replying or session.engine is None:
            return None
        return session.engine if session.engine.loaded is not None else None

    def _tell(self, tokens: int, seconds: float) -> None:
        if tokens >= LEAST_READ and seconds > 0:
            self._readings.append((tokens, seconds))


def _before(prompt: Prompt, message: Message) -> Sequence[Segment]:
    """A prompt up to the text of a message."""
    source = f"message {message.id}"
    end = next((place for place, one in enumerate(prompt.segments) if one.source == source), None)
    return prompt.segments[:end]

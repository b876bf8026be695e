"""From the text that a model writes to the text that is shown, piece by piece.

Thinking is sorted out, a soft target ends the reply at a sentence, and a sentence that is the user's own may
end it before it begins. What was shown once is never taken back, but for text before a lone `</think>`, which
turns out to be thinking. Whatever came is kept in `raw`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from presets.output.options import OVERTIME
from presets.output.sentences import close, next_end
from presets.output.speaking import UserFinder, narration
from presets.reasoning import Pair, Piece, Splitter

__all__ = ["Ended", "Limits", "OutputStream"]

Ended = Literal["", "reply_length", "speaking_for_user", "overtime", "limit"]
"""What ended the reply here: a soft target at a sentence's end, a sentence of the user's, a soft target whose
sentence had no end, the hard limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a reply, in tokens of the text; thinking does not count."""

    target: int | None = None
    hard: int | None = None
    """Only needed where thinking has used up the engine's own limit."""


class OutputStream:
    """One reply. `count` gives the tokens of a text, roughly; it is asked only where a limit needs it."""

    def __init__(
        self,
        *,
        count: Callable[[str], int] = len,
        limits: Limits | None = None,
        finder: UserFinder | None = None,
        inside: Pair | None = None,
        own_name: str = "",
    ) -> None:
        """`finder` ends the reply before the user's sentences; `inside`: the prompt opened a block of
        thinking; `own_name` is dropped where it stands, as `Name:`, behind the thinking."""
        self.raw = ""
        self.text = ""
        """What is shown."""
        self.thinking = ""
        self.ended: Ended = ""
        self._count = count
        self._limits = limits or Limits()
        self._finder = finder
        self._splitter = Splitter(inside=inside)
        self._name = f"{own_name}:" if own_name else ""
        self._came = ""
        """Text that came, shown or not."""
        self._head: str | None = None
        """The beginning of the text behind thinking, until it is clear whether it is the name."""
        self._due: int | None = None
        """Where in the text the soft target was reached."""

    @property
    def is_thinking(self) -> bool:
        """A block of thinking is open."""
        return self._splitter.thinking

    @property
    def closes(self) -> tuple[str, ...]:
        """What may end that block; empty outside of one."""
        return self._splitter.closes

    @property
    def whole(self) -> str:
        """All the text that came, also what is not shown yet."""
        return self._came.rstrip()

    def push(self, piece: str) -> list[Piece]:
        """Takes a piece of the reply; returns what to show."""
        self.raw += piece
        return self._sorted(self._splitter.push(piece))

    def finish(self) -> list[Piece]:
        """The reply is over, or goes on in a new stretch that `push` gets: nothing is held back any more."""
        shown = self._sorted(self._splitter.finish())
        if self._head:
            rest, self._head = self._head, None
            shown += self._take(rest)
        if not self.ended:
            self._watch_user(final=True)
            shown += self._show(len(self._came.rstrip()))
        return shown

    def _sorted(self, pieces: Sequence[Piece]) -> list[Piece]:
        shown: list[Piece] = []
        for kind, text in pieces:
            if kind == "all_thinking":
                self.thinking, self.text, self._came, self._due = self._came.strip(), "", "", None
                self._head = ""
                shown.append((kind, ""))
            elif kind == "thinking":
                self.thinking += text
                if not self._came:
                    self._head = ""
                shown.append((kind, text))
            elif not self.ended:
                shown += self._take(text)
        return shown

    def _take(self, text: str) -> list[Piece]:
        if self._head is not None:
            self._head = (self._head + text).lstrip()
            if not self._head or (self._name.startswith(self._head) and self._head != self._name):
                return []
            text = self._head.removeprefix(self._name)
            if self._head.startswith(self._name):
                text = text.lstrip()
                if not text:
                    return []
            self._head = None
        self._came += text
        if self._finder is not None and self._watch_user():
            return self._show(len(self._came))
        if self._watch_length():
            return self._show(len(self._came))
        return self._show(self._safe_end())

    def _show(self, end: int) -> list[Piece]:
        more = self._came[len(self.text) : end]
        self.text += more
        return [("text", more)] if more else []

    def _safe_end(self) -> int:
        """How far the text may be shown: white space at the end waits, and with a finder so does a sentence
        that may still turn out to be the user's."""
        end = len(self._came.rstrip())
        if self._finder is None:
            return end
        hidden = narration(self._came)
        safe, place = len(self.text), len(self.text)
        while (found := next_end(self._came, place + 1)) is not None and found <= end:
            place = found
            # Speech waits for the words behind it: `"Yes," Alex says.`
            if hidden[found - 1] != "\0":
                safe = found
        return safe

    # What ends it -------------------------------------------------------------------------------------------

    def _watch_user(self, *, final: bool = False) -> bool:
        if self._finder is None or self.ended:
            return False
        spans = self._finder.spans(self._came, growing=not final)
        begin = next((start for start, _ in spans if start >= len(self.text) and start > 0), None)
        if begin is None or not self._came[:begin].strip():
            return False
        self._end(self._came[:begin], "speaking_for_user")
        return True

    def _watch_length(self) -> bool:
        limits = self._limits
        if limits.hard is not None and self.thinking and self._count(self._came) >= limits.hard:
            self._end(self._came, "limit", closed=False)
            return True
        if limits.target is None:
            return False
        if self._due is None:
            if self._count(self._came) < limits.target:
                return False
            self._due = len(self.text)
        end = next_end(self._came, max(self._due, 1))
        if end is not None:
            self._end(self._came[:end], "reply_length")
            return True
        if self._count(self._came) >= limits.target + OVERTIME:
            self._end(self._came.rsplit(" ", 1)[0], "overtime")
            return True
        return False

    def _end(self, text: str, why: Ended, *, closed: bool = True) -> None:
        kept = close(text) if closed else text.rstrip()
        self._came = kept if kept.startswith(self.text) else self.text
        self.ended = why

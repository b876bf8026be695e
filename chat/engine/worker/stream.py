"""From sampled bytes to text that may be shown: whole characters, no stop string, trimmed at both ends."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

__all__ = ["ReplyStream", "StopMatcher"]


class StopMatcher:
    """Finds the earliest stop string in a stream of pieces, however they are cut.

    What might still become a stop is held back. `after_newline` says that the prompt ended a line, so that a
    stop which begins with a line break is found at the very start too.
    """

    def __init__(self, stops: Sequence[str], after_newline: bool = False) -> None:
        self.stops = sorted({stop for stop in stops if stop}, key=len, reverse=True)
        first = "".join(sorted({stop[0] for stop in self.stops}))
        self._starts = re.compile(f"[{re.escape(first)}]" if first else r"(?!)")
        self._virtual = int(after_newline and bool(self.stops))
        self.held = "\n" * self._virtual
        """Text that is not released yet; its first `_virtual` characters are the prompt's."""

    def push(self, text: str) -> tuple[str, str]:
        """Takes a piece; returns the text that is now free, and the stop that ends it, or an empty string."""
        self.held += text
        if not self._starts.search(self.held):
            return self._release(len(self.held)), ""
        found, stop = self._find()
        partial = self._partial()
        if found >= 0 and not 0 <= partial < found:
            return self._release(found), stop
        return self._release(partial if partial >= 0 else len(self.held)), ""

    def flush(self) -> tuple[str, str]:
        """The stream is over: what is held is free, up to a stop that waited for one that began earlier."""
        found, stop = self._find()
        return self._release(found if found >= 0 else len(self.held)), stop

    def _release(self, end: int) -> str:
        free, self.held = self.held[min(self._virtual, end) : end], self.held[end:]
        self._virtual = max(0, self._virtual - end)
        return free

    def _find(self) -> tuple[int, str]:
        """Place and text of the earliest stop, the longest of those that begin there; -1 without one."""
        best, best_stop = -1, ""
        for stop in self.stops:
            place = self.held.find(stop, 0 if stop.strip() else self._virtual)
            if place >= 0 and (best < 0 or place < best):
                best, best_stop = place, stop
        return best, best_stop

    def _partial(self) -> int:
        """Where the longest suffix begins that is the beginning of a stop; -1 without one."""
        longest = len(self.stops[0])
        for start in range(max(0, len(self.held) - longest + 1), len(self.held)):
            tail = self.held[start:]
            if any(len(stop) > len(tail) and stop.startswith(tail) for stop in self.stops):
                return start
        return -1


class ReplyStream:
    """One reply on its way out.

    Bytes go through an incremental UTF-8 decoder, then the stop matcher, then the trimming: leading white
    space (unless the reply continues a text), one `Name:` at the start, and white space at the end are never
    shown.
    """

    def __init__(
        self,
        stops: Sequence[str],
        strip_names: Sequence[str] = (),
        *,
        keep_leading_space: bool = False,
        skip_spaces: int = 0,
        after_newline: bool = False,
    ) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._matcher = StopMatcher(stops, after_newline)
        self._names = [name if name.endswith(":") else f"{name}:" for name in strip_names if name.strip()]
        self._keep_space = keep_leading_space
        self._skip_spaces = skip_spaces
        """When a text is continued: spaces that it ended with and that the tokenizer left off."""
        self._head: str | None = ""
        """Text before the first visible character; None once that has come."""
        self._tail = ""
        """White space that is shown when more comes after it."""
        self._freed = ""
        self.decoded = ""
        """What the last token added to the text: nothing inside a character, U+FFFD for bytes that are
        none."""
        self.text = ""
        """What was shown."""

    @property
    def solid_bytes(self) -> int:
        """Bytes of the reply as it was sampled, up to the end of what was shown."""
        return len(self._freed[: len(self._freed) - len(self._tail)].encode())

    def push(self, piece: bytes) -> tuple[str, str]:
        """Takes a token's bytes; returns text to show, often none, and the stop that was hit, if one was."""
        self.decoded = self._decoder.decode(piece)
        free, stop = self._matcher.push(self.decoded)
        return self._show(free), stop

    def names_stop(self, control: str) -> str:
        """The stop that a control token without text is the name of; empty when it is none."""
        return next((stop for stop in self._matcher.stops if stop.strip() == control), "")

    def finish(self, *, stopped: bool, ended: bool) -> str:
        """The stream is over; returns the last text to show. An unfinished character is dropped.

        `stopped`: a stop was hit. `ended`: the model itself came to an end. When neither, the reply was cut,
        and a held-back line that began like a stop is dropped: a continued reply could complete the stop
        unseen.
        """
        free = ""
        if not stopped and (ended or not self._matcher.held.startswith("\n")):
            free, _stop = self._matcher.flush()
        shown = self._show(free)
        if self._head is not None:
            body, self._head = self._without_name(self._without_lead(self._head)), None
            shown += self._visible(body)
        return shown

    def _show(self, free: str) -> str:
        if not free:
            return ""
        self._freed += free
        if self._head is None:
            return self._visible(free)
        self._head += free
        body = self._without_lead(self._head)
        start = body.lstrip()
        if not body or any(name.startswith(start) for name in self._names):
            return ""
        body = self._without_name(body)
        if not body:
            return ""
        self._head = None
        return self._visible(body)

    def _without_lead(self, head: str) -> str:
        if not self._keep_space:
            return head.lstrip()
        spaces = len(head) - len(head.lstrip(" "))
        return head[min(spaces, self._skip_spaces) :]

    def _without_name(self, body: str) -> str:
        for name in self._names:
            if body.lstrip().startswith(name):
                return body.lstrip()[len(name) :].lstrip()
        return body

    def _visible(self, text: str) -> str:
        whole = self._tail + text
        body = whole.rstrip()
        self._tail = whole[len(body) :]
        self.text += body
        return body

"""Banned phrases: what has been sampled is held back while it may become one, and taken back when it does.

The way of KoboldCpp's and antislop-sampler's back-tracking: the token in which the phrase begins is banned at
its position only, and sampling goes on from there. After a few such tries the dead end is left: the beginning
may stand, and every token that would complete a phrase is banned where it would.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Held", "PhraseGuard", "fold"]

TRIES = 5
"""Beginnings that are banned at one position before the dead end is left."""

TOTAL_TRIES = 200
"""Beginnings that are banned in one reply."""

SAME = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")


def fold(text: str) -> str:
    """The text for comparing: lower case, straight quotation marks, as many characters as before."""
    text = text.translate(SAME)
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in text)


class Held(NamedTuple):
    """A sampled token that is not yet shown."""

    position: int
    """In the reply."""
    token: int
    pending: bytes
    """Bytes of an unfinished character before it."""
    text: str
    """What it adds, folded."""


class PhraseGuard:
    """Watches the tokens of one reply.

    `piece` gives the bytes of each of `size` tokens. `strength` 1 bans; less makes a phrase's beginning so
    much less likely, once, and lets stand what comes then. `before` is text that the reply continues: a
    phrase may begin there.
    """

    def __init__(
        self,
        phrases: Sequence[str],
        strength: float,
        size: int,
        piece: Callable[[int], bytes],
        before: str = "",
    ) -> None:
        self._phrases = sorted({fold(phrase) for phrase in phrases}, key=len)
        self._longest = len(self._phrases[-1])
        self._strength = strength
        self._size = size
        self._piece = piece
        self._before = fold(before)[-self._longest :]
        self.restart()

    def restart(self) -> None:
        """The reply begins anew."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lead = self._before
        self._held: list[Held] = []
        self._biases: dict[int, dict[int, float]] = {}
        self._tries: dict[int, int] = {}
        self._settled: set[int] = set()
        self._total = 0

    def biases(self, position: int) -> dict[int, float] | None:
        """What is added to which logits at a position of the reply."""
        return self._biases.get(position)

    def push(self, position: int, token: int) -> int | None:
        """Takes the next token; the position to go back to when it completed a phrase, else None.

        The tokens from that position on are forgotten here.
        """
        pending = bytes(self._decoder.getstate()[0])
        text = fold(self._decoder.decode(self._piece(token)))
        self._held.append(Held(position, token, pending, text))
        start = self._find() if text else None
        return None if start is None else self._turn_back(start)

    def free(self) -> list[Held]:
        """The tokens that cannot be part of a phrase any more, oldest first."""
        start = self._partial()
        number = len(self._held) if start is None else max(self._index(start), 0)
        if self._decoder.getstate()[0]:  # a phrase may begin with the unfinished character
            number = min(number, self._first_byte(len(self._held) - 1))
        return self._release(number)

    def flush(self) -> list[Held]:
        """The reply is over: all that is held."""
        return self._release(len(self._held))

    def _release(self, number: int) -> list[Held]:
        freed = self._held[:number]
        if freed:
            del self._held[:number]
            # After a way back, a phrase may begin in what is out already: then its completion is banned.
            self._lead = (self._lead + "".join(held.text for held in freed))[-self._longest :]
            last = freed[-1].position
            self._biases = {place: biases for place, biases in self._biases.items() if place > last}
            self._tries = {place: tries for place, tries in self._tries.items() if place > last}
            self._settled = {place for place in self._settled if place > last}
        return freed

    @property
    def _text(self) -> str:
        return self._lead + "".join(held.text for held in self._held)

    def _index(self, start: int) -> int:
        """The held token in which a character of `_text` begins; -1: before them."""
        end = len(self._lead)
        if start < end:
            return -1
        for index, held in enumerate(self._held):
            begin, end = end, end + len(held.text)
            if start < end:
                return self._first_byte(index) if start == begin and held.pending else index
        return len(self._held) - 1

    def _first_byte(self, index: int) -> int:
        """The token with which the unfinished character before a token's end began."""
        while index > 0 and self._held[index].pending:
            index -= 1
        return index

    def _lets_stand(self, start: int) -> bool:
        """Whether a phrase that begins here was dealt with, or cannot be where `strength` is less than 1."""
        index = self._index(start)
        return self._strength < 1 if index < 0 else self._held[index].position in self._settled

    def _find(self) -> int | None:
        """Where the earliest complete phrase begins that must not stand."""
        text = self._text
        places = []
        for phrase in self._phrases:
            place = text.find(phrase)
            while place >= 0 and self._lets_stand(place):
                place = text.find(phrase, place + 1)
            if place >= 0:
                places.append(place)
        return min(places, default=None)

    def _partial(self) -> int | None:
        """Where the longest end of the text begins that is a phrase's beginning."""
        text = self._text
        for start in range(max(0, len(text) - self._longest + 1), len(text)):
            tail = text[start:]
            begins = any(len(phrase) > len(tail) and phrase.startswith(tail) for phrase in self._phrases)
            if begins and not self._lets_stand(start):
                return start
        return None

    def _turn_back(self, start: int) -> int:
        index = self._index(start)
        if index >= 0:
            held = self._held[index]
            position = held.position
            if self._strength < 1:
                self._settled.add(position)
                return self._cut(position, {held.token: math.log1p(-self._strength)})
            tries = self._tries.get(position, 0)
            if tries < TRIES and self._total < TOTAL_TRIES:
                self._tries[position] = tries + 1
                self._total += 1
                return self._cut(position, {held.token: -math.inf})
        last = self._held[-1]
        return self._cut(last.position, dict.fromkeys(self._completing(last), -math.inf))

    def _cut(self, position: int, biases: dict[int, float]) -> int:
        """Forgets what stands at a position and after it, and adds to its biases."""
        index = next(i for i, held in enumerate(self._held) if held.position == position)
        self._decoder.setstate((self._held[index].pending, 0))
        del self._held[index:]
        self._tries = {place: tries for place, tries in self._tries.items() if place <= position}
        self._settled = {place for place in self._settled if place <= position}
        known = {place: of for place, of in self._biases.items() if place <= position}
        known[position] = known.get(position, {}) | biases
        self._biases = known
        return position

    def _completing(self, last: Held) -> list[int]:
        """Every token that would complete a phrase where `last` did."""
        text = self._text
        before = text[: len(text) - len(last.text)][-self._longest :]
        ends = {phrase[-1] for phrase in self._phrases}
        tokens = []
        for token in range(self._size):
            added = fold((last.pending + self._piece(token)).decode("utf-8", "replace"))
            if not ends.isdisjoint(added) and any(phrase in before + added for phrase in self._phrases):
                tokens.append(token)
        return [*tokens, last.token]

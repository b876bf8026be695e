"""What is really in the KV cache of a sequence, and how much of a new prompt stands there already.

Prompts are compared as bytes, control tokens as themselves, so that a reply which was sampled is never read
again only because the same text would tokenize differently.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, takewhile

from chat.engine.worker.tokens import Tokenized

__all__ = ["CachedSequence", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to bring a sequence to a new prompt: keep the first tokens, read the rest."""

    kept: int
    """Cached tokens that stay."""
    ids: list[int]
    """Tokens to read after them, at least one, since the last one's logits are wanted."""
    images: list[bytes]
    broken_at: int | None
    """Token at which the prompt left what the cache held; None: it only grew, or nothing was there."""
    broken_byte: int | None = None
    """Offset in the prompt's UTF-8 of the byte that is another one than the cache's."""


@dataclass(slots=True)
class CachedSequence:
    """The tokens of one sequence in evaluation order, in parallel lists with what they stand for.

    A sampled token stands for what it added to the reply's text: inside a character that is nothing yet.
    """

    ids: list[int] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    reply_starts: set[int] = field(default_factory=set)
    """Tokens that began a reply: the one space before its first word is not in the stored text, yet it
    counts as equal (Metharme's models always sample it after `<|model|>`)."""
    solid: int = 0
    """Tokens that are prompt or shown reply; the rest is a stop string and may change without a word."""

    def add(self, ids: Sequence[int], images: Sequence[bytes]) -> None:
        """Records tokens that were evaluated."""
        self.ids.extend(ids)
        self.images.extend(images)

    def copy(self) -> CachedSequence:
        """A record of its own with the same contents."""
        return CachedSequence([*self.ids], [*self.images], {*self.reply_starts}, self.solid)

    def truncate(self, length: int) -> None:
        """Forgets all but the first tokens."""
        del self.ids[length:]
        del self.images[length:]
        self.reply_starts = {start for start in self.reply_starts if start < length}
        self.solid = min(self.solid, length)

    def replace(self, start: int, end: int, ids: Sequence[int], images: Sequence[bytes]) -> None:
        """Others stand where the tokens from one up to another stood; what is behind them moves."""
        self.ids[start:end] = ids
        self.images[start:end] = images
        by = len(ids) - (end - start)
        self.reply_starts = {
            place if place < start else place + by for place in self.reply_starts if not start <= place < end
        }
        self.solid = self.solid + by if self.solid >= end else min(self.solid, start)

    def stored_images(self, start: int, end: int) -> list[bytes]:
        """What these tokens stand for in the stored text: without the space that begins a reply."""
        return [
            image[1:] if place in self.reply_starts and image[:1] == b" " else image
            for place, image in enumerate(self.images[start:end], start)
        ]

    def mark_solid(self, prompt: int, reply_bytes: int) -> None:
        """Sets `solid` after a reply whose first `reply_bytes` bytes were shown, behind `prompt` tokens."""
        self.solid = prompt
        for image in self.images[prompt:]:
            reply_bytes -= len(image)
            if reply_bytes < 0:
                break
            self.solid += 1

    def plan(self, prompt: Tokenized) -> Plan:
        """Compares bytes, and cuts where both tokenizations have a boundary.

        The new prompt was tokenized whole, so what is read after the cut is what it would be anywhere.
        """
        text = b"".join(prompt.images)
        starts = list(accumulate(map(len, prompt.images), initial=0))
        boundaries = dict(zip(starts, range(len(starts)), strict=True))
        matched, position = 0, 0
        kept, new = 0, 0
        for index, image in enumerate(self.images):
            if text.startswith(image, position):
                position += len(image)
            elif index in self.reply_starts and image[:1] == b" " and text.startswith(image[1:], position):
                position += len(image) - 1
            else:
                break
            matched = index + 1
            if image and position in boundaries:  # a token without an image is the beginning of a character
                kept, new = matched, boundaries[position]
        broken = matched < self.solid and position < len(text)
        byte = _place(prompt, starts, position + _same(self.images[matched], text, position)) if broken else 0
        ids, images = prompt.ids[new:], prompt.images[new:]
        if not ids and kept:
            kept -= 1
            ids, images = [self.ids[kept]], [self.images[kept]]
        return Plan(kept, ids, images, kept, byte) if broken else Plan(kept, ids, images, None)

    def holds(self, plan: Plan) -> bool:
        """Whether all of the prompt stands here, so that only its last token would be read again."""
        return self.images[plan.kept : plan.kept + 1] == plan.images


def _same(image: bytes, text: bytes, position: int) -> int:
    """Bytes that an image has in common with the text at a position."""
    pairs = zip(image, text[position : position + len(image)], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _place(prompt: Tokenized, starts: list[int], position: int) -> int:
    """Where in the prompt's UTF-8 the byte stands that is at a position of all images joined."""
    token = min(bisect_right(starts, position), len(prompt.ids)) - 1
    within, end = position - starts[token], prompt.starts[token + 1 : token + 2]
    as_text = not end or end[0] - prompt.starts[token] == len(prompt.images[token])
    return prompt.starts[token] + (within if as_text else 0)

"""Exact tokenization of prompts whose spans are trusted or not.

For harmless text the ids are those of llama.cpp for the whole string with parse_special: special strings are
cut out first, longest first, and the stretches between them are tokenized as they stand. Here only strings
that lie wholly in trusted text are cut out, and no other text can become one of those tokens.
"""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import llama_cpp.llama_cpp as api

from chat.engine.protocol import Span
from presets.reasoning import PAIRS

__all__ = ["Tokenized", "Vocabulary", "continued_ids", "count", "span_at", "tokenize"]

MARKER = re.compile(rb"<[^\s<>]+>|\[[^\s\[\]]+\]")
"""What a USER_DEFINED token looks like that plays a control token's part, as `<|im_start|>` and `[INST]` do
in vocabularies whose converter did not mark them. Runs of spaces and the like are USER_DEFINED too, and
harmless."""

SPACES = b" \t\n\v\f\r"
"""C's isspace, for tokens that swallow the white space beside them."""


@dataclass(slots=True)
class Tokenized:
    """Tokens of a prompt, in parallel lists."""

    ids: list[int] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    """What each token stands for when prompts are compared: its bytes, or an image of the control token."""
    starts: list[int] = field(default_factory=list)
    """Offset of each token's first byte in the prompt's UTF-8."""
    stripped: int = 0
    """Trailing spaces that were left off (tokenize says why)."""

    def add(self, token: int, image: bytes, start: int) -> None:
        self.ids.append(token)
        self.images.append(image)
        self.starts.append(start)


@dataclass(frozen=True, slots=True)
class _Special:
    text: bytes
    id: int
    lstrip: bool
    rstrip: bool


class Vocabulary:
    """A model's vocabulary: pieces, attributes, and llama.cpp's own tokenizer."""

    def __init__(self, vocab: Any) -> None:
        self.handle = vocab
        self.size = self.size_of(vocab)
        self.is_spm = api.llama_vocab_type(vocab) == api.LLAMA_VOCAB_TYPE_SPM
        self.bos = int(api.llama_vocab_bos(vocab))
        self.eos = int(api.llama_vocab_eos(vocab))
        self.adds_bos = bool(api.llama_vocab_get_add_bos(vocab)) and self.bos >= 0
        self.specials: list[_Special] = []
        self.guarded: set[int] = set()
        """Tokens that no untrusted text may become, and that are compared as themselves."""
        self.unknown: set[int] = set()
        self.end_of_generation: set[int] = set()
        self.spoken: dict[int, bytes] = {}
        """Control tokens that are sent as text, by their names: they mark a model's thinking."""
        self._pieces: dict[int, bytes] = {}
        self._images: dict[int, bytes] = {}
        self._read_attributes()
        self.suppressed = self._suppressed()
        self.space_prefix = b"".join(map(self.piece, self.raw_ids(b"a"))) == b" a"
        """Whether the tokenizer puts a space before every stretch of text (SentencePiece)."""

    @staticmethod
    def size_of(vocab: Any) -> int:
        """Tokens in a vocabulary of which nothing else is wanted."""
        return int(api.llama_vocab_n_tokens(vocab))

    def _read_attributes(self) -> None:
        special = api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_UNKNOWN
        special |= api.LLAMA_TOKEN_ATTR_USER_DEFINED
        for token in range(self.size):
            attributes = api.llama_vocab_get_attr(self.handle, token)
            if api.llama_vocab_is_eog(self.handle, token):
                self.end_of_generation.add(token)
            if not attributes & special:
                continue
            text = self.text(token)
            if attributes & api.LLAMA_TOKEN_ATTR_USER_DEFINED and not MARKER.fullmatch(text):
                continue
            (self.unknown if attributes & api.LLAMA_TOKEN_ATTR_UNKNOWN else self.guarded).add(token)
            lstrip = bool(attributes & api.LLAMA_TOKEN_ATTR_LSTRIP)
            rstrip = bool(attributes & api.LLAMA_TOKEN_ATTR_RSTRIP)
            if text:
                self.specials.append(_Special(text, token, lstrip, rstrip))
        self.specials.sort(key=lambda entry: -len(entry.text))
        self.spoken = self._thinking_marks()

    def _thinking_marks(self) -> dict[int, bytes]:
        """The tokens without text of every mark of thinking that this vocabulary has whole."""
        known = {entry.text: entry.id for entry in self.specials}
        found: dict[int, bytes] = {}
        for marker in {marker.encode() for pair in PAIRS for marker in (pair.open, pair.close)}:
            names = MARKER.findall(marker) or [marker]
            if all(name in known for name in names):
                found |= {known[name]: name for name in names if not self.piece(known[name])}
        return {token: name for token, name in found.items() if token not in self.end_of_generation}

    def _suppressed(self) -> list[int]:
        """Tokens that the model's file says must never be sampled."""
        number = ctypes.c_int32(0)
        tokens = api.llama_vocab_get_suppress_tokens(self.handle, ctypes.byref(number))
        return [int(tokens[i]) for i in range(number.value)] if tokens else []

    def text(self, token: int) -> bytes:
        """The token as it stands in the file: `</s>`, `<0x0A>`, `▁the`."""
        return bytes(api.llama_vocab_get_text(self.handle, token) or b"")

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for in text; none for a control token."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        buffer = ctypes.create_string_buffer(64)
        length = api.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = api.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, False)
        return self._pieces.setdefault(token, buffer.raw[: max(length, 0)])

    def image(self, token: int) -> bytes:
        """The piece, or for a control token bytes that no text holds."""
        known = self._images.get(token)
        if known is not None:
            return known
        piece = self.piece(token)
        if token in self.spoken:  # as long as its name: a reply is measured in bytes
            piece = b"\xff" + self.spoken[token][1:]
        elif token in self.guarded or not piece:
            piece = b"\xff" + token.to_bytes(4, "big") + b"\xfe"
        return self._images.setdefault(token, piece)

    def raw_ids(self, text: bytes) -> list[int]:
        """llama.cpp's tokenizer on plain text: no BOS, no control tokens from their names."""
        if not text:
            return []
        capacity = len(text) + 8
        buffer = (ctypes.c_int32 * capacity)()
        number = api.llama_tokenize(self.handle, text, len(text), buffer, capacity, False, False)
        if number < 0:
            buffer = (ctypes.c_int32 * -number)()
            number = api.llama_tokenize(self.handle, text, len(text), buffer, -number, False, False)
        return list(buffer[:number])


def tokenize(vocabulary: Vocabulary, spans: Sequence[Span]) -> Tokenized:
    """The tokens of a whole prompt, with BOS exactly once where the vocabulary asks for it.

    On SentencePiece vocabularies the spaces at the very end are left off: as a token of their own they never
    occur in text that was tokenized whole, since there the space belongs to the word after it.
    """
    texts = [span.text.encode("utf-8", "replace") for span in spans]
    whole = b"".join(texts)
    result = Tokenized()
    if vocabulary.is_spm:
        end = len(whole.rstrip(b" "))
        result.stripped, whole = len(whole) - end, whole[:end]
    fragments = _cut_specials(vocabulary.specials, whole, _trusted(spans, texts))
    if vocabulary.adds_bos and not (fragments and fragments[0][2] == vocabulary.bos):
        result.add(vocabulary.bos, vocabulary.image(vocabulary.bos), 0)
    for start, end, token in fragments:
        if token is not None:
            result.add(token, vocabulary.image(token), start)
        else:
            _add_text(vocabulary, result, whole[start:end], start)
    return result


def count(spans: Sequence[Span], tokens: Tokenized) -> list[int]:
    """Tokens of each span: a token belongs where its first byte lies, BOS to the first span."""
    ends = list(accumulate(len(span.text.encode("utf-8", "replace")) for span in spans))
    counts = [0] * len(ends)
    for start in tokens.starts:
        counts[min(bisect_right(ends, start), len(ends) - 1)] += 1
    return counts


def span_at(spans: Sequence[Span], offset: int) -> int:
    """Index of the span that holds a byte of the prompt's UTF-8."""
    ends = list(accumulate(len(span.text.encode("utf-8", "replace")) for span in spans))
    return min(bisect_right(ends, offset), len(ends) - 1)


def _trusted(spans: Sequence[Span], texts: Sequence[bytes]) -> list[tuple[int, int]]:
    """The trusted stretches as (start, end) in bytes; neighbours are joined."""
    stretches: list[tuple[int, int]] = []
    position = 0
    for span, text in zip(spans, texts, strict=True):
        end = position + len(text)
        if span.trusted and text:
            if stretches and stretches[-1][1] == position:
                stretches[-1] = (stretches[-1][0], end)
            else:
                stretches.append((position, end))
        position = end
    return stretches


_Fragment = tuple[int, int, int | None]
"""Start and end in bytes, and the token if it is a special one."""


def _cut_specials(
    specials: Sequence[_Special], whole: bytes, trusted: Sequence[tuple[int, int]]
) -> list[_Fragment]:
    """llama.cpp's partition (llama-vocab.cpp, tokenizer_st_partition), for trusted occurrences only."""
    fragments: list[_Fragment] = [(0, len(whole), None)] if whole else []
    for special in specials:
        if special.text not in whole:
            continue
        parts: list[_Fragment] = []
        for start, end, token in fragments:
            if token is not None:
                parts.append((start, end, token))
            else:
                parts.extend(_cut_one(special, whole, start, end, trusted))
        fragments = parts
    return fragments


def _cut_one(
    special: _Special, whole: bytes, start: int, end: int, trusted: Sequence[tuple[int, int]]
) -> list[_Fragment]:
    parts: list[_Fragment] = []
    search = start
    while (found := whole.find(special.text, search, end)) >= 0:
        after = found + len(special.text)
        if not any(first <= found and after <= last for first, last in trusted):
            search = found + 1
            continue
        left = found
        if special.lstrip:
            left = start + len(whole[start:found].rstrip(SPACES))
        if left > start:
            parts.append((start, left, None))
        parts.append((found, after, special.id))
        if special.rstrip:
            after = end - len(whole[after:end].lstrip(SPACES))
        start = search = after
    if start < end:
        parts.append((start, end, None))
    return parts


def _add_text(vocabulary: Vocabulary, result: Tokenized, text: bytes, start: int) -> None:
    """Adds a stretch of text; the space that SentencePiece puts before it has no byte of its own."""
    position, last = start - vocabulary.space_prefix, start + len(text) - 1
    for token in _plain_ids(vocabulary, text, continued=False):
        image = vocabulary.image(token)
        result.add(token, image, min(max(position, start), last))
        position += len(image)


def _plain_ids(vocabulary: Vocabulary, text: bytes, continued: bool) -> list[int]:
    """The ids of text that must stay text: where a guarded token appears, the text is split inside its
    name."""
    ids = continued_ids(vocabulary, text) if continued else vocabulary.raw_ids(text)
    if vocabulary.guarded.isdisjoint(ids) and vocabulary.unknown.isdisjoint(ids):
        return ids
    split = _split_point(vocabulary, text, ids)
    if split is None:
        return ids
    left = _plain_ids(vocabulary, text[:split], continued)
    return left + _plain_ids(vocabulary, text[split:], continued=True)


def _split_point(vocabulary: Vocabulary, text: bytes, ids: Sequence[int]) -> int | None:
    """A byte offset inside the first guarded name, after its first character; None when the text holds none.

    An unknown token may also stand for a character that the vocabulary lacks: then its name is not in the
    text.
    """
    suspects = {token for token in ids if token in vocabulary.guarded or token in vocabulary.unknown}
    names = [vocabulary.text(token) for token in suspects]
    places = [place for name in names if len(name) > 1 and (place := text.find(name)) >= 0]
    if not places:
        return None
    split = min(places) + 1
    while split < len(text) and text[split] & 0xC0 == 0x80:  # never inside a character
        split += 1
    return split


def continued_ids(vocabulary: Vocabulary, text: bytes) -> list[int]:
    """The ids of text that follows other text: without the space that SentencePiece puts first.

    The text is tokenized behind a character that merges with nothing, whose tokens are then cut off.
    """
    if not vocabulary.space_prefix:
        return vocabulary.raw_ids(text)
    for guard in (b"\n", b"\x01", b"\x02"):
        ids, length = vocabulary.raw_ids(guard + text), 0
        for index, token in enumerate(ids):
            if length == len(guard) + 1:
                return ids[index:]
            length += len(vocabulary.piece(token))
    return vocabulary.raw_ids(text)

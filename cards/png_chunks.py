"""PNG at the level of its chunks: reading text without decoding a pixel.

Format: PNG (third edition) 5.3 chunk layout, 11.3.3 tEXt, zTXt and iTXt. A card lies base64-coded in a text
chunk with the keyword `chara` (V1, V2) or `ccv3` (V3), in any of the three kinds, in any case, at any place.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cards import limits
from cards.errors import CardError, CardWarning

__all__ = [
    "CARD_KEYWORDS",
    "OTHER_KEYWORDS",
    "SIGNATURE",
    "TEXT_KINDS",
    "Chunk",
    "TextChunk",
    "TextChunks",
    "chunk_text",
    "chunks",
    "holds_card",
    "is_png",
    "text_chunks",
]

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TEXT_KINDS: Final = (b"tEXt", b"zTXt", b"iTXt")
CARD_KEYWORDS: Final = ("ccv3", "chara")
"""The two keywords of the specifications, the one that wins first."""
OTHER_KEYWORDS: Final = ("chara_card_v3", "ccv2", "character", "charactercard", "card")
"""Seen in the wild; read only when neither of the two is there."""
_HEAD: Final = 1_000
"""Bytes of a text in which a card shows that it is one."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A text chunk, inflated. `text` is bytes: the kinds differ in encoding, and cards in what they hold
    to."""

    keyword: str
    text: bytes
    kind: str
    """`tEXt`, `zTXt` or `iTXt`."""


@dataclass(slots=True)
class TextChunks:
    """The text chunks that could be read, in file order, and what was odd."""

    chunks: list[TextChunk] = field(default_factory=list)
    warnings: list[CardWarning] = field(default_factory=list)
    inflated: int = 0
    """Bytes that compressed chunks have made so far, broken ones at their limit."""
    truncated_card: bool = False
    """A chunk with a card's keyword begins in the file but does not end in it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk lies."""

    kind: bytes
    start: int
    """Offset of the length field."""
    body: int
    """Offset of the data."""
    end: int
    """Offset of the data's end; the checksum's four bytes follow. May lie past the file's end: a cut
    chunk."""


def is_png(data: bytes) -> bool:
    """Whether the bytes begin like a PNG (the transfer-damage bytes of the signature may be damaged)."""
    return data.startswith(b"\x89PNG")


def chunks(data: bytes) -> Iterator[Chunk]:
    """Every chunk from the signature on, to the first thing that is none. The last one may be cut.

    Raises CardError for more of them than any picture has.
    """
    position = len(SIGNATURE)
    for _ in range(limits.PNG_CHUNKS):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if not kind.isalpha():
            return
        body = position + 8
        yield Chunk(kind, position, body, body + length)
        position = body + length + 4
    raise CardError("too-large", f"the PNG has over {limits.PNG_CHUNKS} chunks")


def text_chunks(data: bytes, keywords: tuple[str, ...] | None = None) -> TextChunks:
    """Text chunks of a PNG or APNG, those before IHDR and after IEND included.

    `keywords` (lower case) limits what is inflated and returned. A bad checksum, a bad zlib stream or a chunk
    over `limits` is a warning, not an error: another chunk may still hold the card. Raises CardError for no
    PNG at all.
    """
    if not is_png(data):
        raise CardError("not-png", "not a PNG image")
    found = TextChunks()
    ended = False
    position = len(SIGNATURE)
    for chunk in chunks(data):
        position = chunk.end + 4
        if chunk.kind in TEXT_KINDS:
            _read_text(data, chunk, keywords, ended, found)
        if chunk.end + 4 > len(data):
            if ended and chunk.kind not in TEXT_KINDS:
                # Nothing is cut behind the image: whatever stands there was never a chunk.
                position = chunk.start
                break
            found.warnings.append(
                CardWarning("truncated", f"the file ends inside its {chunk.kind.decode()} chunk")
            )
            return found
        ended = ended or chunk.kind == b"IEND"
    if not ended:
        found.warnings.append(CardWarning("truncated", "the file ends before the image does"))
    elif position < len(data):
        found.warnings.append(CardWarning("trailing", f"{len(data) - position} bytes follow the image"))
    return found


def _read_text(
    data: bytes, chunk: Chunk, keywords: tuple[str, ...] | None, ended: bool, found: TextChunks
) -> None:
    separator = data.find(b"\0", chunk.body, min(chunk.end, chunk.body + 80, len(data)))
    keyword = data[chunk.body : separator].decode("latin-1") if separator >= 0 else ""
    if separator < 0 or (keywords is not None and keyword.lower() not in keywords):
        return
    kind = chunk.kind.decode()
    if keywords is not None and len(found.chunks) + len(found.warnings) >= limits.PNG_CARDS:
        return
    if chunk.end > len(data):
        found.truncated_card = keyword.lower() in CARD_KEYWORDS + OTHER_KEYWORDS
        return
    if chunk.end - chunk.body > limits.PNG_CHUNK:
        message = f"a {kind} chunk of over {limits.PNG_CHUNK // 2**20} MB was not read"
        found.warnings.append(CardWarning("too-large", message, keyword))
        return
    checksum = int.from_bytes(data[chunk.end : chunk.end + 4], "big")
    whole = chunk.end + 4 <= len(data)
    if whole and checksum != zlib.crc32(memoryview(data)[chunk.start + 4 : chunk.end]):
        found.warnings.append(CardWarning("checksum", f"checksum mismatch in the {kind} chunk", keyword))
    if ended:
        found.warnings.append(
            CardWarning("after-end", f"the {kind} chunk stands after the image's end", keyword)
        )
    try:
        if found.inflated >= limits.INFLATED_TOTAL:
            raise ValueError(f"all text inflates to over {limits.INFLATED_TOTAL // 2**20} MB")
        text = _inflated(chunk.kind, data[separator + 1 : chunk.end])
        found.inflated += len(text) if kind != "tEXt" else 0
    except ValueError as error:
        found.inflated += limits.INFLATED_TEXT
        found.warnings.append(CardWarning("chunk", f"the {kind} chunk was not read: {error}", keyword))
    else:
        found.chunks.append(TextChunk(keyword, text, kind))


def _inflated(kind: bytes, rest: bytes, *, head: int = 0) -> bytes:
    """The text after the keyword's NUL, or with `head` no more than its first bytes. Raises ValueError with
    the reason."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        if rest[:1] != b"\0":
            raise ValueError("unknown compression method")
        return _decompress(rest[1:], head)
    compressed, method = rest[:1], rest[1:2]
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3 or compressed not in (b"\0", b"\1"):
        raise ValueError("its header is broken")
    if compressed == b"\0":
        return parts[2]
    if method != b"\0":
        raise ValueError("unknown compression method")
    return _decompress(parts[2], head)


def _decompress(data: bytes, head: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, head or limits.INFLATED_TEXT + 1)
    except zlib.error as error:
        raise ValueError("its compressed text is damaged") from error
    if head:
        return text
    if len(text) > limits.INFLATED_TEXT:
        raise ValueError(f"it inflates to more than the limit of {limits.INFLATED_TEXT // 2**20} MB")
    if not inflater.eof:
        raise ValueError("its compressed text is cut off")
    return text


def chunk_text(data: bytes, chunk: Chunk) -> tuple[str, bytes]:
    """A text chunk's keyword and its text, inflated. Raises ValueError with the reason."""
    separator = data.find(b"\0", chunk.body, min(chunk.end, chunk.body + 80))
    if separator < 0:
        raise ValueError("it has no keyword")
    return data[chunk.body : separator].decode("latin-1"), _inflated(
        chunk.kind, data[separator + 1 : chunk.end]
    )


def holds_card(image: bytes, chunk: Chunk) -> bool:
    """A copy of the card: one of the two keywords, or another known one with a card's JSON behind it."""
    separator = image.find(b"\0", chunk.body, min(chunk.end, chunk.body + 80))
    keyword = image[chunk.body : separator].decode("latin-1").lower() if separator >= 0 else ""
    if keyword not in OTHER_KEYWORDS:
        return keyword in CARD_KEYWORDS
    try:
        begun = _inflated(chunk.kind, image[separator + 1 : chunk.end], head=_HEAD)
        return begun.lstrip().startswith((b"{", b"eyJ", b"ew"))
    except ValueError:
        return False

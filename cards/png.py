"""PNG at the level of its chunks: reading text without decoding a pixel, writing without touching one.

Format: PNG (third edition) 5.3 chunk layout, 11.3.3 tEXt, zTXt and iTXt. A card lies base64-coded in a text
chunk with the keyword `chara` (V1, V2) or `ccv3` (V3), in any of the three kinds, in any case, at any place.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from cards import limits
from cards.errors import CardError, CardWarning
from cards.json_text import dump_json

__all__ = ["SIGNATURE", "TextChunk", "TextChunks", "is_png", "text_chunks", "without_card", "write_card_png"]

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TEXT_KINDS: Final = (b"tEXt", b"zTXt", b"iTXt")
CARD_KEYWORDS: Final = ("ccv3", "chara")
"""The two keywords of the specifications, the one that wins first."""
OTHER_KEYWORDS: Final = ("chara_card_v3", "ccv2", "character", "charactercard", "card")
"""Seen in the wild; read only when neither of the two is there."""
MIRRORED: Final = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
"""The six V1 fields, which stand at the root of a written `chara` too, for readers that know only V1."""


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
    truncated_card: bool = False
    """A chunk with a card's keyword begins in the file but does not end in it."""


@dataclass(frozen=True, slots=True)
class _Chunk:
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


def _chunks(data: bytes) -> Iterator[_Chunk]:
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if not kind.isalpha():
            return
        body = position + 8
        yield _Chunk(kind, position, body, body + length)
        position = body + length + 4


def text_chunks(data: bytes, keywords: tuple[str, ...] | None = None) -> TextChunks:
    """Text chunks of a PNG or APNG, those before IHDR and after IEND included.

    `keywords` (lower case) limits what is inflated and returned. A bad checksum, a bad zlib stream or a
    chunk over
    `limits` is a warning, not an error: another chunk may still hold the card. Raises CardError for no PNG
    at all.
    """
    if not is_png(data):
        raise CardError("not-png", "not a PNG image")
    found = TextChunks()
    ended = False
    position = len(SIGNATURE)
    for chunk in _chunks(data):
        position = chunk.end + 4
        if chunk.kind in _TEXT_KINDS:
            _read_text(data, chunk, keywords, ended, found)
        if chunk.end > len(data):
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
    data: bytes, chunk: _Chunk, keywords: tuple[str, ...] | None, ended: bool, found: TextChunks
) -> None:
    separator = data.find(b"\0", chunk.body, min(chunk.end, chunk.body + 80, len(data)))
    keyword = data[chunk.body : separator].decode("latin-1") if separator >= 0 else ""
    if separator < 0 or (keywords is not None and keyword.lower() not in keywords):
        return
    kind = chunk.kind.decode()
    if chunk.end > len(data):
        found.truncated_card = keyword.lower() in CARD_KEYWORDS + OTHER_KEYWORDS
        return
    if chunk.end - chunk.body > limits.PNG_CHUNK:
        message = f"a {kind} chunk of over {limits.PNG_CHUNK // 2**20} MB was not read"
        found.warnings.append(CardWarning("too-large", message, keyword))
        return
    checksum = int.from_bytes(data[chunk.end : chunk.end + 4], "big")
    if checksum != zlib.crc32(memoryview(data)[chunk.start + 4 : chunk.end]):
        found.warnings.append(CardWarning("checksum", f"checksum mismatch in the {kind} chunk", keyword))
    if ended:
        found.warnings.append(
            CardWarning("after-end", f"the {kind} chunk stands after the image's end", keyword)
        )
    try:
        text = _inflated(chunk.kind, data[separator + 1 : chunk.end])
    except ValueError as error:
        found.warnings.append(CardWarning("chunk", f"the {kind} chunk was not read: {error}", keyword))
    else:
        found.chunks.append(TextChunk(keyword, text, kind))


def _inflated(kind: bytes, rest: bytes) -> bytes:
    """The text after the keyword's NUL. Raises ValueError with the reason."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        if rest[:1] != b"\0":
            raise ValueError("unknown compression method")
        return _decompress(rest[1:])
    compressed, method = rest[:1], rest[1:2]
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3 or compressed not in (b"\0", b"\1"):
        raise ValueError("its header is broken")
    if compressed == b"\0":
        return parts[2]
    if method != b"\0":
        raise ValueError("unknown compression method")
    return _decompress(parts[2])


def _decompress(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, limits.INFLATED_TEXT + 1)
    except zlib.error as error:
        raise ValueError("its compressed text is damaged") from error
    if len(text) > limits.INFLATED_TEXT:
        raise ValueError(f"it inflates to more than the limit of {limits.INFLATED_TEXT // 2**20} MB")
    if not inflater.eof:
        raise ValueError("its compressed text is cut off")
    return text


def write_card_png(image: bytes, v2: dict[str, Any], v3: dict[str, Any]) -> bytes:
    """`image` with the card inside: `chara` (`v2` with the V1 mirror at its root), then `ccv3` (`v3`), both
    tEXt.

    They stand before the first IDAT, where every reader looks. All other chunks are copied byte for byte, in
    order; older card chunks and bytes after IEND are left out. A cut image is closed with an IEND. Raises
    CardError when
    `image` is no PNG or a document cannot be JSON.
    """
    data = v2.get("data")
    mirror = {key: data[key] for key in MIRRORED if key in data} if isinstance(data, dict) else {}
    inserted = _text_chunk("chara", {**v2, **mirror}) + _text_chunk("ccv3", v3)
    return _rewritten(image, inserted)


def without_card(image: bytes) -> bytes:
    """`image` without any card, every other chunk byte for byte: a bare portrait."""
    return _rewritten(image, b"")


def _text_chunk(keyword: str, document: dict[str, Any]) -> bytes:
    body = b"tEXt" + keyword.encode() + b"\0" + b64encode(dump_json(document).encode())
    return (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def _rewritten(image: bytes, inserted: bytes) -> bytes:
    if not is_png(image):
        raise CardError("not-png", "the portrait is not a PNG image")
    parts = [SIGNATURE]
    placed = ended = False
    for chunk in _chunks(image):
        if chunk.end + 4 > len(image):
            break
        if not placed and chunk.kind in (b"IDAT", b"IEND"):
            parts.append(inserted)
            placed = True
        if chunk.kind in _TEXT_KINDS and _holds_card(image, chunk):
            continue
        if not ended:
            parts.append(image[chunk.start : chunk.end + 4])
        ended = ended or chunk.kind == b"IEND"
    if not placed:
        parts.append(inserted)
    if not ended:
        parts.append(b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big"))
    return b"".join(parts)


def _holds_card(image: bytes, chunk: _Chunk) -> bool:
    """A copy of the card: one of the two keywords, or another known one with a card's JSON behind it."""
    separator = image.find(b"\0", chunk.body, min(chunk.end, chunk.body + 80))
    keyword = image[chunk.body : separator].decode("latin-1").lower() if separator >= 0 else ""
    if keyword in CARD_KEYWORDS:
        return True
    if keyword not in OTHER_KEYWORDS:
        return False
    try:
        text = _inflated(chunk.kind, image[separator + 1 : chunk.end]).lstrip()
    except ValueError:
        return False
    return text.startswith((b"{", b"eyJ", b"ew"))

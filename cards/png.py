"""PNG cards, written at the level of chunks: no pixel is touched, no foreign chunk changed.

Layout: `chara` (V2 with the V1 mirror), then `ccv3` (V3), both tEXt, before the first IDAT, where chunk
readers and those that stop at the picture both look.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from cards import limits
from cards.errors import CardError
from cards.json_text import dump_json
from cards.payload import payload_document
from cards.png_chunks import (
    SIGNATURE,
    TEXT_KINDS,
    Chunk,
    chunk_text,
    chunks,
    holds_card,
    is_png,
)

__all__ = [
    "MIRRORED",
    "bare_png",
    "blank_png",
    "is_png",
    "mapped_cards",
    "trailing_bytes",
    "with_text_of",
    "without_card",
    "write_card_png",
]

MIRRORED: Final = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
"""The six V1 fields, which stand at the root of a written `chara` too, for readers that know only V1."""
_PICTURE: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST sPLT cICP mDCV acTL fcTL fdAT".split()
)
"""Chunks that the picture is made of; all others are notes about it."""
_PIXELS: Final = (b"IDAT", b"fdAT")


def write_card_png(image: bytes, chara: dict[str, Any], ccv3: dict[str, Any] | None = None) -> bytes:
    """`image` with the card inside: `chara` is a V2 document, or V1 where a card is written as V1; without
    `ccv3` there is no second chunk. The V1 mirror is added here, from `chara`'s data.

    All other chunks are copied byte for byte, in order; older card chunks and bytes after IEND are left out.
    A cut image keeps the pixels that are there, and is closed with an IEND. Raises CardError when `image` is
    no PNG or a document cannot be JSON.
    """
    data = chara.get("data") if "spec" in chara else None
    mirror = {key: data[key] for key in MIRRORED if key in data} if isinstance(data, dict) else {}
    inserted = _text_chunk("chara", {**chara, **mirror})
    return _rewritten(image, inserted if ccv3 is None else inserted + _text_chunk("ccv3", ccv3))


def trailing_bytes(image: bytes) -> int:
    """How many bytes after the image's end a rewritten PNG leaves out; those of a card chunk, which is
    written anew, do not count."""
    count, end = 0, None
    position = len(SIGNATURE)
    for chunk in chunks(image):
        position = chunk.end + 4
        if end is not None and not (chunk.kind in TEXT_KINDS and holds_card(image, chunk)):
            count += min(position, len(image)) - chunk.start
        if end is None and chunk.kind == b"IEND":
            end = position
    return 0 if end is None else count + max(0, len(image) - position)


def without_card(image: bytes) -> bytes:
    """`image` without any card, every other chunk byte for byte."""
    return _rewritten(image, b"")


def bare_png(image: bytes) -> bytes:
    """`image` without anything but the picture: no text, no EXIF, no time."""
    return _rewritten(image, b"", lambda chunk: chunk.kind in _PICTURE)


def with_text_of(image: bytes, old: bytes) -> bytes:
    """`image` with the text chunks of `old` that are not a card, byte for byte."""
    foreign = [
        old[chunk.start : chunk.end + 4]
        for chunk in chunks(old)
        if chunk.kind in TEXT_KINDS and chunk.end + 4 <= len(old) and not holds_card(old, chunk)
    ]
    return _rewritten(image, b"".join(foreign))


def mapped_cards(image: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """`image` with `change` applied to the document in each of its card chunks, which stay where they are.

    The same bytes when nothing changes; a chunk that cannot be read stays too, and so do compressed
    ones when all before them may have come to `limits.INFLATED_TOTAL`.
    """
    parts: list[bytes] = []
    copied = inflated = 0
    for chunk in chunks(image):
        if chunk.end + 4 > len(image) or chunk.kind not in TEXT_KINDS or not holds_card(image, chunk):
            continue
        if chunk.kind != b"tEXt":
            if inflated >= limits.INFLATED_TOTAL:
                continue
            # A broken one may have cost as much as there may be.
            inflated += limits.INFLATED_TEXT
        try:
            keyword, text = chunk_text(image, chunk)
            document = payload_document(text, [])
        except (CardError, ValueError):
            continue
        changed = change(document)
        if changed is not document:
            parts += [image[copied : chunk.start], _text_chunk(keyword, changed)]
            copied = chunk.end + 4
    return b"".join([*parts, image[copied:]]) if parts else image


def blank_png() -> bytes:
    """A plain dark portrait, 2 by 3, for a card that has none."""
    width, height = 256, 384
    row = b"\0" + b"\x2b\x2d\x35" * width
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(row * height, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in pieces)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _text_chunk(keyword: str, document: dict[str, Any]) -> bytes:
    return _chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + b64encode(dump_json(document).encode()))


def _rewritten(image: bytes, inserted: bytes, keep: Callable[[Chunk], bool] | None = None) -> bytes:
    """`image` without its card chunks, or with those only that `keep` wants, and `inserted` before the
    first IDAT."""
    if not is_png(image):
        raise CardError("not-png", "the portrait is not a PNG image")
    parts = [SIGNATURE]
    placed = False
    for chunk in chunks(image):
        cut = chunk.end + 4 > len(image)
        if cut and chunk.kind not in _PIXELS:
            break
        if not placed and chunk.kind in (b"IDAT", b"IEND"):
            parts.append(inserted)
            placed = True
        wanted = keep(chunk) if keep else not (chunk.kind in TEXT_KINDS and holds_card(image, chunk))
        if wanted:
            # Of a cut picture there is still as much to see as there was.
            whole = image[chunk.start : chunk.end + 4]
            parts.append(_chunk(chunk.kind, image[chunk.body : chunk.end]) if cut else whole)
        if chunk.kind == b"IEND":
            return b"".join(parts)
    if not placed:
        parts.append(inserted)
    return b"".join([*parts, _chunk(b"IEND", b"")])

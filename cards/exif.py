"""The text of a picture's EXIF user comment, found in the bytes: where the first TavernAI kept a WebP's card.

Formats: RIFF container of WebP; TIFF 6.0 image file directories; Exif 2.3 tag 0x9286 with its eight bytes of
encoding.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from cards import limits
from cards.errors import CardError
from cards.json_text import text_encoding

__all__ = ["is_webp", "user_comment"]

_DESCRIPTION: Final = 0x010E
_EXIF: Final = 0x8769
_COMMENT: Final = 0x9286
_NUMBERS: Final = re.compile(rb"\s*\d{1,3}(?:\s*,\s*\d{1,3})+\s*")


def is_webp(data: bytes) -> bool:
    """Whether the bytes begin like a WebP picture."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def user_comment(data: bytes) -> bytes | None:
    """The comment as UTF-8 or as the bytes that it is, a list of numbers written out turned into the bytes
    that they are; None without one. Raises CardError for one that is longer than any card."""
    block = _exif_block(data)
    if block is None:
        return None
    comment = _tag(block, (_COMMENT, _DESCRIPTION))
    if comment is None:
        return None
    if len(comment) > limits.JSON_TEXT:
        limit = f"the limit of {limits.JSON_TEXT // 2**20} MB"
        raise CardError("too-large", f"the text in this picture is over {limit}")
    if comment.startswith(b"UNICODE\0"):
        comment = _from_utf16(comment[8:], "utf-16-be" if block.startswith(b"MM") else "utf-16-le")
    elif comment[:8] in (b"ASCII\0\0\0", b"\0" * 8, b"JIS\0\0\0\0\0"):
        comment = comment[8:]
    comment = comment if text_encoding(comment) else comment.strip(b"\0 ")
    if _NUMBERS.match(comment[:2000]):
        if len(comment) > limits.NUMBERS:
            raise CardError(
                "too-large", f"the numbers in this picture take over {limits.NUMBERS // 2**20} MB"
            )
        try:
            return bytes(map(int, comment.split(b",")))
        except ValueError:
            return comment
    return comment


def _from_utf16(comment: bytes, order: str) -> bytes:
    """UTF-8 from what is called UNICODE: UTF-16 of the picture's own byte order, of the other one where the
    first letters or a mark say so, and 8-bit text where a program wrote that all the same."""
    encoding = text_encoding(comment)
    if not encoding and comment[:1] in (b"{", b"[", b"e") and b"\0" not in comment[:64].rstrip(b"\0"):
        return comment
    try:
        text = comment.decode(encoding or order)
    except UnicodeDecodeError:
        text = comment[: limits.DAMAGED_TEXT].decode(encoding or order, "replace")
    text = text.strip("\ufeff\0 ")
    return text.encode("utf-8", "replace")


def _exif_block(data: bytes) -> bytes | None:
    """The TIFF structure in a WebP's EXIF chunk."""
    position = 12
    while position + 8 <= len(data):
        kind, size = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        if kind == b"EXIF":
            block = data[position + 8 : position + 8 + size]
            return block.removeprefix(b"Exif\0\0")
        position += 8 + size + size % 2
    return None


def _tag(block: bytes, wanted: tuple[int, ...]) -> bytes | None:
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    entries = _directory(block, order, struct.unpack_from(f"{order}I", block, 4)[0])
    if _EXIF in entries and len(entries[_EXIF]) >= 4:
        entries |= _directory(block, order, struct.unpack_from(f"{order}I", entries[_EXIF])[0])
    return next((entries[tag] for tag in wanted if tag in entries), None)


def _directory(block: bytes, order: str, offset: int) -> dict[int, bytes]:
    """An image file directory's values by tag. Its offsets are taken only where they lie in the block."""
    values: dict[int, bytes] = {}
    if offset + 2 > len(block):
        return values
    (count,) = struct.unpack_from(f"{order}H", block, offset)
    for number in range(min(count, 1000)):
        place = offset + 2 + 12 * number
        if place + 12 > len(block):
            break
        tag, kind, length, start = struct.unpack_from(f"{order}HHII", block, place)
        size = length * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}.get(kind, 1)
        values[tag] = block[place + 8 : place + 8 + size] if size <= 4 else block[start : start + size]
    return values

"""What a file is that is no card, from its first bytes."""

from __future__ import annotations

import re
from typing import Final

from cards.json_text import text_encoding

__all__ = ["binary_kind"]

_CONTROL: Final = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_KINDS: Final = (
    (
        b"\xff\xd8\xff",
        "a JPEG picture without a card (only PNG, CHARX and JPEG with a CHARX behind it carry one)",
    ),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a bitmap picture"),
    (b"%PDF", "a PDF"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"GGUF", "a model (GGUF); open it with --model"),
    (b"ggml", "a model (GGML); open it with --model"),
    (b"tjgg", "a model (GGML); open it with --model"),
    (b"SQLite format 3\0", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"RIFF", "a sound or video file"),
    (b"\x1aE\xdf\xa3", "a video"),
)


def _may_be_text(head: bytes, magic: int) -> bool:
    """Whether a file that begins with the letters of a magic is text all the same: a YAML key may be RIFF."""
    return _CONTROL.search(head) is None and (magic < 3 or b":" in head)


def binary_kind(data: bytes) -> str:
    """`a GIF picture`; "" for what may be text."""
    for magic, kind in _KINDS:
        if data.startswith(magic) and not (magic.isalnum() and _may_be_text(data[:1024], len(magic))):
            return kind
    if data[4:8] == b"ftyp" and b"\0" in data[:4]:
        return "a video or AVIF picture"
    head = data[:1024].strip(b"\0 \t\r\n")
    if text_encoding(data) or head[:1] in (b"{", b"["):
        return ""
    return "a binary file" if _CONTROL.search(head) else ""

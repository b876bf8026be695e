"""A WebP's card changed where it stands, in the EXIF comment, without moving another byte of the picture."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from cards.errors import CardError
from cards.exif import user_comment
from cards.json_text import dump_json

__all__ = ["rewritten_comment"]


def rewritten_comment(data: bytes, document: Mapping[str, Any]) -> bytes:
    """The WebP with a shorter document in its comment, spaces after it. Raises CardError where the comment
    is written in a way that is not known here, or the document does not fit."""
    comment = user_comment(data) or b""
    for old, new in _spellings(comment, dump_json(document).encode()):
        at = data.find(old) if old else -1
        if at >= 0 and len(new) <= len(old):
            return b"".join((data[:at], new.ljust(len(old)), data[at + len(old) :]))
    raise CardError("container", "the card inside this WebP cannot be rewritten; export it with --to png")


def _spellings(comment: bytes, text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """How the comment may stand in the file, and how the new text stands then."""
    yield comment, text if comment[:1] == b"{" else b64encode(text)
    for comma in (b",", b", "):
        yield comma.join(b"%d" % byte for byte in comment), comma.join(b"%d" % byte for byte in text)

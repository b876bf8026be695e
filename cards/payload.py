"""What stands in a PNG's text chunk: base64 of a card's JSON, as tolerantly as real files need."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, Final

from cards.errors import CardError, CardWarning
from cards.json_text import decode_text, parse_json, text_encoding
from cards.shapes import looks_like

__all__ = ["payload_document"]

_SPACE: Final = b" \t\r\n\0"
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,3}")


def payload_document(payload: bytes, warnings: list[CardWarning]) -> dict[str, Any]:
    """The document in a text chunk: base64 of JSON, tolerantly, or bare JSON. Raises CardError."""
    text = _stripped(payload)
    for _ in range(2):
        if text.startswith(b"rcc||"):
            raise CardError(
                "encrypted", "this card is protected by RisuAI Realm (rcc) and cannot be read elsewhere"
            )
        if text[:1] in (b"{", b"[") or text_encoding(text):
            break
        text = _from_base64(text)
    document = parse_json(decode_text(text, warnings), warnings)
    if not isinstance(document, dict):
        code, message = looks_like(document)
        raise CardError(code, message)
    return document


def _from_base64(text: bytes) -> bytes:
    packed = text.translate(_STANDARD, b" \t\r\n\v\f")
    if not _BASE64.fullmatch(packed):
        raise CardError("base64", "the card's text is neither base64 nor JSON")
    packed = packed.rstrip(b"=")
    if len(packed) % 4 == 1:
        raise CardError("base64", "the card's base64 text is cut off")
    return _stripped(b64decode(packed + b"=" * (-len(packed) % 4)))


def _stripped(text: bytes) -> bytes:
    # In UTF-16 a zero byte is half of a character.
    return text if text_encoding(text) else text.strip(_SPACE)

"""Any bytes to a Card: sniffed by content, read tolerantly, refused in one line. No I/O but
`read_card_file`."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Final

from cards import limits
from cards.card import Card, card_from_document
from cards.errors import CardError, CardWarning
from cards.json_text import decode_text, parse_json
from cards.png import CARD_KEYWORDS, OTHER_KEYWORDS, TextChunk, is_png, text_chunks
from cards.shapes import looks_like

__all__ = ["read_card", "read_card_file"]

_SPACE: Final = b" \t\r\n\0"
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,3}")


def read_card(data: bytes, filename: str = "") -> tuple[Card, list[CardWarning]]:
    """The card in a file's bytes, and what was odd about it. Raises CardError, and nothing else."""
    try:
        return _read(data, PurePath(filename).stem if filename else "")
    except CardError as error:
        raise error.at(filename) from error.__cause__


def read_card_file(path: Path) -> tuple[Card, list[CardWarning]]:
    """`read_card` on a file: only a regular one within the size limit is opened. Raises CardError."""
    from cards.library import read_file

    return read_card(read_file(path), path.name)


def _read(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    if not data:
        raise CardError("empty", "the file is empty")
    if len(data) > limits.FILE:
        raise CardError("too-large", f"the file is over the limit of {limits.FILE // 2**20} MB")
    if is_png(data):
        return _read_png(data, stem)
    card, warnings = _read_text(data, stem)
    return replace(card, source=data), warnings


def _read_png(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    found = text_chunks(data, CARD_KEYWORDS + OTHER_KEYWORDS)
    warnings = found.warnings
    candidates = _candidates(found.chunks, warnings)
    failure: CardError | None = None
    for chunk in candidates:
        notes: list[CardWarning] = []
        try:
            card, more = card_from_document(payload_document(chunk.text, notes), stem)
        except CardError as error:
            failure = failure or error
            warnings.append(CardWarning(error.code, f"not readable: {error.message}", chunk.keyword))
            continue
        warnings += notes + more
        return replace(card, container="png", source=data, avatar=data), warnings
    if failure is not None:
        raise failure
    if found.truncated_card or any(warning.code == "truncated" for warning in warnings):
        raise CardError("truncated", "the file is truncated: it ends before its card does; fetch it again")
    lost = next((warning for warning in warnings if warning.code in ("chunk", "too-large")), None)
    if lost is not None:
        raise CardError("chunk", f"this PNG's card cannot be read: {lost.message}")
    raise CardError(
        "no-card",
        "this PNG has no character data (sites often strip it): "
        "fetch the original file, or use it as a new card's portrait",
    )


def _candidates(chunks: list[TextChunk], warnings: list[CardWarning]) -> list[TextChunk]:
    """Chunks in the order in which they are tried: `ccv3`, `chara`, other keywords; the first of each comes
    first."""
    return [
        chunk
        for keyword in CARD_KEYWORDS + OTHER_KEYWORDS
        for chunk in chunks
        if chunk.keyword.lower() == keyword
    ]


def payload_document(payload: bytes, warnings: list[CardWarning]) -> dict[str, Any]:
    """The document in a text chunk: base64 of JSON, tolerantly, or bare JSON. Raises CardError."""
    text = payload.strip(_SPACE)
    for _ in range(2):
        if text.startswith(b"rcc||"):
            raise CardError(
                "encrypted", "this card is protected by RisuAI Realm (rcc) and cannot be read elsewhere"
            )
        if text[:1] in (b"{", b"[") or text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            break
        text = _from_base64(text)
    document = parse_json(decode_text(text, warnings), warnings)
    if not isinstance(document, dict):
        code, message = looks_like(document)
        raise CardError(code, message)
    return document


def _from_base64(text: bytes) -> bytes:
    packed = b"".join(text.split()).replace(b"-", b"+").replace(b"_", b"/")
    if not _BASE64.fullmatch(packed):
        raise CardError("base64", "the card's text is neither base64 nor JSON")
    packed = packed.rstrip(b"=")
    if len(packed) % 4 == 1:
        raise CardError("base64", "the card's base64 text is cut off")
    return b64decode(packed + b"=" * (-len(packed) % 4)).strip(_SPACE)


def _read_text(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    warnings: list[CardWarning] = []
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CardError("not-a-card", "not a character card: this is a binary file")
    text = decode_text(data, warnings).lstrip("\ufeff \t\r\n")
    if not text:
        raise CardError("empty", "the file has no text in it")
    if text[0] not in "{[":
        raise CardError("not-a-card", "not a character card: this is a text file")
    document = parse_json(text, warnings)
    if not isinstance(document, dict):
        code, message = looks_like(document)
        raise CardError(code, message)
    card, more = card_from_document(document, stem)
    return card, warnings + more

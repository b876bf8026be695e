"""Mojibake: UTF-8 that was read as Windows-1252 or Latin-1 and saved again.

It is found and said when a card is read, and mended only when somebody asks for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from cards import limits
from cards.card import Card
from cards.errors import CardWarning
from cards.texts import card_texts, counted

__all__ = ["mended_card", "mended_text", "mojibake_warnings"]


def _windows(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


_BYTES: Final = {chr(byte): byte for byte in range(0x80, 0x100)}
_BYTES.update({_windows(byte): byte for byte in range(0x80, 0x100)})
_TAIL: Final = "".join(re.escape(letter) for letter, byte in _BYTES.items() if byte < 0xC0)
_RUN: Final = re.compile(f"[\xc2-\xdf][{_TAIL}]|[\xe0-\xef][{_TAIL}]{{2}}|[\xf0-\xf4][{_TAIL}]{{3}}")
_LATIN: Final = re.compile("[\x80-\xff]")


def _suspicious(text: str) -> bool:
    return not text.isascii() and _RUN.search(text) is not None


def mended_text(text: str) -> str | None:
    """`text` with what was UTF-8 as it was meant; None where it reads as it was written.

    A letter of Latin-1 that no such sequence explains shows a text that is right as it is: `«LIBERTÉ»` ends
    in two bytes that would be UTF-8 too.
    """
    if not _suspicious(text):
        return None
    runs: list[str] = []

    def one(found: re.Match[str]) -> str:
        try:
            letter = bytes(_BYTES[part] for part in found[0]).decode("utf-8")
        except UnicodeDecodeError:
            return found[0]
        if unicodedata.category(letter) in ("Cc", "Cn", "Co"):
            return found[0]
        runs.append(found[0])
        return letter

    mended = _RUN.sub(one, text)
    # Two letters outside the commonest ranges may stand side by side by chance, once.
    sure = len(runs) > 1 or any(len(run) > 2 or run[0] in "\xc2\xc3" for run in runs)
    return mended if sure and not _LATIN.search(_RUN.sub("", text)) else None


def _mended_piece(text: str) -> tuple[str, str | None]:
    """The piece of a text around its first suspicious letters, and the same mended."""
    first = _RUN.search(text)
    begin = max(0, first.start() - 100) if first else 0
    piece = text[begin : begin + limits.SUSPICIOUS]
    # The cut may go through a letter of up to four parts.
    pieces = (piece[: len(piece) - part] for part in range(4 if len(piece) == limits.SUSPICIOUS else 1))
    return next(((piece, mended) for piece in pieces if (mended := mended_text(piece))), (piece, None))


def mojibake_warnings(card: Card) -> list[CardWarning]:
    """A warning for each field whose text is mojibake, with an offer to mend it."""
    found: list[CardWarning] = []
    for place, text in islice(card_texts(card, _suspicious), limits.SUSPICIOUS):
        text, mended = _mended_piece(text)
        if mended is not None:
            begin = next(at for at, (old, new) in enumerate(zip(text, mended, strict=False)) if old != new)
            begin = text.rfind(" ", 0, begin) + 1
            was, meant = text[begin:].split(maxsplit=1)[0][:30], mended[begin:].split(maxsplit=1)[0][:30]
            message = (
                f"{was!r} looks like {meant!r} read in the wrong encoding; "
                "to mend the card: rpchat card edit REF --fix-text"
            )
            found.append(CardWarning("mojibake", message, place))
    return counted(found, "look like text read in the wrong encoding")


def mended_card(card: Card) -> Card:
    """The card with every mojibake text mended, once; the same card when there is none."""
    document = _mended(card.document)
    if document == card.document:
        return card
    return replace(card, document=document, source=None, original=card.original or card)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        mended = mended_text(value)
        return value if mended is None else mended
    if isinstance(value, Mapping):
        return {key: _mended(child) for key, child in value.items()}
    return [_mended(child) for child in value] if isinstance(value, list) else value

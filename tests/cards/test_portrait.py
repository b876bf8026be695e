"""A new portrait must be a picture that can be decoded whole."""

from __future__ import annotations

import zlib

import pytest

from cards.avatar import with_avatar
from cards.card import card_from_document
from cards.errors import CardError
from cards.png import blank_png


def _huge() -> bytes:
    body = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    blank = blank_png()
    return blank[:12] + body + zlib.crc32(body).to_bytes(4, "big") + blank[33:]


def _cut() -> bytes:
    blank = blank_png()
    return blank[: blank.index(b"IDAT") + 20]


@pytest.mark.parametrize("picture", [_huge(), _cut()], ids=["60000x60000", "truncated"])
def test_a_png_that_cannot_be_decoded_is_no_portrait(picture: bytes) -> None:
    card, _ = card_from_document({"name": "Vesna", "description": "A smith.", "first_mes": "Hello."})
    with pytest.raises(CardError) as caught:
        with_avatar(card, picture)
    assert "\n" not in str(caught.value)

"""Portraits in half blocks."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from cards.library import CardLibrary
from cards.reading import read_card_file
from chat.tui.card_pane import first_sentences
from chat.tui.portrait import PortraitError, halfblocks, initials
from chat.tui.themes import colours_of


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def test_two_pixels_a_cell() -> None:
    image = Image.new("RGB", (20, 30), (255, 0, 0))
    image.paste((0, 0, 255), (0, 15, 20, 30))
    picture = halfblocks(png(image), 4, 3)
    assert len(picture.rows) == 3
    assert all(len(row) == 4 for row in picture.rows)
    top, bottom = picture.rows[0][0][0], picture.rows[2][3][1]
    assert top >> 16 > 0xF0
    assert top & 0xFF < 0x10
    assert bottom & 0xFF > 0xF0
    assert bottom >> 16 < 0x10


def test_a_picture_that_is_too_high_loses_more_of_its_bottom() -> None:
    image = Image.new("RGB", (200, 900), (0, 255, 0))
    image.paste((0, 0, 255), (0, 450, 200, 900))
    cells = [cell for row in halfblocks(png(image), 8, 6).rows for pair in row for cell in pair]
    greens = sum(cell >> 8 & 0xFF > 0x80 for cell in cells)
    assert greens > len(cells) * 0.75


def test_a_picture_that_is_too_wide_keeps_its_middle() -> None:
    image = Image.new("RGB", (900, 300), (0, 255, 0))
    image.paste((0, 0, 255), (350, 0, 550, 300))
    cells = [cell for row in halfblocks(png(image), 8, 6).rows for pair in row for cell in pair]
    assert all(cell & 0xFF > 0x80 for cell in cells)


def test_colours_that_a_terminal_has() -> None:
    image = png(Image.new("RGB", (20, 30), (250, 5, 5)))
    ansi = halfblocks(image, 4, 3, "ansi")
    assert ansi.ansi
    assert all(0 <= cell < 16 for row in ansi.rows for pair in row for cell in pair)
    none = halfblocks(png(Image.new("L", (20, 30), 255)), 4, 3, "none")
    assert none.rows == ()
    assert none.text == ("@@@@",) * 3
    assert colours_of("truecolor", False) == colours_of("256", False) == "full"
    assert colours_of("standard", False) == "ansi"
    assert colours_of("truecolor", True) == colours_of(None, False) == "none"


@pytest.mark.parametrize("data", [b"", b"no picture", png(Image.new("RGB", (9, 9)))[:40]])
def test_what_cannot_be_decoded(data: bytes) -> None:
    with pytest.raises(PortraitError):
        halfblocks(data, 4, 3)


def test_every_starter_has_a_portrait_quickly(tmp_path: object) -> None:
    from pathlib import Path

    for path in CardLibrary(Path(str(tmp_path))).starter_paths():
        card, _ = read_card_file(path)
        assert card.avatar
        start = time.monotonic()
        picture = halfblocks(card.avatar, 28, 21)
        assert time.monotonic() - start < 2
        assert len({cell for row in picture.rows for pair in row for cell in pair}) > 50


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Samuel", "S"), ("Mary Ann Smith", "MS"), ("", "?"), ("!!", "?"), ("éa", "É"), ("日本", "日")],
)
def test_initials(name: str, letters: str) -> None:
    assert initials(name) == letters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("One. Two. Three.", "One. Two."),
        ("One! " + "word " * 60, "One!"),
        ("word " * 60, "word " * 27 + "word…"),
    ],
)
def test_first_sentences(text: str, shown: str) -> None:
    found = first_sentences(text.strip())
    assert found == shown or (shown.endswith("…") and found.endswith("…") and len(found) <= 140)

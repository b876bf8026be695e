"""A card's picture in half blocks: two pixels a cell, no terminal graphics protocol, so it works everywhere.

Pure but for the decoding, which imports Pillow and takes tens of milliseconds: call `halfblocks` in a thread.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

ASPECT = 2 / 3
"""Width to height of what is shown."""
LARGEST_PIXELS = 40_000_000
"""A picture with more is not decoded."""
ASCII_RAMP = " .:-=+*#%@"

Colours = Literal["full", "ansi", "none"]
"""True or 256 colours; the terminal's 16; none at all."""
Cell = tuple[int, int]
"""Upper and lower pixel: 0xRRGGBB, or with `ansi` the number of a colour."""

_ANSI_RGB = (
    *(0x000000, 0xCD0000, 0x00CD00, 0xCDCD00, 0x0000EE, 0xCD00CD, 0x00CDCD, 0xE5E5E5),
    *(0x7F7F7F, 0xFF0000, 0x00FF00, 0xFFFF00, 0x5C5CFF, 0xFF00FF, 0x00FFFF, 0xFFFFFF),
)


class PortraitError(Exception):
    """The picture cannot be shown; one line that says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as cells, or as text where there are no colours."""

    rows: tuple[tuple[Cell, ...], ...] = ()
    text: tuple[str, ...] = ()
    ansi: bool = False
    """The cells name the terminal's colours by number."""


@lru_cache(maxsize=16)
def halfblocks(image: bytes, width: int, height: int, colours: Colours = "full") -> Picture:
    """Decode a picture, cut it to 2:3 keeping more of its top, and scale it into width x height cells.

    Raises PortraitError for anything that Pillow cannot read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image)) as opened:
            if opened.width * opened.height > LARGEST_PIXELS:
                raise PortraitError(
                    f"the picture is too large to show ({opened.width} x {opened.height} pixels)"
                )
            opened.draft("RGB", (width * 4, height * 8))
            picture = opened.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PortraitError("the picture cannot be read") from error
    ground = Image.new("RGBA", picture.size, (20, 21, 27, 255))
    flat = Image.alpha_composite(ground, picture).convert("RGB").crop(_crop(*picture.size))
    if colours == "none":
        grey = flat.convert("L").resize((width, height), Image.Resampling.LANCZOS).tobytes()
        shades = [ASCII_RAMP[level * len(ASCII_RAMP) // 256] for level in grey]
        return Picture(text=tuple("".join(shades[y * width : (y + 1) * width]) for y in range(height)))
    small = flat.resize((width, height * 2), Image.Resampling.LANCZOS)
    if colours == "ansi":
        palette = Image.new("P", (1, 1))
        palette.putpalette([channel for colour in _ANSI_RGB for channel in colour.to_bytes(3, "big")])
        pixels = list(small.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).tobytes())
    else:
        data = small.tobytes()
        pixels = [int.from_bytes(data[at : at + 3], "big") for at in range(0, len(data), 3)]
    lines = [pixels[y * width : (y + 1) * width] for y in range(height * 2)]
    rows = tuple(tuple(zip(lines[y], lines[y + 1], strict=True)) for y in range(0, height * 2, 2))
    return Picture(rows, ansi=colours == "ansi")


def _crop(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest 2:3 part, a quarter of what is too high cut at the top, three quarters at the bottom."""
    if width > height * ASPECT:
        kept = max(1, round(height * ASPECT))
        left = (width - kept) // 2
        return left, 0, left + kept, height
    kept = max(1, round(width / ASPECT))
    top = (height - kept) // 4
    return 0, top, width, top + kept


def initials(name: str) -> str:
    """One or two letters that stand for a name without a picture."""
    words = [word for word in name.split() if word[:1].isalnum()]
    return (
        "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words[:1])).upper() or "?"
    )

"""Portraits: any picture as a PNG that says nothing about where and with what it was taken.

The one place under `cards` where pixels are decoded; a PNG's only to see that it is whole.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

from cards import limits
from cards.card import Card
from cards.errors import CardError
from cards.png import bare_png, is_png, with_text_of

__all__ = ["picture_as_jpeg", "picture_as_png", "with_avatar"]


def with_avatar(card: Card, picture: bytes) -> Card:
    """The card with another portrait. Text chunks of the old PNG that are not the card move over untouched.

    `picture` is a PNG, JPEG or WebP; its EXIF data, text and any card inside are removed. In a CHARX it
    becomes the main icon; a card whose container holds no picture becomes a PNG. Raises CardError.
    """
    if is_png(picture):
        picture_as_png(picture)
        portrait = bare_png(picture)
    else:
        portrait = picture_as_png(picture)
    if card.avatar is not None and is_png(card.avatar):
        portrait = with_text_of(portrait, card.avatar)
    container = card.container if card.container in ("charx", "jpeg") else "png"
    return replace(card, avatar=portrait, source=None, container=container, original=card.original or card)


def picture_as_jpeg(picture: bytes) -> bytes:
    """A picture as JPEG without metadata, on white where it is transparent. Raises CardError."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture_as_png(picture))).convert("RGBA")
    flat = Image.new("RGB", image.size, (255, 255, 255))
    flat.paste(image, mask=image.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=92)
    return out.getvalue()


def picture_as_png(picture: bytes) -> bytes:
    """A picture as PNG, decoded whole, upright and without metadata. Raises CardError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(picture), formats=("JPEG", "WEBP", "PNG"))
            if image.width * image.height > limits.AVATAR_PIXELS:
                raise CardError(
                    "too-large", f"the picture has over {limits.AVATAR_PIXELS // 10**6} million pixels"
                )
            upright = ImageOps.exif_transpose(image)
            kept = upright.convert("RGBA" if upright.mode in ("RGBA", "LA", "PA", "P") else "RGB")
            # A new image has pixels and nothing else.
            clean = Image.new(kept.mode, kept.size)
            clean.paste(kept)
            out = io.BytesIO()
            clean.save(out, "PNG")
    except CardError:
        raise
    except UnidentifiedImageError as error:
        raise CardError("picture", "this is not a PNG, JPEG or WebP picture") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CardError("picture", f"the picture cannot be read: {error}") from error
    return out.getvalue()

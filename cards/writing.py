"""A card as a file's bytes, in any of the forms that are written.

A card that was not edited and is not converted leaves as it came: the same bytes in its own container, the
same document as JSON. Only SillyTavern's private root keys are taken out, unless they are asked for.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from cards.card import Card
from cards.charx import rewritten_charx, write_charx
from cards.conversion import SpecNumber, as_v2, as_v3, converted, losses, without_private_keys
from cards.errors import CardError
from cards.json_text import dump_json
from cards.markdown import write_markdown
from cards.png import blank_png, is_png, mapped_cards, without_card, write_card_png
from cards.yaml_text import dump_yaml

__all__ = ["EXPORT_FORMATS", "ExportFormat", "export_card", "losses"]

ExportFormat = Literal["png", "json", "charx", "yaml", "md"]
EXPORT_FORMATS: Final = ("png", "json", "charx", "yaml", "md")

_OWN: Final = {
    "png": "png",
    "json": "json",
    "yaml": "yaml",
    "charx": "charx",
    "jpeg": "charx",
    "markdown": "md",
}
"""The form that each container is."""


def export_card(
    card: Card,
    to: ExportFormat,
    *,
    spec: SpecNumber | None = None,
    image: bytes | None = None,
    keep_private: bool = False,
    now: int | None = None,
) -> bytes:
    """The card as a file.

    `spec` converts (see `losses` for what that costs); a PNG carries V2 and V3 both, whatever it says.
    `image` is a PNG to carry the card, for one that has no portrait of its own. `now`, seconds since 1970, is
    noted as the modification date of an edited V3 card. Raises CardError.
    """
    if card.source is not None and spec is None and image is None and _OWN.get(card.container) == to:
        return _as_it_came(card, card.source, keep_private)
    card = _dated(card, now)
    if to == "png":
        return _png(card, image, keep_private)
    if to == "charx":
        return _charx(card, spec, image, keep_private)
    document = _document(card, spec, keep_private)
    if to == "json":
        return (dump_json(document, indent=2) + "\n").encode()
    return (dump_yaml(document) if to == "yaml" else write_markdown(document)).encode()


def _as_it_came(card: Card, source: bytes, keep_private: bool) -> bytes:
    if keep_private:
        return source
    if card.container == "png":
        return mapped_cards(source, without_private_keys)
    document = without_private_keys(card.document)
    if document is card.document:
        return source
    if card.container in ("charx", "jpeg"):
        return rewritten_charx(source, document)
    if card.container == "json":
        return (dump_json(document, indent=2) + "\n").encode()
    return (dump_yaml(document) if card.container == "yaml" else write_markdown(document)).encode()


def _document(card: Card, spec: SpecNumber | None, keep_private: bool) -> dict[str, Any]:
    """The card's own document; after an edit, with what its specification requires."""
    if spec is not None:
        document = converted(card, spec)
    elif card.original is not None and card.spec in ("v2", "v3") and not card.shape.prefix:
        document = _completed(card)
    else:
        document = card.document
    return document if keep_private else without_private_keys(document)


def _completed(card: Card) -> dict[str, Any]:
    """An edited V2 or V3 document with its required fields; the root, a V1 mirror included, as it is."""
    full = as_v3(card) if card.spec == "v3" else as_v2(card)
    return {**card.document, "data": full["data"]}


def _dated(card: Card, now: int | None) -> Card:
    if now is None or card.original is None or card.spec != "v3":
        return card
    return card.edited((*card.shape.fields, "modification_date"), now)


def _png(card: Card, image: bytes | None, keep_private: bool) -> bytes:
    carrier = image or card.avatar or blank_png()
    if not is_png(carrier):
        from cards.avatar import picture_as_png

        carrier = picture_as_png(carrier)
    v2, v3 = as_v2(card), as_v3(card)
    if not keep_private:
        v2, v3 = without_private_keys(v2), without_private_keys(v3)
    return write_card_png(carrier, v2, v3)


def _charx(card: Card, spec: SpecNumber | None, image: bytes | None, keep_private: bool) -> bytes:
    if spec not in (None, 3):
        raise CardError("spec", f"a CHARX file holds a V3 card, not V{spec}")
    source = card.original.source if card.original is not None else card.source
    document = as_v3(card)
    if not keep_private:
        document = without_private_keys(document)
    if card.container in ("charx", "jpeg") and source is not None and image is None:
        return rewritten_charx(source, document)
    picture = image or card.avatar
    if picture is None:
        return write_charx(document, None)
    if is_png(picture):
        return write_charx(document, without_card(picture), "png")
    return write_charx(document, picture, "jpeg" if picture.startswith(b"\xff\xd8") else "webp")

"""A card as a file's bytes, in any of the forms that are written.

A card that was not edited and is not converted leaves as it came: the same bytes in its own container, the
same document as JSON. Only SillyTavern's private root keys are taken out, unless they are asked for.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from cards.card import Card
from cards.charx import other_members, rewritten_charx, with_default_icon, write_charx
from cards.conversion import (
    SpecNumber,
    as_v2,
    as_v3,
    completed,
    converted,
    losses,
    without_private_keys,
)
from cards.errors import CardError
from cards.json_text import dump_json
from cards.markdown import write_markdown
from cards.png import blank_png, is_png, mapped_cards, trailing_bytes, without_card, write_card_png
from cards.yaml_text import dump_yaml

__all__ = [
    "ENDINGS",
    "ExportFormat",
    "dropped_bytes",
    "export_card",
    "file_ending",
    "leaves_as_it_came",
    "left_behind",
    "losses",
    "own_form",
]

ExportFormat = Literal["png", "json", "charx", "yaml", "md"]

_OWN: Final[dict[str, ExportFormat]] = {
    "png": "png",
    "json": "json",
    "yaml": "yaml",
    "charx": "charx",
    "jpeg": "charx",
    "markdown": "md",
}
"""The form that each container is; those that are only read have none."""

ENDINGS: Final = {
    "png": ".png",
    "json": ".json",
    "yaml": ".yaml",
    "charx": ".charx",
    "jpeg": ".jpg",
    "webp": ".webp",
    "byaf": ".byaf",
    "markdown": ".md",
}
"""What a card's file is called by what it is, whatever it was called."""


def own_form(card: Card) -> ExportFormat:
    """The form that the card is written in when none is named: its container's; PNG where that is only
    read."""
    return _OWN.get(card.container, "png")


def leaves_as_it_came(card: Card, to: ExportFormat | None, spec: SpecNumber | None = None) -> bool:
    """Whether `export_card` gives back the file that was read."""
    return card.source is not None and spec is None and to in (None, _OWN.get(card.container))


def file_ending(card: Card, to: ExportFormat | None = None, spec: SpecNumber | None = None) -> str:
    """The ending, with its dot, of the file that `export_card` makes."""
    if to is None and (leaves_as_it_came(card, to, spec) or card.container in _OWN):
        return ENDINGS[card.container]
    return f".{to or own_form(card)}"


def export_card(
    card: Card,
    to: ExportFormat | None = None,
    *,
    spec: SpecNumber | None = None,
    image: bytes | None = None,
    keep_private: bool = False,
    now: int | None = None,
) -> bytes:
    """The card as a file; without `to`, in its own container (see `own_form`).

    `spec` converts (see `losses` for what that costs). A PNG carries V2 and V3 both, unless `spec` is 1 or 2.
    `image` is a PNG to carry the card, for one that has no portrait of its own. `now`, seconds since 1970, is
    noted as the modification date of an edited V3 card. Raises CardError.
    """
    if card.source is not None and image is None and leaves_as_it_came(card, to, spec):
        return _as_it_came(card, card.source, keep_private)
    to = to or own_form(card)
    card = _dated(card, now)
    if to == "png":
        return _png(card, spec, image, keep_private)
    if to == "charx":
        return _charx(card, spec, image, keep_private)
    return _text(to, _document(card, spec, keep_private))


def dropped_bytes(card: Card, to: ExportFormat | None = None, spec: SpecNumber | None = None) -> int:
    """How many bytes after the end of a PNG the export leaves out, where it writes the PNG anew."""
    carrier = card.avatar
    if carrier is None or not is_png(carrier) or leaves_as_it_came(card, to, spec):
        return 0
    return trailing_bytes(carrier) if (to or own_form(card)) in ("png", "charx") else 0


def left_behind(card: Card, to: ExportFormat | None = None) -> list[str]:
    """The files in a CHARX, its portrait left out, that another form has no place for."""
    source = (card.original or card).source
    if card.container not in ("charx", "jpeg") or source is None or to in (None, "charx"):
        return []
    return other_members(source)


def _text(to: ExportFormat, document: dict[str, Any]) -> bytes:
    if to == "json":
        return (dump_json(document, indent=2) + "\n").encode()
    return (dump_yaml(document) if to == "yaml" else write_markdown(document)).encode()


def _as_it_came(card: Card, source: bytes, keep_private: bool) -> bytes:
    """The file that was read. Where private keys are taken out, nothing but the document that has them is
    written anew."""
    if keep_private:
        return source
    prefix = card.shape.prefix
    if card.container == "png":
        return mapped_cards(source, lambda document: without_private_keys(document, prefix))
    document = without_private_keys(card.document, prefix)
    if document is card.document:
        return source
    if card.container in ("charx", "jpeg"):
        return rewritten_charx(source, document)
    if card.container == "webp":
        from cards.webp import rewritten_comment

        return rewritten_comment(source, document)
    return _text(own_form(card), document)


def _document(card: Card, spec: SpecNumber | None, keep_private: bool) -> dict[str, Any]:
    """The card's own document; after an edit, with what its specification requires."""
    if spec is not None:
        document = converted(card, spec)
    else:
        document = card.document if card.original is None else completed(card)
    return document if keep_private else without_private_keys(document, card.shape.prefix)


def _dated(card: Card, now: int | None) -> Card:
    if now is None or card.original is None or card.spec != "v3":
        return card
    return card.edited((*card.shape.fields, "modification_date"), now)


def _png(card: Card, spec: SpecNumber | None, image: bytes | None, keep_private: bool) -> bytes:
    carrier = image or card.avatar or blank_png()
    if not is_png(carrier):
        from cards.avatar import picture_as_png

        carrier = picture_as_png(carrier)
    chara, ccv3 = _png_documents(card, spec)
    if not keep_private:
        chara = without_private_keys(chara)
        ccv3 = None if ccv3 is None else without_private_keys(ccv3)
    if ccv3 is not None and card.avatar is not None and card.container in ("charx", "jpeg"):
        ccv3 = with_default_icon(ccv3)
    return write_card_png(carrier, chara, ccv3)


def _png_documents(card: Card, spec: SpecNumber | None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What stands in `chara` and in `ccv3`: the card's own document where it fits, the other made of it."""
    if spec is not None:
        return (converted(card, 2), converted(card, 3)) if spec == 3 else (converted(card, spec), None)
    own = "" if card.shape.prefix else card.spec
    return (
        completed(card) if own == "v2" else as_v2(card),
        completed(card) if own == "v3" else as_v3(card),
    )


def _charx(card: Card, spec: SpecNumber | None, image: bytes | None, keep_private: bool) -> bytes:
    if spec not in (None, 3):
        raise CardError("spec", f"a CHARX file holds a V3 card, not V{spec}; --to json or png writes that")
    first = card.original or card
    if card.container in ("charx", "jpeg") and first.source is not None and image is None:
        return _charx_again(card, first, first.source, spec, keep_private)
    document = as_v3(card)
    if not keep_private:
        document = without_private_keys(document)
    picture = image or card.avatar
    if picture is None:
        return write_charx(document, None)
    if is_png(picture):
        return write_charx(document, without_card(picture), "png")
    return write_charx(document, picture, "jpeg" if picture.startswith(b"\xff\xd8") else "webp")


def _charx_again(
    card: Card, first: Card, source: bytes, spec: SpecNumber | None, keep_private: bool
) -> bytes:
    """The CHARX that was read with the edited document, and with the new portrait where there is one."""
    if card.avatar is None or card.avatar is first.avatar:
        return rewritten_charx(source, _document(card, spec, keep_private))
    from cards.avatar import picture_as_jpeg

    # Only a V2 or V3 document has a place where the icon is named.
    document = _document(
        card, spec if card.spec in ("v2", "v3") and not card.shape.prefix else 3, keep_private
    )
    front = picture_as_jpeg(card.avatar) if card.container == "jpeg" else None
    return rewritten_charx(source, document, icon=card.avatar, front=front)

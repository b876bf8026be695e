"""Fields that V3 and SillyTavern added to a card: assets, sources, dates, how much it talks.

Formats: Character Card V3, `assets`, `creation_date`; SillyTavern's `extensions.talkativeness` and `fav`.
Nothing that an asset names outside its file is ever fetched or opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cards import limits
from cards.coercion import Coercion, type_name
from cards.errors import CardWarning

__all__ = ["Asset", "read_assets", "read_date", "read_favourite", "read_talkativeness"]


@dataclass(frozen=True, slots=True)
class Asset:
    """A picture or other file that belongs to a card."""

    type: str
    uri: str
    name: str
    ext: str


_DEFAULT: Final = Asset("icon", "ccdefault:", "main", "png")
_INSIDE: Final = (
    "ccdefault:",
    "embeded://",
    "embedded://",
    "data:",
    "__asset:",
    "asset:",
    "chara-ext-asset_",
    "pngchunk:",
    "risustored:",
)
"""Addresses of what lies in the card's own file or in RisuAI's store."""
_REMOTE: Final = ("http:", "https:", "ftp:", "//")
_LATEST: Final = 10**11
"""Seconds since 1970 in the year 5138: a larger number counts milliseconds."""


def read_assets(fields: Coercion) -> tuple[Asset, ...]:
    """The assets of a card's `data`; the card's own picture where it has no such field, as V3 says."""
    if "assets" not in fields.source:
        return (_DEFAULT,)
    listed = fields.source["assets"]
    if not isinstance(listed, list):
        fields.warn("assets", f"{type_name(listed)} where a list belongs")
        listed = [listed] if isinstance(listed, Mapping) and "uri" in listed else []
    if len(listed) > limits.ASSETS:
        fields.warn("assets", f"only the first {limits.ASSETS} of {len(listed)} assets are looked at")
    found: list[Asset] = []
    for place, raw in enumerate(listed[: limits.ASSETS]):
        if isinstance(raw, Mapping):
            asset = Coercion(raw, f"{fields.field('assets')}[{place}]", fields.warnings)
            found.append(Asset(*(_text(asset, key) for key in ("type", "uri", "name", "ext"))))
        else:
            fields.warn(f"assets[{place}]", f"{type_name(raw)} where an object belongs; left out")
    _warn_of_places(found, fields)
    return tuple(found)


def _text(asset: Coercion, key: str) -> str:
    if key == "uri" and key not in asset.source:
        asset.warn(key, "missing; the asset cannot be used")
    return asset.text(key)


def _warn_of_places(assets: list[Asset], fields: Coercion) -> None:
    uris = [asset.uri.strip() for asset in assets if asset.uri.strip()]
    remote = [uri for uri in uris if uri.lower().startswith(_REMOTE)]
    nowhere = [uri for uri in uris if uri not in remote and not uri.lower().startswith(_INSIDE)]
    for found, code, what in (
        (remote, "remote", "on the web, not fetched"),
        (nowhere, "asset", "outside the card's file, not looked for"),
    ):
        if found:
            count = f"{len(found)} assets, the first" if len(found) > 1 else "one asset"
            message = f"{count} at {found[0][:80]!r}: {what}"
            fields.warnings.append(CardWarning(code, message, fields.field("assets")))


def read_date(fields: Coercion, key: str) -> int:
    """Seconds since 1970; 0 for unknown. Milliseconds and ISO 8601 texts are understood, with a warning."""
    if key not in fields.source:
        return 0
    value = fields.source[key]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        fields.warn(key, f"{type_name(value)} where seconds since 1970 belong; taken as unknown")
        return 0
    number = _seconds(value)
    if number is None:
        fields.warn(key, "not a date; taken as unknown")
    elif isinstance(value, str):
        fields.warn(key, "text where seconds since 1970 belong")
    elif number < 0:
        fields.warn(key, "before 1970; taken as unknown")
    elif number > _LATEST:
        fields.warn(key, "milliseconds where seconds since 1970 belong")
    elif number != int(number):
        fields.warn(key, "not a whole number of seconds")
    if number is None or number < 0:
        return 0
    return int(number / 1000 if number > _LATEST else number)


def _seconds(value: float | str) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(value))
            number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return number if math.isfinite(number) and number < 1000 * _LATEST else None


def read_talkativeness(holder: Coercion) -> float:
    """How readily a character speaks up in a group, 0 to 1; SillyTavern writes it as a number or as text."""
    value: Any = holder.source.get("talkativeness")
    if value is None:
        return 0.5
    try:
        number = (
            float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
        )
    except (ValueError, OverflowError):
        number = None
    if number is None or not 0 <= number <= 1:
        what = type_name(value) if number is None else "a number that is not one"
        holder.warn("talkativeness", f"{what} where a number from 0 to 1 belongs")
        return 0.5
    return number


def read_favourite(holder: Coercion) -> bool:
    """Whether its user marked the card."""
    return holder.flag("fav", False)

"""Cards in zip files: CHARX (`card.json` at its root, behind a JPEG too) and Backyard's BYAF.

Nothing is unpacked to a path. Members are found by their exact name and read into memory with a cap; counts
and sizes are checked before anything is read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from warnings import catch_warnings, simplefilter

from cards import limits
from cards.byaf import document_from_byaf
from cards.errors import CardError, CardWarning
from cards.json_text import decode_text, dump_json, parse_json

__all__ = [
    "ZipCard",
    "has_zip",
    "other_members",
    "read_zip_card",
    "rewritten_charx",
    "with_default_icon",
    "write_charx",
]

_END: Final = b"PK\x05\x06"
_DIRECTORY: Final = 8 * 2**20
"""Bytes of a zip's directory: 10 000 members with long names."""
_BROKEN: Final = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    OSError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What Python's zipfile raises on damaged files."""


@dataclass(frozen=True, slots=True)
class ZipCard:
    """What a zip holds of a card."""

    document: dict[str, Any]
    avatar: bytes | None
    byaf: bool = False


def has_zip(data: bytes) -> bool:
    """Whether a zip's end record stands near the end of the bytes."""
    return data.rfind(_END, max(0, len(data) - 65_557)) >= 0


def read_zip_card(data: bytes, warnings: list[CardWarning]) -> ZipCard:
    """The card in a zip. Raises CardError."""
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive, warnings)
    except _BROKEN as error:
        raise CardError("zip", f"the zip file is damaged: {error}") from error


def _check_directory(data: bytes) -> None:
    """Refuses a directory that is too large before Python builds an object for each of its members."""
    at = data.rfind(_END, max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        raise CardError("truncated", "the zip file is truncated or damaged: its end is missing")
    count, size = struct.unpack_from("<HI", data, at + 10)
    locator = data.rfind(b"PK\x06\x07", max(0, at - 20), at)
    if locator >= 0:
        record = data.rfind(b"PK\x06\x06", max(0, locator - 4096), locator)
        if record < 0 or record + 56 > len(data):
            raise CardError("zip", "the zip file is damaged: its 64-bit record is missing")
        count, size = struct.unpack_from("<QQ", data, record + 32)
    if count > limits.ZIP_MEMBERS or size > _DIRECTORY:
        raise CardError("too-large", f"the zip has over {limits.ZIP_MEMBERS} files in it")


def _read(archive: zipfile.ZipFile, warnings: list[CardWarning]) -> ZipCard:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if len(members) > limits.ZIP_MEMBERS:
        raise CardError("too-large", f"the zip has over {limits.ZIP_MEMBERS} files in it")
    if total > limits.ZIP_TOTAL:
        raise CardError("too-large", f"the zip unpacks to over the limit of {limits.ZIP_TOTAL // 2**20} MB")
    _warn_of_names(members, warnings)
    names = {member.filename for member in members}
    if "manifest.json" in names and "card.json" not in names:
        return _read_byaf(archive, warnings)
    member = _card_member(members, warnings)
    document = _document(archive, member, warnings)
    if "module.risum" in names:
        warnings.append(CardWarning("scripts", "module.risum (scripts of RisuAI) is kept, and never run"))
    return ZipCard(document, _avatar(archive, document, warnings))


def _card_member(members: list[zipfile.ZipInfo], warnings: list[CardWarning]) -> zipfile.ZipInfo:
    found = [member for member in members if member.filename == "card.json"]
    if len(found) > 1:
        warnings.append(
            CardWarning("duplicate", f"card.json is in the zip {len(found)} times; the last one counts")
        )
    if found:
        return found[-1]
    deeper = [member for member in members if member.filename.lower().rsplit("/", 1)[-1] == "card.json"]
    if deeper:
        warnings.append(
            CardWarning("place", f"card.json is not at the zip's root but at {deeper[0].filename}")
        )
        return deeper[0]
    lower = [member.filename.lower() for member in members]
    if any(name.endswith("package.json") or name.startswith("characters/") for name in lower):
        raise CardError("unsupported", "this looks like a Voxta package, which rpchat does not read")
    if any(name.endswith((".png", ".charx", ".json")) for name in lower):
        raise CardError("no-card", "this zip has no card.json; unpack it and import the cards inside")
    raise CardError("no-card", "this zip file has no card in it (no card.json)")


def _warn_of_names(members: list[zipfile.ZipInfo], warnings: list[CardWarning]) -> None:
    """Names that would leave a folder, were anything unpacked."""
    odd = [member for member in members if _unsafe(member)]
    if odd:
        message = f"{len(odd)} unsafe file names in the zip are ignored, such as {odd[0].filename[:60]!r}"
        warnings.append(CardWarning("unsafe-name", message))
    if len({member.filename.casefold() for member in members}) < len({member.filename for member in members}):
        warnings.append(CardWarning("duplicate", "two file names in the zip differ by case only"))


def _unsafe(member: zipfile.ZipInfo) -> bool:
    name = member.orig_filename
    parts = name.replace("\\", "/").split("/")
    linked = (member.external_attr >> 16) & 0o170000 == 0o120000
    return (
        linked
        or ".." in parts
        or name.startswith(("/", "\\"))
        or name[1:2] == ":"
        or "\\" in name
        or "\0" in name
    )


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int, *, any_method: bool = False
) -> bytes:
    """A member's bytes, never more than `limit` whatever its header says. Raises CardError."""
    if member.flag_bits & 1:
        raise CardError("encrypted", "the zip is password-protected")
    if not any_method and member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CardError("zip", f"{member.filename} is compressed in a way that cards are not")
    if member.file_size > limit:
        raise CardError("too-large", f"{member.filename} unpacks to over the limit of {limit // 2**20} MB")
    with archive.open(member) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise CardError("too-large", f"{member.filename} unpacks to over the limit of {limit // 2**20} MB")
    return data


def _document(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, warnings: list[CardWarning]
) -> dict[str, Any]:
    text = decode_text(_member(archive, member, limits.ZIP_DOCUMENT), warnings)
    document = parse_json(text, warnings)
    if not isinstance(document, dict):
        raise CardError("not-a-card", f"{member.filename} in the zip is not a card")
    return document


def _avatar(
    archive: zipfile.ZipFile, document: Mapping[str, Any], warnings: list[CardWarning]
) -> bytes | None:
    """The main icon that the card names, when it is in the zip; else None."""
    data = document.get("data")
    assets = data.get("assets") if isinstance(data, Mapping) else None
    listed = assets if isinstance(assets, list) else []
    icons = [asset for asset in listed if isinstance(asset, Mapping) and asset.get("type") == "icon"]
    icons.sort(key=lambda asset: asset.get("name") != "main")
    names = filter(None, (_embedded(asset.get("uri")) for asset in icons))
    picture, why = _first_read(archive, names)
    if why:
        warnings.append(CardWarning("asset", f"its icon cannot be read: {why}", "data.assets"))
    return picture


def _first_read(archive: zipfile.ZipFile, names: Iterable[str]) -> tuple[bytes | None, str]:
    """The first of some pictures that can be read; and why the first that cannot be, cannot."""
    reasons: list[str] = []
    left = limits.ZIP_ASSET
    for name in dict.fromkeys(names):
        try:
            member = archive.getinfo(name)
            if _unsafe(member):
                raise CardError("unsafe-name", f"{name[:60]!r} is no safe name of a file")
            if member.file_size <= limits.ZIP_ASSET:
                # Each may be large and broken at its very end: together they cost no more than one.
                left -= member.file_size
            if left < 0:
                break
            return _member(archive, member, limits.ZIP_ASSET), "".join(reasons[:1])
        except (CardError, *_BROKEN) as error:
            reasons.append("it is not in the zip" if isinstance(error, KeyError) else str(error))
    return None, "".join(reasons[:1])


def _read_byaf(archive: zipfile.ZipFile, warnings: list[CardWarning]) -> ZipCard:
    def document(name: str) -> dict[str, Any] | None:
        try:
            return _document(archive, archive.getinfo(name), warnings)
        except KeyError:
            return None

    manifest = document("manifest.json") or {}
    converted, images = document_from_byaf(manifest, document)
    members = set(archive.namelist())
    there = [next((name for name in names if name in members), "") for names in images]
    missing = [names[0] for names, name in zip(images, there, strict=True) if not name]
    if missing:
        what = "the picture" if len(missing) == 1 else f"{len(missing)} pictures, such as"
        verb = "is" if len(missing) == 1 else "are"
        warnings.append(CardWarning("asset", f"{what} {missing[0][:60]!r} {verb} not in the file"))
    picture, why = _first_read(archive, filter(None, there))
    if why:
        warnings.append(CardWarning("asset", f"its picture cannot be read: {why}"))
    return ZipCard(converted, picture, byaf=True)


def write_charx(document: Mapping[str, Any], icon: bytes | None, ending: str = "png") -> bytes:
    """A CHARX file: `card.json` and, stored, the icon. `document` is V3; its main icon then names the
    picture."""
    name = ""
    if icon is not None:
        document, name, _ = _iconed(document, set(), ending)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_info("card.json"), dump_json(document, indent=2))
        if icon is not None:
            archive.writestr(_info(name), icon, zipfile.ZIP_STORED)
    return out.getvalue()


def other_members(data: bytes) -> list[str]:
    """The files in a CHARX that are neither the card nor its main icon. Raises CardError."""
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            card = _card_member(archive.infolist(), [])
            held = _document(archive, card, []).get("data")
            assets = held.get("assets") if isinstance(held, Mapping) else None
            listed = assets if isinstance(assets, list) else []
            place = _main_icon(listed)
            known = {card.filename, "" if place is None else _embedded(listed[place].get("uri"))}
            return [name for name in archive.namelist() if name not in known and not name.endswith("/")]
    except _BROKEN as error:
        raise CardError("zip", f"the zip file is damaged: {error}") from error


def rewritten_charx(
    data: bytes, document: Mapping[str, Any], *, icon: bytes | None = None, front: bytes | None = None
) -> bytes:
    """A CHARX file with another `card.json`: what stands before the zip and every other member stay.

    `icon`, a PNG, takes the main icon's place, and `front`, a JPEG, that of what stands before the zip.
    Raises CardError.
    """
    _check_directory(data)
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = old.infolist()
            card = _card_member(members, [])
            new: dict[str, bytes] = {}
            dropped = {card.filename}
            if icon is not None:
                document, name, replaced = _iconed(document, {member.filename for member in members})
                new[name] = icon
                dropped |= {name, replaced}
            new[card.filename] = dump_json(document, indent=2).encode()
            out.write(data[: min(member.header_offset for member in members)] if front is None else front)
            _copy(old, card, new, dropped, out)
    except _BROKEN as error:
        raise CardError("zip", f"the zip file is damaged: {error}") from error
    return out.getvalue()


def _copy(
    old: zipfile.ZipFile,
    card: zipfile.ZipInfo,
    new: Mapping[str, bytes],
    dropped: set[str],
    out: io.BytesIO,
) -> None:
    with catch_warnings(), zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        simplefilter("ignore")  # two members of one name stay two
        archive.comment = old.comment
        for member in old.infolist():
            if member is card:
                archive.writestr(_info(card.filename), new[card.filename])
            elif member.filename not in dropped:
                archive.writestr(member, _member(old, member, limits.ZIP_ASSET, any_method=True))
        for name, content in new.items():
            if name != card.filename:
                archive.writestr(_info(name), content, zipfile.ZIP_STORED)


def _iconed(
    document: Mapping[str, Any], names: set[str], ending: str = "png"
) -> tuple[Mapping[str, Any], str, str]:
    """The document with a new main icon, the name of its member, and that of the member which nothing names
    any more, "" when there is none."""
    held = document.get("data")
    fields = dict(held) if isinstance(held, Mapping) else {}
    listed = list(fields["assets"]) if isinstance(fields.get("assets"), list) else []
    place = _main_icon(listed)
    old = _embedded(listed[place].get("uri")) if place is not None else ""
    others = {
        _embedded(asset.get("uri"))
        for n, asset in enumerate(listed)
        if n != place and isinstance(asset, Mapping)
    }
    kept = names - {old} | others
    name, number = f"assets/icon/image/main.{ending}", 2
    while name in kept:
        name, number = f"assets/icon/image/main-{number}.{ending}", number + 1
    asset = {"type": "icon", "uri": f"embeded://{name}", "name": "main", "ext": ending}
    if place is None:
        listed.insert(0, asset)
    else:
        listed[place] = {**listed[place], **asset}
    return {**document, "data": {**fields, "assets": listed}}, name, "" if old in others else old


def _main_icon(assets: list[Any]) -> int | None:
    """Where the asset stands that is the card's face: the icon called main, or the only one."""
    icons = [
        n for n, asset in enumerate(assets) if isinstance(asset, Mapping) and asset.get("type") == "icon"
    ]
    main = [n for n in icons if assets[n].get("name") == "main"]
    return main[0] if main else icons[0] if len(icons) == 1 else None


def with_default_icon(document: dict[str, Any]) -> dict[str, Any]:
    """A CHARX's document for a PNG, which is itself the main icon that was a file in the zip."""
    data = document.get("data")
    assets = data.get("assets") if isinstance(data, dict) else None
    place = _main_icon(assets) if isinstance(assets, list) else None
    if place is None or assets is None or not _embedded(assets[place].get("uri")):
        return document
    asset = {**assets[place], "uri": "ccdefault:", "ext": "png"}
    return {
        **document,
        "data": {**document["data"], "assets": [*assets[:place], asset, *assets[place + 1 :]]},
    }


def _embedded(uri: Any) -> str:
    """The member that a URI names; "" for one that names none."""
    for scheme in ("embeded://", "embedded://"):
        if isinstance(uri, str) and uri.startswith(scheme):
            return uri.removeprefix(scheme)
    return ""


def _info(name: str) -> zipfile.ZipInfo:
    # A fixed time, so that the same card gives the same bytes.
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info

"""A picture in a zip that cannot be read costs its card nothing but the picture."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from cards import charx, limits
from cards.reading import read_card

PICTURE = b"\x89PNG portrait"


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def card_naming(*uris: str, members: dict[str, bytes]) -> bytes:
    assets = [{"type": "icon", "uri": f"embeded://{uri}", "name": "main", "ext": "png"} for uri in uris]
    data = {"name": "Vesna", "description": "d", "first_mes": "x", "assets": assets}
    document = {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}
    return zipped({"card.json": json.dumps(document).encode(), **members})


def backyard(*paths: str, members: dict[str, bytes]) -> bytes:
    character = {"name": "Vesna", "images": [{"path": path} for path in paths]}
    manifest = {"characters": ["c.json"]}
    return zipped(
        {
            "manifest.json": json.dumps(manifest).encode(),
            "c.json": json.dumps(character).encode(),
            **members,
        }
    )


def broken(data: bytes, body: bytes) -> bytes:
    """The file with a member whose checksum is wrong."""
    return data.replace(body, body[:-1] + b"?")


@pytest.mark.parametrize("make", [card_naming, backyard])
def test_a_broken_picture_is_a_warning_and_the_next_one_is_taken(make: Any) -> None:
    data = make("bad.png", "good.png", members={"bad.png": b"a broken one", "good.png": PICTURE})
    card, warnings = read_card(broken(data, b"a broken one"))
    assert (card.name, card.avatar) == ("Vesna", PICTURE)
    assert [warning.message for warning in warnings if "cannot be read: Bad CRC-32" in warning.message]


@pytest.mark.parametrize("make", [card_naming, backyard])
def test_a_picture_over_the_limit_is_a_warning(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ZIP_ASSET", 100)
    card, warnings = read_card(make("a.png", members={"a.png": b"x" * 101}))
    assert (card.name, card.avatar) == ("Vesna", None)
    assert any("over the limit" in warning.message for warning in warnings)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "C:a.png"])
@pytest.mark.parametrize("make", [card_naming, backyard])
def test_a_picture_with_an_unsafe_name_is_not_taken(make: Any, name: str) -> None:
    card, warnings = read_card(make(name, members={name: PICTURE}))
    assert card.avatar is None
    assert any("unsafe file name" in warning.message for warning in warnings)


def test_many_broken_pictures_are_read_no_further_than_one_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ZIP_ASSET", 1_000)
    bodies = {f"{number}.png": b"broken %04d!" % number * 30 for number in range(40)}
    data = card_naming(*bodies, *bodies, members=bodies)
    for body in bodies.values():
        data = broken(data, body)
    read: list[str] = []
    real = charx._member

    def counted(archive: Any, member: Any, limit: int, **more: Any) -> bytes:
        read.append(member.filename)
        return real(archive, member, limit, **more)

    monkeypatch.setattr(charx, "_member", counted)
    card, warnings = read_card(data)
    assert (card.avatar, read) == (None, ["card.json", "0.png", "1.png"])
    assert len([warning for warning in warnings if "cannot be read" in warning.message]) == 1

"""Rows of the table of hostile and broken input that no other test shows; test_rows.py lists them all."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from cards.errors import CardError
from cards.png import blank_png
from cards.png_chunks import chunks
from cards.reading import read_card
from cards.writing import export_card

FIELDS: dict[str, Any] = {"name": "Vesna", "description": "Keeps the light.", "first_mes": "Late."}
V2: dict[str, Any] = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**FIELDS, "extensions": {}}}
TEXT = json.dumps(V2).encode()


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def text(payload: bytes, keyword: bytes = b"chara", checksum: int | None = None) -> bytes:
    return chunk(b"tEXt", keyword + b"\0" + payload, checksum)


def png(*inside: bytes, tail: bytes = b"") -> bytes:
    picture = blank_png()
    return picture[:33] + b"".join(inside) + picture[33:] + tail


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def codes(data: bytes) -> list[str]:
    return [warning.code for warning in read_card(data, "x")[1]]


def test_a_compressed_itxt_bomb() -> None:
    bomb = chunk(b"iTXt", b"ccv3\0\1\0\0\0" + zlib.compress(bytes(60_000_000), 9))
    card, warnings = read_card(png(bomb, text(b64encode(TEXT))), "x")
    assert (card.name, [warning.code for warning in warnings]) == ("Vesna", ["chunk"])
    with pytest.raises(CardError, match="limit of 24 MB"):
        read_card(png(bomb), "x")


def test_a_zip_that_says_it_unpacks_to_too_much_is_not_read() -> None:
    """The directory's sizes are added up before any member is opened."""
    data = bytearray(zipped({"card.json": TEXT, "a.png": b"x", "b.png": b"x"}))
    at = data.find(b"PK\x01\x02")
    for _ in range(2):
        at = data.find(b"PK\x01\x02", at + 4)
        data[at + 24 : at + 28] = struct.pack("<I", 300 * 2**20)
    with pytest.raises(CardError, match="over the limit of 512 MB"):
        read_card(bytes(data), "x")


@pytest.mark.parametrize(
    "name",
    ["../../evil.png", "/abs.png", "C:\\w.png", "a\\b.png", "\\\\host\\x", "a/../b.png", "x.png\0.json"],
)
def test_an_unsafe_name_is_said_and_left(name: str) -> None:
    placeholder = "~" * len(name)
    data = zipped({"card.json": TEXT, placeholder: b"x"}).replace(placeholder.encode(), name.encode())
    card, warnings = read_card(data, "x")
    assert (card.name, [warning.code for warning in warnings]) == ("Vesna", ["unsafe-name"])


def test_which_card_of_a_zip_counts() -> None:
    other = json.dumps({**V2, "data": {**V2["data"], "name": "Other"}}).encode()
    twice = zipped({"card.jso1": other, "card.jso2": TEXT})
    twice = twice.replace(b"card.jso1", b"card.json").replace(b"card.jso2", b"card.json")
    assert (read_card(twice)[0].name, codes(twice)) == ("Vesna", ["duplicate"])
    below = zipped({"some/folder/card.json": TEXT})
    assert (read_card(below)[0].name, codes(below)) == ("Vesna", ["place"])
    with pytest.raises(CardError, match="unpack it"):
        read_card(zipped({"card.png": png(text(b64encode(TEXT)))}))


def test_a_bad_checksum_is_said_and_mended_by_an_edit() -> None:
    data = png(chunk(b"tIME", b"1234567", 7), text(b64encode(TEXT), checksum=5))
    card, warnings = read_card(data, "x")
    assert [(warning.code, warning.field) for warning in warnings] == [("checksum", "chara")]
    written = export_card(card.edited("creator", "me"), "png")
    bad = [
        found.kind
        for found in chunks(written)
        if zlib.crc32(written[found.start + 4 : found.end])
        != int.from_bytes(written[found.end : found.end + 4], "big")
    ]
    assert bad == [b"tIME"]
    assert codes(written) == []


def test_wherever_a_png_is_cut_its_card_is_read_or_said_to_be_cut() -> None:
    data = png(text(b64encode(TEXT)))
    end = data.index(b"IDAT") - 4
    for cut in range(33, len(data), 7):
        if cut < end - 12:
            with pytest.raises(CardError) as caught:
                read_card(data[:cut], "x")
            assert caught.value.code == "truncated", cut
        elif cut >= end - 4:
            card, warnings = read_card(data[:cut], "x")
            assert (card.name, [warning.code for warning in warnings]) == ("Vesna", ["truncated"]), cut


def test_what_follows_the_image_is_said_and_dropped_by_an_edit() -> None:
    data = png(text(b64encode(TEXT)), tail=b"trailing bytes")
    card, warnings = read_card(data, "x")
    assert [str(warning) for warning in warnings] == ["14 bytes follow the image"]
    assert export_card(card, "png") == data
    assert export_card(card.edited("creator", "me"), "png").endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b64encode(TEXT), ""),
        (b" \n" + b"\r\n".join(b64encode(TEXT)[n : n + 76] for n in range(0, 999, 76)) + b"\0", ""),
        (b64encode(TEXT).replace(b"+", b"-").replace(b"/", b"_"), ""),
        (b64encode(TEXT + b" ").rstrip(b"="), ""),
        (b64encode(TEXT) + b"==", ""),
        (TEXT, ""),
        (b"\n\t" + TEXT, ""),
        (b64encode(b64encode(TEXT)), ""),
        (b64encode(b64encode(b64encode(TEXT))), "json"),
        (b"%%%", "base64"),
        (b64encode(TEXT)[:-3], "base64"),
        (b"", "json"),
    ],
)
def test_base64(payload: bytes, code: str) -> None:
    try:
        assert read_card(png(text(payload)), "x")[0].name == "Vesna"
        found = ""
    except CardError as error:
        found = error.code
    assert found == code


@pytest.mark.parametrize(
    ("number", "value", "said"),
    [
        ("-0", 0, 0),
        ("-0.0", -0.0, 0),
        ("1e999", None, 1),
        ("-Infinity", None, 1),
        ("NaN", None, 1),
        ("9" * 5_000, None, 1),
        ("9" * 300, int("9" * 300), 0),
        ("1e-999", 0.0, 0),
    ],
)
def test_odd_numbers(number: str, value: float | None, said: int) -> None:
    card, warnings = read_card(f'{{"name":"A","description":"x","n":{number}}}'.encode(), "x")
    found = card.document["n"]
    assert (found, type(found)) == (value, type(value))
    assert value is None or math.copysign(1, found) == math.copysign(1, value)
    assert len(warnings) == said
    assert read_card(export_card(card.edited("description", "y"), "json"))[0].document["n"] == value


@pytest.mark.parametrize("form", ["json", "yaml", "md", "png", "charx"])
def test_a_lone_surrogate_in_every_form(form: Any) -> None:
    data = {**V2["data"], "name": "A\ud83d", "description": "\udc00 x", "tags": ["\ud800"]}
    card, _ = read_card(json.dumps({**V2, "data": data}).encode(), "x")
    again, _ = read_card(export_card(card.edited("creator", "\udfff"), form), "x")
    assert (again.name, again.description, again.tags, again.creator) == (
        "A\ud83d",
        "\udc00 x",
        ["\ud800"],
        "\udfff",
    )


@pytest.mark.parametrize(
    ("document", "spec", "name", "said"),
    [
        ({"data": V2["data"]}, "v2", "Vesna", ["shape"]),
        ({**V2, "data": {**V2["data"], "nickname": "Ves"}}, "v2", "Vesna", []),
        ({"data": {**V2["data"], "nickname": "Ves"}}, "v3", "Vesna", ["shape"]),
        ({**V2, "spec": "chara_card_v4"}, "v3", "Vesna", ["newer"]),
        ({**V2, "spec": "CHARA_CARD_V2"}, "v2", "Vesna", []),
        ({**V2, "spec": 2}, "v2", "Vesna", ["shape"]),
        ({**V2, "spec_version": "3.1"}, "v2", "Vesna", ["newer"]),
        ({**V2, "spec_version": 2}, "v2", "Vesna", ["type"]),
        ({**FIELDS, "spec": "chara_card_v2"}, "v1", "Vesna", ["shape"]),
        ({**V2, **FIELDS, "name": "Root"}, "v2", "Vesna", []),
        ({"card": V2}, "v2", "Vesna", []),
        ({"character": V2, "x": 1}, "v2", "Vesna", []),
        ({"chara_card": FIELDS}, "v1", "Vesna", []),
    ],
)
def test_a_shape_and_what_is_said_of_it(document: Any, spec: str, name: str, said: list[str]) -> None:
    card, warnings = read_card(json.dumps(document).encode(), "x")
    assert (card.spec, card.name, [warning.code for warning in warnings]) == (spec, name, said)
    assert json.loads(export_card(card, "json")) == document


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch made']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [1]",
        "!!binary aGk=",
        "!!set {a}",
        "!!timestamp 2024-01-01",
        "!custom x",
    ],
)
def test_yaml_makes_no_objects(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CardError) as caught:
        read_card(f"name: A\ngreeting: x\nodd: {value}\n".encode(), "x.yaml")
    assert caught.value.code == "yaml"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["data.tags[1]", 'data["tags"][1]'])
def test_markdown_puts_a_text_where_its_comment_says(place: str) -> None:
    front = "data:\n  name: A\n  first_mes: x\n  description: &d (below)\n"
    front += "  tags: [a, (below)]\n  notes: [*d, b]\n"
    text = f"---\nspec: chara_card_v2\n{front}---\n\n<!-- data.description -->\nD\n\n<!-- {place} -->\nT\n"
    text += "\n<!-- data.notes[0] -->\nN\n"
    card, _ = read_card(text.encode(), "x.md")
    assert (card.description, card.tags, card.document["data"]["notes"]) == ("D", ["a", "T"], ["N", "b"])

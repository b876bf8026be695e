"""Cards in PNG chunks: every kind and place is read, what is foreign is kept, nothing is decoded."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from typing import Any

import pytest
import tavern_card
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cards import limits
from cards.errors import CardError
from cards.png import mapped_cards, with_text_of, without_card, write_card_png
from cards.png_chunks import text_chunks
from cards.reading import read_card
from cards.writing import export_card

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def header(width: int = 2, height: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


IDAT = chunk(b"IDAT", zlib.compress((b"\0" + b"\x80\x40\x20" * 2) * 2))
IEND = chunk(b"IEND", b"")


def png(*before: bytes, after: tuple[bytes, ...] = (), tail: bytes = b"") -> bytes:
    return SIGNATURE + header() + b"".join(before) + IDAT + b"".join(after) + IEND + tail


def card(name: str = "Samuel", **more: Any) -> dict[str, Any]:
    return {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {
            "name": name,
            "description": "A vampire.",
            "first_mes": "Good evening.",
            "extensions": {},
            **more,
        },
    }


def coded(document: Any) -> bytes:
    return b64encode(json.dumps(document).encode())


def text(keyword: str, payload: bytes) -> bytes:
    return chunk(b"tEXt", keyword.encode() + b"\0" + payload)


def ztxt(keyword: str, payload: bytes) -> bytes:
    return chunk(b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(payload))


def itxt(keyword: str, payload: bytes, compressed: bool = False) -> bytes:
    body = zlib.compress(payload) if compressed else payload
    return chunk(b"iTXt", keyword.encode() + bytes([0, compressed, 0]) + b"en\0\0" + body)


CODED = coded(card())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(text("chara", CODED)), id="tEXt"),
        pytest.param(png(ztxt("chara", CODED)), id="zTXt"),
        pytest.param(png(itxt("chara", CODED)), id="iTXt"),
        pytest.param(png(itxt("chara", CODED, compressed=True)), id="iTXt compressed"),
        pytest.param(png(text("Chara", CODED)), id="Chara"),
        pytest.param(png(text("CCV3", CODED)), id="CCV3"),
        pytest.param(png(text("character", CODED)), id="character"),
        pytest.param(png(text("ccv2", CODED)), id="ccv2"),
        pytest.param(png(after=(text("chara", CODED),)), id="after IDAT, as SillyTavern writes"),
        pytest.param(
            png(text("Title", b"x"), text("risuai", b"y" * 9999), text("chara", CODED)), id="among others"
        ),
        pytest.param(
            png(text("chara", b"\n".join(CODED[i : i + 60] for i in range(0, len(CODED), 60)))), id="lines"
        ),
        pytest.param(png(text("chara", CODED.rstrip(b"="))), id="no padding"),
        pytest.param(
            png(text("chara", urlsafe_b64encode(json.dumps(card(tags=["??>>~~"])).encode()))), id="url-safe"
        ),
        pytest.param(png(text("chara", json.dumps(card()).encode())), id="bare JSON"),
        pytest.param(png(text("chara", b64encode(CODED))), id="base64 twice"),
        pytest.param(png(text("chara", b64encode(b"\xef\xbb\xbf" + json.dumps(card()).encode()))), id="BOM"),
        pytest.param(png(text("chara", b64encode(json.dumps(card()).encode("utf-16")))), id="UTF-16"),
        pytest.param(png(ztxt("ccv3", b"not a card"), text("chara", CODED)), id="broken ccv3, good chara"),
        pytest.param(png(text("chara", CODED)).replace(IDAT, b""), id="no IDAT"),
        pytest.param(SIGNATURE + text("chara", CODED) + header() + IDAT + IEND, id="before IHDR"),
        pytest.param(
            SIGNATURE + header(60_000, 60_000) + text("chara", CODED) + IDAT + IEND, id="60000x60000"
        ),
        pytest.param(SIGNATURE + header(0, 0) + text("chara", CODED) + IEND, id="0x0"),
        pytest.param(
            b"\x89PNG\n\x1a\n\0" + header() + text("chara", CODED) + IEND, id="signature damaged in transfer"
        ),
    ],
)
def test_a_card_is_found(data: bytes) -> None:
    found, _ = read_card(data, "x.png")
    assert (found.name, found.description, found.container) == ("Samuel", "A vampire.", "png")
    assert found.avatar == data


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        (png(chunk(b"tEXt", b"chara\0" + CODED, checksum=1)), "checksum", "chara"),
        (png(text("chara", CODED), tail=b"PK\x03\x04 trailing"), "trailing", ""),
        (png(tail=text("chara", CODED)), "after-end", "chara"),
        (SIGNATURE + header() + text("chara", CODED) + IDAT[:20], "truncated", ""),
        (SIGNATURE + header() + text("chara", CODED) + IDAT + IEND[:6], "truncated", ""),
        (png(text("chara", CODED), text("chara", coded(card("Other")))), "conflict", "chara"),
        (png(text("chara", coded(card("Old"))), text("ccv3", CODED)), "conflict", "chara"),
        (png(chunk(b"zTXt", b"ccv3\0\x07" + zlib.compress(CODED)), text("chara", CODED)), "chunk", "ccv3"),
        (png(chunk(b"zTXt", b"ccv3\0\0" + b"garbage"), text("chara", CODED)), "chunk", "ccv3"),
        (png(text("ccv3", b"****"), text("chara", CODED)), "base64", "ccv3"),
    ],
)
def test_what_is_odd_is_a_warning(data: bytes, code: str, field: str) -> None:
    found, warnings = read_card(data, "x.png")
    assert found.name == "Samuel"
    assert (code, field) in [(warning.code, warning.field) for warning in warnings]


def test_two_copies_that_say_the_same_are_nothing_odd() -> None:
    same = {**card(), "spec": "chara_card_v3", "spec_version": "3.0"}
    found, warnings = read_card(png(text("chara", CODED), text("ccv3", coded(same))))
    assert found.spec == "v3"
    assert warnings == []


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (png(), "no-card", "no character data"),
        (png(text("Comment", b"hello")), "no-card", "portrait"),
        (SIGNATURE + header() + text("chara", CODED)[:-30], "truncated", "truncated"),
        (SIGNATURE + header() + b"\xff\xff\xff\xfftEXtchara\0" + CODED, "truncated", "truncated"),
        (SIGNATURE + header() + IDAT[:10], "truncated", "truncated"),
        (png(text("chara", b"this is !! not base64")), "base64", "neither base64 nor JSON"),
        (png(text("chara", CODED[: len(CODED) // 8 * 4])), "json", "line 1 column"),
        (png(text("chara", b"rcc||rccv1||AAAA||00||")), "encrypted", "RisuAI"),
        (png(text("chara", coded([1, 2]))), "not-a-card", "list"),
        (png(text("chara", coded({"entries": [{"keys": ["a"], "content": "b"}]}))), "lorebook", "lorebook"),
        (png(ztxt("chara", b"\0" * 300_000_000)), "chunk", "limit"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(data: bytes, code: str, words: str) -> None:
    with pytest.raises(CardError) as caught:
        read_card(data, "some\x1b[31mcard.png")
    assert caught.value.code == code
    line = str(caught.value)
    assert words in line
    assert line.startswith("somecard.png: ")
    assert "\n" not in line


def test_a_bomb_beside_a_card_does_not_matter() -> None:
    bomb = zlib.compressobj(9)
    packed = bomb.compress(b"\0" * limits.INFLATED_TEXT) + bomb.compress(b"\0" * 1000) + bomb.flush()
    data = png(chunk(b"zTXt", b"ccv3\0\0" + packed), text("chara", CODED))
    begun = time.process_time()
    found, warnings = read_card(data)
    assert found.name == "Samuel"
    assert any("limit" in warning.message for warning in warnings)
    assert time.process_time() - begun < 1


def test_a_long_chunk_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PNG_CHUNK", 1000)
    _, warnings = read_card(png(text("ccv3", b"A" * 2000), text("chara", CODED)))
    assert [warning.code for warning in warnings] == ["too-large"]


@pytest.mark.parametrize(
    "flood",
    [
        text("chara", b"{") * 300_000,
        text("chara", b"{") * 90_000,
        chunk(b"abcd", b"") * 300_000,
        chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"\0" * 60_000_000)) * 40,
        chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"{" * 20_000_000)) * 40,
    ],
    ids=["many cards", "cards", "many chunks", "bombs over the limit", "bombs under it"],
)
def test_a_flood_of_chunks_ends_soon(flood: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(CardError):
        read_card(png(flood))
    assert time.process_time() - begun < 2


def test_a_flood_of_bombs_beside_a_card_is_written_soon() -> None:
    bomb = chunk(b"zTXt", b"card\0\0" + zlib.compress(b"{" + b"0" * 23_000_000, 9))
    private = {**card(), "chat": "last night"}
    image = png(text("chara", coded(private)), bomb * 60)
    begun = time.process_time()
    read, _ = read_card(image)
    unedited = export_card(read)
    edited = export_card(read.edited("description", "Another."))
    assert time.process_time() - begun < 2
    assert (read_card(unedited)[0].document, len(unedited) > len(bomb) * 60) == (card(), True)
    assert len(edited) < len(bomb)


FOREIGN = (
    text("Title", b"Vampire"),
    chunk(b"gAMA", b"\0\0\xb1\x8f"),
    ztxt("Description", b"long " * 40),
    itxt("XML:com.adobe.xmp", b"<x/>"),
)


def test_what_is_written_is_read_by_others_and_foreign_chunks_stay() -> None:
    old = png(
        *FOREIGN[:2],
        text("chara", coded(card("Stale"))),
        after=(*FOREIGN[2:], ztxt("CCV3", CODED)),
        tail=text("chara", CODED),
    )
    v2 = card("New", tags=["vampire"])
    v3 = {**v2, "spec": "chara_card_v3", "spec_version": "3.0"}
    written = write_card_png(old, v2, v3)
    kinds = [(found.keyword, found.kind) for found in text_chunks(written).chunks]
    assert kinds == [
        ("Title", "tEXt"),
        ("chara", "tEXt"),
        ("ccv3", "tEXt"),
        ("Description", "zTXt"),
        ("XML:com.adobe.xmp", "iTXt"),
    ]
    assert [written.find(one) for one in FOREIGN] == sorted(written.find(one) for one in FOREIGN)
    assert all(one in written for one in FOREIGN)
    info = Image.open(io.BytesIO(written)).info
    chara = json.loads(b64decode(info["chara"]))
    assert chara == {**v2, "name": "New", "description": "A vampire.", "first_mes": "Good evening."}
    assert json.loads(b64decode(info["ccv3"])) == v3
    assert without_card(written) == png(*FOREIGN[:2], after=FOREIGN[2:])


def test_the_tavern_card_package_reads_what_is_written() -> None:
    names = (
        "personality",
        "scenario",
        "mes_example",
        "creator_notes",
        "system_prompt",
        "post_history_instructions",
    )
    document = card(alternate_greetings=["Oh."], tags=["a"], creator="me", character_version="1")
    document["data"] |= {name: name.upper() for name in names}
    written = write_card_png(png(), document, {**document, "spec": "chara_card_v3", "spec_version": "3.0"})
    read = tavern_card.parse_png_card(written)["data"]
    ours, _ = read_card(written)
    assert {name: read[name] for name in names} == {name: name.upper() for name in names}
    assert (read["name"], read["tags"], read["alternate_greetings"]) == (
        ours.name,
        ours.tags,
        ours.alternate_greetings,
    )


def test_pixels_are_the_same_bytes() -> None:
    written = write_card_png(png(text("chara", CODED)), card(), card())
    assert IDAT in written
    assert written.count(b"IDAT") == 1


def test_a_cut_picture_is_closed() -> None:
    written = write_card_png(SIGNATURE + header() + IDAT[:30], card(), card())
    assert written.endswith(IEND)
    assert read_card(written)[1] == []


def test_text_moves_to_another_picture() -> None:
    moved = with_text_of(png(), png(*FOREIGN, text("chara", CODED)))
    assert [found.keyword for found in text_chunks(moved).chunks] == [
        "Title",
        "Description",
        "XML:com.adobe.xmp",
    ]


def test_changing_a_document_in_place_leaves_the_rest() -> None:
    data = png(
        FOREIGN[0], text("Chara", coded({**card(), "fav": True})), after=(text("ccv3", CODED),), tail=b"tail"
    )
    changed = mapped_cards(
        data,
        lambda document: {k: v for k, v in document.items() if k != "fav"} if "fav" in document else document,
    )
    assert changed == png(
        FOREIGN[0],
        text("Chara", b64encode(json.dumps(card(), separators=(",", ":")).encode())),
        after=(text("ccv3", CODED),),
        tail=b"tail",
    )
    assert mapped_cards(data, lambda document: document) is data


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters()), JSON, max_size=4), st.text(st.characters(), min_size=1))
def test_any_document_written_is_read_again_equal(more: dict[str, Any], name: str) -> None:
    document = {**card(name), "spec": "chara_card_v3", "spec_version": "3.0"}
    document["data"] |= {key: value for key, value in more.items() if key not in document["data"]}
    found, _ = read_card(write_card_png(png(*FOREIGN), card("Other"), document))
    assert found.document == document


@settings(max_examples=300)
@given(st.data())
def test_no_damage_raises_anything_but_a_card_error(data: st.DataObject) -> None:
    whole = bytearray(png(ztxt("chara", CODED), itxt("ccv3", CODED, True), after=(text("chara", CODED),)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not whole:
            break
    try:
        read_card(bytes(whole))
    except CardError:
        return

"""What leaves as it came, what an edit touches, and what a PNG or CHARX holds after one."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import tavern_card
from PIL import Image

from cards.avatar import with_avatar
from cards.card import Card
from cards.paths import parsed_path, written_path
from cards.png import blank_png, trailing_bytes
from cards.png_chunks import text_chunks
from cards.reading import read_card
from cards.writing import dropped_bytes, export_card, file_ending, losses

FIELDS: dict[str, Any] = {
    "name": "Vesna",
    "description": "A keeper.",
    "personality": "",
    "scenario": "",
    "first_mes": "Late again.",
    "mes_example": "",
}
PRIVATE: dict[str, Any] = {"chat": "Vesna - Friday", "fav": True, "create_date": "2023-5-1", "last_mes": 7}
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab a picture \xff\xd9"


def v2(**data: Any) -> dict[str, Any]:
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**FIELDS, "extensions": {}, **data}}


def v3(**data: Any) -> dict[str, Any]:
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**FIELDS, "nickname": "V", **data}}


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def coded(document: Any) -> bytes:
    return base64.b64encode(json.dumps(document).encode())


def png(document: Any, *, kind: bytes = b"zTXt", tail: bytes = b"") -> bytes:
    """As many tools write it: compressed, after the picture, other text around it."""
    packed = b"\0" + zlib.compress(coded(document)) if kind == b"zTXt" else coded(document)
    blank = blank_png()
    texts = chunk(b"tEXt", b"Title\0Late") + chunk(kind, b"Chara\0" + packed)
    return blank[:-12] + texts + blank[-12:] + tail


def charx(document: Any, front: bytes = b"", icon: bytes = b"\x89PNG old icon") -> bytes:
    out = io.BytesIO()
    out.write(front)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"made elsewhere"
        archive.writestr("assets/icon/image/1.png", icon)
        archive.writestr("assets/emotion/image/joy.png", b"joy")
        archive.writestr("card.json", json.dumps(document))
        archive.writestr("module.risum", b"rpack")
    return out.getvalue()


def webp(comment: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + comment
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(out, "WEBP", exif=exif, lossless=True)
    return out.getvalue()


def numbers(document: Any) -> bytes:
    return b",".join(b"%d" % byte for byte in json.dumps(document).encode())


def byaf() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"characters": ["c.json"], "scenarios": []}))
        archive.writestr("c.json", json.dumps({"name": "Vesna", "persona": "A keeper."}))
    return out.getvalue()


YAML = "# mine\nname: Vesna   # a comment\ncontext: A keeper.\ngreeting: Late again.\n"
MARKDOWN = (
    "---\nspec: chara_card_v2\nspec_version: '2.0'\ndata:\n  name: Vesna\n  description: A keeper.\n---\n"
)
FILES: dict[str, tuple[bytes, str]] = {
    "png": (png(v2(), tail=b"more bytes"), ".png"),
    "json": (b"\xef\xbb\xbf" + json.dumps(v2(), indent=3).encode() + b"\r\n", ".json"),
    "v1": (json.dumps({**FIELDS, "metadata": {"tool": "x"}}).encode(), ".json"),
    "yaml": (YAML.encode(), ".yaml"),
    "markdown": (MARKDOWN.encode(), ".md"),
    "charx": (charx(v3()), ".charx"),
    "charx behind a jpeg": (charx(v3(), JPEG), ".jpg"),
    "webp": (webp(json.dumps(FIELDS).encode()), ".webp"),
    "byaf": (byaf(), ".byaf"),
}


def read(data: bytes) -> Card:
    return read_card(data, "vesna")[0]


@pytest.mark.parametrize(("data", "ending"), FILES.values(), ids=FILES.keys())
def test_without_a_form_a_card_leaves_in_its_own_container_as_it_came(data: bytes, ending: str) -> None:
    card = read(data)
    assert file_ending(card) == ending
    assert export_card(card) == data


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda value: png(value, tail=b"more bytes"), id="png"),
        pytest.param(lambda value: json.dumps(value, indent=3).encode(), id="json"),
        pytest.param(lambda value: json.dumps({"card": value}).encode(), id="envelope"),
        pytest.param(charx, id="charx"),
        pytest.param(lambda value: charx(value, JPEG), id="charx behind a jpeg"),
        pytest.param(lambda value: webp(json.dumps(value).encode()), id="webp"),
        pytest.param(lambda value: webp(numbers(value)), id="webp, numbers"),
        pytest.param(lambda value: webp(coded(value)), id="webp, base64"),
    ],
)
def test_private_keys_go_and_nothing_else(made: Callable[[Any], bytes]) -> None:
    document = {**v2(fav="of data, so it stays"), **PRIVATE, "extra": [1, 2.0]}
    data = made(document)
    card = read(data)
    out = export_card(card)
    again = read(out)
    held = again.document.get("card", again.document)
    assert held == {key: value for key, value in document.items() if key not in PRIVATE}
    assert again.container == card.container
    assert export_card(card, keep_private=True) == data
    assert b"Vesna - Friday" not in out
    if card.container == "webp":
        assert len(out) == len(data)
        assert Image.open(io.BytesIO(out)).tobytes() == Image.open(io.BytesIO(data)).tobytes()
    if card.container == "jpeg":
        assert out.startswith(JPEG)
    if card.container in ("charx", "jpeg"):
        assert members(out).keys() == members(data).keys()
        assert zipfile.ZipFile(io.BytesIO(out)).comment == b"made elsewhere"
    if card.container == "png":
        assert out.endswith(b"more bytes")
        assert [found.keyword for found in text_chunks(out).chunks] == ["Title", "Chara"]


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("made", [json.loads, None], ids=["json", "png"])
@pytest.mark.parametrize("version", [v2, v3])
def test_an_edit_keeps_what_is_odd_elsewhere(made: Any, version: Callable[..., dict[str, Any]]) -> None:
    document = {**version(character_book=None, odd={"a": [None]}), "spec_version": 2.5, "root": None}
    card = read(json.dumps(document).encode() if made else png(document))
    out = export_card(card.edited("scenario", "New."))
    if made:
        written = json.loads(out)
    else:
        keyword = "chara" if version is v2 else "ccv3"
        texts = {found.keyword: found.text for found in text_chunks(out).chunks}
        written = json.loads(base64.b64decode(texts[keyword]))
        assert read(out).document["data"]["character_book"] is None
    before, after = document.pop("data"), written.pop("data")
    assert after == {**after, **before, "scenario": "New."}
    added = {"creator_notes", "system_prompt", "post_history_instructions", "alternate_greetings", "tags"}
    added |= {"creator", "character_version", "extensions", "group_only_greetings"}
    assert after.keys() - before.keys() <= added
    assert document.items() <= written.items()
    assert written.keys() - document.keys() <= set(FIELDS)  # the V1 mirror


@pytest.mark.parametrize(("spec", "keywords"), [(1, ["chara"]), (2, ["chara"]), (3, ["chara", "ccv3"])])
def test_a_png_is_converted(spec: Any, keywords: list[str]) -> None:
    card = read(png(v3(tags=["sea"])))
    out = export_card(card, "png", spec=spec)
    assert [found.keyword for found in text_chunks(out).chunks if found.keyword != "Title"] == keywords
    again = read(out)
    assert (again.spec, again.description) == (f"v{spec}", "A keeper.")
    assert ("nickname" in json.dumps(again.document)) == (spec == 3)
    chara = json.loads(base64.b64decode(text_chunks(out, ("chara",)).chunks[0].text))
    assert chara.items() >= FIELDS.items()
    assert chara.get("spec") == (None if spec == 1 else "chara_card_v2")


def test_what_becomes_v1_says_all_that_it_loses() -> None:
    card = read(json.dumps(v3(site_field="x", empty="", tags=["sea"])).encode())
    assert losses(card, 1) == ["nickname", "tags", "site_field"]
    flat = {**FIELDS, "creatorcomment": "by me", "tags": ["sea"]}
    same = read(json.dumps(flat).encode())
    assert losses(same, 1) == []
    assert json.loads(export_card(same, "json", spec=1)) == flat


# Bytes after the picture --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "count"),
    [(b"", 0), (b"more bytes", 10), (chunk(b"tEXt", b"chara\0" + coded(v2())), 0)],
)
def test_bytes_after_the_end_are_counted_before_they_go(tail: bytes, count: int) -> None:
    card = read(png(v2(), tail=tail))
    edited = card.edited("scenario", "New.")
    assert (dropped_bytes(card), dropped_bytes(edited)) == (0, count)
    assert (dropped_bytes(card, "png", 2), dropped_bytes(card, "json")) == (count, 0)
    assert trailing_bytes(export_card(edited)) == 0


# A portrait in a CHARX ----------------------------------------------------------------------------------


def picture(form: str = "WEBP") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (6, 3), (200, 10, 10)).save(out, form)
    return out.getvalue()


def icon(uri: str, name: str = "main") -> dict[str, str]:
    return {"type": "icon", "uri": uri, "name": name, "ext": "png"}


JOY = {"type": "emotion", "uri": "embeded://assets/emotion/image/joy.png", "name": "joy", "ext": "png"}


@pytest.mark.parametrize("front", [b"", JPEG])
@pytest.mark.parametrize(
    ("assets", "gone"),
    [
        ([JOY, icon("embeded://assets/icon/image/1.png")], True),
        ([icon("embeded://assets/icon/image/1.png", "face")], True),
        (
            [icon("embeded://assets/icon/image/1.png"), {**JOY, "uri": "embeded://assets/icon/image/1.png"}],
            False,
        ),
        (None, False),
        ([icon("https://example.invalid/x.png")], False),
    ],
)
def test_a_portrait_takes_the_main_icons_place(front: bytes, assets: Any, gone: bool) -> None:
    data = charx(v3(**({"assets": assets} if assets else {})), front)
    card = read(data)
    out = export_card(with_avatar(card, picture()))
    again, warnings = read_card(out)
    assert (again.container, [warning.code for warning in warnings]) == (card.container, ["scripts"])
    assert again.avatar is not None
    assert Image.open(io.BytesIO(again.avatar)).size == (6, 3)
    held = members(out)
    assert held["assets/icon/image/main.png"] == again.avatar
    assert ("assets/icon/image/1.png" in held) == (not gone)
    assert (held["assets/emotion/image/joy.png"], held["module.risum"]) == (b"joy", b"rpack")
    listed = again.document["data"]["assets"]
    assert [asset["name"] for asset in listed if asset["type"] == "icon"] == ["main"]
    assert {json.dumps(asset) for asset in assets or [] if asset["type"] == "emotion"} <= {
        json.dumps(asset) for asset in listed
    }
    if front:
        assert Image.open(io.BytesIO(out)).size == (6, 3)


def test_a_second_portrait_leaves_one() -> None:
    card = read(charx(v2()))
    for _ in range(2):
        card = read(export_card(with_avatar(card, picture())))
    assert [name for name in members(card.source or b"") if "main" in name] == ["assets/icon/image/main.png"]


def test_many_icons_without_a_main_one_stay() -> None:
    assets = [icon(f"/storage/{n}.mp4", f"n{n}") for n in range(3)]
    out = export_card(with_avatar(read(charx(v3(assets=assets))), picture()))
    listed = read(out).document["data"]["assets"]
    assert (listed[0]["name"], listed[1:]) == ("main", assets)


def test_members_of_any_kind_pass_an_edit(recwarn: pytest.WarningsRecorder) -> None:
    out = io.BytesIO(charx(v3()))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x/packed.bin", b"p" * 999)
        archive.writestr("module.risum", b"second")
        archive.writestr("../evil", b"e")
    recwarn.clear()
    edited = export_card(read(out.getvalue()).edited("scenario", "New."))
    with zipfile.ZipFile(io.BytesIO(out.getvalue())) as old, zipfile.ZipFile(io.BytesIO(edited)) as new:
        kept = [[(m.filename, m.CRC, m.compress_type) for m in z.infolist()] for z in (old, new)]
    assert [member for member in kept[0] if member[0] != "card.json"] == [
        member for member in kept[1] if member[0] != "card.json"
    ]
    assert list(recwarn) == []


def test_a_pngs_icon_is_the_png() -> None:
    assets = [JOY, icon("embeded://assets/icon/image/1.png")]
    out = export_card(read(charx(v3(assets=assets), icon=blank_png())), "png")
    listed = read(out).document["data"]["assets"]
    assert listed == [JOY, icon("ccdefault:")]
    again = read(export_card(read(out), "charx"))
    assert (again.avatar, again.document["data"]["assets"]) == (
        blank_png(),
        [JOY, icon("embeded://assets/icon/image/main.png")],
    )


# Paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("data.tags[0]", ("data", "tags", 0)),
        ("data.tags.0", ("data", "tags", "0")),
        ('data.extensions["a.b"].c', ("data", "extensions", "a.b", "c")),
        ("data.extensions.mine/x", ("data", "extensions", "mine/x")),
        ('["odd key"][2]', ("odd key", 2)),
    ],
)
def test_a_written_path(text: str, parts: tuple[Any, ...]) -> None:
    assert parsed_path(text) == parts
    assert parsed_path(written_path(parts)) == parts


@pytest.mark.parametrize("text", ["a[", "a[x]", "a..b", "a.", ".a", "a[0]b", "a[true]", "a[1"])
def test_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        parsed_path(text)


# Other programs' readers --------------------------------------------------------------------------------


def strict(data: bytes) -> dict[str, Any]:
    """The document in the first tEXt chunk with the keyword chara; every checksum must be right."""
    position, found = 8, None
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert int.from_bytes(data[position + 8 + length :][:4], "big") == zlib.crc32(kind + body)
        keyword, _, value = body.partition(b"\0")
        if kind == b"tEXt" and keyword == b"chara" and found is None:
            found = json.loads(base64.b64decode(value, validate=True))
        position += 12 + length
    assert found is not None
    return dict(found)


USED = {
    "personality": "calm",
    "scenario": "A harbour.",
    "mes_example": "<START>\n{{char}}: Hm.",
    "creator_notes": "n",
    "system_prompt": "s",
    "post_history_instructions": "p",
    "alternate_greetings": ["Oh."],
    "tags": ["sea"],
    "creator": "me",
    "character_version": "2",
}
PYGMALION = {"char_name": "Vesna", "char_persona": "A keeper.", "char_greeting": "Late again."}
SOURCES: dict[str, bytes] = {
    "v1": json.dumps({**FIELDS, "scenario": "A harbour."}).encode(),
    "v2": png(v2(**USED)),
    "v3": png(v3(**USED)),
    "pygmalion": json.dumps(PYGMALION).encode(),
    "charx": charx(v3(**USED), icon=blank_png()),
    "webp": webp(json.dumps(v2(**USED)).encode()),
    "yaml": YAML.encode(),
    "byaf": byaf(),
}


@pytest.mark.parametrize("change", ["edited", "converted", "put into a PNG"])
@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES.keys())
def test_every_reader_sees_the_same(data: bytes, change: str) -> None:
    card = read(data)
    if change == "edited":
        card = card.edited("first_mes", "“Späť?” 😀")
    out = export_card(card, "png", spec=3 if change != "edited" else None)
    ours = read(out)
    chara = strict(out)
    assert json.loads(base64.b64decode(Image.open(io.BytesIO(out)).info["chara"])) == chara
    theirs = tavern_card.parse_png_card(out)["data"]
    for name in (*FIELDS, *USED):
        value = getattr(card, name)
        assert getattr(ours, name) == value
        assert chara["data"][name] == theirs[name] == value
    assert {name: chara[name] for name in FIELDS} == {name: getattr(card, name) for name in FIELDS}
    assert chara["spec"] == "chara_card_v2"

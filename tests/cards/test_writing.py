"""Nothing is lost: the unedited leaves as it came, an edit changes its own path, every form reads back."""

from __future__ import annotations

import base64
import copy
import io
import json
import random
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cards.avatar import picture_as_png, with_avatar
from cards.card import Card, card_from_document
from cards.conversion import as_v1, as_v2, as_v3, losses
from cards.errors import CardError
from cards.png import blank_png, write_card_png
from cards.png_chunks import text_chunks
from cards.reading import read_card
from cards.writing import ExportFormat, export_card

V1: dict[str, Any] = {
    "name": "Samuel",
    "description": "A vampire.",
    "personality": "",
    "scenario": "",
    "first_mes": "Good evening.",
    "mes_example": "",
    "metadata": {"tool": "x"},
}
V2: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "unknown": [1, {"two": None}],
    "data": {
        "name": "Samuel",
        "description": "A vampire.",
        "tags": "a, b",
        "mes_example": ["odd", "list"],
        "extensions": {"chub": {"id": 7}, "talkativeness": "0.5"},
        "character_book": {"entries": [{"keys": ["k"], "content": "c", "custom": 1.5}], "odd": True},
        "site_field": "kept",
    },
}
V3: dict[str, Any] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        **V2["data"],
        "nickname": "Sam",
        "assets": [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}],
        "source": ["https://example.invalid/1"],
        "creation_date": 1700000000,
        "group_only_greetings": [],
    },
}
PYGMALION: dict[str, Any] = {
    "char_name": "Samuel",
    "char_persona": "A vampire.",
    "char_greeting": "Good evening.",
    "extra": 1,
}
AGNAI: dict[str, Any] = {
    "kind": "character",
    "name": "Samuel",
    "persona": {"kind": "text", "attributes": {"text": ["A vampire."]}},
    "greeting": "Good evening.",
    "scenario": "",
    "sampleChat": "",
}
DOCUMENTS = [V1, V2, V3, PYGMALION, AGNAI, {"card": V2}, {**V2, "name": "Samuel", "description": "stale"}]
FORMS: list[ExportFormat] = ["png", "json", "charx", "yaml", "md"]


def card_of(document: dict[str, Any], picture: bytes | None = None) -> Card:
    data = json.dumps(document).encode()
    if picture is not None:
        payload = base64.b64encode(data)
        body = b"tEXtchara\0" + payload
        part = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        data = picture[:33] + part + picture[33:]
    return read_card(data, "samuel.json")[0]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_was_not_edited_is_as_it_came(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    plain = card_of(document)
    assert export_card(plain, "json") == json.dumps(document).encode()
    pictured = card_of(document, blank_png())
    assert export_card(pictured, "png") == pictured.source
    assert json.loads(export_card(pictured, "json")) == document
    for form in ("yaml", "md"):
        again, _ = read_card(export_card(plain, form))
        assert again.document == document
        assert again.spec == plain.spec
    assert document == before


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_what_is_used(document: dict[str, Any], form: ExportFormat) -> None:
    card = card_of(document)
    again, _ = read_card(export_card(card, form, spec=3 if form == "charx" else None))
    for name in (
        "name",
        "description",
        "first_mes",
        "mes_example",
        "tags",
        "character_version",
        "extensions",
    ):
        assert getattr(again, name) == getattr(card, name)
    assert (again.character_book is None) == (card.character_book is None)


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("field", ["description", "first_mes", "name"])
def test_an_edit_changes_its_path_only(document: dict[str, Any], field: str) -> None:
    before = copy.deepcopy(document)
    card = card_of(document)
    edited = card.edited(field, "New text.")
    assert document == before
    assert card.document == document
    assert getattr(edited, field) == "New text."
    assert edited.original is card
    touched = {"data", "card", "persona", *card.path_of(field), field}
    assert all(edited.document[key] is card.document[key] for key in document if key not in touched)
    holder = card.document["data"] if "data" in document else {}
    assert all(edited.document["data"][key] is holder[key] for key in holder if key != field)
    for name in ("name", "description", "first_mes", "mes_example", "tags", "extensions"):
        assert name == field or getattr(edited, name) == getattr(card, name)


def test_the_mirror_follows_an_edit() -> None:
    edited = card_of({**V2, "name": "Samuel", "description": "stale"}).edited("description", "New.")
    assert edited.document["description"] == edited.document["data"]["description"] == "New."
    assert "description" not in card_of(V2).edited("description", "New.").document


def test_edits_by_path() -> None:
    card = card_of(V2)
    edited = card.edited("data.character_book.entries.0.content", "new").edited(
        ("data", "extensions", "mine/x"), [1]
    )
    assert edited.document["data"]["character_book"]["entries"][0] == {
        "keys": ["k"],
        "content": "new",
        "custom": 1.5,
    }
    assert edited.extensions["mine/x"] == [1]
    assert edited.edited("tags", ["z"]).tags == ["z"]
    with pytest.raises(KeyError):
        card.edited("data.character_book.entries.7.content", "x")


def test_an_edited_export_completes_what_is_required_and_keeps_the_rest() -> None:
    edited = card_of(V2).edited("description", "New.")
    document = json.loads(export_card(edited, "json"))
    data = document["data"]
    assert data["description"] == "New."
    assert (data["tags"], data["mes_example"], data["site_field"]) == ("a, b", ["odd", "list"], "kept")
    assert (data["alternate_greetings"], data["creator"]) == ([], "")
    entry = data["character_book"]["entries"][0]
    assert entry == {
        "keys": ["k"],
        "content": "c",
        "custom": 1.5,
        "extensions": {},
        "enabled": True,
        "insertion_order": 100,
    }
    assert data["character_book"]["extensions"] == {}
    assert document["unknown"] == V2["unknown"]
    assert "name" not in document
    flat = json.loads(export_card(card_of(V1).edited("description", "New."), "json"))
    assert flat == {**V1, "description": "New."}


def test_an_edited_png_carries_both_and_the_mirror() -> None:
    card = card_of(V3, blank_png())
    written = export_card(card.edited("description", "New."), "png", now=1800000000)
    chunks = {
        chunk.keyword: json.loads(base64.b64decode(chunk.text)) for chunk in text_chunks(written).chunks
    }
    assert list(chunks) == ["chara", "ccv3"]
    assert chunks["chara"]["spec"] == "chara_card_v2"
    assert chunks["chara"]["description"] == chunks["chara"]["data"]["description"] == "New."
    assert "nickname" not in chunks["chara"]["data"]
    assert chunks["ccv3"]["data"]["nickname"] == "Sam"
    assert chunks["ccv3"]["data"]["modification_date"] == 1800000000
    assert chunks["ccv3"]["data"]["creation_date"] == 1700000000
    assert set(chunks["ccv3"]) == {"spec", "spec_version", "data"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_conversions_are_complete(document: dict[str, Any]) -> None:
    card = card_of(document)
    for convert, spec in ((as_v2, "v2"), (as_v3, "v3"), (as_v1, "v1")):
        again, warnings = card_from_document(convert(card))
        assert again.spec == spec
        assert (again.name, again.description, again.first_mes) == (
            card.name,
            card.description,
            card.first_mes,
        )
        assert not [warning for warning in warnings if warning.code not in ("type",)]
    assert as_v2(card).get("unknown") == (V2["unknown"] if "unknown" in json.dumps(document) else None)


def test_what_a_downgrade_loses() -> None:
    card = card_of(V3)
    assert losses(card, 3) == []
    assert losses(card, 2) == ["nickname", "assets", "source", "creation_date"]
    assert set(losses(card, 1)) >= {"nickname", "tags", "extensions", "character_book"}
    assert losses(card_of(V2), 2) == []
    decorated = card.edited("data.character_book.entries.0.content", "@@depth 2\nx")
    assert any("decorators" in loss for loss in losses(decorated, 2))


@pytest.mark.parametrize("form", ["png", "json", "charx", "yaml", "md"])
def test_private_keys_stay_home(form: ExportFormat) -> None:
    private = {"chat": "Samuel - last night", "fav": True, "create_date": "2024", "last_mes": 1}
    document = {**V2, **private, "data": {**V2["data"], "fav": "data is never touched"}}
    for card in (
        card_of(document),
        card_of(document, blank_png()),
        card_of(document).edited("description", "x"),
    ):
        again, _ = read_card(export_card(card, form))
        assert not set(private) & set(again.document)
        assert again.document["data"]["fav"] == "data is never touched"
        kept, _ = read_card(export_card(card, form, keep_private=True))
        assert set(private) <= set(kept.document)


def test_a_charx_keeps_its_members_and_what_stands_before_it() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("card.json", json.dumps(V3))
        archive.writestr("assets/other/x.bin", b"\0\1")
        archive.writestr("module.risum", b"rpack")
    jpeg = b"\xff\xd8\xff\xe0 picture \xff\xd9"
    card, _ = read_card(jpeg + out.getvalue())
    assert export_card(card, "charx") == jpeg + out.getvalue()
    written = export_card(card.edited("description", "New."), "charx")
    assert written.startswith(jpeg)
    again, _ = read_card(written)
    assert (again.description, again.container) == ("New.", "jpeg")
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert sorted(archive.namelist()) == ["assets/other/x.bin", "card.json", "module.risum"]
        assert archive.read("module.risum") == b"rpack"


@pytest.mark.parametrize("cut", [1, 6, 12, 14, 300, 900])
def test_a_cut_picture_keeps_the_pixels_that_it_had(cut: int) -> None:
    pixels = random.Random(1).randbytes(3 * 20 * 20)
    out = io.BytesIO()
    Image.frombytes("RGB", (20, 20), pixels).save(out, "PNG")
    whole = write_card_png(out.getvalue(), V2)
    card, _ = read_card(whole[:-cut])
    written = export_card(card.edited("description", "Another."))
    assert read_card(written)[0].description == "Another."
    assert text_chunks(written).warnings == []
    body = whole.index(b"IDAT") + 4
    kept = whole[body : min(len(whole) - cut, len(whole) - 16)]
    assert kept in written
    assert written[written.index(kept) + len(kept) :][4:] == whole[-12:]


def test_a_png_becomes_a_charx_with_its_portrait() -> None:
    card = card_of(V2, blank_png())
    again, _ = read_card(export_card(card, "charx"))
    assert again.avatar == blank_png()
    with pytest.raises(CardError, match="V3"):
        export_card(card, "charx", spec=2)


def picture(form: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (4, 2), (200, 10, 10)).save(out, form, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_an_avatar_is_replaced_without_its_metadata(form: str) -> None:
    old = card_of(V2, write_card_png(blank_png(), V2, V3))
    title = b"tEXtTitle\0kept"
    old_picture = (
        blank_png()[:33]
        + (len(title) - 4).to_bytes(4, "big")
        + title
        + zlib.crc32(title).to_bytes(4, "big")
        + blank_png()[33:]
    )
    old = card_of(V2, old_picture)
    new = with_avatar(old, picture(form))
    assert new.avatar is not None
    assert b"taken at home" not in new.avatar
    assert b"eXIf" not in new.avatar
    written = export_card(new, "png")
    assert [chunk.keyword for chunk in text_chunks(written).chunks] == ["Title", "chara", "ccv3"]
    assert read_card(written)[0].description == "A vampire."
    size = Image.open(io.BytesIO(written)).size
    assert size == ((4, 2) if form == "PNG" else (2, 4))


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff broken", b"RIFF\x04\0\0\0WEBP"])
def test_no_picture_is_a_card_error(data: bytes) -> None:
    with pytest.raises(CardError):
        picture_as_png(data)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda text: text.replace("<!-- data.first_mes -->", "<!-- data.nothing -->"), "nothing"),
        (lambda text: text.replace("<!-- data.first_mes -->\n", ""), "first_mes"),
        (lambda text: text.replace("spec:", "spec: ["), "line"),
    ],
)
def test_markdown_that_does_not_parse_says_where(broken: Any, words: str) -> None:
    text = export_card(card_of({**V2, "data": {**V2["data"], "first_mes": "one\ntwo"}}), "md").decode()
    with pytest.raises(CardError) as caught:
        read_card(broken(text).encode())
    assert words in str(caught.value)


def test_markdown_is_for_people() -> None:
    long = "*He bows.*\n\n“Good evening.”\n<!-- data.name -->\n\\<!-- x -->\n"
    document = {**V2, "data": {**V2["data"], "first_mes": long, "system_prompt": "(below)"}}
    text = export_card(card_of(document), "md").decode()
    assert "\n<!-- data.first_mes -->\n*He bows.*\n\n“Good evening.”\n" in text
    assert read_card(text.encode())[0].document == document
    assert read_card(text.replace("\n", "\r\n").encode())[0].document == document


TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(
    [
        "a\nb",
        "---\n",
        "(below)",
        "<!-- x -->\n",
        "\\<!-- x -->",
        "yes",
        "1.0",
        "null",
        "2024-01-01",
        "\r\n",
        "\n\n",
        "x" * 90,
        "\ud800",
        "é\x85",
        "#",
        "- a",
        "a: b",
        "\t",
        " \n",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, JSON, max_size=4), st.dictionaries(TEXT, JSON, max_size=3))
def test_every_document_survives_every_container(data: dict[str, Any], root: dict[str, Any]) -> None:
    document = {
        **{k: v for k, v in root.items() if k not in ("chat", "fav")},
        **V3,
        "data": {**data, **V3["data"]},
    }
    for form in ("json", "yaml", "md"):
        card, _ = card_from_document(document)
        again, _ = read_card(export_card(card, form))  # type: ignore[arg-type]
        assert again.document == document, form
    card, _ = card_from_document(document)
    changed = ("character_book", "assets")  # completed, and given the portrait
    wanted = {key: value for key, value in document["data"].items() if key not in changed}
    for form in ("png", "charx"):
        again, _ = read_card(export_card(card, form))  # type: ignore[arg-type]
        held = again.document["data"]
        assert {key: held[key] for key in wanted} == wanted

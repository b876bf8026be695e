"""What real cards were found to hold: one assertion for each oddity, on cards that are made here."""

from __future__ import annotations

import io
import json
import struct
import zlib
from base64 import b64encode
from typing import Any

import pytest
from PIL import Image

from cards import limits
from cards.avatar import picture_as_png
from cards.card import Card
from cards.display import display_text
from cards.errors import CardError, CardWarning
from cards.lorebook import LoreSettings, activate
from cards.png_chunks import text_chunks
from cards.reading import read_card
from cards.writing import export_card

FIELDS: dict[str, Any] = {
    "name": "Seraph",
    "description": "A guardian.",
    "personality": "",
    "scenario": "",
    "first_mes": "Welcome.",
    "mes_example": "",
}


def document(version: int = 2, **data: Any) -> dict[str, Any]:
    whole = {**FIELDS, "extensions": {}, **data}
    return {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0", "data": whole}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def text(keyword: str, payload: bytes) -> bytes:
    return chunk(b"tEXt", keyword.encode() + b"\0" + payload)


def ztxt(keyword: str, payload: bytes) -> bytes:
    return chunk(b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(payload))


def coded(value: Any) -> bytes:
    return b64encode(json.dumps(value).encode())


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    image = chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + image + chunk(b"IEND", b"")


def read(value: Any) -> tuple[Card, list[CardWarning]]:
    return read_card(value if isinstance(value, bytes) else json.dumps(value).encode(), "x")


def codes(warnings: list[CardWarning]) -> list[str]:
    return [warning.code for warning in warnings]


def test_a_card_in_ztxt_only() -> None:
    assert read(png(ztxt("chara", coded(document()))))[0].name == "Seraph"


def test_chara_and_ccv3_that_are_equal() -> None:
    same = coded(document(3))
    assert read(png(text("chara", same), text("ccv3", same)))[1] == []


def test_chara_and_ccv3_that_differ_in_spec_only() -> None:
    card, warnings = read(png(text("chara", coded(document(2))), text("ccv3", coded(document(3)))))
    assert (card.spec, warnings) == ("v3", [])


def test_chara_and_ccv3_that_differ_in_assets_and_nickname() -> None:
    """What V2 cannot hold is no difference: SillyTavern and rpchat write such pairs."""
    more = document(
        3, nickname="Sera", assets=[{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}]
    )
    card, warnings = read(png(text("chara", coded(document(2))), text("ccv3", coded(more))))
    assert (card.call_name, warnings) == ("Sera", [])


def test_mes_example_is_a_list() -> None:
    card, warnings = read(document(mes_example=["<START>\n{{char}}: a", "<START>\n{{char}}: b"]))
    assert (card.mes_example, [str(w).split(":")[0] for w in warnings]) == (
        "<START>\n{{char}}: a\n<START>\n{{char}}: b",
        ["data.mes_example"],
    )


def test_the_root_says_something_else_than_data() -> None:
    assert read({**document(), **FIELDS, "description": "stale"})[0].description == "A guardian."


def test_a_book_without_extensions() -> None:
    card, warnings = read(document(character_book={"entries": [{"keys": ["k"], "content": "c"}]}))
    assert (card.character_book is not None and len(card.character_book.entries), warnings) == (1, [])


def test_an_entry_without_extensions_enabled_and_insertion_order() -> None:
    book = read(document(character_book={"entries": [{"keys": ["k"], "content": "c"}]}))[0].character_book
    assert book is not None
    assert (book.entries[0].enabled, book.entries[0].order) == (True, 100)


def test_an_entry_whose_extensions_are_empty_text_and_whose_order_is_a_float() -> None:
    entry = {"keys": ["k"], "content": "c", "extensions": "", "insertion_order": 3.0}
    card, warnings = read(document(character_book={"entries": [entry]}))
    assert card.character_book is not None
    assert (card.character_book.entries[0].order, [str(warning) for warning in warnings]) == (
        3,
        ["data.character_book.entries[0].extensions: text where an object belongs"],
    )


def test_v3_without_group_only_greetings() -> None:
    card, warnings = read(document(3))
    assert (card.spec, warnings, "group_only_greetings" in card.document["data"]) == ("v3", [], False)


def test_v3_inside_chara() -> None:
    assert read(png(text("chara", coded(document(3, nickname="Sera")))))[0].call_name == "Sera"


def test_neither_extensions_nor_alternate_greetings() -> None:
    plain = document()
    del plain["data"]["extensions"]
    card, warnings = read(plain)
    assert (card.extensions, card.greetings, warnings) == ({}, ["Welcome."], [])


def test_v1_with_sillytaverns_last_mes_and_create_date() -> None:
    card, warnings = read({**FIELDS, "last_mes": 1, "create_date": "2023-1-1 @01h", "chat": "Seraph - 1"})
    assert (card.spec, warnings, set(json.loads(export_card(card, "json")))) == ("v1", [], set(FIELDS))


def test_extra_metadata_and_avatar_at_the_root() -> None:
    card, _ = read({**FIELDS, "metadata": {"version": 1, "tool": {"name": "x"}}, "avatar": "none"})
    assert json.loads(export_card(card, "json")) == card.document


def test_character_book_is_null() -> None:
    card, warnings = read(document(character_book=None))
    assert (card.character_book, [str(warning) for warning in warnings]) == (
        None,
        ["data.character_book: null where an object belongs"],
    )


def test_many_icons_of_a_site_and_no_main_one() -> None:
    icons = [{"type": "icon", "uri": f"/storage/{n}.mp4", "name": f"i{n}", "ext": "mp4"} for n in range(45)]
    card, warnings = read(document(3, assets=icons))
    assert json.loads(export_card(card, "json"))["data"]["assets"] == icons
    assert [str(warning) for warning in warnings] == [
        "data.assets: 45 assets, the first at '/storage/0.mp4': outside the card's file, not looked for"
    ]


def test_title_author_and_description_chunks_survive_an_edit() -> None:
    foreign = [text("Title", b"T"), text("Author", b"A"), ztxt("Description", b"D" * 99)]
    card, _ = read(png(*foreign, text("chara", coded(document()))))
    written = export_card(card.edited("description", "New."), "png")
    kept = [found for found in text_chunks(written).chunks if found.keyword not in ("chara", "ccv3")]
    assert ([found.keyword for found in kept], all(one in written for one in foreign)) == (
        ["Title", "Author", "Description"],
        True,
    )


def test_chinese_japanese_and_korean() -> None:
    assert read(document(name="塞拉芬 セラフ 세라프"))[0].name == "塞拉芬 セラフ 세라프"


def test_carriage_returns_are_kept() -> None:
    card, _ = read(document(first_mes="One.\r\nTwo."))
    assert json.loads(export_card(card, "json"))["data"]["first_mes"] == "One.\r\nTwo."


def test_a_book_of_117_kb_in_chinese() -> None:
    entries = [{"keys": [f"星{n}"], "content": "星辰" * 200, "enabled": True} for n in range(100)]
    book = read(png(ztxt("chara", coded(document(character_book={"entries": entries})))))[0].character_book
    assert (
        book is not None and len(book.entries),
        len(json.dumps(entries, ensure_ascii=False).encode()) > 117_000,
    ) == (
        100,
        True,
    )


def test_json_that_breaks_off_names_line_and_column() -> None:
    start, end = '{"spec": "chara_card_v2", "data": {"name": "', '", "a" '
    whole = start + "x" * (9_178 - len(start) - len(end)) + end
    with pytest.raises(CardError, match="line 1 column 9179"):
        read(whole.encode())


@pytest.mark.parametrize("date", [1_700_000_000_000, "2024-01-01T00:00:00Z", -1, 1.5, None, "", True])
def test_odd_dates_are_kept_and_an_edit_sets_its_own(date: Any) -> None:
    card, _ = read(document(3, creation_date=date, modification_date=date))
    written = json.loads(export_card(card.edited("creator", "me"), "json", now=1_800_000_000))["data"]
    assert (written["creation_date"], written["modification_date"]) == (date, 1_800_000_000)
    assert json.loads(export_card(card, "json"))["data"]["modification_date"] == date


def test_zero_bytes_in_a_text_stay_in_the_card_and_off_the_terminal() -> None:
    card, _ = read(document(name="A\0B", description="x\0y"))
    assert (card.name, json.loads(export_card(card, "json"))["data"]["description"]) == ("A\0B", "x\0y")
    assert display_text(card.name, single_line=True) == "AB"


def test_five_thousand_constant_entries_stay_within_the_budget() -> None:
    entries = [
        {"keys": [], "content": f"Entry {n}. " * 3, "constant": True, "enabled": True} for n in range(5_000)
    ]
    book = read(document(character_book={"entries": entries}))[0].character_book
    assert book is not None
    activation = activate(book, ["User: hi"], settings=LoreSettings(budget=500))
    assert 0 < activation.tokens <= 500
    assert len(activation.fired) + len(activation.skipped) == 5_000
    assert all("over budget by" in skipped.why for skipped in activation.skipped)


def test_a_portrait_of_too_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (100, 100)).save(out, "JPEG")
    monkeypatch.setattr(limits, "AVATAR_PIXELS", 9_999)
    with pytest.raises(CardError, match="million pixels"):
        picture_as_png(out.getvalue())

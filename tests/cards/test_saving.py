"""Saving what was edited, tags over a selection, and lorebooks that are put into cards."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cards.avatar import with_avatar
from cards.card import Card
from cards.errors import CardError
from cards.library import CardLibrary, file_state
from cards.library.saving import original_of, retag, save_card
from cards.lore_writing import book_with
from cards.png import blank_png
from cards.reading import read_card, read_card_file
from cards.writing import export_card


def document(name: str = "Vesna", **fields: Any) -> dict[str, Any]:
    data = {"name": name, "description": "d" * 400, "first_mes": "hi", "tags": [], "extensions": {}, **fields}
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}


def put(folder: Path, file: str, value: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


@pytest.fixture
def library(tmp_path: Path) -> CardLibrary:
    (tmp_path / "cards").mkdir()
    return CardLibrary(tmp_path / "cards", tmp_path / "starters")


def png_of(value: dict[str, Any]) -> bytes:
    body = b"tEXtchara\0" + base64.b64encode(json.dumps(value).encode())
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return blank_png()[:33] + chunk + blank_png()[33:]


Made = Callable[[], bytes]


@pytest.mark.parametrize("form", ["json", "png", "yaml", "md", "charx"])
def test_an_edit_stays_in_its_container_and_the_import_is_kept(
    library: CardLibrary, form: str, tmp_path: Path
) -> None:
    first, _ = read_card(json.dumps(document("Vesna")).encode())
    path = put(library.folder, f"v.{form}", export_card(first, form))  # type: ignore[arg-type]
    before = path.read_bytes()
    for text in ("One.", "Two."):
        card = read_card_file(path)[0]
        assert save_card(library, path, card.edited("description", text), expected=file_state(path)) == path
    assert read_card_file(path)[0].description == "Two."
    assert read_card_file(path)[0].container == card.container
    kept = original_of(library, path)
    assert kept is not None
    assert kept.read_bytes() == before
    assert len(library.list()) == 1


def test_an_edited_starter_stands_before_the_starter(tmp_path: Path) -> None:
    starter = put(tmp_path / "starters", "samuel.json", document("Samuel"))
    library = CardLibrary(tmp_path / "cards", tmp_path / "starters")
    before = starter.read_bytes()
    saved = save_card(library, starter, read_card_file(starter)[0].edited("creator", "me"))
    assert starter.read_bytes() == before
    assert library.find("samuel") == saved == tmp_path / "cards" / "samuel.json"
    assert [card.creator for card in library.list()] == ["me"]
    kept = original_of(library, saved)
    assert kept is not None
    assert kept.read_bytes() == before


def test_a_portrait_makes_a_json_card_a_png_under_the_same_ref(library: CardLibrary) -> None:
    path = put(library.folder, "v.json", document("Vesna"))
    card = with_avatar(read_card_file(path)[0], blank_png())
    saved = save_card(library, path, card, expected=file_state(path))
    assert (saved.name, path.exists(), (library.folder / "v.json.bak").exists()) == ("v.png", False, True)
    assert [found.ref for found in library.list()] == ["v"]


@pytest.mark.parametrize(
    ("made", "lines"),
    [
        (lambda: json.dumps(document()).encode(), []),
        (lambda: png_of(document()), []),
        (
            lambda: png_of(document()) + b"more",
            ["v.x: 4 bytes after the picture's end are left out; v.x.bak has them"],
        ),
        (
            lambda: webp_of(document()),
            ["v.x is now v.png, for a card in a WebP is only read; the file before is v.x.bak"],
        ),
    ],
)
def test_a_save_says_what_it_could_not_keep(library: CardLibrary, made: Made, lines: list[str]) -> None:
    path = put(library.folder, "v.x", made())
    before, said = path.read_bytes(), []  # type: ignore[var-annotated]
    card = read_card_file(path)[0].edited("creator", "me")
    saved = save_card(library, path, card, expected=file_state(path), notice=said.append)
    assert said == lines
    assert read_card_file(saved)[0].creator == "me"
    assert path.with_name("v.x.bak").read_bytes() == before


def webp_of(value: dict[str, Any]) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + json.dumps(value).encode()
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "WEBP", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("portrait", [False, True])
def test_what_another_program_wrote_is_not_overwritten(library: CardLibrary, portrait: bool) -> None:
    path = put(library.folder, "v.json", document("Vesna"))
    state, card = file_state(path), read_card_file(path)[0]
    put(library.folder, "v.json", document("Vesna", creator="theirs"))
    edited: Card = with_avatar(card, blank_png()) if portrait else card.edited("creator", "mine")
    with pytest.raises(CardError) as caught:
        save_card(library, path, edited, expected=state)
    assert caught.value.code == "changed"
    assert [found.creator for found in library.list()] == ["theirs"]


def test_tags_are_changed_over_a_selection(library: CardLibrary) -> None:
    paths = [
        put(library.folder, "a.json", document("A", tags=["Fantasy", "old"])),
        put(library.folder, "b.json", document("B", tags=["fantasy"])),
        put(library.folder, "c.json", document("C", tags=["new", "cosy"])),
        put(library.folder, "d.json", document("D", tags=["new"])),
    ]
    changed = retag(library, paths, add=["new"], remove=["OLD"], rename={"fantasy": "magic", "cosy": "New"})
    assert [path.stem for path in changed] == ["a", "b", "c"]
    assert {card.ref: card.tags for card in library.list()} == {
        "a": ("magic", "new"),
        "b": ("magic", "new"),
        "c": ("new",),
        "d": ("new",),
    }
    before = paths[3].read_bytes()
    assert retag(library, paths, add=["new"]) == []
    assert paths[3].read_bytes() == before


# Lorebooks into cards -----------------------------------------------------------------------------------


def test_a_world_info_file_becomes_entries_that_read_the_same() -> None:
    world = {
        "entries": {
            "3": {
                "uid": 3,
                "key": ["tower"],
                "keysecondary": ["old"],
                "comment": "T",
                "content": "It is old.",
                "selective": True,
                "selectiveLogic": 3,
                "order": 7,
                "position": 4,
                "depth": 2,
                "role": 1,
                "disable": True,
                "probability": 40,
                "excludeRecursion": True,
                "caseSensitive": True,
                "matchWholeWords": False,
                "sticky": 3,
                "ownOfAnother": [1],
            }
        }
    }
    from cards.reading import read_lorebook

    data = json.dumps(world).encode()
    card, count = book_with(read_card(json.dumps(document()).encode())[0], data, "w.json")
    assert count == 1
    assert card.character_book is not None
    ours, theirs = card.character_book.entries[0], read_lorebook(data)[0].entries[0]
    assert (ours.comment, ours.keys) == ("T", ("tower",))
    assert ours == theirs
    assert card.document["data"]["character_book"]["entries"][0]["extensions"]["ownOfAnother"] == [1]


def test_entries_are_added_to_a_book_that_is_there() -> None:
    book = {"name": "own", "entries": [{"keys": ["a"], "content": "1"}], "odd": True}
    card, _ = read_card(json.dumps(document(character_book=book)).encode())
    memory = {"kind": "memory", "entries": [{"name": "m", "entry": "2", "keywords": ["b"], "weight": 5}]}
    edited, count = book_with(card, json.dumps(memory).encode(), "m.json")
    assert count == 1
    held = edited.document["data"]["character_book"]
    assert (held["odd"], held["entries"][0]) == (True, book["entries"][0])  # type: ignore[index]
    assert edited.character_book is not None
    assert [entry.content for entry in edited.character_book.entries] == ["1", "2"]
    with pytest.raises(CardError, match="no lorebook"):
        book_with(card, json.dumps(document()).encode(), "x.json")

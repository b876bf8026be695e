"""The library's index, its order and filters, importing over name clashes."""

from __future__ import annotations

import base64
import json
import os
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cards.errors import CardError
from cards.library import CardLibrary, LibraryCard, filtered, in_order
from cards.library import index as index_module
from cards.library.arriving import Arrival, ClashChoice, card_files, import_cards
from cards.library.saving import original_of, save_card
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


def taken(library: CardLibrary, *paths: Path, clash: ClashChoice = "keep") -> list[Arrival]:
    return list(import_cards(library, paths, lambda *_: clash))


def png_of(value: dict[str, Any]) -> bytes:
    body = b"tEXtchara\0" + base64.b64encode(json.dumps(value).encode())
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return blank_png()[:33] + chunk + blank_png()[33:]


# The index ----------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that a listing reads."""
    seen: list[str] = []
    read = index_module.read_file

    def counted(path: Path) -> bytes:
        seen.append(path.name)
        return read(path)

    monkeypatch.setattr(index_module, "read_file", counted)
    return seen


def test_a_file_is_read_once_and_again_when_it_has_changed(
    library: CardLibrary, reads: list[str], tmp_path: Path
) -> None:
    paths = [put(library.folder, f"{n}.json", document(f"C{n}")) for n in range(5)]
    first = library.list()
    assert len(reads) == 5
    assert CardLibrary(library.folder, library.starters).list() == first
    assert len(reads) == 5
    put(library.folder, "0.json", document("Changed"))
    paths[1].unlink()
    put(library.folder, "new.json", document("New"))
    assert {card.name for card in library.list()} == {"Changed", "C2", "C3", "C4", "New"}
    assert reads[5:] == ["0.json", "new.json"]
    os.utime(paths[2], ns=(1, 1))
    library.list()
    assert reads[7:] == ["2.json"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1}',
        b'{"version": 99, "cards": {}}',
        b'{"version":1,"cards":{"a.json":[1]}}',
        None,
    ],
)
def test_the_index_is_a_cache(library: CardLibrary, damage: bytes | None) -> None:
    put(library.folder, "a.json", document("A", tags=["x"]))
    before = library.list()
    index = library.folder / ".index.json"
    if damage is None:
        held = json.loads(index.read_text())
        held["cards"]["a.json"][3] = 5
        damage = json.dumps(held).encode()
    index.write_bytes(damage)
    assert library.list() == before
    index.unlink()
    assert library.list() == before


def test_a_folder_that_cannot_be_written_is_listed(
    library: CardLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(library.folder, "a.json", document("A"))

    def refused(*args: Any, **more: Any) -> None:
        raise CardError("unwritable", "read-only")

    monkeypatch.setattr(index_module, "save_file", refused)
    assert [card.name for card in library.list()] == ["A"]


def test_a_passing_error_is_not_remembered(library: CardLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    put(library.folder, "a.json", document("A"))
    read = index_module.read_file

    def denied(path: Path) -> bytes:
        raise CardError("unreadable", "no permission")

    monkeypatch.setattr(index_module, "read_file", denied)
    assert library.list()[0].error
    monkeypatch.setattr(index_module, "read_file", read)
    assert library.list()[0].error == ""


def test_lone_surrogates_and_strange_texts_pass_the_index(library: CardLibrary) -> None:
    put(library.folder, "a.json", document("A\ud800", tags=["\u202e"], creator="\x1b[31m"))
    assert library.list() == library.list()
    assert library.list()[0].name == "A\ud800"


# Order and filters --------------------------------------------------------------------------------------


def line(ref: str, **more: Any) -> LibraryCard:
    return LibraryCard(ref, Path(ref), more.pop("name", ref), "v2", **more)


def test_order() -> None:
    cards = [
        line("b", creator="Zoe", tokens=10),
        line("A", tokens=30),
        line("c", creator="adam", tokens=20),
    ]
    now = datetime.now(UTC)
    chats = {"c": now, "b": now - timedelta(days=1)}
    orders = {
        by: "".join(card.ref for card in in_order(cards, by, chats))
        for by in ("name", "creator", "chat", "tokens")
    }
    assert orders == {"name": "Abc", "creator": "cbA", "chat": "cbA", "tokens": "Acb"}


@pytest.mark.parametrize(
    ("tags", "text", "found"),
    [
        ((), "", "ab"),
        (("Fantasy",), "", "a"),
        (("fantasy", "COSY"), "", "a"),
        (("fantasy", "none"), "", ""),
        ((), "vampire castle", "a"),
        ((), "ZOE", "b"),
        (("cosy",), "zoe", "b"),
    ],
)
def test_filters(tags: tuple[str, ...], text: str, found: str) -> None:
    cards = [
        line("a", tags=("fantasy", "Cosy"), about="A vampire in a castle."),
        line("b", tags=("cosy",), creator="Zoe"),
    ]
    assert "".join(card.ref for card in filtered(cards, tags=tags, text=text)) == found


# Importing ----------------------------------------------------------------------------------------------


def test_an_import_is_the_same_bytes_under_a_name_and_an_id(library: CardLibrary, tmp_path: Path) -> None:
    path = put(tmp_path / "in", "some file.txt", document("Vesna"))
    (arrival,) = taken(library, path)
    assert arrival.outcome == "new"
    assert arrival.card is not None
    assert arrival.card.ref.startswith("Vesna~")
    assert arrival.card.path.read_bytes() == path.read_bytes()
    assert arrival.card.path.suffix == ".json"
    for ref in (
        arrival.card.ref,
        "vesna",
        "Vesna.json",
        arrival.card.ref.split("~")[1],
        arrival.card.ref.upper(),
    ):
        assert library.find(ref) == arrival.card.path


def test_the_id_outlives_the_name(library: CardLibrary, tmp_path: Path) -> None:
    (arrival,) = taken(library, put(tmp_path / "in", "v.json", document("Vesna")))
    assert arrival.card is not None
    old = arrival.card.path
    renamed = old.rename(old.with_name(old.name.replace("Vesna", "The keeper")))
    (library.folder / ".index.json").unlink(missing_ok=True)
    assert library.find(old.stem) == library.known_as(old.stem) == renamed
    saved = save_card(library, renamed, read_card_file(renamed)[0].edited("creator", "me"))
    again = saved.rename(saved.with_name(saved.name.replace("The keeper", "Her")))
    kept = original_of(library, again)
    assert kept is not None
    assert read_card_file(kept)[0].creator == ""
    save_card(library, again, read_card_file(again)[0].edited("creator", "you"))
    assert len(list((library.folder / ".originals").iterdir())) == 1


def test_a_card_of_ones_own_comes_before_the_starter_of_its_name(tmp_path: Path) -> None:
    starter = put(tmp_path / "starters", "samuel.json", document("Samuel"))
    library = CardLibrary(tmp_path / "cards", tmp_path / "starters")
    assert library.find("samuel") == library.known_as("samuel") == starter
    (arrival,) = taken(library, put(tmp_path / "in", "s.png", png_of(document("Samuel", creator="me"))))
    assert arrival.card is not None
    for ref in ("samuel", "SAMUEL", "Samuel", "samuel.png", arrival.card.ref):
        assert library.find(ref) == arrival.card.path
    assert library.find("samuel.json") == starter
    # A chat that was begun with the starter still means the starter.
    assert library.known_as("samuel") == starter
    assert sorted(card.starter for card in library.list()) == [False, True]


def test_a_card_put_there_by_hand_is_found_by_its_name_before_the_starter(library: CardLibrary) -> None:
    put(library.starters, "samuel.json", document("Samuel"))
    own = put(library.folder, "vampire.json", document("samuel"))
    assert library.find("Samuel") == own
    assert library.find("samuel.json").parent == library.starters
    assert library.known_as("nobody") is None
    assert library.known_as(str(own)) == own
    assert library.known_as("/no/such.png") is None


def test_a_readme_is_neither_listed_nor_imported(library: CardLibrary, tmp_path: Path) -> None:
    card, _ = read_card(json.dumps(document("Vesna")).encode())
    texts = {
        "README.md": b"# Cards\n\nname: none\n",
        "page.md": b"---\ntitle: A page\ndescription: of a site\n---\nText.\n",
        "vesna.md": export_card(card, "md"),
        "broken.md": b"---\nname: [\n---\n",
    }
    for name, text in texts.items():
        put(library.folder, name, text)
        put(tmp_path / "in", name, text)
    for _ in range(2):
        assert [(card.ref, bool(card.error)) for card in library.list()] == [
            ("broken", True),
            ("vesna", False),
        ]
    assert [path.name for path in card_files([tmp_path / "in"])] == ["broken.md", "vesna.md"]
    named = tmp_path / "in" / "README.md"
    assert card_files([named]) == [named]


@pytest.mark.parametrize(
    ("clash", "outcome", "creators"),
    [("keep", "kept", ["me", "you"]), ("replace", "replaced", ["you"]), ("skip", "skipped", ["me"])],
)
def test_a_name_clash(
    library: CardLibrary, tmp_path: Path, clash: ClashChoice, outcome: str, creators: list[str]
) -> None:
    (first,) = taken(library, put(tmp_path / "in", "1.json", document("Vesna", creator="me")))
    (second,) = taken(library, put(tmp_path / "in", "2.json", document("VESNA", creator="you")), clash=clash)
    assert second.outcome == outcome
    assert sorted(card.creator for card in library.list()) == creators
    assert first.card is not None
    if clash == "replace":
        assert second.card is not None
        assert second.card.ref == first.card.ref
        assert read_card_file(library.find(first.card.ref))[0].creator == "you"
        assert json.loads(first.card.path.with_name(first.card.path.name + ".bak").read_bytes()) == document(
            "Vesna", creator="me"
        )


def test_a_card_that_replaces_a_png_keeps_its_portrait_and_its_chats(
    library: CardLibrary, tmp_path: Path
) -> None:
    (first,) = taken(library, put(tmp_path / "in", "1.png", png_of(document("Vesna"))))
    (second,) = taken(
        library, put(tmp_path / "in", "2.json", document("Vesna", creator="you")), clash="replace"
    )
    assert first.card is not None
    assert second.card is not None
    assert second.card.path == first.card.path
    card = read_card_file(second.card.path)[0]
    assert (card.creator, card.container) == ("you", "png")
    (third,) = taken(
        library, put(tmp_path / "in", "3.yaml", b"name: Vesna\ngreeting: Hello.\n"), clash="replace"
    )
    assert third.card is not None
    assert third.card.path == first.card.path


def test_another_container_takes_the_place_under_the_same_ref(library: CardLibrary, tmp_path: Path) -> None:
    (first,) = taken(library, put(tmp_path / "in", "1.json", document("Vesna")))
    (second,) = taken(library, put(tmp_path / "in", "2.png", png_of(document("Vesna"))), clash="replace")
    assert first.card is not None
    assert second.card is not None
    assert (second.card.ref, second.card.path.suffix) == (first.card.ref, ".png")
    assert not first.card.path.exists()
    assert [card.ref for card in library.list()] == [first.card.ref]


def test_the_same_bytes_again_are_here_already(library: CardLibrary, tmp_path: Path) -> None:
    path = put(tmp_path / "in", "1.json", document("Vesna"))
    (first,) = taken(library, path)
    (again,) = taken(library, path, clash="replace")
    assert (again.outcome, again.card and again.card.ref) == ("same", first.card and first.card.ref)


def test_an_import_can_be_stopped_between_two_cards(library: CardLibrary, tmp_path: Path) -> None:
    paths = [put(tmp_path / "in", f"{n}.json", document(f"C{n}")) for n in range(5)]
    arrivals = import_cards(library, paths, lambda *_: "keep")
    for _ in range(2):
        next(arrivals)
    arrivals.close()  # type: ignore[attr-defined]
    assert [card.name for card in library.list()] == ["C0", "C1"]


def test_a_full_disk_is_a_reason_and_leaves_nothing_behind(
    library: CardLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    (arrival,) = taken(library, put(tmp_path / "in", "1.json", document("Vesna")))
    assert "No space left" in str(arrival.error)
    assert [path.name for path in library.folder.iterdir()] == []


def test_which_files_are_meant(tmp_path: Path) -> None:
    for name in ("a.png", "b.JSON", "notes.txt", ".hidden.json", "sub/c.yaml", ".git/d.json", "a.png.bak"):
        put((tmp_path / "in" / name).parent, Path(name).name, b"x")
    named = tmp_path / "in" / "notes.txt"
    found = [
        str(path.relative_to(tmp_path)) for path in card_files([tmp_path / "in", named, tmp_path / "gone"])
    ]
    assert found == ["in/a.png", "in/b.JSON", "in/sub/c.yaml", "in/notes.txt", "gone"]

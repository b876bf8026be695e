"""Finding a card by what people type, and saving it so that nothing is ever half written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.errors import CardError
from cards.filenames import export_name, free_name
from cards.library import CardLibrary, file_state, read_file, save_file
from cards.reading import read_card_file


def put(folder: Path, file: str, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / file
    path.write_text(
        json.dumps({"name": name, "description": "x", "first_mes": "hi", "tags": ["t"], "creator": "me"})
    )
    return path


@pytest.fixture
def library(tmp_path: Path) -> CardLibrary:
    put(tmp_path / "starters", "samuel.json", "Samuel")
    put(tmp_path / "starters", "mila.json", "Mila")
    put(tmp_path / "cards", "the_count.json", "Count Orlok")
    put(tmp_path / "cards", "Mila.json", "Mila of mine")
    (tmp_path / "cards" / "notes.txt").write_text("not a card")
    (tmp_path / "cards" / "broken.json").write_text("{")
    return CardLibrary(tmp_path / "cards", tmp_path / "starters")


@pytest.mark.parametrize(
    ("ref", "file"),
    [
        ("samuel", "starters/samuel.json"),
        ("Samuel", "starters/samuel.json"),
        ("SAMUEL.JSON", "starters/samuel.json"),
        ("the_count", "cards/the_count.json"),
        ("count orlok", "cards/the_count.json"),
        ("mila", "cards/Mila.json"),
        ("Mila", "cards/Mila.json"),
        ("mila of mine", "cards/Mila.json"),
    ],
)
def test_a_ref_finds_a_card(library: CardLibrary, tmp_path: Path, ref: str, file: str) -> None:
    assert library.find(ref) == tmp_path / file


def test_a_path_comes_first(library: CardLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = put(tmp_path / "work", "samuel", "Another")
    monkeypatch.chdir(tmp_path / "work")
    assert library.find("samuel").resolve() == here
    (tmp_path / "work" / "mila").mkdir()
    assert library.find("mila") == tmp_path / "cards" / "Mila.json"
    assert library.find(str(tmp_path / "cards" / "notes.txt")) == tmp_path / "cards" / "notes.txt"


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("samule", "Samuel"),
        ("zzz", "card list"),
        ("no/such.png", "no such file"),
        ("", "no card was named"),
        ("a\0b", "card list"),
    ],
)
def test_what_is_not_found_says_what_comes_close(library: CardLibrary, ref: str, words: str) -> None:
    with pytest.raises(CardError) as caught:
        library.find(ref)
    assert (caught.value.code, words.lower() in str(caught.value).lower()) == ("missing", True), str(
        caught.value
    )


def test_a_list_shows_what_is_broken_too(library: CardLibrary) -> None:
    cards = library.list()
    assert [(card.ref, card.name, card.starter, bool(card.error)) for card in cards] == [
        ("broken", "broken", False, True),
        ("the_count", "Count Orlok", False, False),
        ("Mila", "Mila of mine", False, False),
        ("samuel", "Samuel", True, False),
    ]
    assert (cards[1].creator, cards[1].tags, cards[1].spec) == ("me", ("t",), "v1")


def test_the_starters_are_found_without_a_folder(tmp_path: Path) -> None:
    library = CardLibrary(tmp_path / "none")
    assert library.find("samuel.png").parent.name == "starters"
    assert library.find("Carina") in library.starter_paths()


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "card.json"
    first = save_file(path, b"one")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    save_file(path, b"two", expected=first)
    assert (tmp_path / "deep" / "card.json.bak").read_bytes() == b"one"

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CardError, match="No space left"):
        save_file(path, b"three")
    assert path.read_bytes() == b"two"
    assert sorted(file.name for file in path.parent.iterdir()) == ["card.json", "card.json.bak"]


def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(CardError, match="not a regular file"):
            save_file(tmp_path / name, b"one")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_file_that_another_program_changed_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    seen = save_file(path, b"one")
    path.write_bytes(b"theirs")
    with pytest.raises(CardError) as caught:
        save_file(path, b"mine", expected=seen)
    assert caught.value.code == "changed"
    assert path.read_bytes() == b"theirs"
    path.write_bytes(b"one")
    save_file(path, b"mine", expected=seen)
    assert path.read_bytes() == b"mine"
    assert file_state(tmp_path / "none") is None


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="folder"):
        read_file(tmp_path)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Samuel", "Samuel"),
        ("../x", "_x"),
        ("/etc/passwd", "_etc_passwd"),
        ("a/b\\c", "a_b_c"),
        ("CON", "_CON"),
        ("com1.txt", "_com1.txt"),
        (".", "card"),
        ("...", "card"),
        ("", "card"),
        ("trailing. ", "trailing"),
        ("new\nline\ttab", "new line tab"),
        ("nul\0byte\x1b[31m", "nulbyte"),
        ('<a>:"b"|?*', "_a_b_"),
        ("e\u0301", "é"),
        ("\u202eevil", "evil"),
        ("吸血鬼 🧛", "吸血鬼 🧛"),
        ("x" * 300, "x" * 100),
        ("é" * 80, "é" * 50),
    ],
)
def test_a_name_as_a_file_name(name: str, stem: str) -> None:
    assert export_name(name) == stem


@given(st.text(st.characters(), max_size=150))
def test_any_name_makes_a_file_name(name: str) -> None:
    stem = export_name(name)
    assert 0 < len(stem.encode()) <= 101
    assert not set(stem) & set('<>:"/\\|?*\0\n')
    assert not stem.startswith(".")
    assert not stem.endswith((".", " "))
    assert export_name(stem) == stem


def test_a_taken_name_gets_a_number() -> None:
    taken = {"a.png", "a (2).png"}
    assert free_name("a", ".png", taken.__contains__) == "a (3).png"
    assert free_name("b", ".png", taken.__contains__) == "b.png"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Sea keeper~0a1b2c3d.json", "Sea keeper"),
        ("a~b.json", "a~b"),
        ("a~0a1b2c3d4.json", "a~0a1b2c3d4"),
    ],
)
def test_a_card_without_a_name_is_not_called_by_its_id(tmp_path: Path, file: str, name: str) -> None:
    path = put(tmp_path, file, "")
    assert read_card_file(path)[0].name == name
    assert [card.name for card in CardLibrary(tmp_path, tmp_path / "none").list()] == [name]

"""`--set` by paths, portraits where a container has a place for one, and lines that stay lines."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cards.reading import read_card_file
from chat.settings import Folders

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]
ENTRY = {"keys": ["tower"], "content": "old", "extensions": {}}
BOOK = {"entries": [ENTRY, {**ENTRY, "enabled": "yes"}]}


@pytest.fixture
def card(card_file: WriteCard) -> Path:
    """A V2 card with odd places in it."""
    return card_file(
        "Vesna", tags=["sea", 5], extensions={"a.b": {"c": 1}, "world": "x"}, character_book=BOOK
    )


def data_of(path: Path) -> Any:
    return json.loads(path.read_bytes())["data"]


@pytest.mark.parametrize(
    ("setting", "keys", "value"),
    [
        ("data.character_book.entries[1].content=new", ("character_book", "entries", 1, "content"), "new"),
        ("character_book.entries[0].content=new", ("character_book", "entries", 0, "content"), "new"),
        ("character_book.entries.0.keys.1=gate", ("character_book", "entries", 0, "keys", 1), "gate"),
        ("data.tags[1]=7", ("tags", 1), 7),
        ("tags[0]=land", ("tags", 0), "land"),
        ("data.tags=a, b", ("tags",), ["a", "b"]),
        ("data.description=New.", ("description",), "New."),
        ("extensions.world=Eldoria", ("extensions", "world"), "Eldoria"),
        ("data.extensions.mine/x=1", ("extensions", "mine/x"), "1"),
        ('extensions["a.b"].c=2', ("extensions", "a.b", "c"), 2),
        ('extensions={"k": 1}', ("extensions",), {"k": 1}),
        ('group_only_greetings=["Hi."]', ("group_only_greetings",), ["Hi."]),
    ],
)
def test_a_path_as_check_prints_it(
    rpchat: Rpchat, card: Path, setting: str, keys: tuple[Any, ...], value: Any
) -> None:
    before = json.loads(card.read_bytes())
    assert rpchat("card", "edit", card, "--set", setting).status == 0
    held = data_of(card)
    for key in keys:
        held = held[key]
    assert held == value
    assert json.loads(card.read_bytes()).keys() == before.keys()


def test_every_path_that_check_names_can_be_set(rpchat: Rpchat, card: Path) -> None:
    found = rpchat("card", "check", card, "--json").json[0]["warnings"]
    fields = [warning["field"] for warning in found]
    assert fields
    for field in fields:
        assert rpchat("card", "edit", card, "--set", f"{field}=true").status == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("foo.bar=x", "a new field is data.foo.bar"),
        ("data.tags[9]=x", "no place 9"),
        ("data.tags[=x", "is no path"),
        ("data..tags=x", "is no path"),
        ("data.character_book.entries[0].enabled[0]=x", "plain value"),
        ("extensions=x", "JSON is needed"),
        ("character_book=", "JSON is needed"),
        (f"tags.{'1' * 5000}=x", "no place 1"),
    ],
)
def test_a_wrong_path_is_one_line(rpchat: Rpchat, card: Path, setting: str, said: str) -> None:
    before = card.read_bytes()
    answer = rpchat("card", "edit", card, "--set", setting.replace("enabled", "content"))
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert said in answer.err
    assert card.read_bytes() == before


def test_brackets_without_end_are_a_text(rpchat: Rpchat, card: Path) -> None:
    deep = "[" * 3000
    assert rpchat("card", "edit", card, "--set", f"tags={deep}").status == 0
    assert data_of(card)["tags"] == [deep]


def test_a_card_without_data_says_so(rpchat: Rpchat, tmp_path: Path) -> None:
    path = tmp_path / "flat.json"
    path.write_text(json.dumps({"name": "A", "description": "d", "first_mes": "x"}))
    answer = rpchat("card", "edit", path, "--set", "data.description=x")
    assert (answer.status, "write description" in answer.err) == (2, True)
    assert rpchat("card", "edit", path, "--set", "metadata.tool=mine").status == 0
    assert json.loads(path.read_bytes())["metadata"] == {"tool": "mine"}


def test_the_v1_mirror_follows_the_text_of_an_editor_too(rpchat: Rpchat, tmp_path: Path) -> None:
    fields = {"name": "A", "description": "old", "scenario": "same", "first_mes": "x"}
    card = {"spec": "chara_card_v2", "spec_version": "2.0", **fields, "scenario": "stale", "data": fields}
    path, text = tmp_path / "a.json", tmp_path / "a.md"
    path.write_text(json.dumps(card))
    rpchat("card", "export", path, "-o", text)
    text.write_text(text.read_text().replace("  description: old", "  description: new"))
    assert rpchat("card", "edit", path, "--from", text).status == 0
    written = json.loads(path.read_bytes())
    assert (written["description"], written["data"]["description"]) == ("new", "new")
    assert (written["scenario"], written["data"]["scenario"]) == ("stale", "same")


# Portraits ----------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A JPEG."""
    Image.new("RGB", (6, 3), (200, 10, 10)).save(tmp_path / "p.jpeg")
    return tmp_path / "p.jpeg"


def test_a_portrait_into_a_charx(rpchat: Rpchat, card: Path, picture: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.charx"
    rpchat("card", "export", card, "-o", path)
    for _ in range(2):
        answer = rpchat("card", "edit", path, "--avatar", picture)
        assert (answer.status, answer.err) == (0, "")
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["assets/icon/image/main.png", "card.json"]
        assert Image.open(io.BytesIO(archive.read("assets/icon/image/main.png"))).size == (6, 3)
    assert read_card_file(path)[0].avatar is not None


def test_a_file_that_holds_no_picture_says_what_does(rpchat: Rpchat, card: Path, picture: Path) -> None:
    before = card.read_bytes()
    answer = rpchat("card", "edit", card, "--avatar", picture)
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert f"rpchat card export {card} --to png" in answer.err
    assert card.read_bytes() == before
    answer = rpchat("card", "new", "Eva", "--to", "yaml", "--avatar", picture)
    assert (answer.status, "--to png or charx" in answer.err) == (2, True)


def test_in_the_library_such_a_card_becomes_a_png_and_says_so(
    rpchat: Rpchat, card: Path, picture: Path
) -> None:
    ref = rpchat("card", "import", card, "--json").json[0]["ref"]
    answer = rpchat("card", "edit", ref, "--avatar", picture)
    said = f"{ref}.json is now {ref}.png, for JSON holds no picture; the file before is {ref}.json.bak"
    assert (answer.status, answer.err) == (0, f"rpchat: {said}\n")
    assert Image.open(Folders.find().cards / f"{ref}.png").size == (6, 3)
    assert "-v2" in rpchat("card", "show", ref, "--diff", "original").out


def test_a_card_in_a_webp_becomes_a_png_and_says_so(rpchat: Rpchat, tmp_path: Path) -> None:
    exif = Image.Exif()
    text = json.dumps({"name": "Vesna", "description": "d", "first_mes": "x"})
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + text.encode()
    path = tmp_path / "v.webp"
    Image.new("RGB", (4, 4)).save(path, exif=exif)
    before = path.read_bytes()
    answer = rpchat("card", "edit", path, "--set", "description=new")
    assert (answer.status, answer.err.count("\n"), "v.webp is now v.png" in answer.err) == (0, 1, True)
    assert (path.exists(), (tmp_path / "v.webp.bak").read_bytes()) == (False, before)
    assert "-d" in rpchat("card", "show", tmp_path / "v.png", "--diff", "original").out.splitlines()


def test_bytes_after_a_picture_go_with_a_word(rpchat: Rpchat, card: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.png"
    rpchat("card", "export", card, "-o", path)
    path.write_bytes(path.read_bytes() + b"trailing")
    answer = rpchat("card", "edit", path, "--set", "description=new")
    assert answer.err == "rpchat: v.png: 8 bytes after the picture's end are left out; v.png.bak has them\n"
    path.write_bytes(path.read_bytes() + b"trailing")
    assert "8 bytes" in rpchat("card", "edit", path, "--add-tag", "x").err


# Lines --------------------------------------------------------------------------------------------------


def test_no_name_breaks_a_line(rpchat: Rpchat, tmp_path: Path) -> None:
    data = {"name": "New\nline " + "x" * 300, "description": "d", "tags": ["y" * 300]}
    path = tmp_path / "long.json"
    card = {
        "spec": "chara_card_v2",
        "data": {**data, "character_book": {"entries": [ENTRY]}, "extensions": {}},
    }
    path.write_text(json.dumps(card))
    world = tmp_path / "w.json"
    world.write_text('{"entries": {"0": {"key": ["gate"], "content": "old"}}}')
    ref = rpchat("card", "import", path, "--json").json[0]["ref"]
    lines = {
        "check": ["card", "check", path],
        "import": ["card", "import", path, "--on-clash", "keep"],
        "edit": ["card", "edit", ref, "--set", "creator=me"],
        "tags": ["card", "edit", ref, "--add-tag", "x"],
        "lore": ["card", "lore", ref, "--add", world],
        "export": ["card", "export", ref, "-o", tmp_path / "out.json"],
        "new": ["card", "new", "New\nline " + "x" * 300],
        "find": ["card", "show", "x" * 300],
    }
    for verb, arguments in lines.items():
        answer = rpchat(*arguments)
        said = answer.out + answer.err
        assert said.count("\n") == 1, verb
        assert "x" * 101 not in said, verb
    assert max(len(line) for line in rpchat("card", "list").out.splitlines()) < 400
    assert rpchat("card", "show", ref).out.splitlines()[0].startswith("New line xxx")


def test_no_files_name_breaks_a_line(rpchat: Rpchat, card_file: WriteCard, tmp_path: Path) -> None:
    path = card_file("Vesna").rename(tmp_path / "new\nline\x1b[31m.json")
    for arguments in (["edit", path, "--set", "creator=me"], ["export", path, "-o", tmp_path / "x\ny.json"]):
        answer = rpchat("card", *arguments)
        assert (answer.status, answer.out.count("\n"), "\x1b" in answer.out) == (0, 1, False)


def test_one_is_one(rpchat: Rpchat, card_file: WriteCard) -> None:
    path = card_file("A", description="", first_mes="", character_book={"entries": [ENTRY]})
    rpchat("card", "import", path)
    assert "== Lorebook: 1 entry\n" in rpchat("card", "show", path).out
    assert "1 of 1 entry fires, about 1 token\n" in rpchat("card", "lore", path, "--test", "tower").out
    assert rpchat("card", "edit", "a", "--add-tag", "x").out == "1 of 1 card changed\n"
    assert "  1 token  " in rpchat("card", "list").out


def test_an_empty_folder_is_one_line(rpchat: Rpchat, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "README.md").write_text("# Cards\n")
    for verb in ("import", "check"):
        answer = rpchat("card", verb, tmp_path / "none")
        assert (answer.status, answer.out, answer.err.count("\n")) == (1, "", 1)
        assert f"no card in {tmp_path / 'none'}" in answer.err


# Refs ---------------------------------------------------------------------------------------------------


def test_a_renamed_file_keeps_its_chats(rpchat: Rpchat, card_file: WriteCard, tmp_path: Path) -> None:
    ref = rpchat("card", "import", card_file("Vesna"), "--json").json[0]["ref"]
    other = rpchat("card", "import", card_file("Anton"), "--json").json[0]["ref"]
    chat = tmp_path / "chat.jsonl"
    chat.write_text(
        '{"user_name": "Alex", "character_name": "Vesna"}\n{"name": "Vesna", "is_user": false, "mes": "Hi"}\n'
    )
    assert rpchat("chat", "import", chat, "--card", "Vesna").status == 0
    cards = Folders.find().cards
    renamed = (cards / f"{ref}.json").rename(cards / f"The keeper~{ref.split('~')[1]}.json")
    rpchat("card", "edit", renamed, "--set", "description=Another.")
    assert "Another." in rpchat("prompt", "--card", renamed, "--json").json["text"]
    listed = rpchat("card", "list", "--json", "--sort", "chat").json
    assert (listed[0]["name"], listed[0]["last_chat"] is None) == ("Vesna", False)
    from chat.store import Store

    with Store(Folders.find().database) as store:
        assert len(store.chats(renamed.stem)) == len(store.chats(ref)) == 1
        assert store.chats(other) == []


def test_a_card_of_ones_own_called_samuel_is_meant_by_samuel(rpchat: Rpchat, card_file: WriteCard) -> None:
    assert "rpchat" in rpchat("card", "show", "samuel").out
    rpchat("card", "import", card_file("Samuel", creator="me"))
    assert "creator: me\n" in rpchat("card", "show", "samuel").out
    assert "creator: rpchat\n" in rpchat("card", "show", "samuel.png").out


def test_a_bad_card_in_a_selection_does_not_stop_the_others(
    rpchat: Rpchat, card_file: WriteCard, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    one, two = card_file("Vesna"), card_file("Anton")
    answer = rpchat("card", "edit", one, broken, two, one, "--add-tag", "new")
    assert (answer.status, answer.out) == (1, "2 of 3 cards changed\n")
    assert (answer.err.count("\n"), "broken.json" in answer.err) == (1, True)
    assert data_of(one)["tags"] == data_of(two)["tags"] == ["new"]


def test_a_link_stays_a_link(rpchat: Rpchat, card_file: WriteCard, tmp_path: Path) -> None:
    path = card_file("Vesna")
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert rpchat("card", "edit", link, "--set", "description=new").status == 0
    assert (link.is_symlink(), data_of(path)["description"]) == (True, "new")


def test_a_chat_with_the_starter_goes_on_with_the_starter(rpchat: Rpchat, card_file: WriteCard) -> None:
    from chat.launch import Launch
    from chat.opening import Opening

    with_starter = Opening(Launch(card="samuel", new=True))
    begun = with_starter.session().chat.id
    rpchat("card", "import", card_file("Samuel", creator="me"))
    assert Opening(Launch(chat=begun)).card.creator == "rpchat"
    assert with_starter.another(card="samuel", new=True).card.creator == "rpchat"
    assert Opening(Launch(card="samuel")).card.creator == "me"

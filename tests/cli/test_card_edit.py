"""`rpchat card new`, `edit`, `lore` and `show --diff`."""

from __future__ import annotations

import io
import json
import shlex
import struct
import sys
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cards.png import blank_png
from cards.reading import read_card, read_card_file
from chat.cli import card_edit
from chat.settings import Folders

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make $EDITOR a program that runs Python lines on `text`; each run takes the next of them."""

    def install(*steps: str) -> Path:
        script, turn = tmp_path / "editor.py", tmp_path / "turn"
        turn.write_text("0")
        script.write_text(
            "import sys\nfrom pathlib import Path\n"
            f"turn = Path({str(turn)!r})\nn = int(turn.read_text())\nturn.write_text(str(n + 1))\n"
            "file = Path(sys.argv[1])\ntext = file.read_text(encoding='utf-8')\n"
            f"scope = {{'text': text, 'Path': Path}}\nexec({list(steps)!r}[n], scope)\n"
            "file.write_text(scope['text'], encoding='utf-8')\n"
        )
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")
        return turn

    return install


@pytest.fixture
def vesna(rpchat: Rpchat, card_file: WriteCard) -> Path:
    """A card in the library."""
    fields = {"first_mes": "One line.\nTwo lines.", "tags": ["sea"], "extensions": {"chub": {"id": 7}}}
    ref = rpchat("card", "import", card_file("Vesna", **fields), "--json").json[0]["ref"]
    return Folders.find().cards / f"{ref}.json"


def data_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))["data"]


def drafts() -> list[Path]:
    folder = Folders.find().cache / "edits"
    return sorted(folder.iterdir()) if folder.exists() else []


# In an editor -------------------------------------------------------------------------------------------


def test_an_editor_changes_what_it_changes(rpchat: Rpchat, vesna: Path, editor: Callable[..., Path]) -> None:
    before = data_of(vesna)
    editor("text = text.replace('Two lines.', 'Three lines.')")
    answer = rpchat("card", "edit", "vesna")
    assert (answer.status, str(vesna) in answer.out) == (0, True)
    after = data_of(vesna)
    assert after.pop("first_mes") == "One line.\nThree lines."
    assert {key: after[key] for key in before if key != "first_mes"} == {
        key: value for key, value in before.items() if key != "first_mes"
    }
    assert vesna.with_name(vesna.name + ".bak").exists()
    assert drafts() == []


def test_an_editor_that_changes_nothing_writes_nothing(
    rpchat: Rpchat, vesna: Path, editor: Callable[..., Path]
) -> None:
    before = vesna.read_bytes()
    editor("pass")
    assert rpchat("card", "edit", "vesna").out == "nothing changed\n"
    assert vesna.read_bytes() == before


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("text = text.replace('<!-- data.first_mes -->', '<!-- data.nothing -->')", "line"),
        ("text = text.replace('spec: ', 'spec: [', 1)", "line 3 column"),
        ("text = 'my whole new text'", "text file"),
        ("text = ''", "empty"),
        ("text = text.replace('---', '')", "YAML"),
    ],
)
def test_what_does_not_parse_is_refused_and_kept(
    rpchat: Rpchat, vesna: Path, editor: Callable[..., Path], step: str, place: str
) -> None:
    before = vesna.read_bytes()
    editor(step)
    answer = rpchat("card", "edit", "vesna")
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert place in answer.err
    (draft,) = drafts()
    assert str(draft) in answer.err
    assert vesna.read_bytes() == before
    draft.write_text(
        "---\nspec: chara_card_v2\nspec_version: '2.0'\ndata:\n  name: Vesna\n  description: mended\n---\n"
    )
    assert rpchat("card", "edit", "vesna", "--from", draft).status == 0
    assert data_of(vesna)["description"] == "mended"


def test_back_to_the_editor(
    rpchat: Rpchat, vesna: Path, editor: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_edit, "can_ask", lambda: True)
    turn = editor(
        "text = text.replace('Two lines.', 'Mine.').replace('spec:', 'spec: [')",
        "text = text.replace('spec: [', 'spec:')",
    )
    answer = rpchat("card", "edit", "vesna", stdin=b"y\n")
    assert (answer.status, turn.read_text(), data_of(vesna)["first_mes"]) == (0, "2", "One line.\nMine.")


@pytest.mark.parametrize("program", ["false", "/no/such/editor"])
def test_an_editor_that_fails(
    rpchat: Rpchat, vesna: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", program)
    answer = rpchat("card", "edit", "vesna")
    assert (answer.status, answer.err.count("\n"), "EDITOR" in answer.err) == (1, 1, True)
    assert drafts() == []


THEIRS = "import json; p = Path({path!r}); d = json.loads(p.read_text()); d['data']['creator'] = 'them'; "
THEIRS += "p.write_text(json.dumps(d)); text = text.replace('Two lines.', 'Mine.')"


@pytest.mark.parametrize(
    ("keys", "status", "cards"),
    [
        (None, 1, [("them", "One line.\nTwo lines.")]),
        (b"r\n", 1, [("them", "One line.\nTwo lines.")]),
        (b"o\n", 0, [("", "One line.\nMine.")]),
        (b"s\n", 0, [("", "One line.\nMine."), ("them", "One line.\nTwo lines.")]),
    ],
)
def test_a_card_that_another_program_wrote_meanwhile(
    rpchat: Rpchat,
    vesna: Path,
    editor: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    keys: bytes | None,
    status: int,
    cards: list[tuple[str, str]],
) -> None:
    monkeypatch.setattr(card_edit, "can_ask", lambda: keys is not None)
    editor(THEIRS.format(path=str(vesna)))
    answer = rpchat("card", "edit", "vesna", stdin=keys or b"")
    assert answer.status == status
    paths = [path for path in Folders.find().cards.glob("*.json") if not path.name.startswith(".")]
    found = [(data_of(path).get("creator", ""), data_of(path)["first_mes"]) for path in paths]
    assert sorted(found) == cards
    if status:
        assert "another program has changed this file" in answer.err
        assert "Mine." in drafts()[0].read_text()


def test_a_starter_that_is_edited_becomes_ones_own(rpchat: Rpchat, editor: Callable[..., Path]) -> None:
    editor("text = text.replace('creator: rpchat', 'creator: me')")
    assert rpchat("card", "edit", "samuel").status == 0
    own = Folders.find().cards / "samuel.png"
    assert read_card_file(own)[0].creator == "me"
    listed = [card for card in rpchat("card", "list", "--json").json if card["ref"] == "samuel"]
    assert [(card["starter"], card["creator"]) for card in listed] == [(False, "me")]
    assert "rpchat" in rpchat("card", "show", "samuel", "--diff", "original").out


# Without one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("description=Short.", "description", "Short."),
        ("description=@{file}", "description", "From a file.\nWith lines."),
        ("description=@@home", "description", "@home"),
        ("creator_notes=a=b", "creator_notes", "a=b"),
        ("tags=a, b,,c", "tags", ["a", "b", "c"]),
        ("alternate_greetings=Hello, you.", "alternate_greetings", ["Hello, you."]),
        ('alternate_greetings=["A", "B"]', "alternate_greetings", ["A", "B"]),
        ("data.extensions.world=Eldoria", "extensions", {"chub": {"id": 7}, "world": "Eldoria"}),
        ("data.extensions.chub.id=8", "extensions", {"chub": {"id": 8}}),
        ("data.tags.0=land", "tags", ["land"]),
    ],
)
def test_set_a_field(
    rpchat: Rpchat, vesna: Path, tmp_path: Path, setting: str, field: str, value: Any
) -> None:
    (tmp_path / "f.txt").write_text("From a file.\nWith lines.\n")
    answer = rpchat("card", "edit", "vesna", "--set", setting.replace("{file}", str(tmp_path / "f.txt")))
    assert (answer.status, data_of(vesna)[field]) == (0, value)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--set", "descripton=x"], 2, "did you mean description?"),
        (["--set", "=x"], 2, "FIELD=TEXT"),
        (["--set", "name"], 2, "FIELD=TEXT"),
        (["--set", "data.extensions.chub=x"], 2, "JSON"),
        (["--set", "data.tags.9=x"], 2, "no place 9"),
        (["--set", "description=@/no/such/file"], 2, "/no/such/file"),
        (["--from", "/no/such/file"], 2, "/no/such/file"),
        (["--avatar", "/no/such/file"], 1, "no such file"),
        (["--add-tag", "x", "--set", "name=y"], 2, "by themselves"),
        (["--rename-tag", "x"], 2, "OLD=NEW"),
    ],
)
def test_a_wrong_edit_is_one_line_and_changes_nothing(
    rpchat: Rpchat, vesna: Path, options: list[str], status: int, said: str
) -> None:
    before = vesna.read_bytes()
    answer = rpchat("card", "edit", "vesna", *options)
    assert (answer.status, answer.err.count("\n")) == (status, 1)
    assert said in answer.err
    assert vesna.read_bytes() == before


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_an_avatar_is_put_on_a_png_card(rpchat: Rpchat, tmp_path: Path, form: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    out = io.BytesIO()
    Image.new("RGB", (5, 7), (10, 200, 30)).save(out, form, exif=exif)
    (tmp_path / "picture").write_bytes(out.getvalue())
    assert rpchat("card", "edit", "samuel", "--avatar", tmp_path / "picture").status == 0
    data = (Folders.find().cards / "samuel.png").read_bytes()
    assert (Image.open(io.BytesIO(data)).size, b"taken at home" in data) == ((5, 7), False)
    assert read_card_file(Folders.find().cards / "samuel.png")[0].name == "Samuel"


def test_tags_over_a_selection(rpchat: Rpchat, vesna: Path, card_file: WriteCard) -> None:
    rpchat("card", "import", card_file("Anton", tags=["land"]))
    answer = rpchat(
        "card",
        "edit",
        "vesna",
        "anton",
        "--add-tag",
        "new",
        "--rename-tag",
        "SEA=ocean",
        "--remove-tag",
        "land",
    )
    assert answer.out == "2 of 2 cards changed\n"
    own = {
        card["name"]: card["tags"] for card in rpchat("card", "list", "--json").json if not card["starter"]
    }
    assert own == {"Vesna": ["ocean", "new"], "Anton": ["new"]}
    assert rpchat("card", "edit", "vesna", "anton", "--set", "creator=x").status == 2


@pytest.mark.parametrize("form", ["png", "json", "charx", "yaml", "md"])
def test_a_new_card(rpchat: Rpchat, form: str) -> None:
    answer = rpchat("card", "new", "Eva Öberg", "--to", form, "--set", "first_mes=Hello.")
    assert answer.status == 0
    card, warnings = read_card_file(Path(answer.out.strip().split(", in ")[1]))
    assert (card.name, card.greetings, card.spec, warnings) == ("Eva Öberg", ["Hello."], "v3", [])
    assert rpchat("card", "show", "eva öberg").status == 0
    assert rpchat("card", "new", " ").status == 2


def test_a_picture_without_a_card_becomes_one(rpchat: Rpchat, tmp_path: Path) -> None:
    Image.new("RGB", (5, 7)).save(tmp_path / "p.png")
    refused = rpchat("card", "check", tmp_path / "p.png")
    assert "rpchat card new NAME --avatar FILE" in refused.out
    made = rpchat("card", "new", "Eva", "--avatar", tmp_path / "p.png")
    path = Path(made.out.strip().split(", in ")[1])
    assert Image.open(path).size == (5, 7)


# Differences --------------------------------------------------------------------------------------------


def test_what_differs_from_another_card(rpchat: Rpchat, card_file: WriteCard) -> None:
    entry = {"keys": ["a"], "content": "old", "extensions": {}}
    one = card_file("Vesna", description="One.\nTwo.", character_book={"entries": [entry]})
    one = one.rename(one.with_name("one.json"))
    two = card_file(
        "Vesna",
        description="One.\nThree.",
        tags=["sea"],
        character_book={"entries": [{**entry, "content": "new"}, entry]},
    )
    lines = rpchat("card", "show", two, "--diff", one).out.splitlines()
    found = rpchat("card", "show", two, "--diff", one, "--json").json
    same = rpchat("card", "show", two, "--diff", two)
    assert lines[:5] == ["== description", " One.", "-Two.", "+Three.", "== tags"]
    assert [item["field"] for item in found] == [
        "description",
        "tags",
        "character_book.entries[0].content",
        "character_book.entries[1]",
    ]
    assert found[0] == {"field": "description", "before": "One.\nTwo.", "after": "One.\nThree."}
    assert same.out == "no difference\n"


def test_what_differs_from_the_import(rpchat: Rpchat, vesna: Path) -> None:
    assert rpchat("card", "show", "vesna", "--diff", "original").out == "no difference\n"
    for text in ("first", "second"):
        rpchat("card", "edit", "vesna", "--set", f"scenario={text}")
    assert rpchat("card", "show", "vesna", "--diff", "original").out.splitlines()[:2] == [
        "== scenario",
        "+second",
    ]


def test_no_original_is_kept_of_a_file_elsewhere(rpchat: Rpchat, card_file: WriteCard) -> None:
    path = card_file("Vesna")
    assert rpchat("card", "show", path, "--diff", "original").status == 1
    rpchat("card", "edit", path, "--set", "creator=me")
    assert "+me" in rpchat("card", "show", path, "--diff", "original").out


# Copies and hints ---------------------------------------------------------------------------------------


def test_of_several_copies_another_is_taken(rpchat: Rpchat, tmp_path: Path) -> None:
    def chunk(keyword: bytes, name: str) -> bytes:
        document = {"spec": "chara_card_v2", "data": {"name": name, "description": "d", "first_mes": "x"}}
        body = keyword + b"\0" + b64encode(json.dumps(document).encode())
        return struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))

    path, picture = tmp_path / "c.png", blank_png()
    path.write_bytes(picture[:33] + chunk(b"chara", "First") + chunk(b"chara", "Second") + picture[33:])
    before = path.read_bytes()
    said = rpchat("card", "check", path).out
    assert (
        "copy 2 of the card differs and was not used, in name; to take it: rpchat card edit REF --copy 2"
        in said
    )
    refused = rpchat("card", "edit", path, "--copy", "3")
    assert (refused.status, "holds 2 copies" in refused.err, path.read_bytes()) == (1, True, before)
    assert rpchat("card", "edit", path, "--copy", "2").status == 0
    card, warnings = read_card(path.read_bytes())
    assert (card.name, warnings, path.read_bytes().count(b"First")) == ("Second", [], 0)
    assert path.with_name("c.png.bak").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--copy", "2"), 1, "only a PNG holds several copies of its card"),
        (("--from", "none.md"), 2, "none.md: No such file or directory; see rpchat card edit --help"),
    ],
)
def test_what_cannot_be_taken_is_said_in_one_line(
    rpchat: Rpchat, card_file: WriteCard, options: tuple[str, ...], status: int, said: str
) -> None:
    path = card_file("Vesna")
    before = path.read_bytes()
    refused = rpchat("card", "edit", path, *options)
    assert (refused.status, refused.err.strip().endswith(said)) == (status, True)
    assert path.read_bytes() == before


def test_the_hint_after_a_failed_edit_names_a_card_by_path(
    rpchat: Rpchat, card_file: WriteCard, tmp_path: Path, editor: Callable[..., Path]
) -> None:
    path = tmp_path / "two words.json"
    path.write_bytes(card_file("Vesna").read_bytes())
    good = tmp_path / "good.md"
    editor(f"Path({str(good)!r}).write_text(text, encoding='utf-8'); text = 'no card'")
    answer = rpchat("card", "edit", path)
    assert answer.status == 1
    assert f"rpchat card edit {shlex.quote(str(path))} --from " in answer.err
    (draft,) = drafts()
    draft.write_text(good.read_text(encoding="utf-8").replace("Vesna", "Mara"), encoding="utf-8")
    command = shlex.split(answer.err.strip().rpartition("rpchat ")[2])
    assert rpchat(*command).status == 0
    assert data_of(path)["name"] == "Mara"

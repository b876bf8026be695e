"""`rpchat card`: listing, checking, importing and exporting, as people and scripts see it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cards.reading import read_card
from chat.cli import card_import
from chat.settings import Folders

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]
KEYS = {"path", "ref", "name", "spec", "warnings", "error"}
BROKEN = b'{"name": "x", "description": ' + b" " * 9_149


@pytest.fixture
def folder(tmp_path: Path, card_file: WriteCard) -> Path:
    """Two good cards, an odd one, a broken one and a lorebook."""
    inside = tmp_path / "in"
    inside.mkdir()
    card_file("Vesna", tags=["sea", "cosy"], creator="me").rename(inside / "vesna.json")
    card_file("Anton", tags=["Sea"], description="long " * 500).rename(inside / "anton.json")
    card_file("Odd", tags="a, b").rename(inside / "odd.json")
    (inside / "broken.json").write_bytes(BROKEN)
    (inside / "world.json").write_text('{"entries": {"0": {"key": ["tower"], "content": "old"}}}')
    return inside


# Checking -----------------------------------------------------------------------------------------------


def test_check_names_field_and_place(rpchat: Rpchat, folder: Path) -> None:
    answer = rpchat("card", "check", folder)
    assert answer.status == 1
    lines = answer.out.splitlines()
    assert any("broken.json: error: broken JSON at line 1 column 9179" in line for line in lines)
    assert any("world.json: error: this is a lorebook" in line for line in lines)
    assert "  warning: data.tags: text where a list belongs" in lines
    assert lines[-1] == "3 cards can be read, 2 cannot"


def test_check_for_tools(rpchat: Rpchat, folder: Path) -> None:
    answer = rpchat("card", "check", folder, "--json")
    rows = {Path(row["path"]).name: row for row in answer.json}
    assert answer.status == 1
    assert all(set(row) == KEYS for row in rows.values())
    assert rows["vesna.json"] == {
        "path": str(folder / "vesna.json"),
        "ref": None,
        "name": "Vesna",
        "spec": "v2",
        "warnings": [],
        "error": None,
    }
    odd = {"code": "type", "field": "data.tags", "message": "text where a list belongs"}
    assert rows["odd.json"]["warnings"] == [{**odd, "line": None, "column": None}]
    broken = rows["broken.json"]["error"]
    assert set(broken) == {"code", "field", "message", "line", "column"}
    assert (broken["code"], broken["field"], broken["line"], broken["column"]) == ("json", None, 1, 9179)
    assert broken["message"].startswith("broken JSON at line 1 column 9179: ")
    assert rows["world.json"]["error"]["code"] == "lorebook"


def test_check_names_the_place_in_a_yaml_file_and_in_a_copy(rpchat: Rpchat, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: x\ngreeting: [\n")
    (tmp_path / "b.json").write_text('\n\n// mine\n{"name": "x"}')
    rows = rpchat("card", "check", tmp_path, "--json").json
    assert [(row["error"]["line"], row["error"]["column"]) for row in rows] == [(3, 1), (3, 1)]
    assert "delete everything before the { at line 4 column 1" in rows[1]["error"]["message"]


def test_check_warns_of_prompt_tokens(rpchat: Rpchat, card_file: WriteCard) -> None:
    path = card_file("Vesna", description="Calm. <|im_start|>system", tags=["<|im_end|>"])
    answer = rpchat("card", "check", path)
    assert answer.status == 0
    assert answer.out.splitlines()[1:] == [
        "  warning: data.description: contains prompt tokens: '<|im_start|>'"
    ]
    assert rpchat("card", "check", path, "--json").json[0]["warnings"][0]["code"] == "prompt-tokens"


def test_mojibake_is_offered_to_be_mended_and_mended_when_asked(rpchat: Rpchat, card_file: WriteCard) -> None:
    path = card_file("PokÃ©mon", description="She donâ€™t care.", creator="Ã©", tags=["é"])
    before = path.read_bytes()
    answer = rpchat("card", "check", path)
    assert "--fix-text" in answer.out
    assert "data.description: 'donâ€™t' looks like 'don’t' read in the wrong encoding" in answer.out
    assert path.read_bytes() == before
    assert rpchat("card", "edit", path, "--fix-text").status == 0
    card, warnings = read_card(path.read_bytes())
    assert (card.name, card.description, card.tags, warnings) == ("Pokémon", "She don’t care.", ["é"], [])
    assert path.with_name(path.name + ".bak").read_bytes() == before
    assert rpchat("card", "edit", path, "--fix-text").out == "nothing changed\n"


@pytest.mark.parametrize(
    ("file", "status"), [("vesna.json", 0), ("odd.json", 0), ("broken.json", 1), ("gone", 1)]
)
def test_checks_exit_status(rpchat: Rpchat, folder: Path, file: str, status: int) -> None:
    assert rpchat("card", "check", folder / file).status == status


def test_hostile_fields_are_one_harmless_line(rpchat: Rpchat, tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(
        json.dumps({"name": "\x1b]0;x\x07\n[/]", "description": 5, "first_mes": "x"})
    )
    for verb in ("check", "import"):
        answer = rpchat("card", verb, tmp_path / "e.json")
        assert not {"\x1b", "\x07"} & set(answer.out + answer.err)
        assert len(answer.out.splitlines()) <= 3


# Importing ----------------------------------------------------------------------------------------------


def test_import_takes_the_good_and_says_why_not_the_others(rpchat: Rpchat, folder: Path) -> None:
    answer = rpchat("card", "import", folder)
    assert answer.status == 1
    assert [line.split(": ")[0] for line in answer.err.splitlines()] == ["rpchat"] * 2
    assert answer.out.splitlines()[-1] == "3 imported, 2 not imported"
    listed = rpchat("card", "list", "--json").json
    own = {card["name"]: card for card in listed if not card["starter"]}
    assert set(own) == {"Vesna", "Anton", "Odd"}
    assert rpchat("card", "show", own["Vesna"]["ref"]).out.startswith("Vesna\n")
    assert rpchat("card", "show", "vesna").status == 0
    again = rpchat("card", "import", folder / "vesna.json")
    assert (again.status, "here already" in again.out) == (0, True)


def test_import_for_tools(rpchat: Rpchat, folder: Path) -> None:
    rows = rpchat("card", "import", folder, "--json").json
    assert all(set(row) == KEYS for row in rows)
    assert [(row["ref"] is None, row["error"] is None) for row in rows] == [
        (False, True),
        (True, False),
        (False, True),
        (False, True),
        (True, False),
    ]
    cards = Folders.find().cards
    assert {f"{row['ref']}.json" for row in rows if row["ref"]} <= {path.name for path in cards.iterdir()}


@pytest.mark.parametrize(
    ("choice", "names", "said"),
    [("keep", 2, "beside"), ("replace", 1, "in the place"), ("skip", 1, "left out"), (None, 2, "beside")],
)
def test_a_name_clash_without_a_terminal(
    rpchat: Rpchat, card_file: WriteCard, choice: str | None, names: int, said: str
) -> None:
    first = rpchat("card", "import", card_file("Vesna"), "--json").json[0]["ref"]
    options = ["--on-clash", choice] if choice else []
    answer = rpchat("card", "import", card_file("Vesna", creator="new"), *options)
    assert (answer.status, said in answer.out) == (0, True)
    own = [card for card in rpchat("card", "list", "--json").json if not card["starter"]]
    assert len(own) == names
    assert first in {card["ref"] for card in own}
    if choice == "replace":
        assert (own[0]["ref"], own[0]["creator"]) == (first, "new")


@pytest.mark.parametrize(
    ("keys", "status", "creators"),
    [
        (b"r\nk\n", 0, ["one", "old", "two"]),
        (b"K\n", 0, ["old", "old", "one", "two"]),
        (b"s\ns\n", 0, ["old", "old"]),
        (b"x\nR\n", 0, ["one", "two"]),
        (b"c\n", 130, ["old", "old"]),
        (b"r\nc\n", 130, ["old", "one"]),
    ],
)
def test_a_name_clash_asks(
    rpchat: Rpchat,
    card_file: WriteCard,
    monkeypatch: pytest.MonkeyPatch,
    keys: bytes,
    status: int,
    creators: list[str],
) -> None:
    for name in ("Vesna", "Anton"):
        rpchat("card", "import", card_file(name, creator="old"))
    monkeypatch.setattr(card_import, "can_ask", lambda: True)
    files = [card_file("Vesna", creator="one"), card_file("Anton", creator="two")]
    answer = rpchat("card", "import", *files, stdin=keys)
    own = [card["creator"] for card in rpchat("card", "list", "--json").json if not card["starter"]]
    assert (answer.status, sorted(own)) == (status, sorted(creators))


def test_a_thousand_cards_with_a_bar(tmp_path: Path) -> None:
    """In a process whose stderr is a terminal; stdout is not one and gets no bar."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(1_000):
        card = {"name": f"Card {number}", "description": "x" * 300, "first_mes": "Good evening."}
        text = "{" if number % 100 == 50 else json.dumps(card)
        (folder / f"{number}.json").write_text(text)
    master, slave = pty.openpty()
    program = [sys.executable, "-m", "chat", "card", "import", str(folder)]
    with subprocess.Popen(program, stdin=slave, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65_536)
            except OSError:
                break
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(master)
    assert process.returncode == 1
    assert out.splitlines() == ["990 imported, 10 not imported"]
    assert shown.count(b".json: broken JSON at line 1 column 2") == 10
    assert b"importing" in shown
    assert b"100%" in shown


def test_ctrl_c_stops_between_two_cards(
    rpchat: Rpchat, card_file: WriteCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cards.library import arriving

    files = [card_file(name) for name in ("A", "B", "C", "D")]
    read = arriving.read_card

    def until_c(data: bytes, filename: str) -> Any:
        if filename == "c.json":
            raise KeyboardInterrupt
        return read(data, filename)

    monkeypatch.setattr(arriving, "read_card", until_c)
    answer = rpchat("card", "import", *files)
    assert answer.status == 130
    assert answer.out.splitlines()[-1] == "2 imported"
    assert answer.err == "rpchat: stopped; 2 of 4 files were not looked at\n"
    assert names(rpchat("card", "list", "--json")) == ["A", "B"]


# Listing ------------------------------------------------------------------------------------------------


def names(answer: Any) -> list[str]:
    return [card["name"] for card in answer.json if not card["starter"]]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--sort", "name"], ["Anton", "Odd", "Vesna"]),
        (["--sort", "creator"], ["Vesna", "Anton", "Odd"]),
        (["--sort", "tokens"], ["Anton", "Vesna", "Odd"]),
        (["--tag", "SEA"], ["Anton", "Vesna"]),
        (["--tag", "sea", "--tag", "cosy"], ["Vesna"]),
        (["--text", "lighthouse"], ["Odd", "Vesna"]),
        (["--tag", "sea", "--text", "LONG"], ["Anton"]),
        (["--text", "nobody"], []),
    ],
)
def test_list_is_sorted_and_filtered(
    rpchat: Rpchat, folder: Path, options: list[str], found: list[str]
) -> None:
    rpchat("card", "import", folder)
    assert names(rpchat("card", "list", "--json", *options)) == found


def test_list_by_the_last_chat(rpchat: Rpchat, folder: Path) -> None:
    rpchat("card", "import", folder)
    chat = folder / "chat.jsonl"
    chat.write_text(
        '{"user_name": "Alex", "character_name": "Vesna"}\n{"name": "Vesna", "is_user": false, "mes": "Hi"}\n'
    )
    assert rpchat("chat", "import", chat, "--card", "Vesna").status == 0
    cards = rpchat("card", "list", "--json", "--sort", "chat").json
    assert (cards[0]["name"], cards[0]["last_chat"] is not None, cards[1]["last_chat"]) == (
        "Vesna",
        True,
        None,
    )


def test_a_replaced_card_keeps_its_chats(rpchat: Rpchat, card_file: WriteCard, tmp_path: Path) -> None:
    ref = rpchat("card", "import", card_file("Vesna"), "--json").json[0]["ref"]
    chat = tmp_path / "chat.jsonl"
    chat.write_text(
        '{"user_name": "Alex", "character_name": "Vesna"}\n{"name": "Vesna", "is_user": false, "mes": "Hi"}\n'
    )
    rpchat("chat", "import", chat, "--card", "Vesna")
    rpchat("card", "import", card_file("Vesna", description="Another."), "--on-clash", "replace")
    assert [found["card"] for found in rpchat("chat", "list", "--json").json] == [ref]
    assert "Another." in rpchat("card", "show", ref).out
    prompt = rpchat("prompt", "--chat", rpchat("chat", "list", "--json").json[0]["id"], "--json").json
    assert "Another." in prompt["text"]


# Exporting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["png", "json", "charx", "yaml", "md"])
def test_export_in_every_form(rpchat: Rpchat, tmp_path: Path, form: str) -> None:
    target = tmp_path / f"out.{form}"
    answer = rpchat("card", "export", "samuel", "--to", form, "-o", target)
    assert (answer.status, answer.err) == (0, "")
    card, warnings = read_card(target.read_bytes())
    assert (card.name, warnings) == ("Samuel", [])


def test_export_to_stdout_is_exact(rpchat: Rpchat, card_file: WriteCard, capfdbinary: Any) -> None:
    path = card_file("Vesna", description="\x1b[31m\u202e")
    answer = rpchat("card", "export", path, "--to", "json", "-o", "-")
    assert answer.out.encode() == path.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "json", "--spec", "2"], "as V2 it loses nickname"),
        (["--to", "md", "--spec", "1"], "as V1 it loses nickname"),
        (["--to", "json", "--spec", "3"], ""),
        (["--to", "png", "--spec", "2"], "as V2 it loses nickname"),
        (["--to", "png", "--spec", "1"], "as V1 it loses nickname, tags"),
        (["--to", "png"], ""),
        (["--to", "json"], ""),
    ],
)
def test_a_downgrade_says_what_it_loses(
    rpchat: Rpchat, tmp_path: Path, options: list[str], said: str
) -> None:
    card = {
        "spec": "chara_card_v3",
        "spec_version": "3.0",
        "data": {"name": "A", "description": "d", "first_mes": "x", "nickname": "N", "tags": ["t"]},
    }
    (tmp_path / "a.json").write_text(json.dumps(card))
    answer = rpchat("card", "export", tmp_path / "a.json", *options, "-o", tmp_path / "out")
    assert answer.status == 0
    assert said in answer.err
    assert bool(said) == bool(answer.err)


def test_private_keys_stay_home_unless_asked_for(rpchat: Rpchat, tmp_path: Path) -> None:
    card = {"name": "A", "description": "d", "first_mes": "x", "chat": "A - last night", "fav": True}
    (tmp_path / "a.json").write_text(json.dumps(card))
    exported = json.loads(rpchat("card", "export", tmp_path / "a.json", "--to", "json", "-o", "-").out)
    kept = json.loads(
        rpchat("card", "export", tmp_path / "a.json", "--to", "json", "--keep-private", "-o", "-").out
    )
    assert (set(card) - set(exported), kept) == ({"chat", "fav"}, card)


def test_export_never_overwrites_silently(
    rpchat: Rpchat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert rpchat("card", "export", "samuel", "--to", "md").status == 0
    assert (tmp_path / "Samuel.md").read_bytes() == (tmp_path / "Samuel (2).md").read_bytes()
    (tmp_path / "mine.md").write_text("mine")
    rpchat("card", "export", "samuel", "--to", "md", "-o", "mine.md")
    assert (tmp_path / "mine.md.bak").read_text() == "mine"
    (tmp_path / "out").mkdir()
    assert rpchat("card", "export", "samuel", "mila", "--to", "charx", "-o", "out").status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Mila.charx", "Samuel.charx"]
    assert zipfile.is_zipfile(tmp_path / "out" / "Mila.charx")
    assert rpchat("card", "export", "samuel", "mila", "-o", "one.png").status == 2
    assert rpchat("card", "export", "samuel", "-o", "no/such/folder.png").status == 2
    assert not (tmp_path / "no").exists()


def test_a_charx_is_v3(rpchat: Rpchat, tmp_path: Path) -> None:
    answer = rpchat("card", "export", "samuel", "--to", "charx", "--spec", "2", "-o", tmp_path / "x.charx")
    assert (answer.status, answer.err.count("\n"), "V3" in answer.err) == (1, 1, True)

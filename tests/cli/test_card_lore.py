"""`rpchat card lore`: which entries fire, why, and a lorebook's file put into a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entries_read import count_entries

from chat.settings import Folders

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]


@pytest.fixture
def vesna(rpchat: Rpchat, card_file: WriteCard) -> Path:
    """A card in the library."""
    fields = {"first_mes": "One line.\nTwo lines.", "tags": ["sea"], "extensions": {"chub": {"id": 7}}}
    ref = rpchat("card", "import", card_file("Vesna", **fields), "--json").json[0]["ref"]
    return Folders.find().cards / f"{ref}.json"


def data_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))["data"]


BOOK = {
    "entries": [
        {"keys": ["tower"], "content": "The tower is {{char}}'s.", "name": "Tower", "enabled": True},
        {"keys": ["cellar"], "content": "Wet.", "name": "Cellar", "enabled": True},
        {"keys": ["tower"], "content": "Off.", "name": "Off", "enabled": False},
        {"keys": [], "content": "Always here.", "name": "Always", "constant": True, "enabled": True},
    ]
}


def test_which_entries_fire_and_why(rpchat: Rpchat, card_file: WriteCard) -> None:
    path = card_file("Vesna", character_book=BOOK)
    answer = rpchat("card", "lore", path, "--test", "Tell me of the tower.")
    rows = [line.split() for line in answer.out.splitlines()]
    assert {row[1]: row[0] for row in rows[:-1]} == {
        "Tower": "fires",
        "Always": "fires",
        "Cellar": "-",
        "Off": "-",
    }
    assert 'key "tower"' in answer.out
    assert rows[-1][:4] == ["2", "of", "4", "entries"]
    found = rpchat("card", "lore", path, "--test", "the tower", "--json").json
    assert {one["entry"]: one["text"] for one in found["fired"]}["Tower"] == "The tower is Vesna's."
    assert {one["entry"] for one in found["skipped"]} == {"Cellar", "Off"}
    assert all(one["why"] for one in found["fired"] + found["skipped"])
    older = rpchat("card", "lore", path, "--test", "the cellar", "--test", "a", "--test", "b", "--json").json
    assert [one["entry"] for one in older["fired"]] == ["Always"]
    tight = rpchat("card", "lore", path, "--test", "tower", "--budget", "1", "--json").json
    assert any("over budget by" in one["why"] for one in tight["skipped"])


@pytest.mark.parametrize(
    ("own", "given", "said", "budget"),
    [
        (None, [], "", None),
        (90, [], "; at most 90, the book's own budget, the smaller", {"tokens": 90, "of": "book"}),
        (
            90,
            ["--budget", "50"],
            "; at most 50, the budget given, the smaller",
            {"tokens": 50, "of": "settings"},
        ),
        (
            40,
            ["--budget", "50"],
            "; at most 40, the book's own budget, the smaller",
            {"tokens": 40, "of": "book"},
        ),
    ],
)
def test_which_budget_counts(
    rpchat: Rpchat, card_file: WriteCard, own: int | None, given: list[str], said: str, budget: Any
) -> None:
    path = card_file("Vesna", character_book={**BOOK, "token_budget": own})
    last = rpchat("card", "lore", path, "--test", "the tower", *given).out.splitlines()[-1]
    assert last.endswith(f"{said} of the two counts" if said else "tokens")
    assert rpchat("card", "lore", path, "--test", "the tower", *given, "--json").json["budget"] == budget


def test_entries_for_one_greeting(rpchat: Rpchat, card_file: WriteCard) -> None:
    entries = [{"name": "one", "keys": ["tower"], "content": "@@is_greeting 1\nx"}]
    path = card_file("Vesna", character_book={"entries": entries})
    for greeting, count in (([], 0), (["--greeting", "0"], 0), (["--greeting", "1"], 1)):
        found = rpchat("card", "lore", path, "--test", "the tower", *greeting, "--json").json
        assert len(found["fired"]) == count


def test_the_entries_of_a_lorebooks_own_file(rpchat: Rpchat, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(
        '{"entries": {"0": {"key": ["tower"], "content": "old", "comment": "T"}}}'
    )
    assert rpchat("card", "lore", tmp_path / "w.json").out.split() == ["T", "tower", "before_char"]
    assert rpchat("card", "lore", tmp_path / "w.json", "--test", "-", stdin=b"the tower").out.startswith(
        "fires  T"
    )


def test_a_lorebook_is_put_into_a_card(rpchat: Rpchat, vesna: Path, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{"entries": {"0": {"key": ["tower"], "content": "old", "order": 3}}}')
    assert "1 entry added" in rpchat("card", "lore", "vesna", "--add", tmp_path / "w.json").out
    assert [entry["keys"] for entry in data_of(vesna)["character_book"]["entries"]] == [["tower"]]
    none = rpchat("card", "lore", vesna.with_name("gone.json"))
    assert (none.status, none.err.count("\n")) == (1, 1)


def test_a_test_reads_the_file_once(
    rpchat: Rpchat, card_file: WriteCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = card_file("Vesna", character_book=BOOK)
    read = count_entries(monkeypatch)
    assert rpchat("card", "lore", path, "--test", "the tower").status == 0
    assert read == [0, 1, 2, 3]

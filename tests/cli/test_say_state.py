"""`rpchat say`: what was read of a chat is there again in the next call."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat.settings import Folders, Settings, SettingsError

Rpchat = Callable[..., Any]


def say(*args: object, check: bool = True) -> dict[str, Any]:
    command = [sys.executable, "-m", "chat", "say", *map(str, args), "--json", "--max-tokens", "8"]
    run = subprocess.run(command, capture_output=True, text=True, check=check)
    answer: dict[str, Any] = {**json.loads(run.stdout), "stderr": run.stderr}
    return answer


@pytest.fixture
def card(card_file: Callable[..., Path]) -> Path:
    """A card that is long enough to be worth saving."""
    lived = "".join(f"In {year} she saw a ship go down off the cape. " for year in range(1800, 1812))
    return card_file("Vesna", description=lived, first_mes="Boo.")


def test_the_next_call_reads_only_what_is_new(card: Path, home: Path, rpchat: Rpchat) -> None:
    first = say("Good evening.", "--card", card)
    assert first["reused_tokens"] == 0
    (file,) = (home / "cache" / "states").glob("*.state")
    assert file.name.startswith(first["chat"])
    assert file.stat().st_mode & 0o077 == 0
    second = say("And then?", "--chat", first["chat"])
    assert second["reused_tokens"] >= 0.95 * first["prompt_tokens"]
    assert second["evaluated_tokens"] <= 40
    before = file.read_bytes()
    passing = say("Not to be kept.", "--chat", first["chat"], "--no-save")
    assert passing["reused_tokens"] >= second["prompt_tokens"]
    assert file.read_bytes() == before
    assert rpchat("chat", "delete", first["chat"]).status == 0
    assert not list((home / "cache" / "states").glob("*.state"))


def test_nothing_but_the_chat_and_its_state_stays(card: Path, home: Path) -> None:
    say("Good evening.", "--card", card)
    left = {file.relative_to(home).parts[0] for file in home.rglob("*") if file.is_file()}
    assert left <= {
        "chats.db",
        "chats.db.lock",
        "cache",
        "snapshots",
        "logs",
        "settings.yaml",
        ".settings.lock",
    }


def test_a_quota_of_nothing_saves_nothing(card: Path, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.yaml").write_text("state_quota: 0\n")
    first = say("Good evening.", "--card", card)
    assert not (home / "cache" / "states").exists()
    assert say("And then?", "--chat", first["chat"])["reused_tokens"] == 0


def test_a_folder_that_cannot_be_written_is_a_word_and_the_chat_intact(card: Path, home: Path) -> None:
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "states").write_text("not a folder")
    first = say("Good evening.", "--card", card)
    assert "The state of this chat was not saved" in first["stderr"]
    assert first["stderr"].count("not saved") == 1
    assert say("And then?", "--chat", first["chat"])["chat"] == first["chat"]


@pytest.mark.parametrize(
    ("written", "quota"), [("", None), ("state_quota: 2.5", 2.5), ("state_quota: 0", 0.0)]
)
def test_the_setting(home: Path, written: str, quota: float | None) -> None:
    home.mkdir(parents=True)
    (home / "config.yaml").write_text(written)
    assert Settings(Folders.find()).state_quota == quota


@pytest.mark.parametrize("written", ["-1", "much", "true", "[1]", ".inf", ".nan"])
def test_a_quota_that_is_no_number_is_named(home: Path, written: str) -> None:
    home.mkdir(parents=True)
    (home / "config.yaml").write_text(f"state_quota: {written}")
    with pytest.raises(SettingsError, match=r"state_quota: a number of gigabytes.*config\.yaml"):
        _ = Settings(Folders.find()).state_quota

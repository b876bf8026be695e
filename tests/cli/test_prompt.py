"""`rpchat prompt`: the exact prompt from files, from stored chats, and with a model's own count."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rpchat = Callable[..., Any]
GOLDENS = json.loads((Path(__file__).parents[1] / "data" / "formats_golden.json").read_text(encoding="utf-8"))
CASES = sorted({golden["case"] for golden in GOLDENS})


def write_chat(path: Path, user: str, char: str, turns: list[list[str]]) -> Path:
    """A SillyTavern chat file; its turns are pairs of role and text."""
    rows: list[dict[str, Any]] = [{"user_name": user, "character_name": char, "chat_metadata": {}}]
    for role, text in turns:
        name = user if role == "user" else char
        rows.append({"name": name, "is_user": role == "user", "is_system": False, "mes": text, "extra": {}})
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES)
def test_every_golden_prompt_comes_from_files_byte_for_byte(
    rpchat: Rpchat, tmp_path: Path, card_file: Callable[..., Path], case: str
) -> None:
    for golden in (golden for golden in GOLDENS if golden["case"] == case):
        card = card_file(**{**golden["card"], "first_mes": ""})
        chat = write_chat(tmp_path / "chat.jsonl", golden["user"], golden["card"]["name"], golden["turns"])
        args = ["--card", card, "--chat", chat, "--format", golden["format"], "--as", golden["as"]]
        args += ["--user", golden["user"], "--json"]
        if golden["user_persona"]:
            args += ["--user-persona", golden["user_persona"]]
        for key, value in golden["set"].items():
            args += ["--set", f"{key}={value}"]
        answer = rpchat("prompt", *args)
        assert answer.json["text"] == golden["text"], golden["format"]


def test_json_says_where_every_byte_comes_from_and_counts_nothing_unasked(
    rpchat: Rpchat, card_file: Callable[..., Path]
) -> None:
    answer = rpchat("prompt", "--card", card_file(), "--user", "Alex", "--format", "limarp-v1", "--json").json
    assert set(answer) == {"format", "text", "stop", "ban_eos", "tokens", "segments", "dropped", "parts"}
    assert "".join(segment["text"] for segment in answer["segments"]) == answer["text"]
    assert all(set(segment) == {"kind", "source", "text", "trusted"} for segment in answer["segments"])
    assert (answer["format"], answer["ban_eos"], answer["tokens"], answer["dropped"], answer["parts"]) == (
        "limarp-v1",
        True,
        None,
        [],
        None,
    )
    assert '"You are late, Alex," Vesna said.' in answer["text"]
    assert all(not s["trusted"] for s in answer["segments"] if "Alex" in s["text"])


def test_user_texts_come_from_options_files_and_stdin(
    rpchat: Rpchat, tmp_path: Path, card_file: Callable[..., Path]
) -> None:
    (tmp_path / "me.txt").write_text("A sailor\nfrom Riga.\n")
    card = card_file()
    text = rpchat("prompt", "--card", card, "--user", "Jo", "--user-persona", f"@{tmp_path / 'me.txt'}").out
    assert "A sailor\nfrom Riga." in text
    assert "Jo: @home" in rpchat("prompt", "--card", card, "--user", "Jo", "--say", "@@home").out
    assert "User: -x" in rpchat("prompt", "--card", card, "--say=-x").out


def test_a_stored_persona_is_used_and_options_outrank_it(
    rpchat: Rpchat, card_file: Callable[..., Path]
) -> None:
    card = card_file()
    rpchat("persona", "set", "Alex", "--description", "A sailor.")
    rpchat("persona", "set", "Kim", "--description", "A pilot.")
    assert "A sailor." in rpchat("prompt", "--card", card).out
    assert "A pilot." in rpchat("prompt", "--card", card, "--persona", "kim").out
    without = rpchat("prompt", "--card", card, "--user", "Alex").out
    assert "Alex" in without
    assert "A sailor." not in without


def test_with_a_model_tokens_are_counted_and_add_up(rpchat: Rpchat) -> None:
    args = ["prompt", "--card", "samuel", "--model", "SmolLM2-135M-Instruct.Q4_1", "--json"]
    answer = rpchat(*args).json
    assert answer["tokens"] > 500
    assert sum(part["tokens"] for part in answer["parts"]) == answer["tokens"]
    assert [(part["kind"], part["source"]) for part in answer["parts"]] == [
        (segment["kind"], segment["source"]) for segment in answer["segments"]
    ]
    assert answer["dropped"] == []


def test_markers_that_the_model_does_not_know_are_said(rpchat: Rpchat, data: Path) -> None:
    vocabulary = ("--model", data / "llama2-vocab.gguf")
    answer = rpchat("prompt", "--card", "samuel", "--format", "chatml", "--json", *vocabulary)
    assert answer.status == 0
    assert "format chatml may be wrong for this model: its markers are no control tokens" in answer.err
    assert rpchat("prompt", "--card", "samuel", "--format", "llama2-chat", *vocabulary).err == ""


def test_a_vocabulary_without_weights_is_enough_to_count(rpchat: Rpchat, data: Path) -> None:
    vocabulary = ("--model", data / "llama2-vocab.gguf")
    answer = rpchat("prompt", "--card", "samuel", "--format", "metharme", "--json", *vocabulary)
    assert answer.json["tokens"] == sum(part["tokens"] for part in answer.json["parts"]) > 100
    assert rpchat("say", "Hi.", "--card", "samuel", *vocabulary).status == 1


def test_what_does_not_fit_is_dropped_and_listed_or_refused(
    rpchat: Rpchat, tmp_path: Path, card_file: Callable[..., Path]
) -> None:
    model = ["--model", "SmolLM2-135M-Instruct.Q4_1", "--json"]
    turns = [["user" if n % 2 else "char", f"Turn {n}: " + "the sea was grey. " * 20] for n in range(30)]
    chat = write_chat(tmp_path / "long.jsonl", "Alex", "Vesna", turns)
    card = card_file(mes_example="<START>\n{{user}}: Hello?\n{{char}}: Hello.")
    answer = rpchat("prompt", "--card", card, "--chat", chat, "--ctx", 2000, "--max-tokens", 200, *model).json
    assert answer["tokens"] <= 1800
    assert {dropped["kind"] for dropped in answer["dropped"]} == {"examples", "turn"}
    assert all(set(dropped) == {"kind", "source", "why", "tokens"} for dropped in answer["dropped"])
    assert "Turn 29" in answer["text"]
    assert "Turn 0:" not in answer["text"]
    refused = rpchat("prompt", "--card", "samuel", "--ctx", 300, *model)
    assert refused.status == 1
    assert refused.err.count("\n") == 1


def test_a_broken_line_of_a_chat_file_is_said_and_passed_over(
    rpchat: Rpchat, tmp_path: Path, card_file: Callable[..., Path]
) -> None:
    chat = write_chat(tmp_path / "chat.jsonl", "Alex", "Vesna", [["char", "Good evening."]])
    chat.write_text(chat.read_text() + "\n{broken")
    answer = rpchat("prompt", "--card", card_file(), "--chat", chat)
    assert answer.status == 0
    assert "line 3" in answer.err
    assert "Good evening." in answer.out


def test_an_adventure_begins_without_a_greeting(rpchat: Rpchat, card_file: Callable[..., Path]) -> None:
    text = rpchat("prompt", "--card", card_file(), "--format", "metharme-adventure", "--json").json["text"]
    assert "You are late" not in text

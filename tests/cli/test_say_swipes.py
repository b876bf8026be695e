"""`rpchat say --swipes N` with the real worker: what is printed, what is stored, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat.settings import Folders
from chat.store import Store

Rpchat = Callable[..., Any]


@pytest.fixture
def ghost(card_file: Callable[..., Path]) -> Path:
    """A card that is quickly read."""
    return card_file("Vesna", description="A ghost.", first_mes="Boo.")


def test_each_reply_has_its_heading_and_its_message(rpchat: Rpchat, ghost: Path) -> None:
    said = rpchat("say", "Good evening.", "--card", ghost, "--swipes", 3, "--max-tokens", 16)
    assert (said.status, said.err) == (0, "")
    head, *printed = re.split(r"^— (\d/3) —\n", said.out, flags=re.MULTILINE)
    assert (head, printed[::2]) == ("", ["1/3", "2/3", "3/3"])
    with Store(Folders.find().database) as store:
        (chat,) = store.chats()
        tree = store.open_chat(chat.id).tree
        path = tree.path()
        replies = tree.siblings(path[-1].id)
    assert [message.text for message in path[:2]] == ["Boo.", "Good evening."]
    assert [text.strip() for text in printed[1::2]] == [message.text for message in replies]
    assert path[-1] == replies[0]


def test_json_is_a_list_of_what_say_prints_for_one(rpchat: Rpchat, ghost: Path) -> None:
    options = ("--card", ghost, "--max-tokens", 16, "--no-save", "--json", "--seed", 5)
    several = rpchat("say", "Good evening.", *options, "--swipes", 3, "--probs", 2).json
    one = rpchat("say", "Good evening.", *options).json
    assert [{*values} - {"probs"} for values in several] == [{*one}] * 3
    assert several[0]["seed"] == one["seed"] == 5
    assert len({values["seed"] for values in several}) == 3
    for values in several:
        assert len(values["probs"]) == values["generated_tokens"] + (values["finish_reason"] == "eos")
    prompt = several[0]["prompt_tokens"]
    assert [values["evaluated_tokens"] for values in several] == [prompt, 0, 0]
    assert [values["reused_tokens"] for values in several] == [0, prompt, prompt]
    (alone,) = rpchat("say", "Good evening.", *options, "--swipes", 1).json
    assert alone["reply"] == one["reply"]


@pytest.mark.parametrize("number", ["0", "9", "many"])
def test_a_number_that_is_none_is_wrong_use(rpchat: Rpchat, ghost: Path, number: str) -> None:
    said = rpchat("say", "Good evening.", "--card", ghost, "--swipes", number)
    assert (said.status, said.out) == (2, "")
    assert "--swipes" in said.err


def test_more_than_fit_is_wrong_use_and_nothing_is_kept(rpchat: Rpchat, ghost: Path) -> None:
    said = rpchat("say", "Hello.", "--card", ghost, "--swipes", 8, "--ctx", 1024, "--max-tokens", 900)
    assert (said.status, said.out) == (2, "")
    assert re.fullmatch(
        r"rpchat: 8 replies at once do not fit: memory holds \d+ tokens, the prompt takes \d+ and each reply"
        r" at least \d+; \d fit\.\n",
        said.err,
    )
    assert rpchat("chat", "list", "--json").json == []

"""Author's note, persona, lore and the beginning of a reply, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat.settings import Folders
from chat.store import Store

Rpchat = Callable[..., Any]
MODEL = ("--model", "SmolLM2-135M-Instruct.Q4_1")
BOOK: dict[str, Any] = {
    "name": "Isles",
    "entries": [
        {
            "keys": ["lighthouse"],
            "name": name,
            "content": f"{name} " + "word " * size,
            "enabled": True,
            "insertion_order": order,
            "extensions": {"position": position},
        }
        for order, (name, size, position) in enumerate(
            (("Kilda", 10, 0), ("Fog", 10, 3), ("Flood", 400, 1), ("Old", 5, 7))
        )
    ],
}


def sources(answer: Any, kind: str) -> list[str]:
    return [s["source"] for s in answer["segments"] if s["kind"] == kind and not s["trusted"]]


def test_a_note_from_text_and_file(rpchat: Rpchat, card_file: Callable[..., Path], tmp_path: Path) -> None:
    card = card_file()
    (tmp_path / "note.txt").write_text("Keep {{char}} cross.\nAlways.\n")
    args = ("prompt", "--card", card, "--user", "Alex", "--format", "chatml", "--say", "Hello.")
    text = rpchat(*args, "--note", f"@{tmp_path / 'note.txt'}", "--set", "note_depth=1").out
    assert "<|im_start|>system\nKeep Vesna cross.\nAlways.<|im_end|>\n<|im_start|>user\nAlex: Hello." in text
    placed = rpchat(*args, "--note", "a=b", "--set", "note_depth=0", "--set", "note_role=assistant").out
    assert "Alex: Hello.<|im_end|>\n<|im_start|>assistant\nVesna: a=b<|im_end|>" in placed
    assert "a=b" not in rpchat(*args, "--note", "a=b", "--set", "note_interval=2").out


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("note_depth=deep", "note_depth takes a whole number from 0 to 9999"),
        ("note_depth=-1", "note_depth takes a whole number"),
        ("note_interval=0", "note_interval takes a whole number from 1 to 9999"),
        ("note_role=narator", "it takes system, user, char"),
        ("lore=friendly", "takes faithful, cache-friendly"),
        ("lore_budget=101", "a whole number from 0 to 100"),
        ("note_deph=3", "did you mean note_depth"),
        ("card_post_histroy=off", "did you mean card_post_history"),
    ],
)
def test_wrong_places_are_refused(
    rpchat: Rpchat, card_file: Callable[..., Path], setting: str, said: str
) -> None:
    answer = rpchat("prompt", "--card", card_file(), "--format", "chatml", "--set", setting)
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert said.removeprefix("it ") in answer.err


def test_the_prompt_whole(rpchat: Rpchat, card_file: Callable[..., Path]) -> None:
    """Every byte with its origin, every token with its part, and what is left out with its reason."""
    card = card_file(
        character_book=BOOK,
        mes_example="<START>\n{{char}}: " + "word " * 600,
        system_prompt="Be brief.",
        post_history_instructions="Last.",
    )
    args = ["prompt", "--card", card, "--user", "Alex", "--format", "limarp-v1", "--json", *MODEL]
    args += ["--say", "The lighthouse?", "--note", "Dark.", "--ctx", 700, "--max-tokens", 200]
    args += ["--set", "card_post_history=off"]
    answer = rpchat(*args).json
    assert set(answer) == {"format", "text", "stop", "ban_eos", "tokens", "segments", "dropped", "parts"}
    assert sum(part["tokens"] for part in answer["parts"]) == answer["tokens"] <= 500
    assert [(p["kind"], p["source"]) for p in answer["parts"]] == [
        (s["kind"], s["source"]) for s in answer["segments"]
    ]
    assert "".join(segment["text"] for segment in answer["segments"]) == answer["text"]
    assert sources(answer, "lore") == ["lore Isles/Kilda", "lore Isles/Fog"]
    assert sources(answer, "note") == ["author's note"]
    left_out = {gone["source"]: (gone["kind"], gone["why"]) for gone in answer["dropped"]}
    over = left_out.pop("lore Isles/Flood")
    assert over[1].startswith("over budget by ")
    assert left_out == {
        "card mes_example": ("examples", "no room; left out for good in this chat"),
        "lore Isles/Old": ("lore", "no text asks for its outlet ''"),
        "card system_prompt": ("header", "the setting card_system_prompt=off"),
        "card post_history_instructions": ("post_history", "the setting card_post_history=off"),
    }
    assert all(gone["tokens"] > 0 for gone in answer["dropped"])


def test_personas_have_a_place(rpchat: Rpchat, card_file: Callable[..., Path]) -> None:
    rpchat("persona", "set", "Alex", "--description", "A sailor.")
    args = ("prompt", "--card", card_file(), "--format", "chatml", "--say", "Hello.")
    assert "Alex's Persona: A sailor." in rpchat(*args).out
    placed = ("--position", "depth", "--depth", 1, "--role", "user")
    assert rpchat("persona", "set", "alex", *placed).status == 0
    text = rpchat(*args).out
    assert "user\nalex: A sailor.<|im_end|>\n<|im_start|>user\nalex: Hello." in text
    shown = rpchat("persona", "show", "alex")
    assert "1 message from the end, as the user" in shown.out
    stored = rpchat("persona", "show", "alex", "--json").json
    assert stored == {
        "name": "alex",
        "description": "A sailor.",
        "position": "depth",
        "depth": 1,
        "role": "user",
    }
    assert rpchat("persona", "list", "--json").json == [{**stored, "default": True}]
    rpchat("persona", "set", "alex", "--position", "none")
    assert "A sailor." not in rpchat(*args).out
    assert rpchat("persona", "show", "alex").out == "alex\nA sailor.\n(in no prompt)\n"
    rpchat("persona", "set", "alex", "--position", "note-bottom")
    assert "<|im_start|>system\nDark.\nA sailor.<|im_end|>" in rpchat(*args, "--note", "Dark.").out
    wrong = rpchat("persona", "set", "alex", "--depth", 3)
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
    assert rpchat("persona", "set", "alex", "--position", "roof").status == 2


def test_a_persona_of_config_yaml_may_have_a_place(
    rpchat: Rpchat, card_file: Callable[..., Path], home: Path
) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(
        "persona: Kim\npersonas:\n  Kim: {description: A pilot., position: depth, depth: 0}\n"
        "  Jo: {description: A cook., position: roof, depth: many, role: 3}\n"
    )
    args = ("prompt", "--card", card_file(), "--format", "chatml")
    assert "<|im_start|>system\nA pilot.<|im_end|>\n<|im_start|>assistant\nVesna:" in rpchat(*args).out
    assert "Jo's Persona: A cook." in rpchat(*args, "--persona", "Jo").out


def test_say_keeps_the_note_and_begins_the_reply_once(
    rpchat: Rpchat, card_file: Callable[..., Path], home: Path
) -> None:
    card = card_file("Vesna", description="A ghost.", first_mes="Boo.")
    said = rpchat(
        *("say", "Hello.", "--card", card, "--max-tokens", 12, "--seed", 1),
        *("--note", "Be brief.", "--set", "note_depth=0", "--prefill", "Well, {{user}},"),
    )
    assert said.status == 0
    assert said.out.startswith("Well, User,")
    with Store(Folders.find(home).database) as store:
        (summary,) = store.chats()
        chat = store.open_chat(summary.id)
    assert chat.tree.path()[-1].text == said.out.rstrip("\n")
    assert chat.chat.options == {"note": "Be brief.", "note_depth": "0"}
    later = rpchat("prompt", "--chat", summary.id, "--say", "And?").out
    assert "Be brief." in later.partition("And?")[2]
    assert not later.endswith("Well, User,")
    cleared = rpchat("prompt", "--chat", summary.id, "--note", "").out
    assert "Be brief." not in cleared


def test_cache_friendly_lore(rpchat: Rpchat, card_file: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"user_name": "Alex", "character_name": "Vesna", "chat_metadata": {}}]
    for number, text in enumerate(["Boo.", "Hello.", "Hm.", "The lighthouse?"]):
        rows.append({"name": "x", "is_user": bool(number % 2), "is_system": False, "mes": text})  # type: ignore[dict-item]
    chat = tmp_path / "chat.jsonl"
    chat.write_text("\n".join(json.dumps(row) for row in rows))
    book = {**BOOK, "entries": BOOK["entries"][:1]}
    args = ("prompt", "--card", card_file(character_book=book), "--chat", chat, "--format", "chatml")
    rows[0]["chat_metadata"] = {"note_prompt": "From a file.", "note_depth": 0}  # type: ignore[assignment]
    noted = tmp_path / "noted.jsonl"
    noted.write_text("\n".join(json.dumps(row) for row in rows))
    assert "From a file." in rpchat(*args[:4], noted, *args[5:]).out
    faithful, friendly = (rpchat(*args, "--set", f"lore={way}").out for way in ("faithful", "cache-friendly"))
    assert faithful.index("Kilda") < faithful.index("Boo.")
    assert friendly.index("Hm.") < friendly.index("Kilda") < friendly.index("The lighthouse?")
    assert faithful.count("Kilda") == friendly.count("Kilda") == 1

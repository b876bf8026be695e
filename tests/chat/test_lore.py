"""A card's lorebook in a real chat: timers, chance and places follow the path. The note and the prefill."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cards.card import Card, card_from_document
from chat.engine.scripted import ScriptedEngine
from chat.events import ReplyFinished
from chat.rows import new_message
from chat.session import Session
from chat.store import Store
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

CHATML = PresetLibrary(None).format("chatml")
ALEX = Persona("Alex", "Alex is tall.")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data" / "chats.db") as opened:
        yield opened


def a_card(*entries: dict[str, Any], **fields: Any) -> Card:
    data = {
        "name": "Vesna",
        "first_mes": "Good evening.",
        "alternate_greetings": ["It rained."],
        "character_book": {"name": "Isles", "entries": [*entries]},
        **fields,
    }
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def entry(name: str, *keys: str, content: str = "", **extensions: Any) -> dict[str, Any]:
    content = content or f"All of {name}."
    return {
        "keys": [*keys],
        "content": content,
        "name": name,
        "enabled": True,
        "insertion_order": 1,
        "extensions": extensions,
    }


def session(store: Store, card: Card, *replies: str, **more: Any) -> Session:
    engine = ScriptedEngine(replies or ["Hm."] * 40, ready=True, context=more.pop("context", 4096))
    persona = more.pop("persona", ALEX)
    return Session.begin(store, card, persona, CHATML, Sampling(), engine=engine, **more)


def again(one: Session, card: Card) -> Session:
    """The same chat as another start of the program finds it."""
    return Session.resume(one.store, one.chat.id, CHATML, Sampling(), card=card)


def turn(one: Session, text: str) -> str:
    """The user's turn and a reply: the prompt that it was written to."""
    one.say(text)
    prompt = one.prompt().text
    assert isinstance(list(one.reply())[-1], ReplyFinished)
    return prompt


def fires(one: Session, card: Card, *turns: str, name: str = "tower") -> str:
    """In which of the prompts after these turns the entry stands: `x` or `.`. A fresh start agrees."""
    seen = ""
    for text in turns:
        one.say(text)
        there = f"All of {name}." in one.prompt().text
        assert (f"All of {name}." in again(one, card).prompt().text) == there
        seen += "x" if there else "."
        assert isinstance(list(one.reply())[-1], ReplyFinished)
    return seen


TIMED = [
    # A turn is two messages; the chat has 2, 4, 6 ... of them when it is asked. Keys are looked for in two.
    ("nothing", {}, "x...x"),
    ("sticky", {"sticky": 4}, "xx..x"),
    ("sticky for long", {"sticky": 7}, "xxxxx"),
    ("cooldown", {"cooldown": 9}, "x...."),
    ("sticky, then cooldown", {"sticky": 3, "cooldown": 6}, "xx..."),
    ("delay", {"delay": 4}, "....x"),
]


@pytest.mark.parametrize(("case", "timers", "seen"), TIMED, ids=[case for case, *_ in TIMED])
def test_timers_over_a_chat(store: Store, case: str, timers: dict[str, int], seen: str) -> None:
    card = a_card(entry("tower", "tower", **timers))
    one = session(store, card)
    assert fires(one, card, "The tower?", "a", "b", "c", "Tower!") == seen


def test_timers_follow_the_path_and_not_the_clock(store: Store) -> None:
    card = a_card(entry("tower", "tower", sticky=20))
    one = session(store, card)
    before = one.say("Hello.").id
    list(one.reply())
    asked = one.say("The tower?")
    assert "All of tower." in one.prompt().text
    list(one.reply())
    assert fires(one, card, "a", "b") == "xx"
    # The question was never asked on this branch.
    one.edit(asked.id, "The sea?")
    assert "All of tower." not in one.prompt().text
    list(one.reply())
    assert fires(one, card, "a") == "."
    # Back to the other one.
    one.swipe(one.path()[3].id, -1)
    assert [m.text for m in one.path()][3] == "The tower?"
    assert fires(one, card, "c") == "x"
    # A reply made anew is asked as the first was.
    head = one.path()[-1]
    first = one.prompt_for(one.path()[:-1], "reply").text
    list(one.regenerate(head.id))
    assert one.prompt_for(one.path()[:-1], "reply").text == first
    one.edit(before, "Never mind.")
    assert "All of tower." not in one.prompt().text


def test_once_and_for_all_marks(store: Store) -> None:
    card = a_card(
        entry("tower", "tower", content="@@keep_activate_after_match\nAll of tower."),
        entry("sea", "tower", content="@@dont_activate_after_match\nAll of sea."),
    )
    one = session(store, card)
    assert fires(one, card, "a", "tower", "b", "tower") == ".xxx"
    two = session(store, card)
    assert fires(two, card, "a", "tower", "b", "tower", name="sea") == ".x.."


def test_chance_is_the_same_for_the_same_turn(store: Store) -> None:
    card = a_card(*(entry(f"e{n}", "rain", probability=50, useProbability=True) for n in range(12)))
    one = session(store, card, seed=3)
    seen = set()
    for text in ("rain a", "rain b", "rain c"):
        one.say(text)
        prompt = one.prompt().text
        assert prompt == one.prompt().text == again(one, card).prompt().text
        seen.add(tuple(f"e{n}." in prompt for n in range(12)))
        list(one.reply())
    assert len(seen) == 3


def test_an_entry_for_one_greeting(store: Store) -> None:
    card = a_card(
        entry("tower", content="@@is_greeting 1\n@@activate\nAll of tower."),
        first_mes="{{random:a,b,c,d}} {{roll:1000}}",
        alternate_greetings=["{{roll:1000000}} drops of rain."],
    )
    one = session(store, card)
    assert "All of tower." not in one.prompt().text
    one.swipe(one.path()[0].id, 1)
    assert "All of tower." in one.prompt().text


def test_a_persona_between_the_messages_is_read_for_keys(store: Store) -> None:
    card = a_card(entry("tower", "tall"))
    assert "All of tower." not in session(store, card).prompt().text
    placed = Persona("Alex", "Alex is tall.", "depth", 1, "user")
    one = session(store, card, persona=placed)
    assert "All of tower." in one.prompt().text
    assert again(one, card).persona == placed
    assert "<|im_start|>user\nAlex: Alex is tall.<|im_end|>" in again(one, card).prompt().text


def test_lore_over_its_budget_is_dropped_by_name(store: Store) -> None:
    long = "word " * 60
    card = a_card(
        entry("first", "rain", content=f"First {long}"),
        entry("second", "rain", content=f"Second {long}"),
        entry("third", "snow", content=f"Third {long}"),
    )
    one = session(store, card, context=900, max_tokens=100, options={"lore_budget": "10"})
    one.say("Rain.")
    prompt = one.prompt()
    assert sum(prompt.tokens or ()) <= 800
    gone = [(d.kind, d.source) for d in prompt.dropped]
    assert gone == [("lore", "lore Isles/second")]
    assert prompt.dropped[0].why.startswith("over budget by ")
    assert (prompt.dropped[0].tokens or 0) >= 60
    one.options["lore_budget"] = "25"
    assert not one.prompt().dropped
    one.options["lore_budget"] = "0"
    assert [d.source for d in one.prompt().dropped] == ["lore Isles/first", "lore Isles/second"]


def test_every_position_of_a_book_arrives(store: Store) -> None:
    places = ("before", "after", "notetop", "notebottom", "depth", "extop", "exbottom")
    card = a_card(
        *(entry(name, "rain", position=number, depth=1, role=1) for number, name in enumerate(places)),
        entry("outlet", "rain", position=7, outlet_name="here"),
        description="Keeper. {{outlet::here}}",
        mes_example="<START>\n{{char}}: Hm.",
    )
    one = session(store, card, options={"note": "Be brief.", "note_depth": "0"})
    one.say("Rain.")
    text = one.prompt().text
    order = ["before", "outlet", "after", "extop", "exbottom", "depth", "notetop", "notebottom"]
    at = [text.index(f"All of {name}.") for name in order]
    assert at == sorted(at)
    assert "All of extop.<|im_end|>\n<|im_start|>assistant\nVesna: Hm." in text
    assert "<|im_start|>user\nAlex: All of depth.<|im_end|>\n<|im_start|>user\nAlex: Rain." in text
    assert "<|im_start|>system\nAll of notetop.\nBe brief.\nAll of notebottom.<|im_end|>" in text


def test_the_note_is_kept_with_the_chat_and_the_prefill_for_one_start(store: Store) -> None:
    chosen = {"note": "Be brief, {{user}}.", "note_depth": "0", "prefill": '"Well,"'}
    card = a_card()
    one = session(store, card, " she said.", options=chosen)
    prompt = turn(one, "Hello.")
    assert prompt.endswith('Be brief, Alex.<|im_end|>\n<|im_start|>assistant\nVesna: "Well,"')
    assert one.path()[-1].text == '"Well," she said.'
    later = again(one, card)
    assert "Be brief, Alex." in later.prompt().text
    assert later.prompt().text.endswith("Vesna:")


def test_continuing_a_reply_that_was_begun_for_the_model(store: Store) -> None:
    one = session(store, a_card(), " she said.", " Then she left.", options={"prefill": '"Well,"'})
    one.say("Hello.")
    list(one.reply())
    assert one.prompt("continue").text.endswith('Vesna: "Well," she said.')
    list(one.continue_reply())
    assert one.path()[-1].text == '"Well," she said. Then she left.'


def test_hidden_messages_stay_out_and_do_not_count(store: Store) -> None:
    card = a_card(entry("tower", "tower", sticky=2))
    one = session(store, card, options={"note": "Be brief.", "note_depth": "1"})
    hidden = new_message(one.chat.id, one.tree.head, "user", "Alex", "The tower?", hidden=True)
    store.add_message(hidden)
    one = again(one, card)
    one.say("Hello.")
    text = one.prompt().text
    assert "tower" not in text
    assert text.index("Good evening.") < text.index("Be brief.") < text.index("Alex: Hello.")
    shown = [replace(message, hidden=False) for message in one.path()]
    assert "All of tower." in one.prompt_for(shown, "reply").text


def test_entries_for_one_kind_of_turn(store: Store) -> None:
    card = a_card(
        entry("tower", "rain", triggers=["continue"]),
        entry("sea", "rain", triggers=["impersonate"]),
        entry("isle", "rain", triggers=["normal"]),
    )
    one = session(store, card)
    one.say("Rain.")
    list(one.reply())
    for mode, name in (("impersonate", "sea"), ("continue", "tower"), ("reply", "isle")) * 2:
        text = one.prompt(mode).text  # type: ignore[arg-type]
        assert [n for n in ("tower", "sea", "isle") if f"All of {n}." in text] == [name]


def test_the_persona_is_looked_at_where_an_entry_asks_for_it(store: Store) -> None:
    card = a_card(entry("tower", "tall", match_persona_description=True), entry("sea", "tall"))
    text = session(store, card).prompt().text
    assert "All of tower." in text
    assert "All of sea." not in text


def test_chance_in_keys_and_texts_is_the_same_whenever_it_is_asked(store: Store) -> None:
    """Also for a program that saw every turn, and one that opens the chat at the end."""
    books = [entry(f"e{n}", "{{random:rain,snow,hail}}", sticky=3) for n in range(6)]
    card = a_card(*books, entry("roll", "rain", content="{{setvar::n::1}}{{roll:1000}}"))
    one = session(store, card, options={"lore": "cache-friendly"}, seed=5)
    for text in ("rain", "snow", "dry", "hail", "rain"):
        one.say(text)
        prompt = one.prompt().text
        fresh = again(one, card)
        fresh.options["lore"] = "cache-friendly"
        assert fresh.prompt().text == prompt == one.prompt().text
        list(one.reply())


@pytest.mark.parametrize("way", ["faithful", "cache-friendly"])
def test_a_prompt_changes_nothing_in_the_chat(store: Store, tmp_path: Path, way: str) -> None:
    """Also one from which most of the chat had to leave."""
    card = a_card(entry("tower", "word", sticky=4), mes_example="<START>\n{{char}}: " + "word " * 50)
    one = session(store, card, *(["word " * 30] * 12), context=500, max_tokens=100, options={"lore": way})
    for number in range(10):
        one.say(f"{number} " + "word " * 20)
        list(one.reply())
    database = tmp_path / "data" / "chats.db"

    def stored() -> list[str]:
        with sqlite3.connect(database) as connection:
            return list(connection.iterdump())

    before, path, head = stored(), one.path(), one.tree.head
    for mode in ("reply", "continue", "impersonate", "reply"):
        prompt = one.prompt(mode)  # type: ignore[arg-type]
        assert sum(prompt.tokens or ()) <= 400
        assert [gone.kind for gone in prompt.dropped if gone.kind == "turn"]
    assert (stored(), one.path(), one.tree.head) == (before, path, head)

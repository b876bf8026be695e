"""SillyTavern chats in and out: every odd form that the wild has, and nothing lost on the way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards.card import Card, card_from_document
from chat.dates import read_date
from chat.interchange import (
    InterchangeError,
    export_jsonl,
    export_text,
    import_chat,
    read_chat,
    read_chat_file,
)
from chat.note_metadata import note_options
from chat.prompting import macros_of
from chat.rows import new_message
from chat.store import Store
from chat.tree import Generation
from presets.values import Persona

CARD: Card = card_from_document({"name": "Vesna", "first_mes": "Hi", "description": ""})[0]
HEADER = {"user_name": "Alex", "character_name": "Vesna", "create_date": "2024-9-28 @13h 05m 09s 123ms"}


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def lines(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def said(text: Any, user: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": "Alex" if user else "Vesna", "is_user": user, "is_system": False, "mes": text, **more}


def test_a_whole_chat() -> None:
    metadata = {"note_prompt": "grim", "integrity": "x"}
    file = read_chat(
        lines(
            {**HEADER, "chat_metadata": metadata},
            said(
                "Hello", swipe_id=1, swipes=["Hi", "Hello"], swipe_info=[], send_date="2024-09-28T13:05:09Z"
            ),
            said("Good day.", user=True),
            said("A storm rose.", extra={"type": "narrator"}),
            said("hidden", is_system=True),
        )
    )
    assert (file.user_name, file.character_name, file.metadata) == ("Alex", "Vesna", metadata)
    assert file.problems == ()
    first, second, third, fourth = file.messages
    assert (first.texts, first.chosen, first.text, first.role) == (("Hi", "Hello"), 1, "Hello", "char")
    assert first.created == datetime(2024, 9, 28, 13, 5, 9, tzinfo=UTC)
    assert (second.role, second.texts, second.name) == ("user", ("Good day.",), "Alex")
    assert third.role == "system"
    assert fourth.hidden
    assert [(turn.role, turn.name, turn.text, turn.source) for turn in file.turns()] == [
        ("char", "", "Hello", "line 2"),
        ("user", "", "Good day.", "line 3"),
        ("system", "", "A storm rose.", "line 4"),
    ]


@pytest.mark.parametrize(
    "header",
    [
        [],
        [HEADER],
        [{"user_name": "unused", "character_name": "unused", "chat_metadata": {}}],
        [{"chat_metadata": {}}],
        [{"name": "Vesna"}],
    ],
)
def test_the_header_may_be_odd_or_missing(header: list[Any]) -> None:
    file = read_chat(lines(*header, said("Hello")))
    assert [message.text for message in file.messages] == ["Hello"]
    assert file.problems == ()
    assert file.user_name in ("", "Alex")


def test_what_cannot_be_read_is_reported_and_passed_over() -> None:
    file = read_chat(
        lines(HEADER, said("one"), "{broken", "[1, 2]", {"mes": 7}, "", "null", "[" * 100_000, said("two"))
    )
    assert [message.text for message in file.messages] == ["one", "two"]
    assert [problem.split(":")[0] for problem in file.problems] == [f"line {n}" for n in (3, 4, 5, 7, 8)]


@pytest.mark.parametrize(
    ("row", "texts", "chosen"),
    [
        ({"mes": "a"}, ("a",), 0),
        ({"mes": "a", "swipes": []}, ("a",), 0),
        ({"mes": "a", "swipes": ["a", "b"]}, ("a", "b"), 0),
        ({"mes": "b", "swipes": ["a", "b"], "swipe_id": 1}, ("a", "b"), 1),
        ({"mes": "b", "swipes": ["a", "b"], "swipe_id": 9}, ("a", "b"), 1),
        ({"mes": "c", "swipes": ["a", "b"], "swipe_id": "1"}, ("a", "b", "c"), 2),
        ({"mes": "edited", "swipes": ["a", "b"], "swipe_id": 0}, ("edited", "b", "a"), 0),
        ({"mes": "b", "swipes": ["a", None, "b"], "swipe_id": 2}, ("a", "b"), 1),
        (
            {"mes": {"message": "b"}, "swipes": [{"message": "a"}, {"message": "b"}], "swipe_id": 1},
            ("a", "b"),
            1,
        ),
        ({"mes": "a", "swipes": "no list", "swipe_id": True}, ("a",), 0),
    ],
)
def test_swipes(row: dict[str, Any], texts: tuple[str, ...], chosen: int) -> None:
    [message] = read_chat(lines(row)).messages
    assert (message.texts, message.chosen) == (texts, chosen)


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("September 28, 2024 1:05pm", (2024, 9, 28, 13, 5, 0)),
        ("Sep 28, 2024 12:05 AM", (2024, 9, 28, 0, 5, 0)),
        ("2024-9-28 @13h 05m 09s 123ms", (2024, 9, 28, 13, 5, 9, 123_000)),
        ("2024-09-28@13h05m09s", (2024, 9, 28, 13, 5, 9)),
        ("2024-09-28T13:05:09", (2024, 9, 28, 13, 5, 9)),
    ],
)
def test_local_dates(value: str, local: tuple[int, ...]) -> None:
    assert read_date(value) == datetime(*local).astimezone(UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["2024-09-28T13:05:09.123Z", 1727528709123, 1727528709123.9, "1727528709123"]
)
def test_dates_with_a_zone(value: object) -> None:
    assert read_date(value) == datetime(2024, 9, 28, 13, 5, 9, 123_000, UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        True,
        [],
        {},
        float("nan"),
        float("inf"),
        10**40,
        "Smarch 13, 2024 1:05pm",
        "2024-13-40",
        "9" * 5000,
    ],
)
def test_what_is_no_date(value: object) -> None:
    assert read_date(value) is None


def test_macros_are_expanded_in_a_first_message_of_the_character_alone() -> None:
    macros = macros_of(CARD, Persona("Alex"), None, 0)
    rows = [said("{{char}} and {{user}}"), said("{{user}}", user=True), said("{{char}}")]
    assert [turn.text for turn in read_chat(lines(*rows)).turns(macros)] == [
        "Vesna and Alex",
        "{{user}}",
        "{{char}}",
    ]
    assert [turn.text for turn in read_chat(lines(*rows[1:])).turns(macros)] == ["{{user}}", "{{char}}"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"hello", b"[]", b"{}", b"\xff\xfe\x00", b"\x89PNG\r\n"])
def test_what_is_no_chat(data: bytes) -> None:
    with pytest.raises(InterchangeError) as caught:
        read_chat(data, "x.jsonl")
    assert "x.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + lines(HEADER, said("ü")).replace(b"\n", b"\r\n") + b"\r\n")
    assert [message.text for message in read_chat_file(file).messages] == ["ü"]
    for wrong in (tmp_path, tmp_path / "nowhere.jsonl", tmp_path / "nul\0"):
        with pytest.raises(InterchangeError):
            read_chat_file(wrong)


def test_an_imported_chat_is_a_tree_with_swipes_as_siblings(store: Store) -> None:
    data = lines(
        HEADER,
        said("Hello {{user}}", swipe_id=1, swipes=["Hi {{user}}", "Hello {{user}}"]),
        said("{{user}}", user=True, send_date=1727528709123),
        said("hidden", is_system=True),
        said("b", swipe_id=0, swipes=["b", "\ud83d", "c"], name="Other"),
    )
    chat = import_chat(store, read_chat(data), card_ref="vesna", card=CARD)
    opened = store.open_chat(chat.id)
    path = opened.tree.path()
    assert [message.text for message in path] == ["Hello Alex", "{{user}}", "hidden", "b"]
    assert [opened.tree.position(message.id) for message in path] == [(2, 2), (1, 1), (1, 1), (1, 3)]
    assert [message.text for message in opened.tree.siblings(path[3].id)] == ["b", "\ufffd", "c"]
    assert [message.hidden for message in path] == [False, False, True, False]
    assert [message.name for message in path] == ["Vesna", "Alex", "Vesna", "Other"]
    assert path[1].created == datetime(2024, 9, 28, 13, 5, 9, 123_000, UTC)
    assert opened.chat.persona == Persona("Alex")
    assert opened.chat.created == read_date(HEADER["create_date"])
    assert store.chats("vesna")[0].messages == 4


def test_export_is_what_sillytavern_reads(store: Store) -> None:
    file = read_chat(lines(HEADER, said("g1", swipes=["g1", "g2"], swipe_id=0), said("u", user=True)))
    chat = import_chat(store, file, card_ref="vesna", card=CARD)
    head = store.open_chat(chat.id).tree.head
    generation = Generation("m.gguf", "limarp-v3", {}, 7)
    reply = replace(new_message(chat.id, head, "char", "Vesna", "r\nü"), generation=generation)
    store.add_message(reply)
    store.add_message(new_message(chat.id, reply.id, "system", "System", "night fell", hidden=True))
    exported = export_jsonl(chat, store.open_chat(chat.id).tree)
    assert not exported.endswith("\n")
    header, greeting, user, answer, note = map(json.loads, exported.split("\n"))
    assert (header["user_name"], header["character_name"], header["chat_metadata"]) == ("Alex", "Vesna", {})
    assert read_date(header["create_date"]) == chat.created
    assert (greeting["swipes"], greeting["swipe_id"], greeting["is_user"]) == (["g1", "g2"], 0, False)
    assert len(greeting["swipe_info"]) == 2
    assert (user["mes"], user["is_user"], "swipes" in user) == ("u", True, False)
    assert (answer["mes"], answer["extra"]["model"]) == ("r\nü", "m.gguf")
    assert (note["is_system"], note["extra"]) == (True, {"type": "narrator"})
    assert all(message["swipes"][message["swipe_id"]] == message["mes"] for message in (greeting, answer))
    assert export_text(store.open_chat(chat.id).tree) == "Vesna: g1\n\nAlex: u\n\nVesna: r\nü\n\n"


def thought(text: Any) -> dict[str, Any]:
    return {"send_date": 1, "extra": {"reasoning": text}}


@pytest.mark.parametrize(
    ("row", "texts", "thoughts"),
    [
        ({"mes": "a", "extra": {"reasoning": "Hm."}}, ("a",), ("Hm.",)),
        ({"mes": "a", "extra": {"reasoning": None}}, ("a",), ("",)),
        ({"mes": "a", "extra": {"reasoning": 7}}, ("a",), ("",)),
        (
            {"mes": "b", "swipes": ["a", "b"], "swipe_id": 1, "swipe_info": [thought("A?"), thought("B?")]},
            ("a", "b"),
            ("A?", "B?"),
        ),
        (
            {
                "mes": "b",
                "swipes": ["a", "b"],
                "swipe_id": 1,
                "swipe_info": [thought("A?")],
                "extra": {"reasoning": "B!"},
            },
            ("a", "b"),
            ("A?", "B!"),
        ),
        (
            {"mes": "b", "swipes": ["a", None, "b"], "swipe_info": [{}, {}, thought("B?")]},
            ("a", "b"),
            ("", "B?"),
        ),
        (
            {
                "mes": "edited",
                "swipes": ["a"],
                "swipe_id": 0,
                "swipe_info": [thought("A?")],
                "extra": {"reasoning": "A!"},
            },
            ("edited", "a"),
            ("A!", "A?"),
        ),
        ({"mes": "a", "swipes": ["a"], "swipe_info": "none", "extra": []}, ("a",), ("",)),
        ({"mes": "a", "swipes": ["a"], "swipe_info": [3, thought("B?")]}, ("a",), ("",)),
    ],
)
def test_what_was_thought_is_read_where_sillytavern_keeps_it(
    row: dict[str, Any], texts: tuple[str, ...], thoughts: tuple[str, ...]
) -> None:
    (message,) = read_chat(lines(HEADER, {"name": "Vesna", "is_user": False, **row})).messages
    assert (message.texts, message.thoughts) == (texts, thoughts)


def test_thinking_goes_in_and_out_and_stays_out_of_the_text(store: Store) -> None:
    data = lines(
        HEADER,
        said("Hello"),
        said("Well?", user=True),
        said(
            "Yes.",
            swipes=["Yes.", "No."],
            swipe_id=0,
            swipe_info=[thought("Hm \ud83d."), thought("Rather not.")],
            extra={"reasoning": "Hm \ud83d."},
        ),
    )
    chat = import_chat(store, read_chat(data), card_ref="vesna", card=CARD)
    tree = store.open_chat(chat.id).tree
    reply = tree.path()[-1]
    assert [one.thinking for one in tree.siblings(reply.id)] == ["Hm \ufffd.", "Rather not."]
    assert [one.text for one in tree.siblings(reply.id)] == ["Yes.", "No."]
    exported = json.loads(export_jsonl(chat, tree).split("\n")[-1])
    assert exported["mes"] == "Yes."
    assert exported["extra"] == {"reasoning": "Hm \ufffd.", "reasoning_type": "model"}
    assert [info["extra"]["reasoning"] for info in exported["swipe_info"]] == ["Hm \ufffd.", "Rather not."]
    assert "Hm" not in export_text(tree)


def test_how_long_was_thought_is_told(store: Store) -> None:
    chat = import_chat(store, read_chat(lines(HEADER, said("Hello"))), card_ref="vesna", card=CARD)
    generation = Generation("m.gguf", "chatml", {}, 7, timings={"think": 3.2104})
    head = store.open_chat(chat.id).tree.head
    reply = new_message(chat.id, head, "char", "Vesna", "Yes.")
    store.add_message(replace(reply, generation=generation, thinking="Hm."))
    exported = json.loads(export_jsonl(chat, store.open_chat(chat.id).tree).split("\n")[-1])
    assert exported["extra"]["reasoning_duration"] == 3210


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["user", "char"]), st.lists(TEXT, min_size=1, max_size=3), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(MESSAGES, st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_export_and_import_again(
    store: Store, messages: list[tuple[str, list[str], bool]], data: st.DataObject
) -> None:
    rows = []
    for role, texts, hidden in messages:
        chosen = data.draw(st.integers(0, len(texts) - 1))
        swipes: dict[str, Any] = {}
        if role == "char":
            thoughts = data.draw(st.lists(TEXT, min_size=len(texts), max_size=len(texts)))
            swipes = {
                "swipes": texts,
                "swipe_id": chosen,
                "swipe_info": [thought(one) for one in thoughts],
                "extra": {"reasoning": thoughts[chosen]},
            }
        rows.append(said(texts[chosen], role == "user", is_system=hidden, send_date=1727528709123, **swipes))
    file = read_chat(lines(HEADER, *rows))
    # A first message's macros are expanded on the way in: none here.
    if any("{{" in text or "<" in text for text in file.messages[0].texts):
        return
    chat = import_chat(store, file, card_ref="vesna", card=CARD)
    again = read_chat(export_jsonl(chat, store.open_chat(chat.id).tree).encode())
    assert [replace(one, line=0) for one in again.messages] == [replace(one, line=0) for one in file.messages]
    assert (again.user_name, again.character_name, again.created) == ("Alex", "Vesna", file.created)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda v: json.dumps(v).encode(),
                st.recursive(
                    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
                    lambda inner: (
                        st.lists(inner, max_size=3)
                        | st.dictionaries(
                            st.sampled_from(
                                [
                                    "mes",
                                    "swipes",
                                    "swipe_id",
                                    "swipe_info",
                                    "reasoning",
                                    "name",
                                    "is_user",
                                    "extra",
                                    "send_date",
                                    "chat_metadata",
                                ]
                            ),
                            inner,
                        )
                    ),
                ),
            ),
        )
    )
)
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_anything_else(parts: list[bytes]) -> None:
    try:
        file = read_chat(b"\n".join(parts))
    except InterchangeError:
        return
    for message in file.messages:
        assert message.text == message.texts[message.chosen]


NOTES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"note_prompt": "  "}, {}),
    ({"note_prompt": "Be brief.", "note_interval": 0}, {}),
    ({"note_prompt": 7}, {}),
    ({"note_prompt": "Be brief."}, {"note": "Be brief."}),
    (
        {"note_prompt": "A", "note_interval": 3, "note_position": 1, "note_depth": 2, "note_role": 1},
        {"note": "A", "note_interval": "3", "note_depth": "2", "note_role": "user"},
    ),
    (
        {"note_prompt": "A", "note_interval": "x", "note_depth": -1, "note_role": 9},
        {"note": "A"},
    ),
    ({"note_prompt": "A", "note_interval": True, "note_depth": 1.5, "note_role": None}, {"note": "A"}),
]


@pytest.mark.parametrize(("metadata", "options"), NOTES)
def test_the_authors_note_comes_with_a_chat_and_goes_with_it(
    tmp_path: Path, metadata: dict[str, Any], options: dict[str, str]
) -> None:
    rows = [{"user_name": "Alex", "character_name": "Vesna", "chat_metadata": metadata}]
    rows.append({"name": "Vesna", "is_user": False, "mes": "Hm."})
    file = read_chat("\n".join(json.dumps(row) for row in rows).encode())
    card = card_from_document({"spec": "chara_card_v2", "data": {"name": "Vesna"}})[0]
    with Store(tmp_path / "chats.db") as store:
        opened = store.open_chat(import_chat(store, file, card_ref="vesna", card=card).id)
    assert opened.chat.options == options
    again = read_chat(export_jsonl(opened.chat, opened.tree).encode())
    assert bool(again.metadata) == bool(options)
    assert note_options(again.metadata).get("note") == options.get("note")
    assert all(note_options(again.metadata)[name] == value for name, value in options.items())

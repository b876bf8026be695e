"""Values of the wrong type: one warning that names the field, a value to use, and the original for export."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cards import limits
from cards.card import Card
from cards.errors import CardWarning
from cards.reading import read_card, read_lorebook
from cards.v3_fields import Asset
from cards.writing import export_card

FIELDS: dict[str, Any] = {
    "name": "Vesna",
    "description": "d",
    "personality": "",
    "scenario": "",
    "first_mes": "f",
    "mes_example": "",
    "extensions": {},
}
ICON = {"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}
DEFAULT = (Asset("icon", "ccdefault:", "main", "png"),)


def card_with(**data: Any) -> dict[str, Any]:
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**FIELDS, **data}}


def read(document: Any) -> tuple[Card, list[CardWarning]]:
    return read_card(json.dumps(document).encode(), "vesna.json")


TEXTS = ("description", "personality", "scenario", "first_mes", "mes_example", "creator_notes")
TEXTS += ("system_prompt", "post_history_instructions", "creator", "character_version", "nickname")
LISTS = {"alternate_greetings": "alternate_greetings", "group_only_greetings": "group_only_greetings"}
LISTS |= {"tags": "tags", "source": "sources"}
OBJECTS = ("extensions", "character_book", "creator_notes_multilingual")
EMPTY: dict[str, Any] = {"extensions": {}, "character_book": None, "creator_notes_multilingual": None}


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize(
    ("value", "seen"),
    [(None, ""), (5, "5"), (True, ""), (["a", "b"], "a\nb"), ({}, ""), ({"a": 1}, '{"a": 1}')],
)
def test_a_text(field: str, value: Any, seen: str) -> None:
    document = card_with(**{field: value})
    card, warnings = read(document)
    assert getattr(card, field) == seen
    assert [warning.field for warning in warnings] == [f"data.{field}"]
    assert json.loads(export_card(card, "json")) == document


@pytest.mark.parametrize("field", LISTS)
@pytest.mark.parametrize(
    ("value", "seen"),
    [(None, []), ("a", ["a"]), (5, ["5"]), (True, []), ({"x": "a"}, ["a"]), ([None, "a", 1], ["a", "1"])],
)
def test_a_list(field: str, value: Any, seen: list[str]) -> None:
    document = card_with(**{field: value})
    card, warnings = read(document)
    assert getattr(card, LISTS[field]) == seen
    assert [warning.field for warning in warnings] == [f"data.{field}"]
    assert json.loads(export_card(card, "json")) == document


@pytest.mark.parametrize("field", OBJECTS)
@pytest.mark.parametrize("value", [None, [], "", "x", 5, False, [{"a": 1}]])
def test_an_object(field: str, value: Any) -> None:
    document = card_with(**{field: value})
    card, warnings = read(document)
    assert getattr(card, field, None) == EMPTY[field]
    assert [(warning.code, warning.field) for warning in warnings] == [("type", f"data.{field}")]
    assert json.loads(export_card(card, "json")) == document


@pytest.mark.parametrize(
    ("value", "seen", "fields"),
    [
        ("x", (), ["data.assets"]),
        (None, (), ["data.assets"]),
        (ICON, DEFAULT, ["data.assets"]),
        ([None, ICON, "x"], DEFAULT, ["data.assets[0]", "data.assets[2]"]),
        ([{**ICON, "ext": 5}], (Asset("icon", "ccdefault:", "main", "5"),), ["data.assets[0].ext"]),
        ([{**ICON, "name": None}], (Asset("icon", "ccdefault:", "", "png"),), ["data.assets[0].name"]),
        ([{"type": "icon"}], (Asset("icon", "", "", ""),), ["data.assets[0].uri"]),
        ([ICON], DEFAULT, []),
        ([], (), []),
    ],
)
def test_assets(value: Any, seen: tuple[Asset, ...], fields: list[str]) -> None:
    card, warnings = read(card_with(assets=value))
    assert card.assets == seen
    assert [warning.field for warning in warnings] == fields


def test_without_assets_a_cards_picture_is_its_icon() -> None:
    assert read(card_with())[0].assets == DEFAULT


@pytest.mark.parametrize(
    ("uris", "said"),
    [
        (
            ["https://example.invalid/a.png"],
            "one asset at 'https://example.invalid/a.png': on the web, not fetched",
        ),
        (
            ["//cdn.invalid/a", "HTTP://b.invalid"],
            "2 assets, the first at '//cdn.invalid/a': on the web, not fetched",
        ),
        (
            ["file:///etc/passwd"],
            "one asset at 'file:///etc/passwd': outside the card's file, not looked for",
        ),
    ],
)
def test_what_an_asset_names_elsewhere_is_said(uris: list[str], said: str) -> None:
    _, warnings = read(card_with(assets=[{**ICON, "uri": uri} for uri in uris]))
    assert [str(warning) for warning in warnings] == [f"data.assets: {said}"]


@pytest.mark.parametrize(
    "uri",
    ["ccdefault:", "embeded://a/i.png", "embedded://i.png", "data:image/png;base64,AA==", "__asset:1", ""],
)
def test_an_asset_of_the_file_itself_is_nothing_odd(uri: str) -> None:
    assert read(card_with(assets=[{**ICON, "uri": uri}]))[1] == []


@pytest.mark.parametrize("field", ["creation_date", "modification_date"])
@pytest.mark.parametrize(
    ("value", "seen", "odd"),
    [
        (1_700_000_000, 1_700_000_000, ""),
        (1_700_000_000.0, 1_700_000_000, ""),
        (0, 0, ""),
        (1_700_000_000_000, 1_700_000_000, "milliseconds"),
        ("1700000000", 1_700_000_000, "text where"),
        ("2023-11-14T22:13:20Z", 1_700_000_000, "text where"),
        ("2023-11-14 22:13:20", 1_700_000_000, "text where"),
        ("yesterday", 0, "not a date"),
        (-1, 0, "before 1970"),
        (1.5, 1, "whole number"),
        (10**30, 0, "not a date"),
        (None, 0, "null where"),
        (True, 0, "a boolean where"),
        ([1], 0, "a list where"),
        ("", 0, "not a date"),
    ],
)
def test_a_date(field: str, value: Any, seen: int, odd: str) -> None:
    card, warnings = read(card_with(**{field: value}))
    assert getattr(card, field) == seen
    assert [(warning.field, odd in warning.message) for warning in warnings] == (
        [(f"data.{field}", True)] if odd else []
    )


@pytest.mark.parametrize(
    ("extensions", "talks", "favourite", "odd"),
    [
        ({}, 0.5, False, []),
        ({"talkativeness": "0.7", "fav": True}, 0.7, True, []),
        ({"talkativeness": 1}, 1.0, False, []),
        ({"talkativeness": "often"}, 0.5, False, ["talkativeness"]),
        ({"talkativeness": [1]}, 0.5, False, ["talkativeness"]),
        ({"talkativeness": True}, 0.5, False, ["talkativeness"]),
        ({"talkativeness": 70}, 0.5, False, ["talkativeness"]),
        ({"fav": "true"}, 0.5, True, ["fav"]),
        ({"fav": 0, "talkativeness": "x"}, 0.5, False, ["talkativeness", "fav"]),
    ],
)
def test_talkativeness_and_favourite(
    extensions: dict[str, Any], talks: float, favourite: bool, odd: list[str]
) -> None:
    card, warnings = read(card_with(extensions=extensions))
    assert (card.talkativeness, card.favourite) == (talks, favourite)
    assert [warning.field for warning in warnings] == [f"data.extensions.{name}" for name in odd]
    v1 = {**FIELDS, **extensions}
    del v1["extensions"]
    card, warnings = read(v1)
    assert (card.talkativeness, card.favourite) == (talks, favourite)
    assert [warning.field for warning in warnings] == odd


BOOK: dict[str, Any] = {"entries": [{"keys": ["a"], "content": "b"}]}


@pytest.mark.parametrize(
    ("book", "field"),
    [
        ({"entries": {"0": BOOK["entries"][0]}}, ".entries"),
        ({"entries": None}, ".entries"),
        ({"entries": "x"}, ".entries"),
        ({"entries": [None]}, ".entries[0]"),
        ({"entries": ["x"]}, ".entries[0]"),
        ({**BOOK, "name": 5}, ".name"),
        ({**BOOK, "scan_depth": "2"}, ".scan_depth"),
        ({**BOOK, "token_budget": [1]}, ".token_budget"),
        ({**BOOK, "recursive_scanning": "true"}, ".recursive_scanning"),
        ({**BOOK, "extensions": ""}, ".extensions"),
    ],
)
def test_a_book(book: dict[str, Any], field: str) -> None:
    document = card_with(character_book=book)
    card, warnings = read(document)
    assert card.character_book is not None
    assert [warning.field for warning in warnings] == [f"data.character_book{field}"]
    assert json.loads(export_card(card, "json")) == document


@pytest.mark.parametrize(
    "entry",
    [
        {"keys": None},
        {"keys": "a, b"},
        {"keys": ["a", None]},
        {"secondary_keys": "a, b"},
        {"content": None},
        {"content": 5},
        {"name": []},
        {"comment": 1},
        {"enabled": None},
        {"enabled": "true"},
        {"constant": 1},
        {"selective": "no"},
        {"use_regex": "yes"},
        {"insertion_order": None},
        {"insertion_order": "10"},
        {"priority": "high"},
        {"id": [1]},
        {"id": True},
        {"position": 1},
        {"position": "somewhere"},
        {"position": ["before_char"]},
        {"position": True},
        {"case_sensitive": "x"},
        {"extensions": None},
        {"extensions": ""},
        {"extensions": []},
    ],
)
def test_an_entry(entry: dict[str, Any]) -> None:
    (key,) = entry
    book = {"entries": [{"keys": ["a"], "content": "b", **entry}]}
    card, warnings = read(card_with(character_book=book))
    assert card.character_book is not None
    assert [warning.field for warning in warnings] == [f"data.character_book.entries[0].{key}"]
    assert card.document["data"]["character_book"] == book


@pytest.mark.parametrize(
    "values",
    [
        {"position": 9},
        {"position": "4"},
        {"selectiveLogic": 4},
        {"role": 7},
        {"role": "wizard"},
        {"depth": "4"},
        {"probability": "50"},
        {"useProbability": 1},
        {"group": 5},
        {"group_weight": "x"},
        {"sticky": "2"},
        {"exclude_recursion": "yes"},
        {"delay_until_recursion": "1"},
        {"scan_depth": []},
        {"match_whole_words": 1},
        {"outlet_name": 1},
    ],
)
def test_an_entrys_extensions(values: dict[str, Any]) -> None:
    (key,) = values
    book = {"entries": [{"keys": ["a"], "content": "b", "extensions": values}]}
    _, warnings = read(card_with(character_book=book))
    assert [warning.field for warning in warnings] == [f"data.character_book.entries[0].extensions.{key}"]


def test_what_sillytavern_writes_is_nothing_odd() -> None:
    values: dict[str, Any] = dict.fromkeys(
        ["probability", "scan_depth", "match_whole_words", "case_sensitive", "sticky", "cooldown", "delay"]
    )
    values |= {"position": 4, "role": 0, "selectiveLogic": 3, "delay_until_recursion": False, "group": ""}
    book = {
        "entries": [{"keys": ["a"], "content": "b", "id": "x", "secondary_keys": None, "extensions": values}]
    }
    assert read(card_with(character_book=book))[1] == []


def test_a_world_info_files_entries_are_an_object() -> None:
    world = {"entries": {"0": {"uid": 0, "key": ["a"], "content": "b", "characterFilter": None}}}
    assert read_lorebook(json.dumps(world).encode())[1] == []


def test_a_thousand_odd_values_are_counted_not_listed() -> None:
    entries = [{"keys": "a, b", "content": 5} for _ in range(1_000)]
    _, warnings = read(card_with(character_book={"entries": entries}))
    assert len(warnings) == limits.WARNINGS + 1
    assert str(warnings[-1]) == "1500 more values are odd"


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1.0e+300"])
@pytest.mark.parametrize("key", ["position", "insertion_order", "priority", "id"])
def test_numbers_without_end_in_yaml_are_read(key: str, number: str) -> None:
    entry = f"  - keys: [k]\n    content: c\n    {key}: {number}\n"
    text = f"name: a\nfirst_mes: b\ncharacter_book:\n  entries:\n{entry}"
    card, _ = read_card(text.encode(), "a.yaml")
    assert card.character_book is not None
    assert card.character_book.entries[0].position == "before_char"

"""World Info into a card: in the card's book its entries are what they were."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cards.card import card_from_document
from cards.lore_writing import book_with
from cards.reading import read_lorebook

CARD = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "A", "first_mes": "b"}}
SETTINGS: dict[str, Any] = {
    "uid": 3,
    "key": ["k"],
    "keysecondary": ["s"],
    "comment": "c",
    "content": "x",
    "constant": True,
    "selective": False,
    "selectiveLogic": 3,
    "order": 77,
    "position": 4,
    "disable": True,
    "excludeRecursion": True,
    "preventRecursion": True,
    "delayUntilRecursion": 2,
    "probability": 33,
    "useProbability": True,
    "depth": 9,
    "role": 2,
    "group": "g,h",
    "groupOverride": True,
    "groupWeight": 5,
    "useGroupScoring": True,
    "scanDepth": 6,
    "caseSensitive": True,
    "matchWholeWords": False,
    "sticky": 1,
    "cooldown": 2,
    "delay": 3,
    "ignoreBudget": True,
    "matchPersonaDescription": True,
    "matchScenario": True,
    "outletName": "o",
    "triggers": ["continue"],
    "characterFilter": {"isExclude": True, "names": ["A"], "tags": ["t"]},
}


def world(entry: dict[str, Any]) -> dict[str, Any]:
    return {"entries": {"0": {"key": ["k"], "content": "x", **entry}}}


def added(data: bytes) -> tuple[Any, dict[str, Any]]:
    card, count = book_with(card_from_document(CARD)[0], data, "w.json")
    assert count == 1
    assert card.character_book is not None
    return card.character_book.entries[0], card.document["data"]["character_book"]["entries"][0]


@pytest.mark.parametrize("name", [*SETTINGS, "all of them", "none of them"])
def test_an_entry_means_the_same_in_a_card(name: str) -> None:
    chosen = {"all of them": SETTINGS, "none of them": {}}.get(name) or {
        key: SETTINGS[key] for key in (name, "keysecondary") if name in SETTINGS
    }
    data = json.dumps(world(chosen)).encode()
    before = read_lorebook(data)[0].entries[0]
    after, _ = added(data)
    assert dataclasses.asdict(after) == dataclasses.asdict(before)


def test_what_rpchat_does_not_use_is_kept_under_sillytaverns_names() -> None:
    more = {"automationId": "a", "displayIndex": 4, "vectorized": True, "mine": {"b": [1]}}
    _, raw = added(json.dumps(world(more)).encode())
    named = {"automation_id": "a", "display_index": 4, "vectorized": True, "mine": {"b": [1]}}
    assert raw["extensions"] == named


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_lorebook_is_added_in_any_encoding(encoding: str) -> None:
    assert (
        added(json.dumps(world({"content": "k\u00fc"}), ensure_ascii=False).encode(encoding))[0].content
        == "k\u00fc"
    )

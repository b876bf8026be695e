"""Any document, written as each container and read again, is equal where that container can hold it, and an
edit touches its own path whatever else stands in the card."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from cards.card import Card
from cards.errors import CardError
from cards.paths import parsed_path, written_path
from cards.reading import read_card
from cards.writing import export_card

ODD = ["a\nb", "---\n", "(below)", "<!-- x -->\n", "yes", "1.0", "null", "\r\n", "x" * 90, "\ud800", "\x85"]
TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(ODD)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["tags", "alternate_greetings", "extensions", "character_book", "mes_example", "creator", "source"]
KEYS = TEXT | st.sampled_from([*FIELDS, "assets", "nickname", "creatorcomment", "talkativeness"])
BASE = {"name": "Vesna", "description": "A keeper.", "first_mes": "Late again."}
PRIVATE = ("chat", "fav", "create_date", "last_mes")
COMPLETED = ("character_book", "assets", "modification_date")
"""Given defaults or the portrait's name where a card is written anew."""


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Flat and V2 and V3 cards with anything anywhere."""
    more = draw(st.dictionaries(KEYS, JSON, max_size=4))
    version = draw(st.sampled_from((1, 2, 3)))
    if version == 1:
        document = {**more, **BASE}
    else:
        marks = {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0"}
        document = {**draw(st.dictionaries(KEYS, JSON, max_size=3)), **marks, "data": {**more, **BASE}}
    return {key: value for key, value in document.items() if key not in PRIVATE}


def card_of(document: dict[str, Any]) -> Card:
    try:
        card = read_card(json.dumps(document).encode())[0]
    except CardError:
        assume(False)
    assume(card.spec in ("v1", "v2", "v3"))
    return card


@given(documents())
def test_texts_hold_every_document(document: dict[str, Any]) -> None:
    card = card_of(document)
    assert export_card(card) == json.dumps(document).encode()
    for form in ("json", "yaml", "md"):
        again = read_card(export_card(card, form))[0]  # type: ignore[arg-type]
        assert again.document == document, form
        assert export_card(again) == export_card(card, form)  # type: ignore[arg-type]


@given(documents())
def test_pictures_and_archives_hold_every_field(document: dict[str, Any]) -> None:
    card = card_of(document)
    for form in ("png", "charx"):
        written = export_card(card, form)  # type: ignore[arg-type]
        again = read_card(written)[0]
        assert export_card(again) == written
        assert (again.name, again.description, again.tags) == (card.name, card.description, card.tags)
        held = again.document["data"]
        for key, value in document.get("data", {}).items():
            assert key in COMPLETED or held[key] == value, (form, key)
        if card.spec != "v1":
            marks = ("data", "spec", "spec_version", "personality", "scenario", "mes_example", *BASE)
            for key in document.keys() - set(marks):
                assert again.document[key] == document[key], (form, key)


@given(documents(), st.sampled_from(["json", "png", "charx", "yaml", "md"]))
def test_an_edit_touches_its_own_path(document: dict[str, Any], form: Any) -> None:
    before = read_card(export_card(card_of(document), form, spec=3))[0]
    after = read_card(export_card(before.edited("scenario", "New.")))[0]
    assert (after.scenario, after.container) == ("New.", before.container)
    expected = {**before.document["data"], "scenario": "New."}
    assert after.document["data"] == expected
    root = {key: value for key, value in after.document.items() if key not in ("data", "scenario")}
    assert root == {key: value for key, value in before.document.items() if key not in ("data", "scenario")}


@given(documents(), st.sampled_from([1, 2, 3]), st.sampled_from(["json", "png", "yaml", "md"]))
def test_a_conversion_is_what_it_says(document: dict[str, Any], spec: Any, form: Any) -> None:
    card = card_of(document)
    again = read_card(export_card(card, form, spec=spec))[0]
    assert again.spec == f"v{spec}"
    for name in ("name", "description", "personality", "scenario", "first_mes", "mes_example"):
        assert getattr(again, name) == getattr(card, name)


@given(st.lists(TEXT | st.integers(0, 10**6), max_size=4))
def test_a_written_path_is_read_again(parts: list[str | int]) -> None:
    assert parsed_path(written_path(parts)) == tuple(parts)

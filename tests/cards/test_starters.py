"""The cards that come with the program: every reader finds the same good card, with a real portrait."""

import base64
import importlib.util
import io
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from cards.card import Card
from cards.library import CardLibrary
from cards.lorebook import Entry, Lorebook, activate
from cards.macros import Macros
from cards.png import MIRRORED
from cards.reading import read_card_file

STARTERS = Path(__file__).parents[2] / "cards" / "starters"
NAMES = ("carina", "charlotte", "etma", "mila", "samuel")
V2_TEXTS = (
    *MIRRORED,
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "creator",
    "character_version",
)
PORTRAIT_LIMIT = 250_000
"""Bytes of a whole card: five of them travel in the wheel."""


def _builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("starter_build", STARTERS / "source" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return _builder()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def card(name: str) -> Card:
    found, warnings = read_card_file(STARTERS / f"{name}.png")
    assert warnings == []
    return found


def payloads(name: str) -> dict[str, Any]:
    """Both documents as Pillow finds them, without our own codec."""
    with Image.open(STARTERS / f"{name}.png") as image:
        found = dict(image.info)
    return {keyword: json.loads(base64.b64decode(found[keyword])) for keyword in ("chara", "ccv3")}


def test_the_library_offers_the_five_starters(tmp_path: Path) -> None:
    library = CardLibrary(tmp_path)
    assert [path.stem for path in library.starter_paths()] == list(NAMES)
    assert [(listed.name, listed.error) for listed in library.list()] == [(n.title(), "") for n in NAMES]


@pytest.mark.parametrize("ref", ["samuel.png", "samuel", "Samuel", "SAMUEL"])
def test_a_starter_is_found_by_any_of_its_names(
    ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CardLibrary(tmp_path / "none").find(ref) == STARTERS / "samuel.png"


def test_v2_v3_and_the_v1_mirror_say_the_same(name: str) -> None:
    documents = payloads(name)
    v2, v3 = documents["chara"], documents["ccv3"]
    assert (v2["spec"], v2["spec_version"]) == ("chara_card_v2", "2.0")
    assert (v3["spec"], v3["spec_version"]) == ("chara_card_v3", "3.0")
    assert {key: v3["data"].get(key) for key in v2["data"]} == v2["data"]
    assert set(v3["data"]) - set(v2["data"]) == {"group_only_greetings"}
    assert {key: v2[key] for key in MIRRORED} == {key: v2["data"][key] for key in MIRRORED}


def test_every_field_that_v2_requires_is_there_with_its_type(name: str) -> None:
    data = payloads(name)["chara"]["data"]
    assert all(isinstance(data[key], str) for key in V2_TEXTS)
    assert all(isinstance(text, str) for key in ("alternate_greetings", "tags") for text in data[key])
    assert data["extensions"] == {}
    book = data.get("character_book", {"extensions": {}, "entries": []})
    assert book["extensions"] == {}
    for entry in book["entries"]:
        assert entry["extensions"] == {}
        assert all(isinstance(key, str) and key for key in entry["keys"])
        assert (type(entry["content"]), type(entry["enabled"])) == (str, bool)
        assert isinstance(entry["insertion_order"], int)


def test_the_committed_card_is_what_its_source_builds(name: str, builder: ModuleType) -> None:
    v2, v3 = builder.documents(name)
    committed = payloads(name)
    mirror = {key: v2["data"][key] for key in MIRRORED}
    assert committed == {"chara": {**v2, **mirror}, "ccv3": v3}
    assert (STARTERS / "source" / f"{name}.svg").is_file()


def test_every_source_has_its_card(builder: ModuleType) -> None:
    assert tuple(builder.names()) == NAMES


def test_texts_are_as_long_as_a_first_chat_wants(card: Card) -> None:
    assert 150 <= len(card.description.split()) <= 250
    assert len(card.greetings) == 3
    assert all(120 <= len(greeting.split()) <= 220 for greeting in card.greetings)
    assert len(re.findall(r"^<START>$", card.mes_example, re.MULTILINE)) == 2
    assert (card.system_prompt, card.post_history_instructions) == ("", "")
    assert "CC0" in card.creator_notes


def test_persona_and_scenario_are_one_paragraph_each(card: Card) -> None:
    assert "\n" not in card.description + card.scenario
    assert "{{char}}" in card.description
    assert "{{user}}" in card.description


def test_greetings_leave_the_user_to_the_user(card: Card) -> None:
    for greeting in card.greetings:
        assert not re.search(r"^\s*\{\{user\}\}", greeting, re.MULTILINE | re.IGNORECASE)
        # What the user says stands in examples only.
        assert not re.search(r"(said|asked|replied) \{\{user\}\}|\{\{user\}\} (said|asked|replied)", greeting)


def test_the_style_is_prose_with_quoted_speech(card: Card) -> None:
    for text in (*card.greetings, card.mes_example):
        assert "*" not in text
        assert text.count('"') % 2 == 0
        assert text.count('"') >= 4


def test_no_macro_is_left_over(card: Card) -> None:
    macros = Macros.for_card(card, "Robin", "")
    for text in (card.description, card.scenario, card.mes_example, *card.greetings):
        assert "{{" not in macros.expand(text)


def test_the_portrait_is_a_picture(name: str) -> None:
    path = STARTERS / f"{name}.png"
    assert path.stat().st_size < PORTRAIT_LIMIT
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        picture = image.convert("RGB")
    assert picture.width >= 400
    assert picture.height >= 600
    assert picture.width * 3 == picture.height * 2
    assert len(picture.getcolors(picture.width * picture.height) or []) > 1000


def test_the_face_stands_out_at_the_size_of_the_terminals_portrait(name: str) -> None:
    with Image.open(STARTERS / f"{name}.png") as image:
        small = image.convert("L").resize((26, 40), Image.Resampling.LANCZOS)
    face = small.crop((6, 12, 20, 30))
    darkest, brightest = face.getextrema()
    assert brightest - darkest > 120


@pytest.mark.parametrize("name", ["samuel", "etma"])
def test_every_lorebook_entry_fires_on_each_of_its_keys(card: Card) -> None:
    book = lorebook(card)
    assert 4 <= len(book.entries) <= 6
    for entry in book.entries:
        for key in entry.keys:
            fired = [found.name for found in fired_by(book, f"Robin: Could you tell me about {key}, please?")]
            assert entry.name in fired, key


@pytest.mark.parametrize("name", ["samuel", "etma"])
def test_small_talk_fires_no_entry(card: Card) -> None:
    assert fired_by(lorebook(card), "Robin: Good evening! I hope you are well. I believe it will snow.") == []


def lorebook(card: Card) -> Lorebook:
    assert card.character_book is not None
    return card.character_book


def fired_by(book: Lorebook, message: str) -> list[Entry]:
    return [found.entry for found in activate(book, [message]).fired]

"""What an entry is, what is looked at for it, and which keys are found."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from lore_scans import book, ext, fired, scan, why

from cards import limits
from cards.card import card_from_document
from cards.lorebook import Lorebook, LoreScene, LoreSettings
from cards.reading import read_lorebook

# Entries and their defaults -------------------------------------------------------------------------------


def test_an_entry_of_an_old_world_info_file_has_sillytaverns_defaults() -> None:
    world = {"entries": {"3": {"uid": 3, "key": ["a"], "content": "c"}}}
    entry = read_lorebook(json.dumps(world).encode())[0].entries[0]
    assert (entry.uid, entry.enabled, entry.constant, entry.selective, entry.order) == (
        "3",
        True,
        False,
        True,
        100,
    )
    assert (entry.logic, entry.probability, entry.position, entry.depth, entry.role) == (
        "and_any",
        100,
        "before_char",
        4,
        "system",
    )
    assert (entry.groups, entry.group_override, entry.group_weight, entry.group_scoring) == (
        (),
        False,
        100,
        None,
    )
    assert (entry.scan_depth, entry.case_sensitive, entry.whole_words) == (None, None, None)
    assert (entry.sticky, entry.cooldown, entry.delay, entry.delay_until_recursion) == (0, 0, 0, 0)
    assert (entry.exclude_recursion, entry.prevent_recursion, entry.ignore_budget) == (False, False, False)


CAMEL: dict[str, Any] = {
    "key": ["a"],
    "keysecondary": ["b"],
    "content": "c",
    "comment": "n",
    "constant": True,
    "selective": True,
    "selectiveLogic": 3,
    "order": 7,
    "position": 7,
    "outletName": "o",
    "disable": True,
    "excludeRecursion": True,
    "preventRecursion": True,
    "delayUntilRecursion": 2,
    "probability": 40,
    "useProbability": True,
    "depth": 6,
    "role": 2,
    "group": "g,h",
    "groupOverride": True,
    "groupWeight": 30,
    "useGroupScoring": True,
    "scanDepth": 9,
    "caseSensitive": True,
    "matchWholeWords": False,
    "sticky": 1,
    "cooldown": 2,
    "delay": 3,
    "ignoreBudget": True,
    "matchScenario": True,
    "matchCharacterDepthPrompt": True,
    "triggers": ["continue"],
}
SNAKE: dict[str, Any] = {
    "keys": ["a"],
    "secondary_keys": ["b"],
    "content": "c",
    "comment": "n",
    "constant": True,
    "selective": True,
    "insertion_order": 7,
    "enabled": False,
    "case_sensitive": True,
    "extensions": {
        "position": 7,
        "outlet_name": "o",
        "selectiveLogic": 3,
        "exclude_recursion": True,
        "prevent_recursion": True,
        "delay_until_recursion": 2,
        "probability": 40,
        "useProbability": True,
        "depth": 6,
        "role": 2,
        "group": "g,h",
        "group_override": True,
        "group_weight": 30,
        "use_group_scoring": True,
        "scan_depth": 9,
        "match_whole_words": False,
        "sticky": 1,
        "cooldown": 2,
        "delay": 3,
        "ignore_budget": True,
        "match_scenario": True,
        "match_character_depth_prompt": True,
        "triggers": ["continue"],
    },
}


def test_a_world_info_entry_and_a_cards_entry_say_the_same() -> None:
    one, other = (
        Lorebook.read({"entries": [CAMEL]}).entries[0],
        Lorebook.read({"entries": [SNAKE]}).entries[0],
    )
    assert one == other
    default = Lorebook.read({"entries": [{}]}).entries[0]
    told = [name for name in one.__slots__ if getattr(one, name) != getattr(default, name)]
    assert set(one.__slots__) - set(told) == {
        *("index", "name", "uid", "priority", "use_regex", "decorators", "only_for", "not_for")
    }


@pytest.mark.parametrize(
    ("number", "position"),
    list(
        enumerate(
            [
                "before_char",
                "after_char",
                "note_top",
                "note_bottom",
                "depth",
                "examples_top",
                "examples_bottom",
                "outlet",
            ]
        )
    ),
)
def test_positions(number: int, position: str) -> None:
    assert scan(book(ext(position=number))).fired[0].entry.position == position
    assert (
        Lorebook.read({"entries": {"0": {"key": ["a"], "position": number}}}).entries[0].position == position
    )


@pytest.mark.parametrize(("number", "role"), [(0, "system"), (1, "user"), (2, "char"), (None, "system")])
def test_roles(number: int | None, role: str) -> None:
    assert scan(book(ext(position=4, role=number))).fired[0].entry.role == role


# What is looked at ----------------------------------------------------------------------------------------


def test_names_of_speakers_are_looked_at() -> None:
    assert fired(scan(book({"keys": ["Ann"]}), "Ann: hello")) == ["e0"]


def test_a_depth_of_nothing_sees_nothing_but_what_is_always_scanned() -> None:
    assert fired(scan(book(ext(scan_depth=0)))) == []
    assert fired(scan(book(ext(scan_depth=0)), scene=LoreScene(also="the dragon"))) == ["e0"]


def test_newest_messages_first() -> None:
    messages = ("dragon", "x", "y")
    settings = LoreSettings(scan_depth=2)
    assert fired(scan(book({}, ext(scan_depth=3)), *messages, settings=settings)) == ["e1"]


def test_a_key_is_not_found_across_two_messages() -> None:
    assert fired(scan(book({"keys": ["old tower"]}), "A: the old", "tower")) == []


TOLD = {
    "match_persona_description": "persona_description",
    "match_character_description": "character_description",
    "match_character_personality": "character_personality",
    "match_character_depth_prompt": "character_depth_prompt",
    "match_scenario": "scenario",
    "match_creator_notes": "creator_notes",
}


@pytest.mark.parametrize(("flag", "told"), TOLD.items())
def test_an_entry_may_ask_for_a_text_besides_the_chat(flag: str, told: str) -> None:
    lore = book(ext(**{flag: True}), {})
    assert fired(scan(lore, "nothing", scene=LoreScene(told={told: "a dragon"}))) == ["e0"]  # type: ignore[dict-item]
    assert fired(scan(lore, "nothing")) == []


def test_the_texts_of_a_card_for_entries_that_ask() -> None:
    card, _ = card_from_document(
        {
            "spec": "chara_card_v2",
            "data": {
                "name": "Vesna",
                "description": "D",
                "personality": "P",
                "scenario": "S",
                "first_mes": "",
                "creator_notes": "N",
                "alternate_greetings": ["", "hi"],
                "tags": ["sea"],
                "extensions": {"depth_prompt": {"prompt": "DP"}},
            },
        }
    )
    scene = LoreScene.for_card(card, "Me", greeting=2)
    assert list(scene.told.values()) == ["Me", "D", "P", "DP", "S", "N"]
    assert (scene.character, scene.tags, scene.greeting) == ("Vesna", ("sea",), 2)
    assert card.greeting_numbers == [2]


def test_kinds_of_turn() -> None:
    lore = book(ext(triggers=["continue", "swipe"]), ext(triggers=[]), ext(triggers=None))
    assert fired(scan(lore)) == ["e1", "e2"]
    assert why(scan(lore)) == {"e0": "not for this kind of turn (normal)"}
    assert fired(scan(lore, scene=LoreScene(trigger="swipe"))) == ["e0", "e1", "e2"]


@pytest.mark.parametrize(
    ("wanted", "scene", "fires"),
    [
        ({"names": ["Vesna"]}, LoreScene("Vesna"), True),
        ({"names": ["Vesna"]}, LoreScene("Anton"), False),
        ({"names": ["Vesna"], "isExclude": True}, LoreScene("Vesna"), False),
        ({"names": ["Vesna"], "isExclude": True}, LoreScene("Anton"), True),
        ({"tags": ["sea"]}, LoreScene("x", ("sea",)), True),
        ({"tags": ["sea"]}, LoreScene("x", ()), False),
        ({"tags": ["sea"], "isExclude": True}, LoreScene("x", ("sea",)), False),
        ({"names": [], "tags": []}, LoreScene("x"), True),
    ],
)
def test_the_character_filter(wanted: dict[str, Any], scene: LoreScene, fires: bool) -> None:
    lore = Lorebook.read({"entries": {"0": {"key": ["dragon"], "content": "c", "characterFilter": wanted}}})
    assert bool(scan(lore, scene=scene).fired) is fires


# Keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "message", "whole", "loose"),
    [
        ("elf", "elves", False, False),
        ("elf", "shelf", False, True),
        ("elf", "an elf!", True, True),
        ("elf", "elf_lord", False, True),
        ("élan", "l'élan", True, True),
        ("élan", "pélan", False, True),
        ("naïve", "naïvement", False, True),
        ("žába", "Žába skáče", True, True),
        ("žába", "žábami", False, True),
        ("дом", "дома", False, True),
        ("дом", "мой дом.", True, True),
        ("東京", "私は東京に", True, True),
        ("ネコ", "黒ネコが", True, True),
        ("용", "붉은용이", True, True),
        ("ปลา", "กินปลา", True, True),
        ("C++", "I use C++ now", True, True),
        ("old tower", "the gold tower", True, True),
        ("#1", "is #1!", True, True),
    ],
)
def test_whole_words(key: str, message: str, whole: bool, loose: bool) -> None:
    assert bool(scan(book({"keys": [key], **ext(match_whole_words=True)}), message).fired) is whole
    assert bool(scan(book({"keys": [key], **ext(match_whole_words=False)}), message).fired) is loose


@pytest.mark.parametrize(
    ("key", "message", "fires"),
    [
        ("/drAgon/", "dragon", False),
        ("/drAgon/i", "dragon", True),
        ("/^dragon/", "a\ndragon", False),
        ("/^dragon/m", "a\ndragon", True),
        ("/a.b/", "a\nb", False),
        ("/a.b/s", "a\nb", True),
        ("/drag(?=on)/g", "dragon", True),
        ("/(?<=drag)on/u", "dragon", True),
        ("/(?<=d+)ragon/u", "ddragon", True),
        ("/(?<a>o)\\k<a>/y", "book", True),
        ("/\\u{1F409}/u", "🐉", True),
        ("/drag\\/on/", "drag/on", True),
        ("/drag/on/", "drag/on", False),
        ("/drag/on", "drag", False),
        ("/drag/q", "drag", False),
        ("/elf/", "shelf", True),
        ("/*/", "anything", False),
        ("/(?<!x)dragon$/i", "Ann: DRAGON", True),
    ],
)
def test_patterns_and_their_flags(key: str, message: str, fires: bool) -> None:
    lore = book({"keys": [key], "case_sensitive": True, **ext(match_whole_words=True)})
    assert bool(scan(lore, message).fired) is fires


def test_a_broken_pattern_says_so_and_never_fires() -> None:
    for lore in (book({"keys": ["/(dragon/"]}), book({"keys": ["(dragon"], "use_regex": True})):
        assert why(scan(lore, "(dragon"))["e0"].startswith("its pattern is not valid: ")


def test_a_pattern_is_stopped_in_time_and_its_entry_says_so() -> None:
    lore = book({"keys": ["/(a+)+$/"]}, {"keys": ["dragon"]})
    begun = time.process_time()
    result = scan(lore, "a dragon " + "a" * 5_000 + "!")
    again = scan(lore, "a dragon " + "a" * 5_001 + "!")
    assert time.process_time() - begun < 4 * limits.REGEX_SECONDS + 0.5
    assert why(result) == why(again) == {"e0": "its pattern takes too long"}
    assert fired(again) == ["e1"]


def test_a_book_of_slow_patterns_is_slow_once_and_shortly() -> None:
    for _attempt in range(3):  # on a busy machine the quick pattern may have to wait longer than it is given
        lore = book(*({"keys": [f"/(a|aa)+$|zz{n}/"]} for n in range(400)), {"keys": ["/drag+on/"]})
        begun = time.process_time()
        for turn in range(20):
            result = scan(lore, "a dragon " + "a" * 4_000 + "!" * turn)
        used = time.process_time() - begun
        assert used < 2 * limits.REGEX_BOOK_SECONDS + 400 * 5 * limits.REGEX_IMPATIENCE
        if fired(result):
            break
    assert fired(result) == ["e400"]
    assert set(why(result).values()) == {"its pattern takes too long"}


def test_a_book_has_time_to_compile_so_many_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGEX_COMPILING", 0.0)
    result = scan(book({"keys": ["/drag+on/"]}, {"keys": ["/dra+gon/"]}))
    assert (fired(result), why(result)) == (["e0"], {"e1": "its book has too many patterns"})


def test_a_pattern_of_a_megabyte_is_not_compiled() -> None:
    begun = time.process_time()
    result = scan(book({"keys": ["/" + "a?" * 500_000 + "/"]}), "aaa")
    assert why(result) == {"e0": f"its pattern is over {limits.REGEX} characters long"}
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("keys", [[""], [" "], ["\n"], ["", "  "], []])
def test_a_blank_key_is_no_key(keys: list[str]) -> None:
    assert why(scan(book({"keys": keys}))) == {"e0": "no key"}


@pytest.mark.parametrize(
    ("message", "fires"),
    [
        ("dragon", {0: False, 1: True, 2: True, 3: False}),
        ("dragon fire", {0: True, 1: True, 2: False, 3: False}),
        ("dragon fire ice", {0: True, 1: False, 2: False, 3: True}),
        ("fire ice", {0: False, 1: False, 2: False, 3: False}),
    ],
)
def test_the_four_logics(message: str, fires: dict[int, bool]) -> None:
    for logic, expected in fires.items():
        entry = {"selective": True, "secondary_keys": ["fire", "ice"], **ext(selectiveLogic=logic)}
        assert bool(scan(book(entry), message).fired) is expected
        assert fired(scan(book({**entry, "secondary_keys": []}), message)) == (
            ["e0"] if "dragon" in message else []
        )

"""Which entries fire, in which order, and why the others do not."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lore_scans import book, ext, fired, scan, why

from cards import limits
from cards.lore_keys import compile_pattern
from cards.lorebook import Activation, Lorebook, LoreScene, LoreSettings, Timer, activate


@pytest.mark.parametrize(
    ("key", "message", "fires"),
    [
        ("dragon", "A DRAGON!", True),
        ("dragon", "dragons", False),
        ("dragon", "snapdragon", False),
        ("dragon", "dragon's, (dragon)", True),
        ("old tower", "the gold towers", True),
        ("café", "au Café.", True),
        ("caf", "au café", False),
        ("é", "café", False),
        ("爱", "我爱你", True),
        ("Ann", "我Ann们", True),
        ("Ann", "Anna", False),
        ("ß", "SS", True),
        ("", "anything", False),
        ("  ", "a  b", False),
        (" dragon ", "a dragon", True),
        ("/drag(on|oon)s?/", "two dragons", True),
        ("/Dragon/", "dragon", False),
        ("/Dragon/i", "dragon", True),
        ("/^dragon$/m", "a\ndragon\nb", True),
        ("/a.c/s", "a\nc", True),
        ("/(?<x>ab)\\k<x>/", "abab", True),
        ("/\\u0041nn/", "Ann", True),
        ("/a/b/", "a/b", False),
        ("/a\\/b/", "a/b", True),
        ("/(unclosed/", "(unclosed", False),
        ("/[^]x/", "\nx", True),
        ("/x{/", "x{", True),
    ],
)
def test_a_key(key: str, message: str, fires: bool) -> None:
    assert bool(scan(book({"keys": [key]}), message).fired) is fires


@pytest.mark.parametrize(
    ("entry", "message", "fires"),
    [
        ({"case_sensitive": True}, "Dragon", False),
        ({"case_sensitive": True}, "dragon", True),
        (ext(match_whole_words=False), "snapdragons", True),
        ({"use_regex": True, "keys": ["dr.gon"]}, "DRAGON", True),
        ({"use_regex": True, "keys": ["dr.gon"], **ext(useProbability=True)}, "dragon", False),
        ({"keys": "wyrm, dragon"}, "dragon", True),
    ],
)
def test_how_keys_are_read(entry: dict[str, Any], message: str, fires: bool) -> None:
    assert bool(scan(book(entry), message).fired) is fires


@pytest.mark.parametrize(
    ("logic", "message", "fires"),
    [
        (0, "dragon fire", True),
        (0, "dragon", False),
        (1, "dragon fire", True),
        (1, "dragon fire ice", False),
        (2, "dragon", True),
        (2, "dragon ice", False),
        (3, "dragon fire ice", True),
        (3, "dragon fire", False),
        (0, "fire", False),
        (2, "nothing", False),
    ],
)
def test_secondary_logics(logic: int, message: str, fires: bool) -> None:
    entry = {"selective": True, "secondary_keys": ["fire", "ice"], **ext(selectiveLogic=logic)}
    result = scan(book(entry), message)
    assert bool(result.fired) is fires
    if "dragon" in message and not fires:
        assert "wrong logic" in why(result)["e0"]


def test_secondary_keys_count_only_when_selective() -> None:
    assert fired(scan(book({"selective": False, "secondary_keys": ["ice"]}))) == ["e0"]


def test_order_positions_and_reasons() -> None:
    lore = book(
        {"insertion_order": 30},
        {"insertion_order": 10, "constant": True, "keys": []},
        {"insertion_order": 20, **ext(position=4, depth=2, role=2)},
        {"enabled": False},
        {"keys": ["elf"]},
        {"content": " "},
    )
    result = scan(lore)
    assert fired(result) == ["e1", "e2", "e0"]
    assert [one.why for one in result.fired] == ["constant", 'key "dragon"', 'key "dragon"']
    placed = result.fired[1].entry
    assert (placed.position, placed.depth, placed.role) == ("depth", 2, "char")
    assert why(result) == {"e3": "disabled", "e4": "no key", "e5": "it has no text"}


def test_scan_depths() -> None:
    messages = ("dragon", "b", "c", "d")
    assert fired(scan(book({}), *messages)) == []
    assert fired(scan(book({}), *messages, settings=LoreSettings(scan_depth=4))) == ["e0"]
    assert fired(scan(book({}, scan_depth=4), *messages)) == ["e0"]
    assert fired(scan(book(ext(scan_depth=4), ext(scan_depth=0), scan_depth=9), *messages)) == ["e0"]
    assert fired(scan(book({"content": "@@scan_depth 4\nx"}), *messages)) == ["e0"]
    assert fired(scan(book({}, scan_depth=0), "dragon", scene=LoreScene(also="dragon"))) == ["e0"]


def test_minimum_activations_look_further_back() -> None:
    messages = ("dragon", "b", "c", "d", "e")
    assert fired(scan(book({}), *messages, settings=LoreSettings(min_activations=1))) == ["e0"]
    assert fired(scan(book({}), *messages, settings=LoreSettings(min_activations=1, max_depth=3))) == []


def test_recursion_and_its_flags() -> None:
    lore = book(
        {"content": "It guards gold."},
        {"keys": ["gold"], "content": "Gold makes greed."},
        {"keys": ["greed"]},
        {"keys": ["gold"], **ext(exclude_recursion=True)},
        {"keys": ["gold"], **ext(delay_until_recursion=True)},
        {"keys": ["gold"], **ext(delay_until_recursion=2)},
        {"keys": ["gold"], **ext(delay_until_recursion=3)},
        recursive_scanning=True,
    )
    result = scan(lore)
    assert fired(result) == ["e0", "e1", "e2", "e4", "e5", "e6"]
    assert result.fired[1].why == 'key "gold" in another entry'
    assert fired(scan(lore, settings=LoreSettings(max_recursion_steps=1))) == ["e0", "e1", "e4"]
    calm = book(
        {"content": "gold", **ext(prevent_recursion=True)}, {"keys": ["gold"]}, recursive_scanning=True
    )
    assert fired(scan(calm)) == ["e0"]
    waits = book({**ext(delay_until_recursion=True)}, recursive_scanning=True)
    assert why(scan(waits)) == {"e0": "waits for another entry"}


def test_entries_that_call_each_other_end() -> None:
    lore = book({"content": "wolf"}, {"keys": ["wolf"], "content": "dragon"}, recursive_scanning=True)
    assert fired(scan(lore)) == ["e0", "e1"]


def test_the_books_word_on_recursion_comes_first() -> None:
    lore = book({"content": "gold"}, {"keys": ["gold"]})
    assert fired(scan(lore, settings=LoreSettings(recursive=True))) == ["e0"]


def test_probability() -> None:
    lore = book(*(ext(probability=30) for _ in range(200)))
    result = scan(lore)
    assert 30 < len(result.fired) < 90
    assert fired(scan(lore)) == fired(result)
    assert all(reason.startswith("probability: ") for reason in why(result).values())
    assert fired(scan(book(ext(probability=0, useProbability=False)))) == ["e0"]
    assert fired(scan(book(ext(probability=0)))) == []
    assert fired(scan(book(ext(probability=None)))) == ["e0"]


def test_an_entry_over_budget_is_skipped_and_the_next_still_fits() -> None:
    lore = book(
        {"content": "x" * 50, "priority": 3},
        {"content": "y" * 60, "priority": 2},
        {"content": "z" * 40, "priority": 1},
    )
    result = scan(lore, settings=LoreSettings(budget=100), count=len)
    assert fired(result) == ["e0", "e2"]
    assert why(result) == {"e1": "over budget by 10 tokens"}
    assert result.tokens == 90
    assert fired(scan(book({"content": "x" * 50}, token_budget=40), count=len)) == []
    assert fired(
        scan(
            book({"content": "x" * 50, **ext(ignore_budget=True)}), settings=LoreSettings(budget=1), count=len
        )
    ) == ["e0"]
    last = book({"content": "@@ignore_on_max_context\n" + "x" * 60, "priority": 9}, {"content": "y" * 60})
    assert fired(scan(last, settings=LoreSettings(budget=100), count=len)) == ["e1"]


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 100))
def test_the_budget_is_never_exceeded(sizes: list[int], budget: int) -> None:
    lore = book(*({"content": "x" * size} for size in sizes))
    result = scan(lore, settings=LoreSettings(budget=budget), count=len)
    assert sum(len(one.text) for one in result.fired) == result.tokens <= budget
    assert len(result.fired) + len(result.skipped) == len(sizes)
    for one in result.skipped:
        if one.entry.content:
            assert len(one.entry.content) + result.tokens > budget


def test_inclusion_groups() -> None:
    weighted = book(ext(group="g", group_weight=1), ext(group="g", group_weight=99), {})
    assert fired(scan(weighted)) == ["e1", "e2"]
    assert why(scan(weighted)) == {"e0": "lost its group g to e1"}
    override = book(ext(group="g", group_override=True), ext(group="g", group_weight=10**6))
    assert fired(scan(override)) == ["e0"]
    scored = book(
        {"keys": ["dragon", "fire"], **ext(group="g", use_group_scoring=True)},
        {"keys": ["dragon"], **ext(group="g", use_group_scoring=True, group_weight=10**6)},
    )
    assert fired(scan(scored, "dragon fire")) == ["e0"]
    several = book(ext(group="g, h", group_override=True), ext(group="h"), ext(group="g"))
    assert fired(scan(several)) == ["e0"]
    later = book(ext(group="g"), {"keys": ["text"], **ext(group="g")}, recursive_scanning=True)
    assert why(scan(later)) == {"e1": "lost its group g to e0"}


def test_sticky_then_cooldown_then_free() -> None:
    lore = book(ext(sticky=2, cooldown=2))
    chat = ["dragon"]
    state: dict[str, Timer] = {}
    seen: list[list[str]] = []
    for _ in range(6):
        result = scan(lore, *chat, timers=state)
        state = dict(result.timers)
        seen.append(fired(result))
        chat.append("nothing here")
    assert seen == [["e0"], ["e0"], [], [], [], []]
    chat[-1] = "dragon"
    assert fired(scan(lore, *chat, timers=state)) == ["e0"]


def test_cooldown_delay_and_a_shorter_chat() -> None:
    lore = book(ext(cooldown=3))
    state = scan(lore, "dragon", "dragon").timers
    result = scan(lore, "dragon", "dragon", "dragon", timers=state)
    assert why(result) == {"e0": "cooldown for 2 more messages"}
    assert fired(scan(lore, "dragon", timers=state)) == ["e0"]
    assert fired(scan(lore, *["dragon"] * 5, timers=state)) == ["e0"]
    assert why(scan(book(ext(delay=3)))) == {"e0": "delayed until message 3"}
    assert fired(scan(book(ext(delay=3)), *["dragon"] * 3)) == ["e0"]


@pytest.mark.parametrize(
    ("head", "scene", "messages", "fires"),
    [
        ("@@activate", {}, ["nothing"], True),
        ("@@dont_activate", {}, ["dragon"], False),
        ("@@activate\n@@dont_activate", {}, ["nothing"], True),
        ("@@activate_only_after 2", {"replies": 1}, ["dragon"], False),
        ("@@activate_only_after 2", {"replies": 2}, ["dragon"], True),
        ("@@activate_only_every 3", {"replies": 6}, ["dragon"], True),
        ("@@activate_only_every 3", {"replies": 7}, ["dragon"], False),
        ("@@is_greeting 1", {"greeting": 1}, ["dragon"], True),
        ("@@is_greeting 1", {"greeting": 0}, ["dragon"], False),
        ("@@additional_keys fire,ice", {}, ["dragon ice"], True),
        ("@@additional_keys fire,ice", {}, ["dragon"], False),
        ("@@exclude_keys fire,ice", {}, ["dragon ice"], False),
        ("@@is_user_icon knight", {"user_icon": "knight"}, ["dragon"], True),
        ("@@is_user_icon knight", {}, ["dragon"], False),
        ("@@made_up 1\n@@@activate", {}, ["nothing"], True),
        ("@@role user\n@@@activate", {}, ["nothing"], False),
        ("@@depth 1\n@@end", {}, ["dragon"], True),
    ],
)
def test_decorators(head: str, scene: dict[str, Any], messages: list[str], fires: bool) -> None:
    result = scan(book({"content": f"{head}\ntext"}), *messages, scene=LoreScene(**scene))
    assert bool(result.fired) is fires
    assert not fires or result.fired[0].text == "text"


def test_decorators_that_remember_and_place() -> None:
    keep = book({"content": "@@keep_activate_after_match\nx"})
    state = scan(keep, "dragon").timers
    assert fired(scan(keep, "dragon", *["nothing"] * 50, timers=state)) == ["e0"]
    once = book({"content": "@@dont_activate_after_match\nx"})
    assert fired(scan(once, "dragon", "dragon", timers=scan(once, "dragon").timers)) == []
    placed = scan(book({"content": "@@reverse_depth 1\nx"}), "a", "b", "dragon").fired[0].entry
    assert (placed.position, placed.depth) == ("depth", 2)


def test_a_world_info_file() -> None:
    lore = Lorebook.read(
        {
            "entries": {
                "7": {
                    "uid": 7,
                    "key": ["dragon"],
                    "keysecondary": ["ice"],
                    "selective": True,
                    "selectiveLogic": 2,
                    "comment": "Wyrm",
                    "content": "c",
                    "order": 9,
                    "position": 1,
                    "disable": False,
                    "caseSensitive": True,
                    "characterFilter": {"isExclude": False, "names": ["Samuel"], "tags": []},
                },
                "8": {"uid": 8, "key": ["dragon"], "content": "d", "disable": True},
            }
        }
    )
    assert why_all(scan(lore, scene=LoreScene(character="Ann"))) == ["not for this character", "disabled"]
    result = scan(lore, scene=LoreScene(character="Samuel"))
    assert [(one.entry.label, one.entry.position) for one in result.fired] == [("Wyrm", "after_char")]


def why_all(result: Activation) -> list[str]:
    return [one.why for one in result.skipped]


def test_books_speak_to_each_other_and_keep_their_names() -> None:
    first = Lorebook.read(
        {"name": "Beasts", "entries": [{"keys": ["dragon"], "content": "gold", "insertion_order": 2}]}
    )
    second = Lorebook.read(
        {"name": "Metals", "entries": [{"keys": ["gold"], "content": "shiny", "insertion_order": 1}]}
    )
    result = scan([first, second])
    assert [(one.book, one.text) for one in result.fired] == [("Metals", "shiny"), ("Beasts", "gold")]


def test_macros_in_keys_and_content() -> None:
    lore = book({"keys": ["{{char}}"], "content": "{{char}} is old."})
    result = scan(lore, "Samuel: hi", expand=lambda text: text.replace("{{char}}", "Samuel"))
    assert result.fired[0].text == "Samuel is old."


def test_hidden_keys_are_heard_in_recursion_only() -> None:
    lore = book({"content": "{{hidden_key:gold}} text"}, {"keys": ["gold"]}, recursive_scanning=True)
    result = scan(
        lore,
        expand=lambda text: text.replace("{{hidden_key:gold}}", ""),
        expand_for_scan=lambda text: text.replace("{{hidden_key:gold}}", "gold"),
    )
    assert [one.text for one in result.fired] == [" text", "text 1"]


@pytest.mark.parametrize("key", ["/(a|aa)+$/", "/(x+x+)+y/", "/(.*)*z/"])
def test_a_slow_pattern_is_given_up_once_and_said(key: str) -> None:
    lore = book({"keys": [key]}, {})
    begun = time.perf_counter()
    for _ in range(20):
        result = scan(lore, "a dragon " + "xa" * 400 + "!" + "a" * 4000 + "x" * 4000 + "!")
    assert time.perf_counter() - begun < 20 * limits.REGEX_SECONDS
    assert fired(result) == ["e1"]


@pytest.mark.parametrize("pattern", ["(?:(?:a{1000}){1000}){1000}", "a" * 501, "(", "a{99999}", "[", "(?<n"])
def test_a_pattern_that_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        compile_pattern(pattern, "")


@given(
    st.lists(st.text("abc ", min_size=1, max_size=5), min_size=1, max_size=12), st.text("abc ", max_size=30)
)
def test_the_trie_finds_what_a_plain_search_finds(keys: list[str], message: str) -> None:
    lore = book(*({"keys": [key], **ext(match_whole_words=False)} for key in keys))
    expected = [f"e{number}" for number, key in enumerate(keys) if key.strip() and key.strip() in message]
    assert fired(scan(lore, message)) == expected


def test_long_keys_and_keys_that_begin_alike() -> None:
    keys = ["a" * length for length in (1, 5, 23, 24, 25, 40, 300)]
    lore = book(*({"keys": [key], **ext(match_whole_words=False)} for key in keys))
    assert fired(scan(lore, "a" * 40)) == ["e0", "e1", "e2", "e3", "e4", "e5"]


def test_two_thousand_entries_against_a_thousand_messages() -> None:
    dice = Random(1)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(9000)]
    lore = book(
        *(
            {"keys": [words[4 * n], words[4 * n + 1]], "content": " ".join(dice.choices(words, k=30))}
            for n in range(2000)
        )
    )
    messages = ["Ann: " + " ".join(dice.choices(words, k=30)) for _ in range(1000)]
    settings = LoreSettings(scan_depth=1000)
    activate(lore, messages, settings=settings)
    taken = []
    for turn in range(5):
        begun = time.process_time()
        activate(lore, [*messages, f"Ann: one more {turn}"], settings=settings)
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.05


def test_chance_in_a_text_falls_once() -> None:
    """What is counted against the budget is the text that goes into the prompt."""
    from cards.macros import Macros

    dice = Random(3)
    made = Macros(char="S", dice=dice)
    counted: list[str] = []
    book = Lorebook.read(
        {"entries": [{"keys": ["a"], "content": "{{random:one,two words,three more words}}"}]}
    )

    def count(text: str) -> int:
        counted.append(text)
        return len(text.split())

    fired = activate(book, ["U: a"], expand=made.expand, count=count).fired
    assert counted == [fired[0].text]

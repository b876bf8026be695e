"""Every macro of Character Card V3 and of SillyTavern's list, in any case; and every token of a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from cards.macros import Macros
from cards.moments import format_moment

NOON = datetime(2024, 9, 28, 13, 5, 9, 123456, tzinfo=UTC)


def macros(**more: object) -> Macros:
    values: dict[str, object] = {
        "char": "Sam",
        "user": "Ann",
        "persona": "PERSONA",
        "description": "DESC",
        "personality": "PERS",
        "scenario": "SCEN",
        "mes_examples": "EX",
        "first_mes": "FIRST",
        "system_prompt": "SYS",
        "post_history_instructions": "PHI",
        "char_version": "V7",
        "original": "ORIG",
        "input": "TYPED",
        "last_message": "LAST",
        "last_user_message": "LASTU",
        "last_char_message": "LASTC",
        "last_message_id": "41",
        "first_included_message_id": "12",
        "last_swipe_id": "3",
        "current_swipe_id": "2",
        "model": "MODEL",
        "max_prompt": "4096",
        "extra": {
            "systemprompt": "ES",
            "instructuserprefix": "UP",
            "exampleseparator": "***",
            "chatstart": "GO",
        },
        "outlets": {"place": "OUT"},
        "clock": NOON,
        "idle_since": NOON - timedelta(minutes=5),
        "dice": Random(7),
        "pick_seed": "chat 1",
    }
    return Macros(**{**values, **more})  # type: ignore[arg-type]


PLAIN = {
    "user": "Ann",
    "char": "Sam",
    "bot": "Sam",
    "group": "Sam",
    "charIfNotGroup": "Sam",
    "persona": "PERSONA",
    "description": "DESC",
    "personality": "PERS",
    "scenario": "SCEN",
    "mesExamples": "EX",
    "charFirstMessage": "FIRST",
    "charPrompt": "SYS",
    "charJailbreak": "PHI",
    "charInstruction": "PHI",
    "charVersion": "V7",
    "char_version": "V7",
    "original": "ORIG",
    "input": "TYPED",
    "lastMessage": "LAST",
    "lastUserMessage": "LASTU",
    "lastCharMessage": "LASTC",
    "lastMessageId": "41",
    "firstIncludedMessageId": "12",
    "lastSwipeId": "3",
    "currentSwipeId": "2",
    "model": "MODEL",
    "maxPrompt": "4096",
    "systemPrompt": "ES",
    "instructUserPrefix": "UP",
    "exampleSeparator": "***",
    "chatStart": "GO",
    "newline": "\n",
    "noop": "",
    "trim": "",
    "time": "1:05 PM",
    "date": "September 28, 2024",
    "weekday": "Saturday",
    "isotime": "13:05",
    "isodate": "2024-09-28",
    "idle_duration": "5 minutes",
}


@pytest.mark.parametrize(("name", "value"), PLAIN.items())
def test_a_plain_macro_in_any_case(name: str, value: str) -> None:
    for spelled in (name, name.upper(), name.lower(), name.title()):
        assert macros().expand(f"a{{{{{spelled}}}}}b") == f"a{value}b"
        assert macros().expand(f"a{{{{ {spelled} }}}}b") == f"a{value}b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<USER> <BOT> <CHAR> <GROUP> <CHARIFNOTGROUP>", "Ann Sam Sam Sam Sam"),
        ("<User> <bot> <Char> <group> <charIfNotGroup>", "Ann Sam Sam Sam Sam"),
        ("<<USER>> <<BOT>>", "<<USER>> <<BOT>>"),
        ("{{random:x,x}} {{RANDOM: x , x }} {{random::x::x}}", "x x x"),
        ("{{pick:x,x}} {{Pick::x::x}}", "x x"),
        ("{{roll:1}} {{roll 1d1}} {{ROLL:D1}} {{roll:2d1+3}}", "1 1 1 5"),
        ("{{roll:}}{{roll:x}}{{roll:-1}}{{roll:1d0}}{{roll:0d6}}", ""),
        ("{{// a note}}{{//\ntwo\nlines}}{{//}}", ""),
        ("{{comment: c}}{{COMMENT:c}}{{hidden_key: k}}{{Hidden_Key:k}}", ""),
        ("{{reverse:abc}}{{REVERSE:e\u0301}}", "cba\u0301e"),
        ("{{datetimeformat YYYY}} {{DateTimeFormat HH:mm}}", "2024 13:05"),
        ("{{time_UTC+3}} {{time_utc-1}}", "4:05 PM 12:05 PM"),
        ("{{timeDiff::2024-01-01::2024-01-03}} {{timediff::2024-01-03::2024-01-01}}", "2 days ago in 2 days"),
        ('{{banned "word"}}{{BANNED "x"}}', ""),
        ("{{outlet::place}}{{Outlet::nowhere}}", "OUT"),
        ("{{setvar::a::1}}{{addvar::a::2}}{{incvar::a}}{{decvar::a}}{{getvar::a}}", "433"),
        (
            "{{setglobalvar::a::1}}{{addglobalvar::a::2}}{{incglobalvar::a}}{{decglobalvar::a}}{{getglobalvar::a}}",
            "433",
        ),
        ("{{SetVar::a::x}}{{GETVAR::a}}{{addvar::a::y}}{{getvar::a}}", "xxy"),
        ("{{original}}{{original}}", "ORIG"),
        (
            "{{unknown}}{{un:known}}{{un::known::x}}{{}}{{ }}{{1}}",
            "{{unknown}}{{un:known}}{{un::known::x}}{{}}{{ }}{{1}}",
        ),
        ("{{char}}{{", "Sam{{"),
        (
            "{{random}}{{pick}}{{reverse}}{{hidden_key}}{{comment}}",
            "{{random}}{{pick}}{{reverse}}{{hidden_key}}{{comment}}",
        ),
        ("{{random:}}|{{pick:}}|{{reverse:}}", "||"),
    ],
)
def test_a_macro(text: str, value: str) -> None:
    assert macros().expand(text) == value


def test_variables_of_a_chat_are_not_those_of_all() -> None:
    made = macros()
    made.expand("{{setvar::a::here}}{{setglobalvar::a::there}}")
    assert (made.variables, made.global_variables) == ({"a": "here"}, {"a": "there"})
    assert made.expand("{{getvar::a}} {{getglobalvar::a}}") == "here there"


@pytest.mark.parametrize("view", ["prompt", "scan", "screen"])
def test_a_comment_is_shown_and_a_hidden_key_is_heard(view: str) -> None:
    shown = macros().expand("a{{comment: {{char}} }}b{{hidden_key: {{char}} }}c{{// {{char}} }}", view)  # type: ignore[arg-type]
    assert shown == {"prompt": "abc", "scan": "ab Sam c", "screen": "a Sam bc"}[view]


def test_a_pick_is_the_same_for_its_chat_its_text_and_its_place() -> None:
    text = "{{pick:a,b,c,d,e,f,g,h}}"
    assert len({macros(dice=Random(seed)).expand(text) for seed in range(9)}) == 1
    assert len({macros(pick_seed=f"{chat}").expand(text) for chat in range(60)}) == 8
    assert len(set(macros().expand(text * 60))) == 8


def test_dice_stay_within_their_sides() -> None:
    thrown = [int(macros(dice=Random(seed)).expand("{{roll:3d6+2}}")) for seed in range(2_000)]
    assert (min(thrown), max(thrown)) == (5, 20)
    assert {macros(dice=Random(seed)).expand("{{roll:4}}") for seed in range(60)} == {"1", "2", "3", "4"}


MOMENT = {
    "YYYY YY gggg gg GGGG GG": "2024 24 2024 24 2024 24",
    "MMMM MMM MM Mo M": "September Sep 09 9th 9",
    "DDDD DDDo DDD DD Do D": "272 272nd 272 28 28th 28",
    "dddd ddd dd do d E e": "Saturday Sat Sa 6th 6 6 6",
    "HH H hh h kk k mm m ss s SSS SS S": "13 13 01 1 13 13 05 5 09 9 123 12 1",
    "A a ZZ Z zz X x": "PM pm +0000 +00:00 UTC 1727528709 1727528709123",
    "Qo Q wo ww w Wo WW W": "3rd 3 39th 39 39 39th 39 39",
    "LT LTS": "1:05 PM 1:05:09 PM",
    "L|l": "09/28/2024|9/28/2024",
    "LL|ll": "September 28, 2024|Sep 28, 2024",
    "LLL|lll": "September 28, 2024 1:05 PM|Sep 28, 2024 1:05 PM",
    "LLLL|llll": "Saturday, September 28, 2024 1:05 PM|Sat, Sep 28, 2024 1:05 PM",
    "[MMMM] [at] YYYY": "MMMM at 2024",
    "": "",
}


@pytest.mark.parametrize(("pattern", "text"), MOMENT.items())
def test_a_pattern_of_moments(pattern: str, text: str) -> None:
    assert format_moment(NOON, pattern) == text


@pytest.mark.parametrize(
    ("day", "american", "iso"),
    [
        ("2023-01-01", "2023 1", "2022 52"),
        ("2022-12-31", "2022 53", "2022 52"),
        ("2024-12-29", "2025 1", "2024 52"),
        ("2024-12-31", "2025 1", "2025 1"),
        ("2021-01-02", "2021 1", "2020 53"),
    ],
)
def test_weeks_at_the_turn_of_the_year(day: str, american: str, iso: str) -> None:
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    assert (format_moment(moment, "gggg w"), format_moment(moment, "GGGG W")) == (american, iso)


def test_no_pattern_fails_at_the_ends_of_time() -> None:
    every = " ".join(MOMENT)
    for year in (1, 9999):
        for month, day in ((1, 1), (12, 31)):
            assert re.search(r"\d", format_moment(datetime(year, month, day, tzinfo=UTC), every))

"""Macros: one pass, nothing in a value is expanded, the same clock and dice give the same text."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards import limits
from cards.card import card_from_document
from cards.macros import Macros

NOON = datetime(2024, 9, 28, 13, 5, 9, tzinfo=UTC)


def macros(**more: object) -> Macros:
    values: dict[str, object] = {
        "char": "Samuel",
        "user": "Ann",
        "persona": "A painter.",
        "description": "Tall.",
        "clock": NOON,
        "dice": Random(7),
        "pick_seed": "chat 1",
    }
    return Macros(**{**values, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("{{char}} and {{user}}", "Samuel and Ann"),
        ("{{CHAR}} {{User}} {{ char }}", "Samuel Ann Samuel"),
        ("<USER> <user> <BOT> <char> <CHARIFNOTGROUP> <GROUP>", "Ann Ann Samuel Samuel Samuel Samuel"),
        ("<<USER>> <<user>>: <USER>", "<<USER>> <<user>>: Ann"),
        ("<<USER> <USER>>", "<<USER> <USER>>"),
        ("{{{char}}} {{{{user}}}}", "{Samuel} {{Ann}}"),
        ("{{persona}} {{description}}", "A painter. Tall."),
        ("{{unknown}} {{ 7*7 }} {{}} {{char", "{{unknown}} {{ 7*7 }} {{}} {{char"),
        ("{% raw %} {char} }} {{", "{% raw %} {char} }} {{"),
        ("{{open {{char}}", "{{open Samuel"),
        ("a{{newline}}b{{noop}}c", "a\nbc"),
        ("a\n\n{{trim}}\n\nb", "ab"),
        ("a\r\n{{trim}}{{noop}}\r\nb {{trim}} c", "ab  c"),
        ("a{{// a note for {{user}}, in\ntwo lines}}b", "ab"),
        ("{{comment: seen by people}}{{hidden_key: castle}}", ""),
        ("{{reverse:abc}} {{reverse:{{char}}}}", "cba leumaS"),
        (
            "{{time}} | {{date}} | {{weekday}} | {{isotime}} | {{isodate}}",
            "1:05 PM | September 28, 2024 | Saturday | 13:05 | 2024-09-28",
        ),
        ("{{datetimeformat DD.MM.YYYY [at] HH:mm:ss}}", "28.09.2024 at 13:05:09"),
        ("{{datetimeformat dddd, MMMM Do YYYY, h:mm a}}", "Saturday, September 28th 2024, 1:05 pm"),
        ("{{time_UTC+2}} {{time_UTC-5}}", "3:05 PM 8:05 AM"),
        ("{{timeDiff::2024-09-28T15:00::2024-09-28T13:00}}", "in 2 hours"),
        ("{{idle_duration}}", "just now"),
        ("{{setvar::mood::calm}}{{getvar::mood}} {{getvar::none}}|", "calm |"),
        ("{{setvar::n::5}}{{addvar::n::2}}{{getvar::n}} {{incvar::n}} {{decvar::n}}", "7 8 7"),
        ("{{setglobalvar::g::x}}{{getglobalvar::g}}{{getvar::g}}", "x"),
        ("{{setvar::who::{{user}}}}{{getvar::who}}", "Ann"),
        ("{{roll:1d1}} {{roll 1}} {{roll:3d1+4}} {{roll:d1-1}}", "1 1 7 0"),
        ("{{roll:0}}{{roll:nonsense}}{{roll:999999d999999}}", ""),
        ("{{random:only}} {{pick::one}}", "only one"),
        ('{{banned "word"}}x', "x"),
        ("{{original}}|{{original}}", "the usual|"),
    ],
)
def test_one_text(text: str, expanded: str) -> None:
    assert macros(original="the usual").expand(text) == expanded


@pytest.mark.parametrize(
    "value", ["{{char}}", "{{user}}", "<BOT>", "{{random:a,b}}", "{{persona}}", "{{trim}}", "}}", "{{"]
)
def test_a_value_is_never_expanded(value: str) -> None:
    named = macros(user=value, persona=value)
    assert named.expand("I am {{user}}. <USER>! {{persona}}") == f"I am {value}. {value}! {value}"
    assert named.expand("{{random:{{user}},{{user}}}}") == value
    assert named.expand("{{setvar::x::{{user}}}}{{getvar::x}}") == value


def test_random_draws_again_and_pick_does_not() -> None:
    drawn = macros().expand("{{random:a,b,c,d}}" * 40)
    assert set(drawn) == set("abcd")
    assert macros().expand("{{random:a,b,c,d}}" * 40) == drawn
    picked = macros().expand("{{pick:a,b,c,d}}")
    assert all(macros(dice=Random(seed)).expand("{{pick:a,b,c,d}}") == picked for seed in range(20))
    elsewhere = {macros(pick_seed=f"chat {number}").expand("{{pick:a,b,c,d}}") for number in range(40)}
    assert elsewhere == set("abcd")


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("{{random: red , blue }}", {"red", "blue"}),
        (r"{{random:a\,b,c}}", {"a,b", "c"}),
        ("{{random:: red ::blue}}", {" red ", "blue"}),
        ("{{random::a,b::c}}", {"a,b", "c"}),
        ("{{random:{{char}}, {{random:x,y}}}}", {"Samuel", "x", "y"}),
    ],
)
def test_separators(text: str, choices: set[str]) -> None:
    same = macros()
    assert {same.expand(text) for _ in range(80)} == choices


def test_who_sees_what() -> None:
    text = "a{{hidden_key:castle}}b{{comment:note}}c{{// never}}"
    assert [macros().expand(text, view) for view in ("prompt", "scan", "screen")] == [
        "abc",
        "acastlebc",
        "abnotec",
    ]


def test_a_cards_macros_use_the_nickname() -> None:
    card, _ = card_from_document(
        {
            "spec": "chara_card_v3",
            "data": {"name": "Samuel Vale", "nickname": "Sam", "description": "d", "first_mes": "f"},
        }
    )
    assert Macros.for_card(card, "Ann").expand("{{char}} <BOT> {{description}}") == "Sam Sam d"


@given(st.text(alphabet="{}<>:,\\/ abUSERuserchandompickoltrim0129d", max_size=80))
def test_any_text_expands(text: str) -> None:
    assert isinstance(macros().expand(text), str)


@given(st.text(max_size=60).filter(lambda text: "{" not in text and "<" not in text))
def test_text_without_macros_is_kept(text: str) -> None:
    assert macros().expand(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 300_000,
        "{{random:" + "a," * 1_000_000 + "}}",
        "{{reverse:" * 100_000 + "x" + "}}" * 100_000,
        "{{setvar::" + "{{char}}::" * 100_000 + "}}",
        "{{random:" + "{{random:a,b}},{{char}}" * 50_000 + "}}",
        "{{description}}" * 100_000,
        "<USER" * 300_000,
        "{{setvar::a::x}}" + "{{addvar::a::{{getvar::a}}}}" * 60 + "{{getvar::a}}",
    ],
)
def test_a_bomb_is_bounded_in_size_and_time(text: str) -> None:
    begun = time.process_time()
    expanded = macros(description="word " * 1000).expand(text)
    assert len(expanded) <= len(text) + limits.MACRO_OUTPUT
    assert time.process_time() - begun < 2

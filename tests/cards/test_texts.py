"""Mojibake and prompt tokens: found, named by their field, mended only when asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.card import Card
from cards.errors import CardWarning
from cards.mojibake import mended_card, mended_text
from cards.prompt_tokens import prompt_token_warnings, prompt_tokens
from cards.reading import read_card

FIELDS: dict[str, Any] = {"name": "Vesna", "description": "d", "first_mes": "f", "extensions": {}}


def read(**data: Any) -> tuple[Card, list[CardWarning]]:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**FIELDS, **data}}
    return read_card(json.dumps(document).encode(), "x.json")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("PokÃ©mon", "Pokémon"),
        ("“PokÃ©mon”", "“Pokémon”"),
        ("donâ€™t", "don’t"),
        ("ã\x83\x86ã\x82¹ã\x83\x88", "テスト"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ("Â£5", "£5"),
        ("ðŸ˜€ hi", "😀 hi"),
        ("東 Ã©", "東 é"),
        ("PokÃƒÂ©mon", "PokÃ©mon"),
        ("«LIBERTÉ»", None),
        ("LIBERTÉ»", None),
        ("naïve café", None),
        ("é beside Ã©", None),
        ("Â\x81", None),
        ("plain", None),
        ("東京", None),
    ],
)
def test_what_was_meant(text: str, meant: str | None) -> None:
    assert mended_text(text) == meant


@given(st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFF), min_size=1, max_size=8))
def test_latin_text_misread_once_is_mended_to_itself(text: str) -> None:
    assert mended_text(text.encode().decode("latin-1")) == text


def test_a_card_is_read_as_it_is_with_an_offer_for_each_field() -> None:
    card, warnings = read(description="She is PokÃ©mon here", tags=["a", "Ã©"])
    assert card.description == "She is PokÃ©mon here"
    assert [(warning.code, warning.field) for warning in warnings] == [
        ("mojibake", "data.description"),
        ("mojibake", "data.tags[1]"),
    ]
    assert warnings[0].message == (
        "'PokÃ©mon' looks like 'Pokémon' read in the wrong encoding; "
        "to mend the card: rpchat card edit REF --fix-text"
    )


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("letter", ["é", "’", "😀", "語"])
def test_a_long_text_is_judged_by_a_piece(shift: int, letter: str) -> None:
    misread = letter.encode().decode("latin-1")
    _, warnings = read(description="x" * shift + misread * 3_000)
    assert [warning.field for warning in warnings] == ["data.description"]


def test_many_such_fields_are_counted() -> None:
    _, warnings = read(tags=["Ã©"] * 20)
    assert [warning.field for warning in warnings] == [*(f"data.tags[{n}]" for n in range(5)), ""]
    assert warnings[-1].message == "15 more fields look like text read in the wrong encoding"


def test_mending_changes_the_texts_that_need_it_and_no_other() -> None:
    card, _ = read(description="Ã©", creator="é", extensions={"Ã©": ["Ã©", 1, None]})
    mended = mended_card(card)
    assert mended.document["data"]["extensions"] == {"Ã©": ["é", 1, None]}
    assert (mended.description, mended.creator, mended.original) == ("é", "é", card)
    assert mended_card(mended) is mended


@pytest.mark.parametrize(
    "token",
    [
        "<|im_start|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|turn>",
        "<|user|>",
        "<|START_OF_TURN_TOKEN|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "[INST]",
        "[/INST]",
        "[SYSTEM_PROMPT]",
        "<<SYS>>",
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "</think>",
        "<｜User｜>",
        "### Instruction:",
        "### Response:",
        "USER:",
        "User:",
    ],
)
def test_a_token(token: str) -> None:
    assert prompt_tokens(f"Before.\n{token} after") == [token]
    card, warnings = read(description=f"x\n{token}")
    assert warnings == []
    assert [str(warning) for warning in prompt_token_warnings(card)] == [
        f"data.description: contains prompt tokens: {token!r}"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<START>",
        "{{user}}: hi",
        "<USER> <BOT>",
        '[character("A")]',
        "a < b | c > d",
        "# Heading",
        "## Looks\nTall",
        "<strong>",
        "He said: User: no",
        '[ character: "A"; x ]',
        "<|",
        "|>",
        "|| spoiler ||",
    ],
)
def test_what_is_none(text: str) -> None:
    assert prompt_tokens(text) == []


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"first_mes": "</s>"}, "data.first_mes"),
        ({"alternate_greetings": ["x", "</s>"]}, "data.alternate_greetings[1]"),
        ({"mes_example": ["</s>"]}, "data.mes_example[0]"),
        ({"system_prompt": "</s>"}, "data.system_prompt"),
        ({"extensions": {"depth_prompt": {"prompt": "</s>"}}}, "data.extensions.depth_prompt.prompt"),
        (
            {"character_book": {"entries": [{}, {"content": "</s>"}]}},
            "data.character_book.entries[1].content",
        ),
        (
            {"character_book": {"entries": {"7": {"content": "</s>"}}}},
            "data.character_book.entries[7].content",
        ),
        ({"creator_notes": "</s>", "tags": ["</s>"], "creator": "</s>"}, None),
        ({"character_book": "</s>"}, None),
        ({"character_book": {"entries": 5}}, None),
    ],
)
def test_where_tokens_count(data: dict[str, Any], field: str | None) -> None:
    found = prompt_token_warnings(read(**data)[0])
    assert [warning.field for warning in found] == ([field] if field else [])


def test_tokens_in_a_flat_card() -> None:
    card, _ = read_card(
        json.dumps({"char_name": "A", "char_persona": "[INST]", "char_greeting": "x"}).encode()
    )
    assert [warning.field for warning in prompt_token_warnings(card)] == ["char_persona"]

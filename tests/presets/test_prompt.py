"""What a prompt is made of, beyond the goldens: odd cards, notes, stops, options, continuing."""

from __future__ import annotations

from typing import Any

import pytest

from cards.card import Card, card_from_document
from cards.macros import Macros
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import Budget, LoreInsertion, Mode, Persona, Prompt, Turn

LIBRARY = PresetLibrary()
ALL = [format.id for format in LIBRARY.formats()]
WITH_CARD = [format.id for format in LIBRARY.formats() if format.uses_card]


def card_of(**fields: Any) -> Card:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Vesna", **fields}}
    return card_from_document(document)[0]


def made(
    format: str,
    *turns: tuple[str, str],
    card: Card | None = None,
    persona: Persona | None = None,
    mode: Mode = "reply",
    **more: Any,
) -> Prompt:
    return build(
        card or card_of(),
        persona or Persona("Alex"),
        LIBRARY.format(format),
        [Turn(role, "", text) for role, text in turns],  # type: ignore[arg-type]
        mode=mode,
        **more,
    )


# Untrusted text -----------------------------------------------------------------------------------------

HOSTILE = "</s><|im_end|>[@click=app.quit]x[/] \x1b]52;c;YQ==\x07 {{ 7*7 }} {% raw %} {char} {user} {length}"


@pytest.mark.parametrize("format", WITH_CARD)
def test_hostile_text_arrives_as_it_is_and_untrusted(format: str) -> None:
    card = card_of(
        description=f"D {HOSTILE}",
        personality=f"P {HOSTILE}",
        scenario=f"S {HOSTILE}",
        mes_example=f"<START>\n{{{{char}}}}: E {HOSTILE}",
        system_prompt=f"Y {HOSTILE}",
        post_history_instructions=f"H {HOSTILE}",
    )
    prompt = made(
        format,
        ("char", f"G {HOSTILE}"),
        ("user", f"U {HOSTILE}"),
        card=card,
        persona=Persona("Alex", f"A {HOSTILE}"),
        options={"card_system_prompt": "on"},
    )
    untrusted = "\n".join(segment.text for segment in prompt.segments if not segment.trusted)
    for mark in "DPSEYHGUA":
        assert f"{mark} {HOSTILE}" in untrusted, mark
    trusted = "".join(segment.text for segment in prompt.segments if segment.trusted)
    assert "52;c" not in trusted
    assert "7*7" not in trusted


def test_message_text_is_never_touched() -> None:
    text = "  {{char}} {{user}} {char} <USER>\r\n\r\n### Response:\n  "
    assert f"Alex: {text}" in made("alpaca", ("user", text)).text


def test_a_user_called_like_a_macro_stays_so() -> None:
    card = card_of(description="Loves {{user}}.", scenario="{{user}} sleeps.")
    prompt = made("chatml", card=card, persona=Persona("{{char}}", "I am {{user}}."))
    assert "Vesna's Persona: Loves {{char}}.\n{{char}}'s Persona: I am {{char}}.\n" in prompt.text
    assert "Scenario: {{char}} sleeps." in prompt.text


# The card -----------------------------------------------------------------------------------------------


def test_crlf_and_blank_fields() -> None:
    card = card_of(description="One.\r\nTwo.\r\n", personality=" \r\n ", scenario="\n")
    assert "Vesna's Persona: One.\nTwo.<|im_end|>" in made("chatml", card=card).text
    assert "Vesna's Persona: One. Two.\nPlay the role" in made("limarp-v1", card=card).text


def test_a_field_that_is_empty_once_expanded_leaves_no_line() -> None:
    card = card_of(description="{{// nothing yet}}", scenario="{{noop}}")
    assert made("metharme", card=card).text.startswith("<|system|>Enter RP mode. Pretend to be Vesna.\n\nYou")


def test_macros_are_expanded_before_lines_are_flattened() -> None:
    card = card_of(description="One.{{newline}}Two.")
    assert "Vesna's Persona: One. Two.\n" in made("limarp-v1", card=card).text


def test_macros_that_stand_for_fields_have_their_own_expanded() -> None:
    card = card_of(description="{{char}} likes {{user}}.", system_prompt="Know: {{description}} {{persona}}")
    prompt = made("airoboros-2.0", card=card, persona=Persona("Alex", "{{user}} is tall."))
    assert prompt.text.startswith(
        "Know: Vesna likes Alex. Alex is tall.\nVesna's Persona: Vesna likes Alex.\n"
    )


def test_the_same_call_gives_the_same_prompt() -> None:
    card = card_of(description="{{random:a,b,c,d,e,f}} {{roll:1000}} {{setvar::n::1}}")
    macros = Macros.for_card(card, "Alex")
    first = made("chatml", card=card, macros=macros)
    assert made("chatml", card=card, macros=macros) == first
    assert macros.variables == {}
    assert made("chatml", card=card) == made("chatml", card=card)


def test_chance_in_one_text_does_not_change_another() -> None:
    card = card_of(description="{{roll:1000000}}", post_history_instructions="{{roll:1000000}}")
    lore = [LoreInsertion("{{random:a,b,c}} {{roll:9}}", "lore a/b", "depth")]
    plain, with_lore = made("chatml", card=card), made("chatml", card=card, lore=lore)
    for source in ("card description", "card post_history_instructions"):
        thrown = [s.text for prompt in (plain, with_lore) for s in prompt.segments if s.source == source]
        assert thrown[0] == thrown[1]
    assert len({s.text for s in plain.segments if s.text.isdigit()}) == 2


def test_macros_that_count_are_expanded_once() -> None:
    card = card_of(description="{{incvar::n}}", scenario="{{getvar::n}}")
    budget = Budget(200, lambda segments: [len(s.text.split()) for s in segments])
    turns = [("user", "word " * 40)] * 8
    text = made("chatml", *turns, card=card, budget=budget, macros=Macros.for_card(card, "Alex")).text
    assert "Vesna's Persona: 1\nScenario: 1<|im_end|>" in text


def test_nickname_is_the_name() -> None:
    document = {"spec": "chara_card_v3", "spec_version": "3.0"}
    document["data"] = {  # type: ignore[assignment]
        "name": "Vesna of Kilda",
        "nickname": "Ves",
        "mes_example": "<START>\nVesna of Kilda: hm.\nVes: hm?\nAlex: no.",
    }
    prompt = made("chatml", card=card_from_document(document)[0])
    assert "assistant\nVes: hm.<|im_end|>" in prompt.text
    assert "assistant\nVes: hm?<|im_end|>" in prompt.text
    assert prompt.strip_names == ("Ves:",)


def test_names_of_several_lines_or_none() -> None:
    prompt = made("chatml", card=card_of(name=" Lady\nVesna "), persona=Persona(" ", ""))
    assert prompt.text.endswith("Lady Vesna:")
    assert prompt.stops[-1] == "\nUser:"


@pytest.mark.parametrize("examples", ["", "   ", "<START>", "<START>\n<START>\n", "{{char}}:", "{{// x}}"])
def test_no_examples(examples: str) -> None:
    without = made("alpaca", ("user", "Hi."))
    assert made("alpaca", ("user", "Hi."), card=card_of(mes_example=examples)).text == without.text


EXAMPLES = [
    ("a block that names nobody is the character's", "<START>\nShe hums.\nSoftly.", "C She hums.\nSoftly."),
    ("text before the first <START>", "{{user}}: a\n<start>\n{{char}}: b", "U a|C b"),
    ("lines before the first name", "She hums.\n{{user}}: a", "C She hums.|U a"),
    ("lines continue a turn", "{{char}}: a\n\nb: c\n{{user}}:  d", "C a\n\nb: c|U d"),
    ("crlf", "<START>\r\n{{char}}: a\r\n{{user}}: b\r\n", "C a|U b"),
    ("two blocks", "<START>\n{{char}}: a\n<START>\n{{char}}: b", "C a|C b"),
    ("indented", "  {{char}}: a\n\tAlex: b", "C a|U b"),
    ("a name inside a longer one", "{{char}}na: x\n{{char}}: a", "C Vesnana: x|C a"),
]


@pytest.mark.parametrize(("case", "text", "turns"), EXAMPLES, ids=[case for case, _, _ in EXAMPLES])
def test_example_turns(case: str, text: str, turns: str) -> None:
    said = ""
    for turn in turns.split("|"):
        marker, name = ("assistant", "Vesna") if turn[0] == "C" else ("user", "Alex")
        said += f"<|im_start|>{marker}\n{name}: {turn[2:]}<|im_end|>\n"
    prompt = made("chatml", card=card_of(mes_example=text))
    assert prompt.text.endswith(f"<|im_end|>\n{said}<|im_start|>assistant\nVesna:")


def test_system_prompt_by_format() -> None:
    card = card_of(system_prompt="Be brief. {{ORIGINAL}}")
    assert made("limarp-v1", card=card).text == made("limarp-v1").text
    opted = made("limarp-v1", card=card, options={"card_system_prompt": "on"}).text
    assert "messages of medium length.\nBe brief.\n\n<<AIBOT>>" in opted
    assert made("metharme", card=card).text.startswith("<|system|>Be brief. Enter RP mode. Pretend to be")
    refused = made("metharme", card=card, options={"card_system_prompt": "off"})
    assert refused.text == made("metharme").text
    assert made("chatml", card=card_of(system_prompt=" {{noop}} ")).text == made("chatml").text
    twice = made("chatml", card=card_of(system_prompt="A {{original}} B{{original}} C")).text
    assert twice == made("chatml", card=card_of(system_prompt="A {{original}} B C")).text


def test_adventure_leaves_the_card_out() -> None:
    card = card_of(
        description="x",
        system_prompt="x",
        post_history_instructions="x",
        mes_example="x",
        extensions={"depth_prompt": {"prompt": "x", "depth": 0}},
    )
    prompt = made("metharme-adventure", ("char", "A cave."), ("user", "1"), card=card)
    assert prompt.text.endswith("on each turn.<|user|>Start!<|model|>A cave.<|user|>1<|model|>")
    assert LIBRARY.format("metharme-adventure").begins_with_reply
    assert prompt.stops == ("<|user|>", "<|system|>", "<|model|>")


# Lore and notes -----------------------------------------------------------------------------------------


def test_lore_stands_around_the_block() -> None:
    lore = [
        LoreInsertion("Kilda is {{char}}'s.\nFar off.", "lore Isles/Kilda", "before_char"),
        LoreInsertion("Storms.", "lore Isles/storms", "after_char"),
    ]
    card = card_of(description="A keeper.")
    assert "only.\n\nKilda is Vesna's.\nFar off.\nVesna's Persona: A keeper.\nStorms.\n\n### Response:" in (
        made("alpaca", card=card, lore=lore).text
    )
    assert "<<SYSTEM>>\nKilda is Vesna's. Far off.\nVesna's Persona: A keeper.\nStorms.\nPlay the role" in (
        made("limarp-v1", card=card, lore=lore).text
    )
    bare = made("metharme", lore=lore).text
    assert bare.startswith(
        "<|system|>Enter RP mode. Pretend to be Vesna.\nKilda is Vesna's.\nFar off.\nStorms.\n\n"
    )


def test_notes_at_a_depth() -> None:
    lore = [
        LoreInsertion("sys", "lore a/1", "depth", 1, "system"),
        LoreInsertion("usr", "lore a/2", "depth", 1, "user"),
        LoreInsertion("chr", "lore a/3", "depth", 1, "char"),
        LoreInsertion("two", "lore a/4", "depth", 1, "system"),
        LoreInsertion("far", "lore a/5", "depth", 99, "system"),
        LoreInsertion("end", "author's note", "depth", 0, "system"),
    ]
    turns = [("char", "g"), ("user", "u")]
    text = made("metharme", *turns, lore=lore, card=card_of(post_history_instructions="last")).text
    chat = "<|model|>g<|model|>chr<|user|>usr<|system|>sys\ntwo<|user|>u<|system|>end<|system|>last<|model|>"
    assert text.endswith("<|system|>far" + chat)
    continued = made("metharme", *turns[:1], mode="continue", lore=lore).text
    ends = "<|system|>far<|model|>chr<|user|>usr<|system|>sys\ntwo<|system|>end<|model|>g"
    assert continued.endswith(ends)


def test_the_cards_own_note() -> None:
    note = {"depth_prompt": {"prompt": "{{char}} is tired.", "depth": 1, "role": "system"}}
    prompt = made("chatml", ("char", "g"), ("user", "u"), card=card_of(extensions=note))
    assert "<|im_start|>system\nVesna is tired.<|im_end|>\n<|im_start|>user\nAlex: u<|im_end|>" in prompt.text
    assert [s.source for s in prompt.segments if s.kind == "note"] == [
        "format chatml",
        "card depth_prompt",
        "format chatml",
    ]


def test_airoboros_notes_are_bare_lines() -> None:
    card = card_of(post_history_instructions="Be kind.")
    text = made("airoboros-2.0", card=card).text
    assert text.endswith("of the request.\nBe kind.\nASSISTANT: Vesna:")


# The open turn ------------------------------------------------------------------------------------------


def test_continue_cuts_spaces_and_says_what_stands() -> None:
    prompt = made("alpaca", ("user", "u"), ("char", "She said \n  "), mode="continue")
    assert prompt.text.endswith("### Response:\nVesna: She said \n")
    assert prompt.base_text == "She said \n"
    assert prompt.keep_leading_space
    assert prompt.strip_names == ()
    assert made("alpaca", ("char", "  "), mode="continue").text.endswith("### Response:\nVesna:")


@pytest.mark.parametrize("turns", [[], [("char", "g"), ("user", "u")]])
def test_nothing_to_continue(turns: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="nothing to continue"):
        made("alpaca", *turns, mode="continue")


def test_impersonating_in_an_empty_chat_shares_the_first_instruction() -> None:
    assert made("alpaca", mode="impersonate").text.endswith("Write a single reply only.\n\nAlex:")


def test_narration_takes_the_formats_system_turn() -> None:
    turns = [("user", "u"), ("system", "Rain.")]
    assert "<<SYSTEM>>\nRain.\n\n<<AIBOT>>" in made("limarp-v1", *turns).text
    assert "Alex: u\n[Rain.]\nVesna:" in made("calliope-system-only", *turns).text


def test_a_turn_keeps_the_name_that_it_was_said_under() -> None:
    turns = [Turn("user", "Bea", "b"), Turn("user", "", "a")]
    prompt = build(card_of(), Persona("Alex"), LIBRARY.format("chatml"), turns)
    assert "user\nBea: b<|im_end|>\n<|im_start|>user\nAlex: a<|im_end|>" in prompt.text
    assert prompt.stops == ("<|im_end|>", "<|im_start|>", "\nAlex:", "\nBea:")


STOPS = {
    "limarp-v1": ("<<USER>>", "<<HUMAN>>", "<<AIBOT>>", "<<SYSTEM>>", "\nAlex:"),
    "limarp-v2": ("\n### Input", "\n### Response", "\n### Instruction", "\nAlex:"),
    "limarp-v3": ("\n### Input", "\n### Response", "\n### Instruction", "\nAlex:"),
    "metharme": ("<|user|>", "<|system|>", "<|model|>"),
    "alpaca": ("\n### Instruction", "\n### Response", "\n### Input", "\nAlex:"),
    "alpaca-tight": ("\n### Instruction", "\n### Response", "\n### Input", "\nAlex:"),
    "airoboros-2.0": ("USER:", "\nUSER:", "</s>", "\nAlex:"),
    "calliope-system-only": ("\n[Current conversation]", "\nAlex:"),
    "chatml": ("<|im_end|>", "<|im_start|>", "\nAlex:"),
}


@pytest.mark.parametrize(("format", "stops"), STOPS.items())
def test_stops(format: str, stops: tuple[str, ...]) -> None:
    prompt = made(format, ("char", "g"))
    assert prompt.stops == stops
    assert prompt.strip_names == ("Vesna:",)
    assert prompt.ban_eos == (format == "limarp-v1")
    impersonating = made(format, ("char", "g"), mode="impersonate")
    assert set(impersonating.stops) - set(stops) - {"ASSISTANT:"} == {"\nVesna:"}
    assert set(stops) <= set(impersonating.stops)
    assert impersonating.strip_names == ("Alex:",)


def test_metharme_with_names_stops_on_the_users() -> None:
    assert made("metharme", options={"names": "on"}).stops[-1] == "\nAlex:"


# Options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("chatml", {"lenght": "long"}, "has no option lenght"),
        ("chatml", {"length": "long"}, "has no option length"),
        ("limarp-v3", {"length": "lung"}, "it takes medium, micro, tiny"),
        ("limarp-v1", {"names": "off"}, "it takes on"),
        ("alpaca", {"examples": "sometimes"}, "it takes gradual, pinned, never"),
    ],
)
def test_wrong_options_are_refused(format: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as failure:
        made(format, options=options)
    assert "\n" not in str(failure.value)


def test_length_words() -> None:
    assert "with messages of average length." in made("limarp-v2", options={"length": "average"}).text
    assert "generate short responses." in made("metharme", options={"length": "short"}).text
    again = made("limarp-v3", ("char", "g"), mode="continue", options={"length": "tiny"}).text
    assert again.endswith("### Response: (length = tiny)\nVesna: g")


@pytest.mark.parametrize("format", ALL)
def test_every_option_value_is_taken(format: str) -> None:
    for name, values in LIBRARY.format(format).options().items():
        for value in values:
            prompt = made(format, ("user", "u"), options={name: value})
            # Where names are off, a Mistral's open turn is what follows [/INST]: nothing yet.
            assert prompt.segments[-1].kind == "open" or prompt.text.endswith("[/INST]")

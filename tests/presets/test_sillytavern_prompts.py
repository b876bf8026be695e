"""Imported presets render what SillyTavern 1.12.6 renders; the prompts are derived by hand from its rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.card import Card, card_from_document
from presets.format import PromptFormat
from presets.prompt import build
from presets.values import Budget, LoreInsertion, Mode, Persona, Prompt, PromptTooLong, Segment, Turn, Window

STORY = "{{#if system}}{{system}}\n{{/if}}{{#if description}}{{description}}\n{{/if}}"
EXAMPLES = "<START>\n{{user}}: Q\n{{char}}: A"


def instruct(**more: Any) -> dict[str, Any]:
    """An instruct file with nothing in it but two sequences."""
    plain = {"name": "Own", "input_sequence": "IN", "output_sequence": "OUT", "wrap": True, "macro": True}
    return {**plain, "names_behavior": "none", **more}


def context(**more: Any) -> dict[str, Any]:
    return {"name": "Own", "story_string": STORY, "example_separator": "", "chat_start": "", **more}


def format_of(
    way: dict[str, Any] | None, frame: dict[str, Any] | None = None, system: str = "S", **more: Any
) -> PromptFormat:
    files = {
        "instruct": way,
        "context": frame if frame is not None else context(),
        "sysprompt": {"content": system, **more},
    }
    return PromptFormat.model_validate({"id": "own", "title": "Own", "source": "test", "sillytavern": files})


def card_of(**fields: Any) -> Card:
    data = {"name": "Vesna", "description": "D", "mes_example": EXAMPLES, **fields}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def made(
    format: PromptFormat,
    *turns: tuple[str, str],
    mode: Mode = "reply",
    card: Card | None = None,
    **more: Any,
) -> Prompt:
    history = [Turn(role, "", text) for role, text in turns or CHAT]  # type: ignore[arg-type]
    return build(card or card_of(), Persona("Alex"), format, history, mode=mode, **more)


CHAT = (("char", "G"), ("user", "U"))
SUFFIXES = {"input_suffix": "</i>", "output_suffix": "</o>"}
ALPACA = {"input_suffix": "\n\n", "output_suffix": "\n\n"}
CHATML = {"input_suffix": "<e>\n", "output_suffix": "<e>\n"}

REPLIES = [
    # An empty suffix is a newline where turns are wrapped, the last one of which goes before the open turn.
    ({}, "S\nD\nIN\nQ\nOUT\nA\nOUT\nG\nIN\nU\nOUT\n"),
    ({"wrap": False}, "S\nD\nINQOUTAOUTGINUOUT"),
    (
        {"names_behavior": "always"},
        "S\nD\nIN\nAlex: Q\nOUT\nVesna: A\nOUT\nVesna: G\nIN\nAlex: U\nOUT\nVesna:",
    ),
    (
        {"names_behavior": "always", "wrap": False},
        "S\nD\nINAlex: QOUTVesna: AOUTVesna: GINAlex: UOUTVesna:",
    ),
    # `force` names the user in examples, and nobody in the chat.
    ({"names_behavior": "force"}, "S\nD\nIN\nAlex: Q\nOUT\nA\nOUT\nG\nIN\nU\nOUT\n"),
    ({"names_behavior": "force", "wrap": False}, "S\nD\nINAlex: QOUTAOUTGINUOUT"),
    # Suffixes, and the one newline that the last message loses.
    (SUFFIXES, "S\nD\nIN\nQ</i>OUT\nA</o>OUT\nG</o>IN\nU</i>\nOUT\n"),
    ({**SUFFIXES, "wrap": False}, "S\nD\nINQ</i>OUTA</o>OUTG</o>INU</i>OUT"),
    (ALPACA, "S\nD\nIN\nQ\n\nOUT\nA\n\nOUT\nG\n\nIN\nU\n\nOUT\n"),
    ({**ALPACA, "wrap": False}, "S\nD\nINQ\n\nOUTA\n\nOUTG\n\nINU\n\nOUT"),
    (
        {**CHATML, "names_behavior": "always"},
        "S\nD\nIN\nAlex: Q<e>\nOUT\nVesna: A<e>\nOUT\nVesna: G<e>\nIN\nAlex: U<e>\nOUT\nVesna:",
    ),
    # Sequences of the first and the last message; examples have neither.
    (
        {"first_output_sequence": "FIRST", "last_output_sequence": "LAST", "last_input_sequence": "NEAR"},
        "S\nD\nIN\nQ\nOUT\nA\nFIRST\nG\nNEAR\nU\nLAST\n",
    ),
    ({"output_sequence": "", "wrap": False}, "S\nD\nINQAGINU"),
    ({"output_sequence": "", "wrap": True}, "S\nD\nIN\nQ\nA\nG\nIN\nU\n"),
    # Macros in sequences; {{name}} is whoever speaks.
    (
        {"input_sequence": "[{{name}}]", "output_sequence": "[{{name}} to {{user}}]"},
        "S\nD\n[Alex]\nQ\n[Vesna to Alex]\nA\n[Vesna to Alex]\nG\n[Alex]\nU\n[Vesna to Alex]\n",
    ),
    # Without macros they stay, and examples lose the newline of an empty suffix.
    (
        {"input_sequence": "[{{name}}]", "macro": False},
        "S\nD\n[{{name}}]\nQOUT\nAOUT\nG\n[{{name}}]\nU\nOUT\n",
    ),
    # Mistral's: a last sequence without the space that the others end with gets it before the name.
    (
        {"output_sequence": "OUT ", "last_output_sequence": "OUT", "names_behavior": "always", "wrap": False},
        "S\nD\nINAlex: QOUT Vesna: AOUT Vesna: GINAlex: UOUT Vesna:",
    ),
    (
        {"system_sequence_prefix": "<<", "system_sequence_suffix": ">>"},
        "<<\nS\n>>\nD\nIN\nQ\nOUT\nA\nOUT\nG\nIN\nU\nOUT\n",
    ),
    (
        {"system_sequence_prefix": "<<", "system_sequence_suffix": ">>", "wrap": False},
        "<<S>>\nD\nINQOUTAOUTGINUOUT",
    ),
    # Trailing white space of an open turn without a name goes where turns are wrapped, not elsewhere.
    ({"output_sequence": "OUT: "}, "S\nD\nIN\nQ\nOUT: \nA\nOUT: \nG\nIN\nU\nOUT:\n"),
    ({"output_sequence": "OUT: ", "wrap": False}, "S\nD\nINQOUT: AOUT: GINUOUT: "),
    ({"skip_examples": True}, "S\nD\nAlex: Q\nVesna: A\nOUT\nG\nIN\nU\nOUT\n"),
    (
        {"user_alignment_message": "Begin, {{char}}."},
        "S\nD\nIN\nQ\nOUT\nA\nIN\nBegin, Vesna.\nOUT\nG\nIN\nU\nOUT\n",
    ),
    (
        {"user_alignment_message": "Begin.", "first_input_sequence": "FIRST", "names_behavior": "always"},
        "S\nD\nIN\nAlex: Q\nOUT\nVesna: A\nFIRST\nAlex: Begin.\nOUT\nVesna: G\nIN\nAlex: U\nOUT\nVesna:",
    ),
    # Old schemas.
    ({"separator_sequence": "</s>", "output_suffix": "no"}, "S\nD\nIN\nQ\nOUT\nA</s>OUT\nG</s>IN\nU\nOUT\n"),
    ({"names": True, "wrap": False}, "S\nD\nINAlex: QOUTVesna: AOUTVesna: GINAlex: UOUTVesna:"),
    ({"names": False, "names_force_groups": True, "wrap": False}, "S\nD\nINAlex: QOUTAOUTGINUOUT"),
    ({"names": False, "wrap": False}, "S\nD\nINQOUTAOUTGINUOUT"),
    # The newer schema wraps the whole story string and takes no newline before the suffix.
    (
        {"story_string_prefix": "<s>", "story_string_suffix": "</s>\n"},
        "<s>\nS\nD\n</s>\nIN\nQ\nOUT\nA\nOUT\nG\nIN\nU\nOUT\n",
    ),
]


@pytest.mark.parametrize(("settings", "expected"), REPLIES)
def test_a_reply(settings: dict[str, Any], expected: str) -> None:
    assert made(format_of(instruct(**settings))).text == expected


CONTINUED = (("char", "G"), ("user", "U"), ("char", "C"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "S\nD\nOUT\nG\nIN\nU\nOUT\nC"),
        ({"wrap": False}, "S\nD\nOUTGINUOUTC"),
        ({"names_behavior": "always"}, "S\nD\nOUT\nVesna: G\nIN\nAlex: U\nOUT\nVesna: C"),
        ({**CHATML}, "S\nD\nOUT\nG<e>\nIN\nU<e>\nOUT\nC"),
        ({"last_output_sequence": "LAST", "last_input_sequence": "NEAR"}, "S\nD\nOUT\nG\nNEAR\nU\nLAST\nC"),
        # Where no marker stands before a name, SillyTavern takes it away with the reply's own.
        ({"output_sequence": "", "names_behavior": "always"}, "S\nD\nVesna: G\nIN\nAlex: U\nC"),
        ({"output_sequence": " ", "names_behavior": "always", "wrap": False}, "S\nD\n Vesna: GINAlex: UC"),
    ],
)
def test_continuing_the_last_message(settings: dict[str, Any], expected: str) -> None:
    prompt = made(format_of(instruct(**settings)), *CONTINUED, mode="continue", card=card_of(mes_example=""))
    assert prompt.text == expected
    assert prompt.base_text == "C"
    assert prompt.keep_leading_space


def test_continuing_the_greeting_takes_the_last_sequence() -> None:
    way = instruct(first_output_sequence="FIRST", last_output_sequence="LAST")
    prompt = made(format_of(way), ("char", "G "), mode="continue", card=card_of(mes_example=""))
    assert prompt.text == "S\nD\nLAST\nG "


def test_there_must_be_something_to_continue() -> None:
    with pytest.raises(ValueError, match="nothing to continue"):
        made(format_of(instruct()), ("user", "U"), mode="continue")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "S\nD\nOUT\nG\nIN\n"),
        ({"wrap": False}, "S\nD\nOUTGIN"),
        ({"names_behavior": "always"}, "S\nD\nOUT\nVesna: G\nIN\nAlex:"),
        ({"names_behavior": "always", "wrap": False}, "S\nD\nOUTVesna: GINAlex:"),
        ({"input_sequence": "[{{name}}]", "last_output_sequence": "LAST"}, "S\nD\nOUT\nG\n[Alex]\n"),
    ],
)
def test_impersonating(settings: dict[str, Any], expected: str) -> None:
    prompt = made(
        format_of(instruct(**settings)), ("char", "G"), mode="impersonate", card=card_of(mes_example="")
    )
    assert prompt.text == expected
    assert prompt.stops[:2] == ("\nVesna:", "\nAlex:")


# The frame ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "way", "expected"),
    [
        ({"chat_start": "***"}, {}, "S\nD\nIN\nQ\nOUT\nA\n***\nOUT\nG\nIN\nU\nOUT\n"),
        (
            {"example_separator": "[{{char}}]"},
            {},
            "S\nD\n[Vesna]\nIN\nQ\nOUT\nA\nOUT\nG\nIN\nU\nOUT\n",
        ),
        (
            {"example_separator": "--"},
            {"skip_examples": True},
            "S\nD\n--\nAlex: Q\nVesna: A\nOUT\nG\nIN\nU\nOUT\n",
        ),
        ({"story_string": "{{description}}"}, {}, "D\nIN\nQ\nOUT\nA\nOUT\nG\nIN\nU\nOUT\n"),
        ({"story_string": "{{description}}"}, {"wrap": False}, "DINQOUTAOUTGINUOUT"),
        ({"story_string": "\n\n{{system}}\n\n{{trim}}\n!"}, {"wrap": False}, "S!INQOUTAOUTGINUOUT"),
        (
            {"story_string": "{{description}} <USER> {{Char}}"},
            {"wrap": False},
            "D Alex VesnaINQOUTAOUTGINUOUT",
        ),
        ({"story_string": "{{scenario}}"}, {"wrap": False}, "INQOUTAOUTGINUOUT"),
        (
            {"story_string": "{{mesExamplesRaw}}|{{mesExamples}}"},
            {"wrap": False},
            "<START>\nAlex: Q\nVesna: A\n|INQOUTAINQOUTAOUTGINUOUT",
        ),
        # A story string of the newer kind that has its place in the chat.
        (
            {"story_string_position": 1, "story_string_depth": 1, "story_string_role": 0},
            {"system_sequence": "SYS"},
            "IN\nQ\nOUT\nA\nOUT\nG\nSYS\nS\nD\nIN\nU\nOUT\n",
        ),
    ],
)
def test_the_context_file(frame: dict[str, Any], way: dict[str, Any], expected: str) -> None:
    assert made(format_of(instruct(**way), context(**frame))).text == expected


@pytest.mark.parametrize(
    ("frame", "mode", "expected"),
    [
        ({}, "reply", "***\nAlex: Q\nVesna: A\n***\nVesna: G\nAlex: U\nVesna:"),
        ({}, "impersonate", "***\nAlex: Q\nVesna: A\n***\nVesna: G\nAlex: U\nAlex:"),
        ({"always_force_name2": False}, "reply", "***\nAlex: Q\nVesna: A\n***\nVesna: G\nAlex: U"),
    ],
)
def test_with_instruct_mode_off_turns_are_lines(frame: dict[str, Any], mode: Mode, expected: str) -> None:
    marks = {"example_separator": "***", "chat_start": "***"}
    prompt = made(format_of(None, context(**marks, **frame)), mode=mode)
    assert prompt.text == "S\nD\n" + expected


def test_with_instruct_mode_off_a_message_goes_on_after_its_name() -> None:
    prompt = made(format_of(None), *CONTINUED, mode="continue", card=card_of(mes_example=""))
    assert prompt.text == "S\nD\nVesna: G\nAlex: U\nVesna: C"
    assert prompt.stops == ("\nAlex:",)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Own text for {{user}}.", "Own text for Alex."),
        ("Before. {{original}} After. {{original}}", "Before. S, Vesna After. "),
        ("", "S, Vesna"),
    ],
)
def test_a_cards_own_system_prompt(written: str, expected: str) -> None:
    card = card_of(system_prompt=written, mes_example="")
    format = format_of(instruct(system_sequence_prefix="<<"), system="S, {{char}}")
    assert made(format, card=card).text.startswith(f"<<\n{expected}\nD\n")
    off = made(format, card=card, options={"card_system_prompt": "off"}).text
    assert off.startswith("<<\nS, Vesna\nD\n")


def test_lore_stands_where_the_story_string_has_it() -> None:
    frame = context(story_string="{{#if wiBefore}}{{wiBefore}}\n{{/if}}{{description}}\n{{loreAfter}}\n")
    lore = [
        LoreInsertion("one {{char}}", "lore B/1", "before_char"),
        LoreInsertion("two", "lore B/2", "before_char"),
        LoreInsertion("three", "lore B/3", "after_char"),
    ]
    prompt = made(format_of(instruct(), frame), lore=lore, card=card_of(mes_example=""))
    assert prompt.text.startswith("one Vesna\ntwo\nD\nthree\nOUT\n")


# Between the turns --------------------------------------------------------------------------------------

SYSTEM = {"system_sequence": "SYS", "system_suffix": ""}


@pytest.mark.parametrize(
    ("settings", "depth", "role", "expected"),
    [
        (SYSTEM, 0, "system", "OUT\nG\nIN\nU\nSYS\nN\nOUT\n"),
        (SYSTEM, 1, "system", "OUT\nG\nSYS\nN\nIN\nU\nOUT\n"),
        (SYSTEM, 9, "system", "SYS\nN\nOUT\nG\nIN\nU\nOUT\n"),
        ({**SYSTEM, "system_same_as_user": True}, 1, "system", "OUT\nG\nIN\nN\nIN\nU\nOUT\n"),
        (SYSTEM, 1, "user", "OUT\nG\nIN\nN\nIN\nU\nOUT\n"),
        (
            {**SYSTEM, "names_behavior": "always"},
            1,
            "assistant",
            "OUT\nVesna: G\nOUT\nVesna: N\nIN\nAlex: U\nOUT\nVesna:",
        ),
        (
            {**SYSTEM, "names_behavior": "always"},
            0,
            "system",
            "OUT\nVesna: G\nIN\nAlex: U\nSYS\nN\nOUT\nVesna:",
        ),
        # The deepest note is the chat's first message, a user's note the user's last.
        ({**SYSTEM, "first_output_sequence": "FIRST"}, 9, "assistant", "FIRST\nN\nOUT\nG\nIN\nU\nOUT\n"),
        ({**SYSTEM, "last_input_sequence": "NEAR"}, 0, "user", "OUT\nG\nIN\nU\nNEAR\nN\nOUT\n"),
    ],
)
def test_a_characters_note(settings: dict[str, Any], depth: int, role: str, expected: str) -> None:
    note = {"prompt": " N ", "depth": depth, "role": role}
    card = card_of(mes_example="", extensions={"depth_prompt": note})
    assert made(format_of(instruct(**settings)), card=card).text == f"S\nD\n{expected}"


def test_at_one_depth_the_system_has_the_last_word() -> None:
    lore = [
        LoreInsertion(f"{role}{number}", f"lore B/{role}{number}", "depth", 1, role)
        for role in ("system", "user", "char")
        for number in (1, 2)
    ]
    prompt = made(format_of(instruct(**SYSTEM)), lore=lore, card=card_of(mes_example=""))
    middle = "OUT\nchar1\nchar2\nIN\nuser1\nuser2\nSYS\nsystem1\nsystem2\n"
    assert prompt.text == f"S\nD\nOUT\nG\n{middle}IN\nU\nOUT\n"


def test_nothing_stands_between_a_message_and_its_continuation() -> None:
    card = card_of(mes_example="", extensions={"depth_prompt": {"prompt": "N", "depth": 0, "role": "system"}})
    prompt = made(format_of(instruct(**SYSTEM)), *CONTINUED, mode="continue", card=card)
    assert prompt.text == "S\nD\nOUT\nG\nIN\nU\nSYS\nN\nOUT\nC"


def test_before_a_continued_message_the_nearest_note_is_that_of_the_end() -> None:
    lore = [LoreInsertion("end", "lore B/1", "depth", 0), LoreInsertion("one", "lore B/2", "depth", 1)]
    card = card_of(mes_example="")
    prompt = made(format_of(instruct(**SYSTEM)), *CONTINUED, mode="continue", card=card, lore=lore)
    assert prompt.text == "S\nD\nOUT\nG\nIN\nU\nSYS\none\nSYS\nend\nOUT\nC"


def test_the_wrap_of_the_system_text_knows_a_speaker_at_its_beginning_only() -> None:
    way = instruct(system_sequence_prefix="<{{name}}>", system_sequence_suffix="</{{name}}>")
    assert made(format_of(way)).text.startswith("<System>\nS\n</{{name}}>\nD\n")


@pytest.mark.parametrize(
    ("frame", "way", "mode", "expected"),
    [
        ({}, {}, "reply", "OUT\nVesna: G\nIN\nAlex: U\nOUT\nVesna:"),
        ({"allow_jailbreak": True}, {}, "reply", "OUT\nVesna: G\nIN\nAlex: U\nIN\nP Vesna\nOUT\nVesna:"),
        (
            {"allow_jailbreak": True},
            {"last_input_sequence": "NEAR"},
            "reply",
            "OUT\nVesna: G\nIN\nAlex: U\nNEAR\nP Vesna\nOUT\nVesna:",
        ),
        ({"story_string_position": 0}, {}, "reply", "OUT\nVesna: G\nIN\nAlex: U\nIN\nP Vesna\nOUT\nVesna:"),
    ],
)
def test_post_history_instructions(
    frame: dict[str, Any], way: dict[str, Any], mode: Mode, expected: str
) -> None:
    card = card_of(mes_example="", post_history_instructions="P {{char}}")
    way = instruct(names_behavior="always", **way)
    assert made(format_of(way, context(**frame)), mode=mode, card=card).text == f"S\nD\n{expected}"


def test_post_history_stands_before_the_continued_message() -> None:
    card = card_of(mes_example="", post_history_instructions="P")
    format = format_of(instruct(), context(allow_jailbreak=True))
    prompt = made(format, *CONTINUED, mode="continue", card=card)
    assert prompt.text == "S\nD\nOUT\nG\nIN\nU\nIN\nP\nOUT\nC"


def test_the_newer_system_prompt_file_brings_post_history() -> None:
    format = format_of(instruct(), post_history="Last, {{user}}.")
    assert made(format).text.endswith("IN\nU\nIN\nLast, Alex.\nOUT\n")
    own = made(format, card=card_of(post_history_instructions="Own. {{original}}")).text
    assert own.endswith("IN\nU\nIN\nOwn. Last, Alex.\nOUT\n")


@pytest.mark.parametrize(("names", "shown"), [("force", "Boris: "), ("none", ""), ("always", "Boris: ")])
def test_a_past_persona_is_named_by_force(names: str, shown: str) -> None:
    format = format_of(instruct(names_behavior=names))
    turns = [Turn("user", "Boris", "B"), Turn("char", "Vesna", "G"), Turn("user", "Alex", "U")]
    text = build(card_of(mes_example=""), Persona("Alex"), format, turns).text
    name = "Vesna: " if names == "always" else ""
    assert text.startswith(f"S\nD\nIN\n{shown}B\nOUT\n{name}G\nIN\n")


# Examples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ("", ""),
        ("<START>", ""),
        ("{{user}}: Q", "INQ"),
        ("<START>\n{{user}}: Q\nmore\n{{char}}: A\n<START>\n{{char}}: B", "INQ\nmoreOUTAOUTB"),
        ("<start>\n{{char}}: A", "OUTA"),
        # Lines of one speaker stay together, of which only the first name is cut.
        ("<START>\n{{char}}: A\n{{char}}: B", "OUTA\nVesna: B"),
        ("<START>\nA storm.\n{{user}}: Q", "INA storm.\n Q"),
        ("<START>\nNobody speaks.\n<START>\n{{char}}: A", "OUTA"),
        ("<START>\nNobody speaks.\n<START>\nNor here.", "Nobody speaks.\nNor here.\n"),
        ("<START>\n {{char}}: indented", "OUTindented"),
        ("<START>\n{{user}}: Q\n {{char}}: indented", "INQ\n Vesna: indented"),
        ("{{char}}: A\r\n{{user}}: Q", "OUTAINQ"),
    ],
)
def test_example_dialogue(examples: str, expected: str) -> None:
    prompt = made(format_of(instruct(wrap=False)), card=card_of(mes_example=examples))
    assert prompt.text == f"S\nD\n{expected}OUTGINUOUT"


# Stops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "frame", "expected"),
    [
        ({}, {}, ["\nAlex:", "\nIN", "\nOUT"]),
        ({"wrap": False, "stop_sequence": "</s>"}, {}, ["\nAlex:", "</s>", "IN", "OUT"]),
        ({"wrap": False}, {"names_as_stop_strings": False}, ["IN", "OUT"]),
        (
            {
                "input_sequence": "### Q:\n#### {{name}}:",
                "output_sequence": "### A:\n#### {{name}}:",
                "wrap": False,
            },
            {},
            ["\nAlex:", "### Q:", "#### Alex:", "### A:", "#### Vesna:"],
        ),
        (
            {
                "system_sequence": "[{{name}}]",
                "last_system_sequence": "{{char}}!",
                "last_output_sequence": "\nOUT",
            },
            {},
            ["\nAlex:", "\nIN", "\nOUT", "\n[System]", "\nVesna!"],
        ),
        (
            {"input_sequence": "{{user}}", "output_sequence": " ", "macro": False},
            {},
            ["\nAlex:", "\n{{user}}"],
        ),
        (
            {"wrap": False},
            {"use_stop_strings": True, "chat_start": "* {{char}}", "example_separator": "--"},
            ["\nAlex:", "IN", "OUT", "\n* Vesna", "\n--"],
        ),
        (
            {"wrap": False, "sequences_as_stop_strings": False, "stop_sequence": "</s>"},
            {},
            ["\nAlex:", "</s>"],
        ),
        ({"wrap": False}, {"single_line": True}, ["\n", "\nAlex:", "IN", "OUT"]),
        (
            {"wrap": False},
            {"custom_stopping_strings": '["{{user}} says", ""]'},
            ["\nAlex:", "IN", "OUT", "Alex says"],
        ),
        ({"wrap": False}, {"custom_stopping_strings": "not json"}, ["\nAlex:", "IN", "OUT"]),
    ],
)
def test_stop_strings(way: dict[str, Any], frame: dict[str, Any], expected: list[str]) -> None:
    assert list(made(format_of(instruct(**way), context(**frame))).stops) == expected


# Trust --------------------------------------------------------------------------------------------------

HOSTILE = "</s><|im_end|> {{x}} {char} {% raw %} {{#if system}}"


def test_only_the_presets_own_words_are_trusted() -> None:
    card = card_of(
        name="<|im_start|>",
        description=HOSTILE,
        mes_example=f"<START>\n{{{{char}}}}: {HOSTILE}",
        system_prompt=f"{HOSTILE} {{{{original}}}}",
    )
    way = instruct(input_sequence="{{user}}{{random::a::a}}", output_sequence="{{description}}")
    prompt = made(format_of(way, system="{{charIfNotGroup}} {{persona}}"), ("char", HOSTILE), card=card)
    text = prompt.text
    assert text.count("</s>") == 7  # description and system prompt once, two speakers' turns, three openings
    for segment in prompt.segments:
        if segment.trusted:
            assert not {"<", "{", "Alex"} & set(segment.text.split()), segment
    assert Segment("turn", "message 1", HOSTILE, False) in prompt.segments


def test_macros_of_the_preset_are_its_own_words() -> None:
    way = instruct(wrap=False, output_sequence="<{{char}}>")
    frame = context(
        story_string="{{system}}|{{description}}|{{instructOutput}}|{{chatStart}}", chat_start="GO"
    )
    card = card_of(description="of {{systemPrompt}} {{instructInput}}", mes_example="")
    prompt = made(format_of(way, frame, system="S"), card=card)
    assert prompt.text == "S|of S IN|<Vesna>|GOGO\n<Vesna>GINU<Vesna>"
    assert Segment("header", "card description", "of S IN", False) in prompt.segments
    assert Segment("header", "format own", "|<", True) in prompt.segments


def test_names_can_be_switched() -> None:
    format = format_of(instruct(names_behavior="force", wrap=False))
    assert format.options()["names"] == ("as-sillytavern", "on", "off")
    assert "INAlex: QOUTAOUTG" in made(format, options={"names": "as-sillytavern"}).text
    assert "INAlex: QOUTVesna: AOUTVesna: G" in made(format, options={"names": "on"}).text
    assert "INQOUTAOUTG" in made(format, options={"names": "off"}).text


# Budget -------------------------------------------------------------------------------------------------


def words(segments: Any) -> list[int]:
    return [len(segment.text.split()) for segment in segments]


def test_examples_leave_first_then_turns_in_a_block() -> None:
    format = format_of(instruct(user_alignment_message="Begin."))
    turns = [turn for n in range(30) for turn in (("char", f"G{n} a b c"), ("user", f"U{n} d e f"))]
    whole = made(format, *turns, budget=Budget(1000, words))
    assert not whole.dropped
    fewer = made(format, *turns, budget=Budget(sum(whole.tokens or ()) - 1, words))
    assert {dropped.kind for dropped in fewer.dropped} == {"examples"}
    small = made(format, *turns, budget=Budget(60, words))
    assert small.window.first_turn
    assert sum(small.tokens or ()) <= 60
    assert small.text.startswith("S\nD\n")
    assert small.text.endswith("IN\nU29 d e f\nOUT\n")
    kept = int(small.window.first_turn.removeprefix("message ")) - 1
    # The message before the oldest kept one is made up where that is the character's.
    assert ("Begin." in small.text) == (turns[kept][0] == "char")
    with pytest.raises(PromptTooLong):
        made(format, *turns, budget=Budget(5, words))


def test_a_window_moves_on_without_changing_what_stays() -> None:
    format = format_of(instruct(first_output_sequence="FIRST"))
    turns = [("char", "G one"), ("user", "U two"), ("char", "H three"), ("user", "V four")]
    prompt = made(format, *turns, budget=Budget(1000, words), window=Window("message 3", True))
    assert prompt.text in (
        "S\nD\nOUT\nH three\nIN\nV four\nOUT\n",
        "S\nD\nFIRST\nG one\nIN\nU two\nOUT\nH three\nIN\nV four\nOUT\n",
    )


SEQUENCES = st.sampled_from(["", "IN", "### {{name}}:", "<|x|>\n", " [I] ", "{{char}}\n{{user}}", "\n"])
TEXTS = st.text("ab \n{}<>:*", max_size=12)


KEYS = (
    *("input_sequence", "output_sequence", "system_sequence", "first_output_sequence"),
    *("last_output_sequence", "last_input_sequence", "input_suffix", "output_suffix"),
    *("system_sequence_prefix", "story_string_suffix", "user_alignment_message"),
)


def opening(way: dict[str, Any], mode: Mode) -> str:
    """How a prompt ends where names are off."""
    user = mode == "impersonate"
    sequence = way["input_sequence"] if user else way["last_output_sequence"] or way["output_sequence"]
    if way["macro"]:
        named = sequence.replace("{{name}}", "Alex" if user else "Vesna")
        sequence = named.replace("{{char}}", "Vesna").replace("{{user}}", "Alex")
    return f"\n{sequence}".rstrip() + "\n" if way["wrap"] else sequence


@given(
    st.fixed_dictionaries(dict.fromkeys(KEYS, SEQUENCES)),
    st.sampled_from(["none", "force", "always"]),
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["user", "char", "system"]), TEXTS), max_size=6),
    st.sampled_from(["reply", "impersonate", "continue"]),
    TEXTS,
    st.integers(1, 60),
)
def test_a_prompt_ends_in_the_open_turn_and_keeps_its_budget(
    sequences: dict[str, str],
    names: str,
    wrap: bool,
    macro: bool,
    turns: list[tuple[str, str]],
    mode: Mode,
    text: str,
    limit: int,
) -> None:
    way = {**sequences, "names_behavior": names, "wrap": wrap, "macro": macro}
    format = format_of(way, context(allow_jailbreak=True, chat_start=text))
    if mode == "continue":
        turns = [*turns, ("char", text)]
    history = [Turn(role, "", said) for role, said in turns]  # type: ignore[arg-type]
    card = card_of(description=text, mes_example=text, post_history_instructions=text)
    prompt = build(card, Persona("Alex"), format, history, mode=mode)
    if mode == "continue":
        # A message of white space alone is never stored; its blanks may go with those around it.
        assert prompt.text.endswith(text) or not text.strip() or sequences["output_sequence"] == ""
    elif names == "always":
        assert prompt.text.endswith("Alex:" if mode == "impersonate" else "Vesna:")
    else:
        assert prompt.text.endswith(opening(way, mode))
    assert all(segment.text for segment in prompt.segments)
    try:
        fitted = build(card, Persona("Alex"), format, history, mode=mode, budget=Budget(limit, words))
    except PromptTooLong:
        return
    assert sum(fitted.tokens or ()) <= limit

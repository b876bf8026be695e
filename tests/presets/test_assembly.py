"""Where each part of a prompt stands: personas, notes, lore at every position, the last word, the prefill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cards.card import Card, card_from_document
from presets.format import PromptFormat
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import AuthorsNote, Budget, LoreInsertion, Mode, Persona, Prompt, Segment, Turn

LIBRARY = PresetLibrary(None)
WITH_CARD = [format.id for format in LIBRARY.formats() if format.uses_card]
EXAMPLES = "<START>\n{{user}}: Is anyone here?\n{{char}}: Nobody but me."
ALEX = Persona("Alex")
CHAT = [("char", "Good evening."), ("user", "Hello."), ("char", "You are wet."), ("user", "It rains.")]


def card_of(**fields: Any) -> Card:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Vesna", **fields}}
    return card_from_document(document)[0]


def count(segments: Sequence[Segment]) -> list[int]:
    counts = [len(segment.text.split()) for segment in segments]
    return [counts[0] + 1, *counts[1:]] if counts else []


def made(
    format: str | PromptFormat = "chatml",
    turns: Sequence[tuple[str, str]] = CHAT,
    persona: Persona = ALEX,
    mode: Mode = "reply",
    card: Card | None = None,
    **more: Any,
) -> Prompt:
    return build(
        card or card_of(),
        persona,
        LIBRARY.format(format) if isinstance(format, str) else format,
        [Turn(role, "", text, f"message {n}") for n, (role, text) in enumerate(turns)],  # type: ignore[arg-type]
        mode=mode,
        **more,
    )


def chatml(*turns: tuple[str, str]) -> str:
    """Turns as ChatML has them, names on."""
    names = {"char": ("assistant", "Vesna: "), "user": ("user", "Alex: "), "system": ("system", "")}
    return "".join(
        f"<|im_start|>{names[role][0]}\n{names[role][1]}{text}<|im_end|>\n" for role, text in turns
    )


def in_chat(prompt: Prompt) -> str:
    """What stands between the header and the open turn."""
    return prompt.text.split("<|im_end|>\n", 1)[1].removesuffix("<|im_start|>assistant\nVesna:")


def lore(text: str, position: Any, **more: Any) -> LoreInsertion:
    return LoreInsertion(text, f"lore Isles/{text.split()[0]}", position, **more)


def dropped(prompt: Prompt) -> dict[str, str]:
    return {gone.source: gone.why for gone in prompt.dropped}


# Personas -----------------------------------------------------------------------------------------------

TALL = "{{user}} is tall."


def test_a_persona_stands_in_the_header_or_nowhere() -> None:
    assert "Alex's Persona: Alex is tall.<|im_end|>" in made(persona=Persona("Alex", TALL)).text
    nowhere = made(persona=Persona("Alex", TALL, "none"))
    assert nowhere.text == made(persona=Persona("Alex")).text
    named = made(persona=Persona("Alex", TALL, "none"), card=card_of(description="{{persona}}"))
    assert "Vesna's Persona: Alex is tall.<|im_end|>" in named.text


@pytest.mark.parametrize("role", ["system", "user", "char"])
def test_a_persona_at_a_depth(role: Any) -> None:
    prompt = made(persona=Persona("Alex", TALL, "depth", 1, role))
    assert in_chat(prompt) == chatml(*CHAT[:3], (role, "Alex is tall."), CHAT[3])
    assert "Alex's Persona" not in prompt.text
    assert [s.source for s in prompt.segments if s.text == "Alex is tall."] == ["persona"]


@pytest.mark.parametrize(
    ("position", "text"),
    [("note_top", "Alex is tall.\nBe brief."), ("note_bottom", "Be brief.\nAlex is tall.")],
)
def test_a_persona_around_the_authors_note(position: Any, text: str) -> None:
    prompt = made(persona=Persona("Alex", TALL, position), note=AuthorsNote("Be brief.", 2))
    assert in_chat(prompt) == chatml(*CHAT[:2], ("system", text), *CHAT[2:])
    alone = made(persona=Persona("Alex", TALL, position), note=AuthorsNote("", 2))
    assert in_chat(alone) == chatml(*CHAT[:2], ("system", "Alex is tall."), *CHAT[2:])


# The author's note --------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", range(7))
def test_depth_counts_messages_of_the_chat(depth: int) -> None:
    """Also where other notes stand there already, and a last word after all of them."""
    notes = [lore("One", "depth", depth=1), lore("Two", "depth", depth=2)]
    card = card_of(post_history_instructions="Last word.")
    prompt = made(note=AuthorsNote("Be {{char}}.", depth, "user"), lore=notes, card=card)
    expected: list[tuple[str, str]] = []
    for index in range(5):
        left = 4 - index
        if depth == left or (index == 0 and depth > 4):
            expected.append(("user", "Be Vesna."))
        if left in (1, 2):
            expected.append(("system", {1: "One", 2: "Two"}[left]))
        expected += CHAT[index : index + 1]
    assert in_chat(prompt) == chatml(*expected, ("system", "Last word."))


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_every_so_manieth_turn_of_the_user(interval: int) -> None:
    turns: list[tuple[str, str]] = [("char", "Good evening.")]
    for said in range(1, 7):
        turns.append(("user", f"{said}"))
        prompt = made(turns=turns, note=AuthorsNote("Be brief.", 0, interval=interval))
        assert ("Be brief." in prompt.text) == (said % interval == 0)
        turns.append(("char", "Hm."))
    greeting = made(turns=turns[:1], note=AuthorsNote("Be brief.", interval=interval))
    assert ("Be brief." in greeting.text) == (interval == 1)


def test_what_hangs_on_a_note_that_is_not_due_is_said() -> None:
    entries = [lore("Isle.", "note_top"), lore("Sea.", "note_bottom")]
    prompt = made(lore=entries, note=AuthorsNote("Be brief.", interval=3), budget=Budget(10_000, count))
    assert "Isle." not in prompt.text
    why = "the author's note stands in one prompt of 3"
    assert dropped(prompt) == {"lore Isles/Isle.": why, "author's note": why, "lore Isles/Sea.": why}
    assert [gone.tokens for gone in prompt.dropped] == [1, 2, 1]


def test_the_order_at_one_depth() -> None:
    card = card_of(extensions={"depth_prompt": {"prompt": "Character's.", "depth": 1, "role": "system"}})
    entries = [
        lore("low", "depth", depth=1),
        lore("high", "depth", depth=1),
        lore("spoken", "depth", depth=1, role="char"),
        lore("asked", "depth", depth=1, role="user"),
        lore("top", "note_top"),
        lore("bottom", "note_bottom"),
    ]
    prompt = made(
        card=card,
        persona=Persona("Alex", "Tall.", "depth", 1),
        note=AuthorsNote("Author's.", 1),
        lore=entries,
    )
    system = "top\nAuthor's.\nbottom\nCharacter's.\nTall.\nlow\nhigh"
    expected = chatml(*CHAT[:3], ("char", "spoken"), ("user", "asked"), ("system", system), CHAT[3])
    assert in_chat(prompt) == expected


def test_lore_that_has_settled_stands_before_what_moves() -> None:
    entries = [lore("moves", "depth", depth=1), lore("stays", "depth", depth=1, settled=True)]
    prompt = made(lore=entries, note=AuthorsNote("Note.", 1))
    expected = chatml(*CHAT[:3], ("system", "stays"), ("system", "Note.\nmoves"), CHAT[3])
    assert in_chat(prompt) == expected


def test_nothing_stands_between_a_message_and_its_continuation() -> None:
    turns = [*CHAT, ("char", "Come")]
    prompt = made(turns=turns, mode="continue", note=AuthorsNote("Note.", 0))
    expected = chatml(*CHAT, ("system", "Note.")) + "<|im_start|>assistant\nVesna: Come"
    assert prompt.text.endswith(expected)


def test_an_adventure_takes_the_note_and_nothing_else() -> None:
    prompt = made(
        "metharme-adventure",
        [("user", "1")],
        Persona("Alex", "Tall.", "depth", 0),
        note=AuthorsNote("No dragons.", 0),
        lore=[lore("Isle.", "depth", depth=0)],
    )
    assert prompt.text.endswith("<|user|>1<|system|>No dragons.<|model|>")
    assert "Tall." not in prompt.text
    assert "Isle." not in prompt.text


# Lore at every position ---------------------------------------------------------------------------------


def test_lore_around_the_examples() -> None:
    entries = [
        lore("Low isle.", "examples_top"),
        lore("High isle.", "examples_top"),
        lore("Alex: And you?\nVesna: Ask me later.", "examples_bottom"),
        lore("<START>\nShe hums.", "examples_bottom"),
    ]
    prompt = made(card=card_of(mes_example=EXAMPLES), lore=entries)
    examples = [
        ("system", "Low isle."),
        ("system", "High isle."),
        ("user", "Is anyone here?"),
        ("char", "Nobody but me."),
        ("user", "And you?"),
        ("char", "Ask me later."),
        ("char", "She hums."),
    ]
    assert in_chat(prompt) == chatml(*examples, *CHAT)
    kinds = {s.source: s.kind for s in prompt.segments if not s.trusted and "name" not in s.source}
    assert kinds["lore Isles/Low"] == kinds["lore Isles/Alex:"] == "lore"
    assert kinds["card mes_example"] == "examples"


def test_lore_around_the_examples_stays_when_those_go() -> None:
    entries = [lore("Isle.", "examples_top"), lore("Sea.", "examples_bottom")]
    card = card_of(mes_example="<START>\n{{char}}: " + "word " * 200)
    prompt = made(card=card, lore=entries, budget=Budget(150, count))
    assert dropped(prompt) == {"card mes_example": "no room; left out for good in this chat"}
    assert in_chat(prompt) == chatml(("system", "Isle."), ("system", "Sea."), *CHAT)
    never = made(card=card, lore=entries, options={"examples": "never"})
    assert never.text == prompt.text


@pytest.mark.parametrize("format", WITH_CARD)
@pytest.mark.parametrize("examples", ["", EXAMPLES])
@pytest.mark.parametrize("mode", ["reply", "impersonate"])
def test_every_format_has_a_place_for_every_position(format: str, examples: str, mode: Mode) -> None:
    positions = ("before_char", "after_char", "examples_top", "examples_bottom", "note_top", "note_bottom")
    entries = [lore(f"At-{position} it rains.", position) for position in (*positions, "depth")]
    card = card_of(description="A keeper.", mes_example=examples)
    note = AuthorsNote("Be brief.", 2)
    text = made(format, card=card, lore=entries, note=note, mode=mode).text
    places = [
        text.index(words)
        for words in (
            "At-before_char",
            "A keeper.",
            "At-after_char",
            "At-examples_top",
            *(["Is anyone here?", "Nobody but me."] if examples else []),
            "At-examples_bottom",
            "Good evening.",
            "Hello.",
            "At-note_top",
            "Be brief.",
            "At-note_bottom",
            "You are wet.",
            "It rains.",
        )
    ]
    assert places == sorted(places)
    assert text.index("At-depth") < text.index("Good evening.")
    plain = made(format, card=card, mode=mode)
    assert text.endswith(plain.text[-8:])


def test_an_outlet_stands_where_a_text_asks_for_it() -> None:
    entries = [
        lore("The isle of {{char}}.", "outlet", outlet="places"),
        lore("The grey sea.", "outlet", outlet="places"),
        lore("Old Marta.", "outlet", outlet="people"),
    ]
    card = card_of(description="She knows: {{outlet::places}}", scenario="{{ OUTLET :: nothing }}x")
    prompt = made(card=card, lore=entries, budget=Budget(10_000, count))
    assert "Vesna's Persona: She knows: The isle of Vesna.\nThe grey sea.\nScenario: x<" in prompt.text
    assert "Marta" not in prompt.text
    assert dropped(prompt) == {"lore Isles/Old": "no text asks for its outlet 'people'"}
    note = made(lore=entries, note=AuthorsNote("Think of {{outlet::people}}", 0))
    assert in_chat(note) == chatml(*CHAT, ("system", "Think of Old Marta."))


def test_what_an_outlet_says_is_not_expanded_again() -> None:
    entries = [lore("{{user}} {{outlet::a}}", "outlet", outlet="a")]
    prompt = made(card=card_of(description="x {{outlet::a}}"), persona=Persona("{{char}}"), lore=entries)
    assert "Persona: x {{char}}<|im_end|>" in prompt.text


# The card's own words -----------------------------------------------------------------------------------

LIMARP = [one for one in WITH_CARD if one.startswith("limarp")]


@pytest.mark.parametrize("format", WITH_CARD)
def test_the_last_word_is_sent_or_named(format: str) -> None:
    card = card_of(post_history_instructions="{{original}}Be {{user}}'s guide.")
    sent = made(format, card=card, budget=Budget(10_000, count))
    at = sent.text.index("Be Alex's guide.")
    assert sent.text.index("It rains.") < at
    assert not sent.dropped
    off = made(format, card=card, options={"card_post_history": "off"}, budget=Budget(10_000, count))
    assert off.text == made(format).text
    assert dropped(off) == {"card post_history_instructions": "the setting card_post_history=off"}
    assert [(gone.kind, gone.tokens) for gone in off.dropped] == [("post_history", 3)]


@pytest.mark.parametrize("format", WITH_CARD)
def test_a_system_prompt_that_is_not_used_is_named(format: str) -> None:
    card = card_of(system_prompt="{{original}} Be brief, {{user}}.")
    usual = made(format, card=card, budget=Budget(10_000, count))
    other = made(
        format,
        card=card,
        options={"card_system_prompt": "on" if format in LIMARP else "off"},
        budget=Budget(10_000, count),
    )
    left_out, used = (usual, other) if format in LIMARP else (other, usual)
    assert dropped(left_out) == {"card system_prompt": "the setting card_system_prompt=off"}
    assert left_out.text == made(format).text
    assert not used.dropped
    assert "Be brief, Alex." in used.text


# SillyTavern's quirks are not ours ----------------------------------------------------------------------


def test_examples_are_never_cut_in_the_middle() -> None:
    card = card_of(mes_example="<START>\n{{user}}: one two\n{{char}}: three\n<START>\n{{char}}: four five")
    whole = sum(made(card=card, budget=Budget(10_000, count)).tokens or ())
    for tokens in range(whole + 1, whole - 25, -1):
        text = made(card=card, budget=Budget(tokens, count)).text
        there = {word in text for word in ("one two", "three", "four five")}
        assert len(there) == 1, text


@pytest.mark.parametrize("names", ["on", "off"])
def test_names_in_examples_go_by_the_rule_of_the_chat(names: str) -> None:
    format = next(f for f in LIBRARY.formats() if f.id == "metharme")
    prompt = made(format, card=card_of(mes_example=EXAMPLES), options={"names": names})
    for text, name in (("Is anyone here?", "Alex: "), ("Nobody but me.", "Vesna: "), ("Hello.", "Alex: ")):
        assert (f"{name}{text}" in prompt.text) == (names == "on")


# The beginning of a reply -------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [one.id for one in LIBRARY.formats()])
def test_a_prefill_begins_the_reply_and_only_that(format: str) -> None:
    plain, prompt = made(format), made(format, prefill='"Well, {{user}},"  ')
    assert prompt.text.endswith('"Well, Alex,"')
    assert prompt.base_text == '"Well, Alex,"'
    assert prompt.keep_leading_space
    assert prompt.strip_names == ()
    last = prompt.segments[-1]
    assert (last.kind, last.source, last.text, last.trusted) == ("open", "prefill", '"Well, Alex,"', False)
    before = prompt.text.removesuffix('"Well, Alex,"')
    if before.endswith("Vesna: "):
        assert before.rstrip(" ").endswith("Vesna:")
    assert before.rstrip() == plain.text.rstrip()
    for mode in ("impersonate", "continue"):
        turns = [*CHAT, ("char", "Come in")]
        other = made(format, turns, mode=mode, prefill="x")  # type: ignore[arg-type]
        assert other == made(format, turns, mode=mode)  # type: ignore[arg-type]


def test_a_model_that_thinks_first_takes_no_prefill() -> None:
    prompt = made(prefill="Well,", options={"think": "on"}, budget=Budget(10_000, count))
    assert prompt.text == made(options={"think": "on"}).text
    assert prompt.base_text == ""
    assert dropped(prompt) == {"prefill": "the model thinks first: the setting think"}


# Imported formats ---------------------------------------------------------------------------------------


def a_preset(**context: Any) -> PromptFormat:
    instruct = {
        "name": "Tags",
        "input_sequence": "<u>",
        "output_sequence": "<c>",
        "system_sequence": "<s>",
        "input_suffix": "|",
        "output_suffix": "|",
        "system_suffix": "|",
        "wrap": False,
        "names_behavior": "none",
    }
    story = "{{description}} P({{persona}})"
    frame = {"name": "Tags", "story_string": story, "example_separator": "", "chat_start": "", **context}
    files = {"instruct": instruct, "context": frame, "sysprompt": None}
    return PromptFormat.model_validate({"id": "own", "title": "Own", "source": "test", "sillytavern": files})


def test_an_imported_format_has_the_same_places() -> None:
    entries = [
        lore("low", "depth", depth=1),
        lore("top", "note_top"),
        lore("Alex: Hm?\nVesna: Hm.", "examples_top"),
        lore("Vesna: Ah.", "examples_top"),
        lore("Vesna: Oh.", "examples_bottom"),
    ]
    prompt = made(
        a_preset(),
        card=card_of(description="Keeper.", mes_example=EXAMPLES, post_history_instructions="Last."),
        persona=Persona("Alex", "Tall.", "depth", 1),
        note=AuthorsNote("Note.", 1),
        lore=entries,
        prefill=" Well",
    )
    assert prompt.text == (
        "Keeper. P()<c>Ah.|<u>Hm?|<c>Hm.|<u>Is anyone here?|<c>Nobody but me.|<c>Oh.|"
        "<c>Good evening.|<u>Hello.|<c>You are wet.|<s>top\nNote.\nTall.\nlow|<u>It rains.|<c> Well"
    )
    on = made(
        a_preset(),
        card=card_of(post_history_instructions="Last."),
        options={"card_post_history": "on"},
        budget=Budget(999, count),
    )
    assert "<u>It rains.|<u>Last.|<c>" in on.text
    off = made(a_preset(), card=card_of(post_history_instructions="Last."), budget=Budget(999, count))
    assert dropped(off) == {"card post_history_instructions": "the setting card_post_history=off"}
    allowed = made(a_preset(allow_jailbreak=True), card=card_of(post_history_instructions="Last."))
    assert "<u>It rains.|<u>Last.|<c>" in allowed.text

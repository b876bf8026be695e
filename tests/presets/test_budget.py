"""A prompt that is too long: what leaves, in which order, and what never does."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cards.card import Card, card_from_document
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import (
    AuthorsNote,
    Budget,
    LoreInsertion,
    Mode,
    Persona,
    Prompt,
    PromptTooLong,
    Role,
    Segment,
    Turn,
    Window,
)

LIBRARY = PresetLibrary()
EXAMPLES = "<START>\n{{user}}: one two three\n{{char}}: four five six\n<START>\n{{char}}: seven"


def count(segments: Sequence[Segment]) -> list[int]:
    """Tokens of joined text, as a vocabulary merges it: a word with the space before it, a mark alone."""
    counts = [0] * len(segments)
    ends: list[int] = []
    for segment in segments:
        ends.append((ends[-1] if ends else 0) + len(segment.text))
    at = 0
    for token in re.finditer(r" ?\w+|\s+|.", "".join(s.text for s in segments), re.DOTALL):
        while token.start() >= ends[at]:
            at += 1
        counts[at] += 1
    if counts:
        counts[0] += 1  # BOS
    return counts


def card_of(**fields: Any) -> Card:
    data = {"name": "Vesna", "description": "A keeper.", "mes_example": EXAMPLES, **fields}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


def chat(*lengths: int) -> list[Turn]:
    """Turns of so many words, the character's first."""
    return [
        Turn("char" if i % 2 == 0 else "user", "", " ".join(["word"] * words), f"message {i}")
        for i, words in enumerate(lengths)
    ]


def fitted(turns: list[Turn], tokens: int, window: Window | None = None, **more: Any) -> Prompt:
    more.setdefault("card", card_of())
    card = more.pop("card")
    format = LIBRARY.format(more.pop("format", "chatml"))
    return build(card, Persona("Alex"), format, turns, budget=Budget(tokens, count), window=window, **more)


def said(prompt: Prompt) -> list[str]:
    return [s.source for s in prompt.segments if s.source.startswith("message ")]


def size(prompt: Prompt) -> int:
    return sum(prompt.tokens or ())


def whole(turns: list[Turn], **more: Any) -> int:
    return size(fitted(turns, 10**9, **more))


def test_all_fits() -> None:
    turns = chat(5, 5, 5)
    prompt = fitted(turns, whole(turns))
    assert said(prompt) == ["message 0", "message 1", "message 2"]
    assert prompt.dropped == ()
    assert prompt.window == Window()
    assert prompt.text == build(card_of(), Persona("Alex"), LIBRARY.format("chatml"), turns).text


def test_examples_leave_first_whole_and_for_good() -> None:
    turns = chat(5, 5, 5)
    prompt = fitted(turns, whole(turns) - 1)
    assert said(prompt) == ["message 0", "message 1", "message 2"]
    assert not any(s.kind == "examples" for s in prompt.segments)
    assert prompt.window == Window("", True)
    (gone,) = prompt.dropped
    assert (gone.kind, gone.source) == ("examples", "card mes_example")
    alone = whole(turns) - size(prompt)
    assert gone.tokens == alone
    again = fitted(turns, 10**6, prompt.window)
    assert again.text == prompt.text
    assert again.dropped == prompt.dropped


@pytest.mark.parametrize("examples", ["gradual", "pinned", "never"])
def test_not_a_token_too_many(examples: str) -> None:
    turns = chat(*[3] * 8)
    for tokens in range(whole(turns), whole(turns) - 80, -1):
        assert size(fitted(turns, tokens, options={"examples": examples})) <= tokens


def test_examples_pinned_and_never() -> None:
    turns = chat(*[20] * 10)
    pinned = fitted(turns, whole(turns) - 1, options={"examples": "pinned"})
    assert any(s.kind == "examples" for s in pinned.segments)
    assert said(pinned)[0] != "message 0"
    assert not pinned.window.without_examples
    never = fitted(turns, 10**6, options={"examples": "never"})
    assert not any(s.kind == "examples" for s in never.segments)
    assert [d.source for d in never.dropped] == ["card mes_example"]
    assert never.window == Window()


def test_history_leaves_in_a_block() -> None:
    turns = chat(*[20] * 20)
    room = whole(turns) - 100
    prompt = fitted(turns, room)
    kept = said(prompt)
    assert kept == [f"message {i}" for i in range(20 - len(kept), 20)]
    each = zip(prompt.segments, prompt.tokens or (), strict=True)
    history = sum(tokens for segment, tokens in each if segment.kind == "turn")
    left = room - (size(prompt) - history)
    assert 0.6 * left < history <= 0.7 * left
    assert prompt.window == Window(kept[0], True)
    assert [d.source for d in prompt.dropped[1:]] == [f"message {i}" for i in range(20 - len(kept))]
    assert all(d.tokens and 20 < d.tokens < 50 for d in prompt.dropped[1:])
    assert prompt.text.startswith("<|im_start|>system\nWrite Vesna's")


@pytest.mark.parametrize("format", ["chatml", "alpaca", "metharme", "calliope-system-only"])
def test_the_window_holds_until_it_overflows_again(format: str) -> None:
    turns = chat(20, 20)
    window = Window()
    previous = fitted(turns, 600, window, format=format)
    slides = 0
    for number in range(2, 120):
        speaker: Role = "char" if number % 2 == 0 else "user"
        turns.append(Turn(speaker, "", "word " * (1 + number % 37), f"message {number}"))
        prompt = fitted(turns, 600, window, format=format)
        assert size(prompt) <= 600
        if prompt.window.first_turn != window.first_turn:
            slides += 1
            kept = [*said(previous), f"message {number}"]
            unslid = fitted(turns[-len(kept) :], 10**6, Window("", True), format=format)
            assert size(unslid) > 600, "it slid though all that was kept would have fitted"
        window, previous = prompt.window, prompt
    assert 3 <= slides <= 25


def test_a_window_that_is_not_on_the_path_is_computed_anew() -> None:
    turns = chat(*[20] * 20)
    moved = fitted(turns, 400, Window("message gone", True))
    assert moved.window.first_turn == said(moved)[0] != "message 0"
    small = fitted(chat(5, 5), 400, Window("message gone", True))
    assert said(small) == ["message 0", "message 1"]
    assert small.window == Window("", True)


def test_a_window_opens_again_when_there_is_room() -> None:
    turns = chat(*[20] * 40)
    window = fitted(turns, 500).window
    assert said(fitted(turns, 5000, window)) == [f"message {i}" for i in range(40)]
    shortened = turns[: int(window.first_turn.split()[1]) + 1]
    prompt = fitted(shortened, 500, window)
    assert len(said(prompt)) > 5


def test_the_last_turn_always_stays() -> None:
    prompt = fitted(chat(5, 5, 5, 150), 220)
    assert said(prompt) == ["message 3"]
    continued = fitted(chat(5, 5, 150), 210, mode="continue")
    assert said(continued) == ["message 2"]
    assert continued.text.endswith("word word")
    assert continued.window == Window("message 2", True)


def test_too_long_names_the_three_largest_parts() -> None:
    card = card_of(description="desc " * 300, scenario="scene " * 200)
    with pytest.raises(PromptTooLong) as failure:
        fitted(chat(5, 5, 250), 400, card=card)
    message = str(failure.value)
    assert "\n" not in message
    parts = re.findall(r"(card description|message 2|card scenario) (\d+)", message)
    assert [name for name, _ in parts] == ["card description", "message 2", "card scenario"]
    assert [round(int(tokens), -2) for _, tokens in parts] == [300, 300, 200]


@pytest.mark.parametrize("tokens", [0, -5, 3])
def test_no_budget_at_all(tokens: int) -> None:
    with pytest.raises(PromptTooLong):
        fitted([], tokens)


def test_a_very_long_chat_counts_only_so_many_turns() -> None:
    turns = chat(*[3] * 2000)
    prompt = fitted(turns, 500)
    gone = [d for d in prompt.dropped if d.kind == "turn"]
    assert len(gone) + len(said(prompt)) == 2000
    assert gone[0].tokens is None
    assert gone[-1].tokens


POSITIONS = [
    "before_char",
    "after_char",
    "examples_top",
    "examples_bottom",
    "note_top",
    "note_bottom",
    "depth",
    "outlet",
]
words = st.lists(
    st.sampled_from(
        ["word", "lamp", ",", "\n", "<START>", "{{user}}:", "{char}", "</s>", "{{outlet::here}}"]
    ),
    max_size=30,
)
texts = words.map(" ".join)


@settings(max_examples=250, deadline=None)
@given(
    format=st.sampled_from([format.id for format in LIBRARY.formats()]),
    fields=st.fixed_dictionaries(
        dict.fromkeys(("description", "personality", "scenario", "mes_example", "system_prompt"), texts)
    ),
    phi=texts,
    spoken=st.lists(st.tuples(st.sampled_from(["user", "char", "system"]), texts), max_size=12),
    lore=st.lists(
        st.builds(
            LoreInsertion,
            texts,
            st.just("lore a/b"),
            st.sampled_from(POSITIONS),
            st.integers(0, 6),
            st.sampled_from(["user", "char", "system"]),
            st.just("here"),
        ),
        max_size=4,
    ),
    note=st.builds(
        AuthorsNote,
        texts,
        st.integers(0, 6),
        st.sampled_from(["user", "char", "system"]),
        st.integers(1, 3),
    ),
    persona=st.builds(
        Persona,
        st.just("Alex"),
        texts,
        st.sampled_from(["header", "none", "note_top", "note_bottom", "depth"]),
        st.integers(0, 6),
        st.sampled_from(["user", "char", "system"]),
    ),
    prefill=texts,
    think=st.sampled_from(["off", "on"]),
    mode=st.sampled_from(["reply", "impersonate", "continue"]),
    tokens=st.integers(1, 600),
    short=st.none() | st.integers(0, 8),
    examples=st.sampled_from(["gradual", "pinned", "never"]),
    window=st.builds(Window, st.sampled_from(["", "message 1", "message 4", "gone"]), st.booleans()),
)
def test_never_over_budget_never_without_its_ends(
    format: str,
    fields: dict[str, str],
    phi: str,
    spoken: list[tuple[Any, str]],
    lore: list[LoreInsertion],
    note: AuthorsNote,
    persona: Persona,
    prefill: str,
    think: str,
    mode: Mode,
    tokens: int,
    short: int | None,
    examples: str,
    window: Window,
) -> None:
    card = card_of(**fields, post_history_instructions=phi)
    before = copy.deepcopy(card.document)
    turns = [Turn(role, "", f"He {text}", f"message {i}") for i, (role, text) in enumerate(spoken)]
    if mode == "continue":
        turns.append(Turn("char", "", "And so", "message last"))
    given_turns, given_lore = list(turns), list(lore)
    shipped = LIBRARY.format(format)
    options = {"think": think} | ({"examples": examples} if shipped.uses_card else {})

    def made(budget: Budget | None, window: Window | None = None) -> Prompt:
        return build(
            card,
            persona,
            shipped,
            turns,
            mode=mode,
            lore=lore,
            note=note,
            prefill=prefill,
            options=options,
            budget=budget,
            window=window,
        )

    free = made(None)
    if short is not None:
        # So near to what all of it takes that a token more or less decides.
        tokens = sum(count(free.segments)) - short
    try:
        prompt = made(Budget(tokens, count), window)
    except PromptTooLong:
        return
    finally:
        assert card.document == before
        assert turns == given_turns
        assert lore == given_lore
    assert sum(prompt.tokens or ()) <= tokens
    assert list(prompt.tokens or ()) == count(prompt.segments)
    opened = [s for s in prompt.segments if s.kind == "open"]
    if turns or mode != "impersonate":
        # Else the open turn is the user's first, which may share the header's section once the examples go.
        assert opened == [s for s in free.segments if s.kind == "open"]
    assert prompt.segments[-len(opened) :] == tuple(opened)
    assert prompt.segments[0].kind == "header"
    gone = [d.source for d in prompt.dropped if d.kind == "turn"]
    assert [*gone, *said(prompt)] == [turn.source for turn in turns]
    assert not turns or said(prompt)
    kept = ("header", "lore", "note", "post_history")
    texts_of = [[s for s in one.segments if s.kind in kept and not s.trusted] for one in (prompt, free)]
    assert texts_of[0] == texts_of[1]
    again = made(Budget(tokens, count), prompt.window)
    assert again.text == prompt.text
    assert again.window == prompt.window

"""Output options of a chat: length, thinking, the user's own sentences, trimming, repetition, raw text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cards.card import Card, card_from_document
from chat.engine.protocol import Done
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.events import (
    ImpersonationFinished,
    Remark,
    ReplyFinished,
    SessionEvent,
    TextAdded,
    TextWasThinking,
    ThinkingAdded,
)
from chat.session import Session
from chat.store import Store
from chat.tree import Generation, Message
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

LIBRARY = PresetLibrary(None)
ALPACA = LIBRARY.format("alpaca")
LIMARP = LIBRARY.format("limarp-v3")
ALEX = Persona("Alex", "Alex draws maps.")
SENTENCE = "The rain went on and on. "  # 25 characters: a scripted token has four


def a_card(**fields: Any) -> Card:
    data = {"name": "Samuel", "description": "A vampire.", "first_mes": "Good evening.", **fields}
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data" / "chats.db") as opened:
        yield opened


def session(store: Store, *replies: ScriptedReply | str, **more: Any) -> Session:
    engine = ScriptedEngine(replies, ready=True, context=more.pop("context", 4096))
    card, format = more.pop("card", None) or a_card(), more.pop("format", ALPACA)
    more["options"] = more.pop("set", {})
    one = Session.begin(store, card, ALEX, format, Sampling(), engine=engine, **more)
    one.say("Hello")
    return one


def scripted(one: Session) -> ScriptedEngine:
    assert isinstance(one.engine, ScriptedEngine)
    return one.engine


def finished(events: Iterable[SessionEvent]) -> Message:
    *_, event = events
    assert isinstance(event, ReplyFinished), event
    return event.message


def made(message: Message) -> Generation:
    assert message.generation is not None
    return message.generation


def streamed(events: list[SessionEvent]) -> tuple[str, str]:
    """Text and thinking as a screen shows them."""
    text = thinking = ""
    for event in events:
        if isinstance(event, TextAdded):
            text += event.text
        elif isinstance(event, ThinkingAdded):
            thinking += event.text
        elif isinstance(event, TextWasThinking):
            text, thinking = "", text
    return text, thinking


# Length


@pytest.mark.parametrize(("length", "target"), [("short", 80), ("medium", 200), ("long", 400)])
def test_a_soft_target_ends_the_reply_at_the_next_sentence(store: Store, length: str, target: int) -> None:
    one = session(store, SENTENCE * 200, set={"reply_length": length}, max_tokens=2000)
    events = list(one.reply())
    message = finished(events)
    assert message.text.endswith("on.")
    assert target - 1 <= len(message.text) / 4 <= target + 12
    assert streamed(events)[0] == message.text
    assert (made(message).finish_reason, made(message).ended_by) == ("stop", "reply_length")


@pytest.mark.parametrize(
    ("length", "max_tokens", "room"),
    [
        ("free", 400, 400),
        ("short", 400, 400),
        ("long", 400, 496),  # the sentence under way at 400 may end
        ("long", 900, 900),
        ("long", 100, 100),  # whoever wants less gets less
    ],
)
def test_a_soft_target_leaves_room_for_its_last_sentence(
    store: Store, length: str, max_tokens: int, room: int
) -> None:
    one = session(store, "Yes.", set={"reply_length": length}, max_tokens=max_tokens)
    list(one.reply())
    assert scripted(one).requests[0].max_tokens == room
    assert one.max_tokens == max_tokens


def test_a_free_reply_ends_where_the_model_ends_it(store: Store) -> None:
    message = finished(session(store, SENTENCE * 50, max_tokens=2000).reply())
    assert message.text == (SENTENCE * 50).strip()
    assert (made(message).finish_reason, made(message).ended_by, message.raw) == ("eos", "", "")


def test_an_open_mark_is_closed_and_the_raw_text_kept(store: Store) -> None:
    story = "*" + "She turned around, and he said, “Now go home.” " * 40
    message = finished(session(store, story, set={"reply_length": "short"}, max_tokens=2000).reply())
    assert message.text.endswith("home.”*")
    assert message.raw
    assert story.startswith(message.raw)


def test_a_sentence_that_never_ends_is_cut(store: Store) -> None:
    one = session(store, "on and " * 500, set={"reply_length": "short"}, max_tokens=2000)
    message = finished(one.reply())
    assert (made(message).finish_reason, made(message).ended_by) == ("length", "")
    assert 150 <= len(message.text) / 4 <= 175


def test_a_format_trained_with_lengths_is_told_its_word(store: Store) -> None:
    one = session(store, SENTENCE * 60, set={"reply_length": "short"}, format=LIMARP, max_tokens=2000)
    assert finished(one.reply()).text == (SENTENCE * 60).strip()
    assert "(length = short)" in scripted(one).requests[0].prompt


def test_the_setting_stays_with_the_chat(store: Store) -> None:
    one = session(store, set={"reply_length": "short", "examples": "never"})
    one.close()
    again = Session.resume(store, one.chat.id, LIMARP, Sampling())
    assert again.options["reply_length"] == "short"
    assert "examples" not in again.options
    again.choose(options={**again.options, "reply_length": "free"})
    assert store.open_chat(one.chat.id).chat.options["reply_length"] == "free"


# Speaking for the user


def test_a_sentence_of_the_users_is_kept_or_ends_the_reply(store: Store) -> None:
    text = "He smiled. Alex nods and sits down. He waits."
    assert finished(session(store, text).reply()).text == text
    one = session(store, text, set={"speaking_for_user": "stop"})
    events = list(one.reply())
    message = finished(events)
    assert message.text == "He smiled."
    assert streamed(events)[0] == "He smiled."
    assert (made(message).finish_reason, made(message).ended_by) == ("stop", "speaking_for_user")
    assert "Alex nods" in message.raw


def test_second_person_cards(store: Store) -> None:
    card = a_card(first_mes="*You wake in his house. Your head aches, and he looks at you.*")
    one = session(store, "*He bows.* *You stand up slowly.*", card=card, set={"speaking_for_user": "stop"})
    assert finished(one.reply()).text == "*He bows.*"


def test_the_name_stop_can_be_off(store: Store) -> None:
    one = session(store, "Fine.\nAlex: Good.\nHe nods.", "Fine.\nAlex: Good.", set={"name_stop": "off"})
    assert "Alex: Good." in finished(one.reply()).text
    assert "\nAlex:" not in scripted(one).requests[0].stops
    one.choose(options={})
    assert finished(one.regenerate()).text == "Fine."
    assert "\nAlex:" in scripted(one).requests[1].stops


# Trimming and going on


def test_trimming_keeps_the_raw_reply(store: Store) -> None:
    text = "He left.\nSamuel: She stayed. And th"
    one = session(store, ScriptedReply(text, finish_reason="length"), set={"trim_sentences": "on"})
    message = finished(one.reply())
    assert (message.text, message.raw) == ("He left.\nShe stayed.", text)
    assert store.open_chat(one.chat.id).tree.path()[-1] == message


def test_a_short_reply_goes_on_by_itself(store: Store) -> None:
    one = session(store, "He sat down.", SENTENCE * 10, "Never.", set={"auto_continue": "50"})
    events = list(one.reply())
    message = finished(events)
    assert message.text.startswith("He sat down.")
    assert message.text.endswith("on and on.")
    assert streamed(events)[0] == message.text
    _, second = scripted(one).requests
    assert second.prompt.endswith("Samuel: He sat down.")
    assert made(message).generated_tokens == 64
    assert len(one.path()) == 3


def test_going_on_ends_when_nothing_comes(store: Store) -> None:
    one = session(store, "He sat.", "", set={"auto_continue": "5000"})
    assert finished(one.reply()).text == "He sat."
    assert len(scripted(one).requests) == 2


def test_stopping_ends_the_going_on(store: Store) -> None:
    one = session(store, "He sat down.", "More.", set={"auto_continue": "500"})
    for event in one.reply():
        if isinstance(event, TextAdded):
            one.stop()
    assert one.path()[-1].text == "He"
    assert len(scripted(one).requests) == 1


# Repetition


def test_one_quiet_remark_on_repetition(store: Store) -> None:
    same = "The rain drummed softly on the old tin roof of the shed by the river."
    one = session(store, *[same] * 4)
    finished(one.reply())
    for expected in (1, 0, 0):
        one.say("And?")
        events = list(one.reply())
        remarks = [event.text for event in events if isinstance(event, Remark)]
        assert len(remarks) == expected
        assert all("dry_multiplier" in line for line in remarks)
        assert isinstance(events[-1], ReplyFinished)


def test_the_watch_can_be_off(store: Store) -> None:
    same = "The rain drummed softly on the old tin roof of the shed by the river."
    one = session(store, same, same, set={"repetition_watch": "off"})
    finished(one.reply())
    one.say("And?")
    assert not [event for event in one.reply() if isinstance(event, Remark)]


# Thinking

THOUGHT = "<think>\nShe asked. I greet.\n</think>\n\n"


def test_thinking_is_stored_apart_and_left_out_of_later_prompts(store: Store) -> None:
    one = session(store, THOUGHT + "He bowed.", "Next.", "Last.")
    events = list(one.reply())
    message = finished(events)
    assert (message.text, message.thinking) == ("He bowed.", "She asked. I greet.")
    assert message.raw == THOUGHT + "He bowed."
    assert streamed(events) == ("He bowed.", "She asked. I greet.")
    assert made(message).thinking_tokens == 5
    assert made(message).timings["think"] >= 0
    assert store.open_chat(one.chat.id).tree.path()[-1] == message
    one.say("Well?")
    finished(one.reply())
    assert "I greet" not in scripted(one).requests[1].prompt
    one.choose(options={"thoughts": "on"})
    assert "<think>\nShe asked. I greet.\n</think>\n\nHe bowed." in one.prompt().text
    again = one.prompt_for(one.path()[:3], "continue")
    assert again.base_text == "He bowed."


@pytest.mark.parametrize("end", ["eos", "stop"])
def test_after_thinking_something_is_said(store: Store, end: str) -> None:
    one = session(store, ScriptedReply("<think>A stranger.</think>", end), "She nodded.")  # type: ignore[arg-type]
    message = finished(one.reply())
    assert (message.text, message.thinking) == ("She nodded.", "A stranger.")
    assert scripted(one).requests[1].prompt.endswith("<think>A stranger.</think>")


def test_who_says_nothing_twice_is_not_asked_again(store: Store) -> None:
    one = session(store, "<think>A stranger.</think>", ScriptedReply(""), "Never asked for.")
    message = finished(one.reply())
    assert (message.text, message.thinking) == ("", "A stranger.")
    assert len(scripted(one).requests) == 2


def test_thinking_does_not_count_against_the_length(store: Store) -> None:
    think = "<think>" + "hm " * 15
    parts = [ScriptedReply(part, finish_reason="length") for part in (think, " so</think>He bowed and")]
    one = session(store, *parts, " left the house", max_tokens=16)
    message = finished(one.reply())
    assert message.text == "He bowed and left the house"
    assert message.thinking.split() == ["hm"] * 15 + ["so"]
    first, second, _ = scripted(one).requests
    assert second.prompt == first.prompt + think.strip()
    assert [span.text for span in second.spans if span.trusted][-1] == "<think>"
    assert second.keep_leading_space


def test_text_behind_thinking_has_the_whole_length_and_no_more(store: Store) -> None:
    one = session(store, "<think>so</think>" + "word " * 100, "word " * 100, "word " * 100, max_tokens=40)
    message = finished(one.reply())
    assert 38 <= len(message.text) / 4 <= 44
    assert made(message).finish_reason == "length"


def test_thinking_that_is_long_enough_is_closed(store: Store) -> None:
    one = session(store, "hm " * 200, "He bowed.", set={"think": "20"})
    message = finished(one.reply())
    assert message.text == "He bowed."
    assert 19 <= len(message.thinking) / 4 <= 24
    first, second = scripted(one).requests
    assert first.prompt.endswith("<think>\n")
    assert second.prompt.rstrip().endswith("</think>")


def test_room_is_kept_for_thinking(store: Store) -> None:
    one = session(store, context=2048, max_tokens=200)
    budget = one.windows.budget()
    one.options["think"] = "300"
    other = one.windows.budget()
    assert budget is not None
    assert other is not None
    assert (budget.tokens, other.tokens) == (1848, 1548)


def test_a_lone_closing_mark(store: Store) -> None:
    events = list(session(store, "I should greet. </think> He bowed.").reply())
    assert streamed(events) == ("He bowed.", "I should greet.")
    message = finished(events)
    assert (message.text, message.thinking) == ("He bowed.", "I should greet.")


def test_a_reply_stopped_while_thinking_keeps_the_thinking(store: Store) -> None:
    one = session(store, "<think>one two three four", "Next.")
    for event in one.reply():
        if isinstance(event, ThinkingAdded):
            one.stop()
    message = one.path()[-1]
    assert (message.text, made(message).finish_reason) == ("", "cancelled")
    assert message.thinking.startswith("one")
    one.say("Well?")
    finished(one.reply())
    assert "one" not in scripted(one).requests[1].prompt.split("### Instruction:")[-1]


def test_a_crash_keeps_thinking_and_text(store: Store) -> None:
    one = session(store, ScriptedReply("<think>so so</think> He bowed and left.", fail_after=4))
    list(one.reply())
    message = one.path()[-1]
    assert (message.text, message.thinking) == ("He bowed", "so so")


def test_impersonating_drops_the_thinking(store: Store) -> None:
    *_, event = session(store, THOUGHT + "I nod.").impersonate()
    assert isinstance(event, ImpersonationFinished)
    assert event.text == "I nod."


def test_continuing_keeps_the_thinking(store: Store) -> None:
    one = session(store, THOUGHT + "He bowed.", " He left.")
    finished(one.reply())
    message = finished(one.continue_reply())
    assert (message.text, message.thinking) == ("He bowed. He left.", "She asked. I greet.")
    assert message.raw == THOUGHT + "He bowed. He left."


def test_a_name_in_a_thought_is_no_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = session(store, ScriptedReply("<think>dialogue:", finish_reason="stop"), " hi</think>He bowed.")
    engine, generate = scripted(one), scripted(one).generate

    def with_stop(*spans: Any, **more: Any) -> Any:
        operation = generate(*spans, **more)
        events = operation._events
        operation._events = (
            event.model_copy(update={"stop": "\nAlex:"})
            if isinstance(event, Done) and event.finish_reason == "stop"
            else event
            for event in events
        )
        return operation

    monkeypatch.setattr(engine, "generate", with_stop)
    message = finished(one.reply())
    assert (message.text, message.thinking) == ("He bowed.", "dialogue:\nAlex: hi")


# A grammar, a minimum length ---------------------------------------------------------------------------


def test_a_grammar_goes_on_in_a_later_stretch(store: Store) -> None:
    one = session(store, "She waited.", " She sat down.", set={"auto_continue": "6"})
    one.sampling = Sampling(grammar="root ::= [A-Za-z .]+")
    assert finished(one.reply()).text == "She waited. She sat down."
    assert [request.grammar_text for request in scripted(one).requests] == ["", "She waited."]
    list(one.continue_reply())
    assert scripted(one).requests[2].grammar_text == "She waited. She sat down."
    before = len(scripted(one).requests)
    list(one.regenerate())
    assert scripted(one).requests[before].grammar_text == ""
    list(one.impersonate())
    assert scripted(one).requests[-1].sampling.grammar == ""


def test_a_grammar_begins_behind_the_thinking(store: Store) -> None:
    one = session(
        store,
        ScriptedReply("I wonder", "length"),
        ScriptedReply(" still.</think>\n\nYes", "length"),
        " she said.",
        set={"think": "on"},
        format=LIBRARY.format("chatml"),
    )
    one.sampling = Sampling(grammar='root ::= "Yes she said."')
    assert finished(one.reply()).text == "Yes she said."
    asked = [(request.grammar_after, request.grammar_text) for request in scripted(one).requests]
    assert asked == [(("</think>",), ""), (("</think>",), ""), ((), "Yes")]


@pytest.mark.parametrize(
    ("format", "breakers"),
    [
        ("alpaca", {"Samuel", "Alex", "### Instruction:", "### Response:", "Alex:"}),
        ("vicuna-1.1", {"Samuel", "Alex", "USER:", "ASSISTANT:", "</s>"}),
        ("chatml", {"Samuel", "Alex", "<|im_start|>", "<|im_end|>", "<|im_start|>user"}),
    ],
)
def test_names_and_markers_break_what_dry_takes_for_repetition(
    store: Store, format: str, breakers: set[str]
) -> None:
    one = session(store, "Yes.", format=LIBRARY.format(format))
    list(one.reply())
    given = scripted(one).requests[0].dry_breakers
    assert breakers <= set(given)
    assert all(text == text.strip() != "" for text in given)


def test_the_minimum_length_is_the_whole_replys(store: Store) -> None:
    one = session(store, "She waited for it.", "She sat.", set={"auto_continue": "6"})
    one.sampling = Sampling(min_tokens=7)
    list(one.reply())
    first, second = (request.sampling.min_tokens for request in scripted(one).requests)
    assert (first, second) == (7, 2)

"""A session: replies with a scripted engine, the tree they make, and what is on the disk at every moment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cards.card import Card, card_from_document
from chat import underway
from chat.checkpoints import Checkpoints
from chat.database import StoreError
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.events import (
    ImpersonationFinished,
    ReadingPrompt,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    SessionEvent,
    TextAdded,
    Waiting,
)
from chat.session import Session
from chat.store import Store
from chat.tree import Message
from presets.format import PromptFormat
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

LIBRARY = PresetLibrary(None)
LIMARP = LIBRARY.format("limarp-v3")
ALEX = Persona("Alex", "Alex draws maps.")


def a_card(**fields: Any) -> Card:
    data = {
        "name": "Samuel",
        "description": "A vampire who likes {{user}}.",
        "personality": "",
        "scenario": "",
        "first_mes": "Good evening, {{user}}.",
        "alternate_greetings": ["{{char}} woke.", "It rained."],
        "mes_example": "",
        **fields,
    }
    return card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data" / "chats.db") as opened:
        yield opened


def session(store: Store, *replies: ScriptedReply | str, **more: Any) -> Session:
    engine = more.pop("engine", None) or ScriptedEngine(
        replies, ready=True, context=more.pop("context", 4096)
    )
    card, format = more.pop("card", None) or a_card(), more.pop("format", LIMARP)
    return Session.begin(store, card, ALEX, format, Sampling(), engine=engine, **more)


def scripted(one: Session) -> ScriptedEngine:
    assert isinstance(one.engine, ScriptedEngine)
    return one.engine


def texts(one: Session) -> list[str]:
    """The path, and that the store holds the same."""
    path = one.path()
    assert one.store.open_chat(one.chat.id).tree.path() == path
    return [message.text for message in path]


def kinds(events: Iterable[SessionEvent]) -> str:
    """The events by name, each run of the same ones once."""
    names = [type(event).__name__ for event in events]
    return " ".join(name for index, name in enumerate(names) if index == 0 or names[index - 1] != name)


def last(events: Iterable[SessionEvent]) -> SessionEvent:
    return list(events)[-1]


def finished(events: Iterable[SessionEvent]) -> Message:
    event = last(events)
    assert isinstance(event, ReplyFinished), event
    return event.message


# Beginning and coming back


def test_the_greetings_are_sibling_roots_with_macros_expanded(store: Store) -> None:
    one = session(store)
    assert texts(one) == ["Good evening, Alex."]
    greeting = one.path()[0]
    assert one.position(greeting.id) == (1, 3)
    assert (greeting.role, greeting.name) == ("char", "Samuel")
    assert not one.wants_reply()
    second = one.swipe(greeting.id, 1)
    assert second is not None
    assert texts(one) == ["Samuel woke."]
    assert one.swipe(second.id, -2) is None
    assert texts(one) == ["Samuel woke."]


def test_a_greeting_keeps_the_text_of_hostile_cards(store: Store) -> None:
    text = "<|im_end|> </s> [/] \x1b]52;c;x\x07 {{ 7*7 }} {% raw %}"
    one = session(store, card=a_card(first_mes=text))
    assert texts(one) == [text]


def test_a_card_without_greetings_waits_for_the_user(store: Store) -> None:
    one = session(store, "He came.", card=a_card(first_mes="", alternate_greetings=[]))
    assert one.path() == []
    assert not one.wants_reply()
    one.say("Anyone?")
    assert one.wants_reply()
    finished(one.reply())
    assert texts(one) == ["Anyone?", "He came."]


def test_a_format_that_begins_with_a_reply_has_no_greeting(store: Store) -> None:
    adventure = LIBRARY.format("metharme-adventure")
    one = session(store, "You stand in a hall.", format=adventure)
    assert (one.path(), one.wants_reply()) == ([], True)
    finished(one.reply())
    assert texts(one) == ["You stand in a hall."]


def test_a_chat_comes_back_at_the_same_sibling_without_its_card(store: Store) -> None:
    one = session(store, "First.", "Second.", card_ref="samuel")
    one.say("Hello")
    first = finished(one.reply())
    finished(one.regenerate())
    one.swipe(one.path()[-1].id, -1)
    prompt, used = one.prompt().text, one.context_used
    one.close()
    again = Session.resume(store, store.chats("samuel")[0].id, LIMARP, Sampling(), engine=one.engine)
    assert texts(again) == ["Good evening, Alex.", "Hello", "First."]
    assert again.position(first.id) == (1, 2)
    assert (again.card.name, again.persona) == ("Samuel", ALEX)
    assert again.prompt().text == prompt
    assert again.last == first.generation
    assert used is not None
    assert again.context_used is not None


def test_chance_and_time_in_a_card_stand_still_all_through_a_chat(store: Store) -> None:
    card = a_card(description="{{random:" + ",".join(map(str, range(1000))) + "}} {{roll:1000}} {{time}}")
    one = session(store, card=card)
    first = one.prompt().text
    one.close()
    again = Session.resume(store, one.chat.id, LIMARP, Sampling())
    assert again.prompt().text == first
    other = session(store, card=card)
    assert other.prompt().text != first
    assert (session(store, card=card, seed=7).chat.dice, session(store, card=card, seed=7).chat.dice) == (
        7,
        7,
    )


# Replies


def test_a_reply_streams_and_is_stored(store: Store) -> None:
    one = session(store, ScriptedReply("He bowed deeply.", finish_reason="stop"))
    user = one.say("Hello")
    assert one.wants_reply()
    events = list(one.reply())
    assert kinds(events) == "ReplyStarted ReadingPrompt TextAdded ReplyFinished"
    started, done = events[0], events[-1]
    assert isinstance(started, ReplyStarted)
    assert isinstance(done, ReplyFinished)
    assert (started.message_id, started.parent_id) == (done.message.id, user.id)
    assert "".join(event.text for event in events if isinstance(event, TextAdded)) == "He bowed deeply."
    assert texts(one) == ["Good evening, Alex.", "Hello", "He bowed deeply."]
    generation = done.message.generation
    assert generation is not None
    assert (generation.model, generation.format) == ("scripted.gguf", "limarp-v3")
    assert (generation.finish_reason, generation.generated_tokens) == ("stop", 3)
    assert generation.sampling == Sampling().model_dump(mode="json")
    assert generation.timings.keys() == {"read", "write", "total"}
    assert one.last == generation
    assert one.context_used == generation.prompt_tokens + 3
    assert not one.replying
    assert not one.wants_reply()


def test_what_the_engine_gets_is_the_prompt(store: Store) -> None:
    one = session(store, max_tokens=77)
    one.sampling = Sampling(tfs_z=0.85)
    one.say("<|im_end|>[/]")
    prompt = one.prompt()
    finished(one.reply())
    request = scripted(one).requests[0]
    assert request.prompt == prompt.text
    assert [(span.text, span.trusted) for span in request.spans] == [
        (segment.text, segment.trusted) for segment in prompt.segments
    ]
    assert (request.stops, request.strip_names) == (prompt.stops, prompt.strip_names)
    assert (request.sampling.tfs_z, request.max_tokens) == (0.85, 77)
    assert [segment.source for segment in prompt.segments if "im_end" in segment.text] == [
        f"message {one.path()[1].id}"
    ]
    assert not any(segment.trusted for segment in prompt.segments if "im_end" in segment.text)


@pytest.mark.parametrize(("method", "banned"), [("format", True), ("sampling", True), ("none", False)])
def test_an_end_token_is_banned_by_format_or_sampling(store: Store, method: str, banned: bool) -> None:
    format = LIBRARY.format("limarp-v1") if method == "format" else LIMARP
    one = session(store, format=format)
    one.sampling = Sampling(ban_eos=method == "sampling")
    finished(one.reply())
    assert scripted(one).requests[0].ban_eos == banned


def test_seeds_differ_unless_given(store: Store) -> None:
    def seeds(**more: Any) -> list[int]:
        one = session(store, **more)
        made = [finished(one.regenerate()).generation for _ in range(4)]
        assert [request.seed for request in scripted(one).requests] == [g.seed for g in made if g]
        return [g.seed for g in made if g]

    first, second = seeds(), seeds()
    assert len({*first, *second}) == 8
    given = seeds(seed=7)
    assert given == seeds(seed=7)
    assert given[0] == 7
    assert len(set(given)) == 4
    assert all(0 <= seed < 2**32 - 1 for seed in (*first, *given, *seeds(seed=-1), *seeds(seed=2**40)))


def test_regenerating_makes_a_sibling_anywhere(store: Store) -> None:
    one = session(store, "r1", "r2", "r3", "r4", "g4")
    one.say("u1")
    first = finished(one.reply())
    one.say("u2")
    finished(one.reply())
    sibling = finished(one.regenerate(first.id))
    assert texts(one) == ["Good evening, Alex.", "u1", "r3"]
    assert one.position(sibling.id) == (2, 2)
    assert "r1" not in scripted(one).requests[-1].prompt
    one.swipe(sibling.id, -1)
    assert texts(one) == ["Good evening, Alex.", "u1", "r1", "u2", "r2"]
    one.delete(one.path()[-1].id)
    finished(one.regenerate())
    assert texts(one)[-2:] == ["u2", "r4"], "after the user's turn it is a reply"
    assert one.position(finished(one.regenerate(one.path()[0].id)).id) == (4, 4)


def test_a_reply_after_the_characters_own_turn_is_one_more_turn(store: Store) -> None:
    one = session(store, "More.")
    finished(one.reply())
    assert texts(one) == ["Good evening, Alex.", "More."]


@pytest.mark.parametrize(
    ("before", "more", "joined"),
    [
        ("He bowed", " and left.", "He bowed and left."),
        ("He bowed.", "\n\nThen he left.", "He bowed.\n\nThen he left."),
        ("He bowed ", " and left.", "He bowed and left."),
        ("He bowed", "ed twice.", "He boweded twice."),
        ("He bowed.\n", "Then he left.", "He bowed.\nThen he left."),
    ],
)
def test_continuing_joins_with_one_space(store: Store, before: str, more: str, joined: str) -> None:
    one = session(store, "x", ScriptedReply(more, finish_reason="length"))
    one.say("Hello")
    reply = one.edit(finished(one.reply()).id, before)
    position = one.position(reply.id)
    events = list(one.continue_reply())
    started, message = events[0], finished(events)
    assert isinstance(started, ReplyStarted)
    shown = started.base_text + "".join(event.text for event in events if isinstance(event, TextAdded))
    assert (shown, message.text) == (joined, joined)
    assert (message.continues, message.parent_id) == (reply.id, reply.parent_id)
    assert one.position(message.id) == position, "in the place of the shorter one"
    assert texts(one) == ["Good evening, Alex.", "Hello", joined]
    assert one.tree[reply.id].text == before
    request = scripted(one).requests[-1]
    assert request.keep_leading_space
    assert request.prompt.endswith(before.rstrip(" "))


def test_there_must_be_something_to_continue(store: Store) -> None:
    one = session(store)
    one.say("Hello")
    event = last(one.continue_reply())
    assert isinstance(event, ReplyFailed)
    assert "nothing to continue" in event.error
    assert texts(one) == ["Good evening, Alex.", "Hello"]


def test_impersonating_stores_nothing(store: Store) -> None:
    one = session(store, "I drew a map.")
    before = store.open_chat(one.chat.id).tree.messages()
    events = list(one.impersonate())
    assert kinds(events) == "ReplyStarted ReadingPrompt TextAdded ImpersonationFinished"
    assert events[-1] == ImpersonationFinished("I drew a map.", "eos")
    assert scripted(one).requests[0].prompt.endswith("Alex:")
    assert store.open_chat(one.chat.id).tree.messages() == before
    assert store._connection.execute("SELECT count(*) FROM drafts").fetchone() == (0,)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_message_is_refused(store: Store, text: str) -> None:
    one = session(store)
    with pytest.raises(ValueError, match="empty"):
        one.say(text)
    with pytest.raises(ValueError, match="empty"):
        one.edit(one.path()[0].id, text)
    assert texts(one) == ["Good evening, Alex."]


def test_edit_delete_and_undo(store: Store) -> None:
    one = session(store, "r1", "r2")
    user = one.say("u1")
    finished(one.reply())
    edited = one.edit(user.id, "u1 mended")
    assert texts(one) == ["Good evening, Alex.", "u1 mended"]
    assert one.edit(edited.id, "u1 mended") == edited
    assert one.position(edited.id) == (2, 2)
    finished(one.reply())
    one.delete(edited.id)
    assert texts(one) == ["Good evening, Alex.", "u1", "r1"]
    one.delete(edited.id)
    one.delete(user.id)
    assert texts(one) == ["Good evening, Alex."]
    assert one.undo() == user
    assert texts(one) == ["Good evening, Alex.", "u1", "r1"]
    assert one.undo() == edited
    assert texts(one) == ["Good evening, Alex.", "u1 mended", "r2"]
    assert one.undo() is None


def test_names_and_hidden_messages(store: Store) -> None:
    card = a_card(nickname="Sam")
    one = session(store, "r", card=card)
    one.say("u")
    reply = finished(one.reply())
    assert [message.name for message in one.path()] == [card.call_name, "Alex", card.call_name]
    hidden = Message("h", one.chat.id, reply.id, "user", "Alex", "unseen", True, reply.created)
    store.add_message(hidden)
    one.tree.add(hidden)
    assert "unseen" not in one.prompt().text


def test_a_book_that_throws_dice_does_not_move_those_of_the_card(store: Store) -> None:
    entry = {"keys": ["castle"], "content": "{{roll:1000}} towers.", "enabled": True, "insertion_order": 1}
    card = a_card(
        description="{{random:" + ",".join(f"d{number}" for number in range(1000)) + "}}",
        character_book={"name": "Places", "entries": [entry], "extensions": {}},
    )
    one = session(store, card=card)

    def description() -> list[str]:
        return re.findall(r"\bd\d+\b", one.prompt().text)

    before = description()
    one.say("Show me the castle.")
    assert "towers" in one.prompt().text
    assert description() == before
    assert one.prompt() == one.prompt()


def test_options_of_another_format_are_passed_over(store: Store) -> None:
    one = session(store, options={"length": "long"})
    one.format = LIBRARY.format("metharme")
    assert one.prompt().text


def test_a_choice_is_kept_with_the_chat(store: Store) -> None:
    one = session(store, options={"length": "long"})
    assert one.options == {"length": "long"}
    one.choose(options={"length": "huge", "nonsense": "x"}, sampling=Sampling(tfs_z=0.5), title=" My\nchat ")
    assert one.chat.options == {"length": "huge"}
    one.choose(format=LIBRARY.format("metharme"))
    assert (one.format.id, one.options) == ("metharme", {})
    kept = store.open_chat(one.chat.id).chat
    assert (kept.format, kept.title, kept.options) == ("metharme", "My chat", {})
    assert kept.sampling is not None
    assert kept.sampling["tfs_z"] == 0.5


# The context


def test_a_long_chat_slides_and_never_dies(store: Store) -> None:
    one = session(store, context=600, max_tokens=100)
    for number in range(30):
        one.say(f"u{number} " + "word " * 30)
        finished(one.reply())
        assert one.context_used is not None
        assert one.context_used <= 600
    assert one.chat.window.first_turn
    assert store.open_chat(one.chat.id).chat.window == one.chat.window
    assert len(one.path()) == 61
    assert "u0 word" not in scripted(one).requests[-1].prompt


def test_a_turn_that_cannot_fit_is_refused_with_the_reason(store: Store) -> None:
    one = session(store, context=600, max_tokens=100)
    one.say("word " * 2000)
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert re.search(r"needs \d+ tokens and 500 fit", event.error)
    assert "\n" not in event.error
    assert event.partial is None


def test_a_small_context_is_halved_for_the_reply(store: Store) -> None:
    one = session(store, context=500)
    assert (one.max_tokens, one.reply_tokens) == (400, 250)
    finished(one.reply())
    assert scripted(one).requests[0].max_tokens == 250


def test_a_prompt_is_counted_once(store: Store) -> None:
    one = session(store)
    one.prompt()
    asked = len(scripted(one).counted)
    one.prompt()
    assert len(scripted(one).counted) == asked
    one.say("Hello")
    one.prompt()
    assert len(scripted(one).counted) > asked


def test_without_a_model_the_prompt_is_whole_and_uncounted(store: Store) -> None:
    one = session(store)
    one.engine = None
    assert one.prompt().tokens is None


def test_the_cards_lorebook_is_active(store: Store) -> None:
    entries = [
        {
            "keys": ["castle"],
            "content": "The castle of {{user}} is old.",
            "enabled": True,
            "insertion_order": 1,
        },
        {"keys": ["moon"], "content": "The moon is red.", "enabled": True, "insertion_order": 2},
    ]
    one = session(store, card=a_card(character_book={"name": "Places", "entries": entries, "extensions": {}}))
    assert "castle of Alex" not in one.prompt().text
    one.say("Show me the castle.")
    prompt = one.prompt()
    assert "The castle of Alex is old." in prompt.text
    assert "moon is red" not in prompt.text
    assert any(segment.source.startswith("lore Places/") for segment in prompt.segments)


# Stopping, and what breaks


def drive(one: Session, events: Iterator[SessionEvent], until: int) -> list[SessionEvent]:
    """Events up to the text's piece number `until`."""
    seen = []
    for event in events:
        seen.append(event)
        if sum(isinstance(one, TextAdded) for one in seen) == until:
            break
    return seen


def test_stop_keeps_what_was_written(store: Store) -> None:
    one = session(store, ScriptedReply("one two three four", hold_after=2))
    one.say("Hello")
    events = one.reply()
    drive(one, events, 2)
    assert one.replying
    threading.Timer(0.05, one.stop).start()
    message = finished(events)
    assert message.text == "one two"
    assert message.generation is not None
    assert message.generation.finish_reason == "cancelled"
    assert texts(one)[-1] == "one two"


def test_stop_before_the_first_word_stores_nothing(store: Store) -> None:
    one = session(store, ScriptedReply("one two", hold_after=0))
    one.say("Hello")
    events = one.reply()
    assert isinstance(next(events), ReplyStarted)
    assert isinstance(next(events), ReadingPrompt)
    one.stop()
    event = last(events)
    assert isinstance(event, ReplyEmpty)
    assert event.cancelled
    assert texts(one) == ["Good evening, Alex.", "Hello"]
    assert one.wants_reply()
    early = one.reply()
    one.stop()
    assert isinstance(last(early), ReplyEmpty), "a stop that comes before the first step counts"
    assert len(scripted(one).requests) == 1


def test_a_model_that_says_nothing_stores_nothing(store: Store) -> None:
    one = session(store, ScriptedReply(""), ScriptedReply(""))
    one.say("Hello")
    event = last(one.reply())
    assert isinstance(event, ReplyEmpty)
    assert not event.cancelled
    one.edit(one.path()[0].id, "Once more")
    assert isinstance(last(one.continue_reply()), ReplyEmpty)
    assert texts(one) == ["Once more"]


def test_a_worker_that_dies_leaves_the_partial_and_retry_makes_a_sibling(store: Store) -> None:
    one = session(store, ScriptedReply("one two three", fail_after=2), "whole")
    one.say("Hello")
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert event.partial is not None
    assert "signal 9" in event.error
    assert "\n" not in event.error
    assert texts(one)[-1] == "one two"
    generation = one.path()[-1].generation
    assert generation is not None
    assert (generation.finish_reason, generation.model) == ("interrupted", "scripted.gguf")
    events = list(one.retry())
    assert kinds(events) == "Waiting ReplyStarted ReadingPrompt TextAdded ReplyFinished"
    assert texts(one) == ["Good evening, Alex.", "Hello", "whole"]
    assert one.position(one.path()[-1].id) == (2, 2)


def test_a_worker_that_dies_before_the_first_word_leaves_nothing(store: Store) -> None:
    one = session(store, ScriptedReply("one", fail_after=0), "whole")
    one.say("Hello")
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert event.partial is None
    assert texts(one) == ["Good evening, Alex.", "Hello"]
    finished(one.retry())
    assert texts(one)[-1] == "whole"


def test_a_continued_reply_that_breaks_goes_on_from_the_break(store: Store) -> None:
    one = session(store, "He bowed", ScriptedReply(" and left the room", fail_after=2), " room.")
    one.say("Hello")
    finished(one.reply())
    event = last(one.continue_reply())
    assert isinstance(event, ReplyFailed)
    assert texts(one)[-1] == "He bowed and left"
    finished(one.retry())
    assert texts(one)[-1] == "He bowed and left room."
    assert one.position(one.path()[-1].id) == (1, 1)


def test_a_worker_that_died_between_turns_is_started_again(store: Store) -> None:
    one = session(store, "r1", "r2")
    finished(one.reply())
    scripted(one).die()
    events = list(one.reply())
    assert events[0] == Waiting("the model is starting again")
    assert finished(events).text == "r2"


def test_a_message_sent_early_is_answered_when_the_model_is_ready(store: Store) -> None:
    engine = ScriptedEngine(["r"], load_hold=True)
    engine.start()
    one = session(store, engine=engine)
    operation = engine.load(Path("model.gguf"))
    loading = threading.Thread(target=operation.wait)
    loading.start()
    one.say("Hello")
    events = one.reply()
    assert next(events) == Waiting("the model is loading")
    engine.go_load.set()
    assert finished(events).text == "r"
    loading.join()


def test_the_wait_for_a_model_can_be_stopped_and_can_fail(store: Store) -> None:
    engine = ScriptedEngine(["r"])
    engine.start()
    one = session(store, engine=engine)
    one.say("Hello")
    events = one.reply()
    assert next(events) == Waiting("the model is loading")
    one.stop()
    assert isinstance(last(events), ReplyEmpty)
    events = one.reply()
    next(events)
    one.model_problem = "model.gguf is truncated: fetch it again."
    assert last(events) == ReplyFailed(one._reply.message_id, one.model_problem, None)  # type: ignore[union-attr]
    one.engine = None
    one.model_problem = ""
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert "no model" in event.error


def test_a_worker_that_never_came_up_does_not_hang(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underway, "LOADING_GRACE", 0.1)
    engine = ScriptedEngine(["r"], load_error="model.gguf: unknown architecture.")
    one = session(store, engine=engine)
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert event.error == "model.gguf: unknown architecture."


def test_one_reply_at_a_time(store: Store) -> None:
    one = session(store, ScriptedReply("one two", hold_after=1), "other")
    events = one.reply()
    drive(one, events, 1)
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert "stop it first" in event.error
    scripted(one).go.set()
    assert finished(events).text == "one two"


def test_a_reply_lands_where_it_began_when_the_user_has_moved_on(store: Store) -> None:
    one = session(store, ScriptedReply("one two", hold_after=1))
    user = one.say("Hello")
    events = one.reply()
    drive(one, events, 1)
    elsewhere = one.edit(user.id, "Goodbye")
    scripted(one).go.set()
    message = finished(events)
    assert texts(one) == ["Good evening, Alex.", "Goodbye"]
    one.swipe(elsewhere.id, -1)
    assert texts(one) == ["Good evening, Alex.", "Hello", "one two"]
    assert message.parent_id == user.id


def test_a_reply_whose_branch_was_deleted_comes_back_with_undo(store: Store) -> None:
    one = session(store, ScriptedReply("one two", hold_after=1))
    user = one.say("Hello")
    events = one.reply()
    drive(one, events, 1)
    one.delete(user.id)
    scripted(one).go.set()
    finished(events)
    assert texts(one) == ["Good evening, Alex."]
    one.undo()
    assert one.tree.leaf_below(user.id) == one.tree.children(user.id)[0].id


def test_a_listener_that_goes_away_stops_the_model_and_keeps_its_words(store: Store) -> None:
    one = session(store, ScriptedReply("one two three", hold_after=2))
    events = one.reply()
    drive(one, events, 2)
    events.close()  # type: ignore[attr-defined]
    assert not one.replying
    assert texts(one)[-1] == "one two"


def test_ctrl_c_in_mid_reply_keeps_the_words(store: Store) -> None:
    one = session(store, ScriptedReply("one two three", hold_after=2))
    events = one.reply()
    drive(one, events, 2)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert texts(one)[-1] == "one two"
    generation = one.path()[-1].generation
    assert generation is not None
    assert generation.finish_reason == "cancelled"
    assert draft(store) is None


def test_closing_in_mid_reply_keeps_the_words(store: Store) -> None:
    one = session(store, ScriptedReply("one two three", hold_after=2))
    events = one.reply()
    drive(one, events, 2)
    rest = threading.Thread(target=lambda: list(events))
    rest.start()
    one.close()
    rest.join()
    assert texts(one)[-1] == "one two"
    assert store.claim(one.chat.id)


def test_a_full_disk_keeps_the_reply_until_it_can_be_stored(store: Store) -> None:
    one = session(store, "word " * 4000 + "end", "next")
    one.say("Hello")
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    one.max_tokens = 10_000
    scripted(one).loaded = scripted(one).loaded.model_copy(update={"context": 30_000})  # type: ignore[union-attr]
    event = last(one.reply())
    assert isinstance(event, ReplyFailed)
    assert "disk is full" in event.error
    assert event.partial is not None
    assert one.path()[-1].text.endswith("end"), "still on the screen"
    assert isinstance(last(one.retry()), ReplyFailed)
    with pytest.raises(StoreError):
        one.say("More")
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert finished(one.retry()) == event.partial
    one.say("More")
    assert texts(one)[-1] == "More"


def test_two_sessions_on_one_chat_are_told_and_both_keep_their_words(store: Store, tmp_path: Path) -> None:
    one = session(store, "from one")
    with Store(tmp_path / "data" / "chats.db") as second_store:
        two = Session.resume(
            second_store, one.chat.id, LIMARP, Sampling(), engine=ScriptedEngine(["from two"], ready=True)
        )
        assert one.notices == []
        assert "open in another program" in two.notices[0]
        finished(one.reply())
        finished(two.reply())
        two.close()
    tree = store.open_chat(one.chat.id).tree
    assert tree.path()[-1].text == "from two", "the newest head counts"
    assert [message.text for message in tree.children(one.path()[0].id)] == ["from one", "from two"]


# Checkpoints


def draft(store: Store) -> str | None:
    row = store._connection.execute("SELECT text FROM drafts").fetchone()
    return row[0] if row else None


def test_the_first_words_are_on_the_disk_before_they_are_shown(store: Store) -> None:
    one = session(store, "one two three")
    events = one.reply()
    for event in events:
        if isinstance(event, TextAdded):
            assert draft(store) == "one"
            break
    list(events)
    assert draft(store) is None


def test_a_model_that_stalls_has_its_last_words_on_the_disk_within_a_second(store: Store) -> None:
    one = session(store, ScriptedReply("one two three", hold_after=2))
    events = one.reply()
    drive(one, events, 2)
    assert draft(store) == "one"
    deadline = time.monotonic() + 1
    while draft(store) != "one two" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert draft(store) == "one two"
    scripted(one).go.set()
    list(events)


def test_checkpoints_are_not_written_for_every_word() -> None:
    saved: list[str] = []
    checkpoints = Checkpoints(saved.append, interval=0.2)
    started = time.monotonic()
    for number in range(300):
        checkpoints.update("x" * (number + 1))
        time.sleep(0.001)
    elapsed = time.monotonic() - started
    assert saved[0] == "x"
    assert len(saved) <= elapsed / 0.2 + 2
    checkpoints.flush()
    assert saved[-1] == "x" * 300
    checkpoints.end()
    checkpoints.update("later")
    checkpoints.flush()
    assert saved[-1] == "x" * 300


CHATTER = """
import sys
from pathlib import Path
from cards.card import card_from_document
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.events import TextAdded
from chat.session import Session
from chat.store import Store
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona
words = " ".join(str(number) for number in range(100000))
engine = ScriptedEngine([ScriptedReply(words, delay=0.005)], ready=True, context=1000000)
card = card_from_document({"name": "Samuel", "description": "", "first_mes": "Good evening."})[0]
store = Store(Path(sys.argv[1]))
format = PresetLibrary(None).format("limarp-v3")
session = Session.begin(store, card, Persona(), format, Sampling(), engine=engine, max_tokens=100000)
session.say("Hello")
for event in session.reply():
    if isinstance(event, TextAdded):
        print(event.text, end="", flush=True)
"""


def test_a_kill_in_mid_reply_loses_at_most_the_last_second(tmp_path: Path) -> None:
    path = tmp_path / "data" / "chats.db"
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", CHATTER, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    shown, times = b"", []
    while not times or time.monotonic() - times[0][0] < 1.7:
        shown += os.read(process.stdout.fileno(), 65536)
        times.append((time.monotonic(), len(shown)))
    killed = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    safe = max(length for moment, length in times if moment <= killed - 1)
    with Store(path) as store:
        chat = store.chats()[0]
        one = Session.resume(store, chat.id, LIMARP, Sampling())
        assert "cut off" in one.notices[0]
        assert store.notices == []
        greeting, user, reply = one.path()
        assert (greeting.text, user.text) == ("Good evening.", "Hello")
        assert reply.text.encode().startswith(shown[:safe]), "all but the last second"
        assert len(shown[:safe]) > 100
        assert reply.generation is not None
        assert reply.generation.finish_reason == "interrupted"
        one.close()


def test_no_word_of_a_chat_goes_into_a_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    one = session(store, ScriptedReply("sesame opens", fail_after=1))
    one.say("sesame")
    list(one.reply())
    assert "sesame" not in caplog.text


def test_formats_all_make_replies(store: Store) -> None:
    def check(format: PromptFormat) -> None:
        one = session(store, "Yes.", format=format)
        one.say("Hello")
        assert finished(one.reply()).text == "Yes."

    for format in LIBRARY.formats():
        check(format)

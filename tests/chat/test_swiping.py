"""Several replies to one turn at once: the messages that they become, whatever happens on the way."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cards.card import card_from_document
from chat.database import StoreError
from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.events import (
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    ReplyWritten,
    SessionEvent,
    TextAdded,
    TextWasThinking,
    ThinkingAdded,
)
from chat.session import Session
from chat.store import Store
from chat.swiping import MOST
from presets.library import PresetLibrary
from presets.sampling import Sampling
from presets.values import Persona

FORMAT = PresetLibrary(None).format("limarp-v3")
CARD = {"name": "Samuel", "description": "A vampire.", "first_mes": "Good evening.", "mes_example": ""}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "chats.db") as opened:
        yield opened


def asked(store: Store, *replies: ScriptedReply | str, **more: Any) -> Session:
    """A chat in which the user has just said something."""
    engine = ScriptedEngine(replies, ready=True)
    card = card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": CARD})[0]
    one = Session.begin(store, card, Persona("Alex"), FORMAT, Sampling(), engine=engine, **more)
    one.say("Who is there?")
    return one


def scripted(one: Session) -> ScriptedEngine:
    assert isinstance(one.engine, ScriptedEngine)
    return one.engine


def beside(one: Session) -> list[str]:
    """The replies to the turn, as session and store have them."""
    parent = one.path()[1].id
    stored = one.store.open_chat(one.chat.id).tree
    assert [message.text for message in stored.children(parent)] == [
        message.text for message in one.tree.children(parent)
    ]
    assert stored.head == one.tree.head
    return [message.text for message in one.tree.children(parent)]


def streamed(events: Iterable[SessionEvent]) -> dict[str, str]:
    """What was shown of each, by its id."""
    shown: dict[str, str] = defaultdict(str)
    for event in events:
        if isinstance(event, TextAdded):
            shown[event.message_id] += event.text
    return shown


def test_each_reply_is_a_message_beside_the_others(store: Store) -> None:
    texts = ["He came.", "He did not come at all.", "Rain fell."]
    one = asked(store, *texts)
    events = list(one.swipes(3))
    ids = [event.message_id for event in events if isinstance(event, ReplyStarted)]
    assert list(streamed(events).items()) == list(zip(ids, texts, strict=True))
    first = [event.message_id for event in events if isinstance(event, TextAdded)][:6]
    assert first == ids * 2  # side by side, not one after the other
    assert sum(isinstance(event, ReplyWritten) for event in events) == 3
    assert [event.message.id for event in events if isinstance(event, ReplyFinished)] == ids
    assert beside(one) == texts
    assert one.path()[-1].text == "He came."
    assert not one.replying
    made = [one.tree[id_].generation for id_ in ids]
    assert len({generation.seed for generation in made if generation}) == 3
    assert len(scripted(one).requests) == 1
    assert scripted(one).requests[0].seeds == tuple(generation.seed for generation in made if generation)


def test_more_stand_beside_the_reply_that_is_there(store: Store) -> None:
    one = asked(store, "First.", "Second.", "Third.")
    list(one.reply())
    list(one.swipes(2))
    assert beside(one) == ["First.", "Second.", "Third."]
    assert one.path()[-1].text == "Second."
    assert scripted(one).requests[-1].siblings == ("First.",)


def test_a_reply_made_anew_is_told_how_the_others_begin(store: Store) -> None:
    one = asked(store, "a" * 300, "Second.", "Third.")
    for _ in range(3):
        list(one.regenerate())
    assert [request.siblings for request in scripted(one).requests] == [
        (),
        ("a" * 200,),
        ("a" * 200, "Second."),
    ]
    list(one.continue_reply())
    assert scripted(one).requests[-1].siblings == ()


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_a_count_that_cannot_be_had(store: Store, count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {MOST}"):
        asked(store).swipes(count)


def test_one_that_breaks_off_takes_no_other_along(store: Store) -> None:
    one = asked(store, ScriptedReply("Cut", error="No usable probabilities."), "Whole.", "")
    events = list(one.swipes(3))
    failed = [event for event in events if isinstance(event, ReplyFailed)]
    assert [(event.error, event.partial.text if event.partial else "") for event in failed] == [
        ("No usable probabilities.", "Cut")
    ]
    assert [event.message.text for event in events if isinstance(event, ReplyFinished)] == ["Whole."]
    assert [event.why for event in events if isinstance(event, ReplyEmpty)] == [
        "the model had nothing to say"
    ]
    assert beside(one) == ["Cut", "Whole."]
    broken, whole = one.tree.children(one.path()[1].id)
    assert broken.generation is not None
    assert whole.generation is not None
    assert (broken.generation.finish_reason, whole.generation.finish_reason) == ("interrupted", "eos")


def test_a_dead_worker_leaves_what_each_has_written(store: Store) -> None:
    one = asked(store, "one two three", ScriptedReply("four five six", fail_after=2))
    events = list(one.swipes(2))
    failed = [event for event in events if isinstance(event, ReplyFailed)]
    assert [event.partial.text for event in failed if event.partial] == ["one two three", "four five"]
    assert beside(one) == ["one two three", "four five"]
    assert all("SIGKILL" in event.error for event in failed)


def test_so_many_that_do_not_fit_are_refused_and_nothing_is_stored(store: Store) -> None:
    one = asked(store)
    scripted(one).swipes_error = "4 replies at once do not fit: 2 fit."
    *_, last = one.swipes(4)
    assert last == ReplyFailed(None, "4 replies at once do not fit: 2 fit.", None, refused=True)
    assert beside(one) == []
    scripted(one).swipes_error = ""
    scripted(one).replies = [ScriptedReply("One."), ScriptedReply("Two.")]
    list(one.swipes(2))
    assert beside(one) == ["One.", "Two."]


HELD = (
    ScriptedReply("one two three four", hold_after=2),
    ScriptedReply("five six seven eight", hold_after=2),
    ScriptedReply("nine ten eleven twelve", hold_after=2),
)


def test_a_stop_keeps_what_each_has(store: Store) -> None:
    one = asked(store, *HELD)
    events: list[SessionEvent] = []
    iterator = one.swipes(3)
    for event in iterator:
        events.append(event)
        if sum(isinstance(seen, TextAdded) for seen in events) == 6:
            one.stop()
            break
    events += iterator
    assert beside(one) == ["one two", "five six", "nine ten"]
    made = [event.message.generation for event in events if isinstance(event, ReplyFinished)]
    assert [generation.finish_reason for generation in made if generation] == ["cancelled"] * 3
    assert one.path()[-1].text == "one two"


def test_the_chosen_one_goes_on_and_ends_the_path(store: Store) -> None:
    one = asked(store, *HELD)
    iterator = one.swipes(3)
    ids: list[str] = []
    pieces = 0
    for event in iterator:
        if isinstance(event, ReplyStarted):
            ids.append(event.message_id)
        pieces += isinstance(event, TextAdded)
        if pieces == 6:
            one.choose_swipe(ids[1])
            scripted(one).go.set()
            break
    list(iterator)
    assert beside(one) == ["one two", "five six seven eight", "nine ten"]
    assert one.path()[-1].text == "five six seven eight"
    assert one.last == one.path()[-1].generation


def test_when_all_are_whole_another_can_be_gone_to(store: Store) -> None:
    one = asked(store, "One.", "Two.")
    ids = [event.message.id for event in one.swipes(2) if isinstance(event, ReplyFinished)]
    one.choose_swipe(ids[1])
    assert one.path()[-1].text == "Two."
    assert one.store.open_chat(one.chat.id).tree.head == ids[1]


def test_whoever_stops_listening_keeps_the_words(store: Store) -> None:
    one = asked(store, *HELD[:2])
    iterator = one.swipes(2)
    for count, _event in enumerate(event for event in iterator if isinstance(event, TextAdded)):
        if count == 3:
            break
    iterator.close()  # type: ignore[attr-defined]
    assert beside(one) == ["one two", "five six"]
    assert not one.replying


def test_thinking_is_folded_in_each_and_a_length_goes_for_each(store: Store) -> None:
    one = asked(
        store,
        "<think>He is at the door.</think>Come in.",
        "I wonder who it is.</think>Go away, whoever you are.",
        max_tokens=12,
    )
    events = list(one.swipes(2))
    assert any(isinstance(event, ThinkingAdded) for event in events)
    assert any(isinstance(event, TextWasThinking) for event in events)
    assert beside(one) == ["Come in.", "Go away, whoever you are."]
    thoughts = [message.thinking for message in one.tree.children(one.path()[1].id)]
    assert thoughts == ["He is at the door.", "I wonder who it is."]


def test_a_reply_that_goes_on_by_itself_does_so_when_the_others_are_over(store: Store) -> None:
    one = asked(store, "It was short.", "It went on for a while.", " And on.", " To its end.")
    one.options = {"auto_continue": "20"}
    list(one.swipes(2))
    first, second = beside(one)
    assert first.startswith("It was short. And on. To its end.")
    assert second.startswith("It went on for a while.")
    together, *alone = scripted(one).requests
    assert len(together.seeds) == 2
    assert alone
    assert not any(request.seeds for request in alone)


def test_the_users_own_sentence_ends_one_and_not_the_others(store: Store) -> None:
    one = asked(store, "He bowed. Alex ran away. Nobody came.", "He bowed. He sat down. He read a book.")
    one.options = {"speaking_for_user": "stop"}
    events = list(one.swipes(2))
    made = [event.message for event in events if isinstance(event, ReplyFinished)]
    assert [message.text for message in made] == ["He bowed.", "He bowed. He sat down. He read a book."]
    assert [message.generation.ended_by for message in made if message.generation] == [
        "speaking_for_user",
        "",
    ]


def test_what_is_written_is_on_the_disk_while_it_is(store: Store, tmp_path: Path) -> None:
    one = asked(store, *HELD)
    iterator = one.swipes(3)
    pieces = 0
    for event in iterator:
        pieces += isinstance(event, TextAdded)
        if pieces == 6:
            break
    one._reply.save_now()  # type: ignore[union-attr]
    with sqlite3.connect(tmp_path / "chats.db") as look:
        drafts = {text for (text,) in look.execute("SELECT text FROM drafts")}
    assert drafts == {"one two", "five six", "nine ten"}
    scripted(one).go.set()
    list(iterator)
    with sqlite3.connect(tmp_path / "chats.db") as look:
        assert look.execute("SELECT count(*) FROM drafts").fetchone() == (0,)


def test_a_full_disk_keeps_them_in_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = asked(store, "One.", "Two.")

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "add_message", refuse)
    events = list(one.swipes(2))
    failed = [event for event in events if isinstance(event, ReplyFailed)]
    assert len(failed) == 2
    assert all("disk is full" in event.error for event in failed)
    assert [message.text for message in one.tree.children(one.path()[1].id)] == ["One.", "Two."]
    monkeypatch.undo()
    list(one.retry())
    assert beside(one) == ["One.", "Two."]

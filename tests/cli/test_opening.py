"""From a Launch to an open chat: which card, chat, persona, format and sampling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.engine.scripted import ScriptedEngine
from chat.launch import Launch
from chat.opening import Opening, OpeningError
from chat.settings import Folders, Settings
from presets.values import Persona

WriteCard = Callable[..., Path]


def first_chat(launch: Launch) -> str:
    """Open a chat, say something in it, leave it."""
    session = Opening(launch).session()
    session.say("Good evening.")
    session.close()
    return session.chat.id


def test_with_nothing_said_samuel_opens_and_a_first_start_asks_who_you_are() -> None:
    opening = Opening(Launch())
    assert opening.persona_needed
    session = opening.session()
    assert session.card.name == "Samuel"
    assert session.persona == Persona()
    assert session.format.id == "chatml"
    assert [message.role for message in session.path()] == ["char"]


@pytest.mark.parametrize("ref", ["samuel.png", "samuel", "Samuel", "SAMUEL"])
def test_every_way_to_name_a_card_finds_its_last_chat(ref: str) -> None:
    chat = first_chat(Launch(card="samuel"))
    opening = Opening(Launch(card=ref))
    assert opening.card_ref == "samuel"
    session = opening.session()
    assert session.chat.id == chat
    assert len(session.path()) == 2


def test_a_card_opens_its_last_chat_and_new_a_new_one(card_file: WriteCard) -> None:
    vesna, mira = card_file("Vesna"), card_file("Mira")
    first, second, other = (first_chat(Launch(card=str(card), new=True)) for card in (vesna, vesna, mira))
    assert Opening(Launch(card=str(vesna))).session().chat.id == second
    assert Opening(Launch()).session().chat.id == other
    assert Opening(Launch(chat=first)).session().card.name == "Vesna"
    assert Opening(Launch(card=str(vesna), new=True)).session().chat.id not in (first, second, other)
    with pytest.raises(OpeningError, match="0000"):
        Opening(Launch(chat="0000")).session()


def test_a_chat_whose_card_has_gone_opens_from_its_copy(card_file: WriteCard) -> None:
    path = card_file("Vesna")
    chat = first_chat(Launch(card=str(path)))
    path.unlink()
    opening = Opening(Launch(chat=chat))
    assert opening.session().card.name == "Vesna"
    assert any("its copy in the chat is used" in notice for notice in opening.notices)
    with pytest.raises(OpeningError, match="no such file"):
        Opening(Launch(card=str(path))).session()


def test_an_edited_card_takes_effect_in_its_chats(card_file: WriteCard) -> None:
    path = card_file("Vesna")
    chat = first_chat(Launch(card=str(path)))
    document = json.loads(path.read_text())
    document["data"]["description"] = "She is a lighthouse."
    path.write_text(json.dumps(document))
    assert Opening(Launch(chat=chat)).session().card.description == "She is a lighthouse."


def test_the_chat_keeps_its_persona_until_another_is_asked_for(card_file: WriteCard) -> None:
    settings = Settings(Folders.find())
    settings.save_persona(Persona("Alex", "A sailor."), default=True)
    settings.save_persona(Persona("Kim", "A pilot."))
    card = str(card_file())
    first_chat(Launch(card=card))
    settings.save_persona(Persona("Kim", "A pilot."), default=True)
    assert not Opening(Launch()).persona_needed
    assert Opening(Launch(card=card)).session().persona.name == "Alex"
    assert Opening(Launch(card=card, persona="KIM")).session().persona == Persona("Kim", "A pilot.")
    assert Opening(Launch(card=card, user="Jo")).session().persona == Persona("Jo", "")
    described = Opening(Launch(card=card, new=True, user_persona="Tall.")).session().persona
    assert described == Persona("Kim", "Tall.")
    with pytest.raises(OpeningError, match="nobody"):
        Opening(Launch(card=card, persona="nobody")).session()


def test_a_format_brings_its_sampling_and_set_changes_both() -> None:
    opening = Opening(Launch(format="limarp-v1", settings=("temperature=0.5", "length=long")))
    sampling, options = opening.sampling()
    assert (sampling.temperature, sampling.tfs_z, sampling.ban_eos) == (0.5, 0.85, True)
    assert options == {"length": "long"}
    plain, _ = Opening(Launch(format="limarp-v1", sampling="neutral")).sampling()
    assert plain.tfs_z == 1.0


def test_what_a_chat_keeps_outranks_the_model_and_an_option_outranks_the_chat(card_file: WriteCard) -> None:
    card = str(card_file())
    opening = Opening(Launch(card=card))
    session = opening.session()
    chosen = opening.presets.sampling("metharme").sampling
    session.choose(format=opening.presets.format("metharme"), sampling=chosen)
    session.close()
    again = Opening(Launch(card=card)).session()
    assert (again.format.id, again.sampling) == ("metharme", chosen)
    assert Opening(Launch(card=card, format="alpaca")).session().format.id == "alpaca"


@pytest.mark.parametrize(
    ("launch", "usage"),
    [
        (Launch(format="limarp-v9"), True),
        (Launch(sampling="limarp-v9"), True),
        (Launch(settings=("nonsense=1",)), True),
        (Launch(card="nobody-at-all"), False),
        (Launch(model="no-such-model"), False),
        (Launch(persona="nobody"), False),
    ],
)
def test_what_cannot_be_found_is_one_line(launch: Launch, usage: bool) -> None:
    with pytest.raises(OpeningError, match=r"\S"):
        Opening(launch).check()
    with pytest.raises(OpeningError) as caught:
        Opening(launch).session()
    assert caught.value.usage is usage
    assert "\n" not in str(caught.value)


def test_another_chat_shares_store_presets_and_model(card_file: WriteCard) -> None:
    opening = Opening(Launch(card=str(card_file("Vesna")), format="alpaca", seed=4))
    first = opening.session()
    other = opening.another(card=str(card_file("Mira")), new=True)
    assert (other.store, other.presets, other.model) == (opening.store, opening.presets, opening.model)
    session = other.session()
    assert (session.card.name, session.format.id) == ("Mira", "alpaca")
    assert session.chat.id != first.chat.id
    assert opening.another(chat=first.chat.id).session().card.name == "Vesna"


def test_a_model_that_has_loaded_is_the_next_ones_and_the_demo_is_not(
    tmp_path: Path, tiny_model: Callable[..., Path]
) -> None:
    own = tiny_model(tmp_path / "own.gguf")
    for launch, expected in ((Launch(), None), (Launch(model=str(own), ctx=512, gpu_layers="0"), own)):
        opening, engine = Opening(launch), ScriptedEngine()
        loading = opening.load(engine)
        assert loading is not None
        assert opening.settings.last_model is None
        loading.wait()
        assert Settings(Folders.find()).last_model == expected
    assert engine.loads == [own]
    assert engine.context == 512


def test_a_model_that_fails_to_load_is_not_remembered(
    tmp_path: Path, tiny_model: Callable[..., Path]
) -> None:
    opening = Opening(Launch(model=str(tiny_model(tmp_path / "own.gguf"))))
    loading = opening.load(ScriptedEngine(load_error="it is broken"))
    assert loading is not None
    with pytest.raises(Exception, match="it is broken"):
        list(loading)
    assert Settings(Folders.find()).last_model is None

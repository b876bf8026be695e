"""Every sampling preset with a real model: twenty seeds, and each reply is a reply."""

from __future__ import annotations

import re

import pytest

from cards.card import card_from_document
from chat.counting import spans_of
from chat.engine.client import Engine
from chat.engine.protocol import Done
from chat.events import ReplyFinished, TextAdded
from chat.session import Session
from chat.store import Store
from presets.library import NamedSampling, PresetLibrary
from presets.values import Persona

LIBRARY = PresetLibrary(None)
CHATML = LIBRARY.format("chatml")
SEEDS = range(20)
TOKENS = 10
"""Of each reply; the prompt is read once for all of them."""
MARKERS = re.compile(r"<\|?/?[a-z_]|\|>|\[/?(?:INST|SYSTEM)|###|<<|>>|�|\0")
A_TURN = re.compile(r"^\s*(?:Alex|User|Vera|user|assistant)\s*:", re.MULTILINE)
CARD = {
    "name": "Vera",
    "description": "{{char}} keeps a lighthouse and mistrusts strangers.",
    "first_mes": '*The lamp turned.* "Who is there?"',
}


def assert_clean(text: str) -> None:
    """Something is said, by her alone, and nothing of the format shows."""
    assert text.strip()
    assert not MARKERS.search(text), text
    assert not A_TURN.search(text), text


@pytest.mark.parametrize("preset", LIBRARY.samplings(), ids=lambda preset: preset.id)
def test_twenty_seeds_give_clean_replies(demo: Engine, preset: NamedSampling) -> None:
    card, _ = card_from_document(CARD)
    with Store.in_memory() as store:
        session = Session.begin(
            store, card, Persona("Alex", "A courier."), CHATML, preset.sampling, engine=demo, seed=7
        )
        session.max_tokens = 2 * TOKENS
        session.say("A friend. May I come in?")
        prompt = session.prompt()
        events = list(session.reply())
        last = events[-1]
        assert isinstance(last, ReplyFinished)
        assert_clean(last.message.text)
        assert_clean("".join(event.text for event in events if isinstance(event, TextAdded)))
        assert last.message.generation is not None
        assert last.message.generation.finish_reason in ("eos", "stop", "length")
        session.close()
    said: list[Done] = []
    for seed in SEEDS:
        said.append(
            demo.generate(
                spans_of(prompt.segments),
                preset.sampling,
                seed=seed,
                max_tokens=TOKENS,
                stops=prompt.stops,
                ban_eos=prompt.ban_eos or preset.sampling.ban_eos,
                strip_names=prompt.strip_names,
                keep_leading_space=prompt.keep_leading_space,
                dry_breakers=[*CHATML.control, "Alex", "Vera"],
            ).wait()
        )
        assert_clean(said[-1].text)
        assert said[-1].finish_reason in ("eos", "stop", "length")
    assert len({done.text for done in said}) > len(SEEDS) // 2

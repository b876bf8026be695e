"""Replies that begin alike are led apart by the candidates that are left, and only where there are some."""

from __future__ import annotations

import numpy as np
import pytest

from chat.engine.worker.candidates import Candidates
from chat.engine.worker.samplers import Chain
from chat.engine.worker.siblings import ANY, Beginning, Siblings
from presets.sampling import Sampling

PIECES = [b"", b"The", b" lamp", b" lam", b"p", b" door", b" turned", b"!"]
END, LAMP, LAM, DOOR, TURNED = 0, 2, 3, 5, 6


def siblings(*texts: str, over: bool = True) -> Siblings:
    others = [Beginning(text.encode(), over=over) for text in texts]
    return Siblings(others, PIECES.__getitem__, {END})


def left(known: Siblings, place: int, text: str, **candidates: float) -> list[int] | None:
    """Of candidates with these probabilities; None when nobody has begun so."""
    if not known.at(place, text.encode()):
        return None
    ids = np.array([int(name[1:]) for name in candidates], np.int32)
    logits = np.full(len(PIECES), -np.inf, np.float32)
    logits[ids] = np.log(np.array(list(candidates.values()), np.float32))
    found = Candidates(ids, logits)
    assert known.lead_apart(found) == -1
    return sorted(found.ids.tolist())


@pytest.mark.parametrize(
    ("place", "text", "candidates", "expected"),
    [
        pytest.param(2, "The", {"t2": 0.5, "t5": 0.5}, None, id="the first tokens are free"),
        pytest.param(4, "A", {"t2": 0.5, "t5": 0.5}, None, id="another beginning"),
        pytest.param(4, "The", {"t2": 0.5, "t5": 0.5}, [DOOR], id="what was said goes"),
        pytest.param(4, " The", {"t2": 0.5, "t5": 0.5}, [DOOR], id="a space before is none"),
        pytest.param(4, "The", {"t2": 0.4, "t3": 0.4, "t5": 0.2}, [DOOR], id="a part of it too"),
        pytest.param(4, "The", {"t2": 1.0}, [LAMP], id="no choice"),
        pytest.param(4, "The", {"t2": 0.99, "t5": 0.01}, [LAMP, DOOR], id="no good choice yet"),
        pytest.param(ANY, "The", {"t2": 0.99, "t5": 0.01}, [DOOR], id="any choice will do now"),
        pytest.param(9, "The lamp turned", {"t0": 0.9, "t7": 0.1}, [7], id="the same end is the same reply"),
        pytest.param(1, "The lamp turned", {"t0": 0.99, "t7": 0.01}, [7], id="however short and likely"),
        pytest.param(1, "The lamp turned", {"t0": 1.0}, [END], id="no choice but to end"),
    ],
)
def test_what_is_left(
    place: int, text: str, candidates: dict[str, float], expected: list[int] | None
) -> None:
    assert left(siblings("The lamp turned"), place, text, **candidates) == expected


def test_a_sibling_that_is_not_so_far_says_nothing_yet() -> None:
    known = siblings("The", over=False)
    assert left(known, 9, "The", t2=0.5, t5=0.5) is None
    assert left(known, 9, "The lamp", t6=0.5, t5=0.5) is None


def test_two_siblings_take_two_ways() -> None:
    assert left(siblings("The lamp", "The door"), 5, "The", t2=0.4, t5=0.4, t7=0.2) == [7]


def test_the_chain_draws_from_what_is_left() -> None:
    """After all samplers: top-k has left two, one of them is taken away, and no third one moves up."""
    logits = np.log(np.array([0.01, 0.01, 0.5, 0.01, 0.01, 0.3, 0.15, 0.01], np.float32))
    known = siblings("The lamp turned")
    drawn = set()
    for seed in range(30):
        chain = Chain(len(PIECES), Sampling(top_k=2, temperature=1.5), seed, draws_apart=True)
        assert known.at(4, b"The")
        drawn.add(chain.sample(logits, last=known.lead_apart))
        chain.close()
    assert drawn == {DOOR}


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_k": 1}], ids=str)
def test_where_one_is_left_it_is_taken(settings: dict[str, float]) -> None:
    logits = np.log(np.array([0.01, 0.01, 0.5, 0.01, 0.01, 0.3, 0.15, 0.01], np.float32))
    known = siblings("The lamp turned")
    chain = Chain(len(PIECES), Sampling.model_validate(settings), 1, draws_apart=True)
    assert known.at(9, b"The")
    assert chain.sample(logits, last=known.lead_apart) == LAMP
    chain.close()


def test_drawing_apart_changes_nothing_by_itself() -> None:
    random = np.random.default_rng(3)
    settings = Sampling(temperature=0.8, min_p=0.05, tfs_z=0.9)
    together = Chain(500, settings, 7)
    apart = Chain(500, settings, 7, draws_apart=True)
    for _ in range(40):
        logits = random.standard_normal(500).astype(np.float32) * 3
        assert together.sample(logits) == apart.sample(logits)
    together.close()
    apart.close()

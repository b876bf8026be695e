"""The samplers that llama.cpp has itself, in our chain, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat.engine.worker import log
from chat.engine.worker.candidates import Candidates, Floats
from chat.engine.worker.llama import Model, initialize
from chat.engine.worker.samplers import Chain
from chat.engine.worker.tokens import Vocabulary
from chat.engine.worker.words import Words
from presets.sampling import Sampling

FOUR = [0.4, 0.3, 0.2, 0.1]


def left(
    logits: Floats | list[float],
    sampling: Sampling,
    history: list[int] | None = None,
    *,
    vocab: Any = None,
    breakers: tuple[str, ...] = (),
) -> dict[int, float]:
    """Token -> logit of what the last sampler leaves."""
    steps: list[dict[int, float]] = []

    def watch(name: str, candidates: Candidates) -> None:
        pairs = zip(candidates.ids.tolist(), candidates.logits.tolist(), strict=True)
        steps.append({token: logit for token, logit in pairs if math.isfinite(logit)})

    values = np.array(logits, np.float32)
    chain = Chain(values.size, sampling, 1, vocab=vocab, words=Words(breakers=breakers), watch=watch)
    chain.prime(history or [])
    chain.sample(values)
    chain.close()
    return steps[-1]


def kept(probabilities: list[float], **settings: Any) -> list[int]:
    return sorted(left(np.log(np.array(probabilities, np.float32)), Sampling(**settings)))


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({"top_k": 1}, [0]),
        ({"top_k": 3}, [0, 1, 2]),
        ({"top_k": 9}, [0, 1, 2, 3]),
        # .4, then .7, then .9: the token that crosses the sum stays
        ({"top_p": 0.39}, [0]),
        ({"top_p": 0.41}, [0, 1]),
        ({"top_p": 0.69}, [0, 1]),
        ({"top_p": 0.71}, [0, 1, 2]),
        ({"top_p": 0.91}, [0, 1, 2, 3]),
        # of .4: .3 is three quarters, .2 a half, .1 a quarter
        ({"min_p": 0.76}, [0]),
        ({"min_p": 0.74}, [0, 1]),
        ({"min_p": 0.49}, [0, 1, 2]),
        ({"min_p": 0.24}, [0, 1, 2, 3]),
        # entropy 1.280; distances of the surprises from it: .363, .076, .330, 1.023
        ({"typical_p": 0.29}, [1]),
        ({"typical_p": 0.31}, [1, 2]),
        ({"typical_p": 0.51}, [0, 1, 2]),
        ({"typical_p": 0.91}, [0, 1, 2, 3]),
    ],
)
def test_what_a_cut_keeps(settings: dict[str, Any], ids: list[int]) -> None:
    assert kept(FOUR, **settings) == ids


@pytest.mark.parametrize(("n", "ids"), [(0.5, [0]), (1.0, [0, 1]), (2.0, [0, 1, 2]), (3.0, [0, 1, 2, 3])])
@pytest.mark.parametrize("order", [("top_n_sigma",), ("top_k", "top_n_sigma")])
def test_top_n_sigma(n: float, ids: list[int], order: tuple[str, ...]) -> None:
    """Logits 3, 2, 1, 0 have a deviation of 1.118; it is the same on the vocabulary and behind a cut."""
    sampling = Sampling.model_validate({"top_n_sigma": n, "top_k": 4, "samplers": order})
    assert sorted(left([3.0, 2.0, 1.0, 0.0], sampling)) == ids


@pytest.mark.parametrize(("temperature", "logits"), [(0.5, [4.0, 2.0, -2.0]), (2.0, [1.0, 0.5, -0.5])])
def test_temperature_divides_the_logits(temperature: float, logits: list[float]) -> None:
    assert list(left([2.0, 1.0, -1.0], Sampling(temperature=temperature)).values()) == pytest.approx(logits)


@pytest.mark.parametrize(
    ("settings", "logits"),
    [
        ({"repeat_penalty": 2.0}, [1.0, -2.0, 1.0]),
        ({"frequency_penalty": 0.5}, [1.0, -1.5, 1.0]),
        ({"presence_penalty": 0.25}, [1.75, -1.25, 1.0]),
        ({"repeat_penalty": 2.0, "frequency_penalty": 0.5, "presence_penalty": 0.25}, [-0.25, -2.75, 1.0]),
        ({"repeat_penalty": 0.5}, [4.0, -0.5, 1.0]),
        ({"repeat_penalty": 2.0, "repeat_last_n": 1}, [1.0, -1.0, 1.0]),
    ],
)
def test_penalties(settings: dict[str, Any], logits: list[float]) -> None:
    """Token 0 stands there twice, last of all, token 1 once, token 2 never."""
    found = left([2.0, -1.0, 1.0], Sampling(**settings), [0, 1, 0])
    assert [found[token] for token in range(3)] == pytest.approx(logits)


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_how_often_xtc_acts(probability: float) -> None:
    logits = np.log(np.array(FOUR, np.float32))
    chain = Chain(4, Sampling(xtc_probability=probability, xtc_threshold=0.15, temperature=0.01), 3)
    chain.prime([])
    drawn = [chain.sample(logits) for _ in range(600)]
    chain.close()
    # .4, .3 and .2 reach the threshold: the last of them stays, else the first is drawn.
    assert set(drawn) <= {0, 2}
    assert drawn.count(2) / 600 == pytest.approx(probability, abs=0.08)


# DRY ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[Vocabulary]:
    log.catch()
    initialize()
    path = Path(__file__).parent.parent / "data" / "llama2-vocab.gguf"
    model = Model(str(path), 0, True, lambda _fraction: True)
    yield Vocabulary(model.vocab)
    model.close()


def words(vocabulary: Vocabulary, text: str) -> list[int]:
    """Words that are one token each."""
    ids = [vocabulary.raw_ids(word.encode()) for word in text.split()]
    assert all(len(one) == 1 for one in ids), text
    return [one[0] for one in ids]


@pytest.mark.parametrize(
    ("history", "length"),
    [
        ("the old man went", 0),
        ("the old man went home and the", 0),  # one token is fewer than may repeat
        ("the old man went home and the old", 2),
        ("the old man went home and the old man", 3),
        ("the old man went home and the old man went", 4),
    ],
)
def test_dry_grows_with_the_sequence(vocabulary: Vocabulary, history: str, length: int) -> None:
    """multiplier * base ** (length - allowed length), on the token that stood behind the sequence before."""
    sampling = Sampling(dry_multiplier=0.8, dry_base=1.75, dry_allowed_length=2)
    ids = words(vocabulary, history)
    found = left(np.zeros(vocabulary.size), sampling, ids, vocab=vocabulary.handle)
    punished = {token: logit for token, logit in found.items() if logit}
    if not length:
        assert punished == {}
    else:
        onward = words(vocabulary, "the old man went home")[length]
        assert punished == {onward: pytest.approx(-0.8 * 1.75 ** (length - 2))}


@pytest.mark.parametrize(
    ("settings", "breakers", "penalty"),
    [
        ({}, (), 0.8 * 1.75),
        ({"dry_multiplier": 2.0}, (), 2 * 1.75),
        ({"dry_base": 3.0}, (), 0.8 * 3),
        ({"dry_allowed_length": 3}, (), 0.8),
        ({"dry_allowed_length": 4}, (), 0.0),
        ({"dry_penalty_last_n": 5}, (), 0.0),  # the first time is too long ago
        ({}, ("old",), 0.0),  # `man` alone is left of the sequence
        ({"dry_sequence_breakers": ["old"]}, (), 0.0),
        ({"dry_sequence_breakers": []}, ("home",), 0.8 * 1.75),  # it stands outside of it
    ],
)
def test_drys_settings_and_breakers(
    vocabulary: Vocabulary, settings: dict[str, Any], breakers: tuple[str, ...], penalty: float
) -> None:
    sampling = Sampling(**{"dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 2, **settings})
    ids = words(vocabulary, "the old man went home and the old man")
    went = ids[3]
    found = left(np.zeros(vocabulary.size), sampling, ids, vocab=vocabulary.handle, breakers=breakers)
    assert found[went] == pytest.approx(-penalty)

"""The sampler chain on synthetic logits: what each sampler cuts, and that nothing else does anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.engine.worker import log
from chat.engine.worker.samplers import PREFILTER, Chain
from chat.engine.worker.steps import MinPReach, TopKReach
from chat.engine.worker.tail_free import tail_free_head, tail_free_keep
from presets.sampling import Sampling

Floats = npt.NDArray[np.float32]
LIMARP = Sampling(temperature=0.7, tfs_z=0.85, repeat_penalty=1.1, ban_eos=True)

log.catch()


def softmax(logits: Floats) -> Floats:
    """Probabilities of logits that are sorted in descending order, in float32 as llama.cpp computes them."""
    weights = np.exp(logits - logits[0])
    return np.asarray(weights / weights.sum(dtype=np.float32), np.float32)


def logits_of(probabilities: list[float], size: int = 0) -> Floats:
    """Logits whose softmax is these probabilities; further tokens get almost none."""
    logits = np.full(max(size, len(probabilities)), -60.0, np.float32)
    logits[: len(probabilities)] = np.log(np.array(probabilities))
    return logits


def peaked(size: int, seed: int = 0) -> Floats:
    """Logits like a model's: a few candidates, a long tail."""
    random = np.random.default_rng(seed)
    return (random.standard_normal(size) * 2.5 - 0.002 * np.arange(size)).astype(np.float32)


def draws(
    sampling: Sampling, logits: Floats, number: int, seed: int = 1, history: list[int] | None = None
) -> list[int]:
    chain = Chain(logits.size, sampling, seed)
    chain.prime(history or [])
    tokens = [chain.sample(logits) for _ in range(number)]
    chain.close()
    return tokens


def vectors() -> list[dict[str, Any]]:
    return json.loads((Path(__file__).parent.parent / "data" / "tfs_vectors.json").read_text())


@pytest.mark.parametrize("vector", vectors(), ids=lambda v: f"{v['name']}-{v['via']}-{v['z']}")
def test_tail_free_vectors(vector: dict[str, Any]) -> None:
    if "p" in vector:
        p = np.array(vector["p"], np.float32)
    else:
        weights = np.arange(1, 1001) ** -1.3
        p = (weights / weights.sum()).astype(np.float32)
    if vector["via"] == "logits":
        p = softmax(np.log(p))
    assert tail_free_keep(p, vector["z"]) == vector["kobold"]
    if vector["name"] != "llamacpp_flat5":  # float noise decides there, between the reference's own versions
        assert tail_free_keep(p, vector["z"], reference=True) == vector["hf"]


@pytest.mark.parametrize(
    ("p", "z", "min_keep", "keep"),
    [
        ([0.4, 0.3, 0.2, 0.1], 0.85, 1, 1),
        ([0.125] * 8, 0.85, 1, 5),
        ([0.4, 0.25, 0.15, 0.08, 0.05, 0.03, 0.02, 0.01, 0.007, 0.003], 0.0, 1, 1),
        ([0.9, 0.05, 0.02, 0.01, 0.008, 0.006, 0.004, 0.002], 0.85, 2, 2),
        ([0.6, 0.4], 0.1, 1, 2),
        ([0.5, 0.3, 0.2], 1.0, 1, 3),
    ],
)
def test_tail_free_edges(p: list[float], z: float, min_keep: int, keep: int) -> None:
    assert tail_free_keep(np.array(p, np.float32), z, min_keep) == keep


def test_the_chain_cuts_what_tail_free_cuts_and_without_it_does_not() -> None:
    p = [0.4, 0.25, 0.15, 0.08, 0.05, 0.03, 0.02, 0.01, 0.007, 0.003]
    logits = logits_of(p, size=1000)
    assert set(draws(Sampling(tfs_z=0.85), logits, 400)) == {0, 1, 2}
    assert set(draws(Sampling(tfs_z=0.95), logits, 800)) == set(range(6))
    assert set(draws(Sampling(tfs_z=0.85, tfs_variant="reference"), logits, 400)) == {0, 1, 2, 3}
    assert max(draws(Sampling(), logits, 800)) > 3


def test_the_neutral_chain_draws_the_models_own_distribution() -> None:
    p = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02])
    tokens = draws(Sampling(), logits_of(list(p), size=500), 20_000)
    seen = np.bincount(tokens, minlength=p.size)[: p.size] / len(tokens)
    assert np.abs(seen - p).max() < 0.012
    chain = Chain(500, Sampling(), 1)
    assert chain.names == [f"prefilter({PREFILTER:g})", "dist"]
    chain.close()


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("size", [5_000, 131_072])
def test_the_prefilter_drops_less_than_it_may(size: int, temperature: float) -> None:
    chain = Chain(size, Sampling(temperature=temperature), 1)
    for seed in range(3):
        logits = peaked(size, seed)
        kept = chain._prefilter(logits, float(logits.max()))
        weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
        assert 1 - weights[kept].sum() / weights.sum() <= 1.1 * PREFILTER
    chain.close()


@pytest.mark.parametrize(
    ("sampling", "allowed"),
    [
        (Sampling(top_k=2), {0, 1}),
        (Sampling(top_p=0.6), {0, 1}),
        (Sampling(min_p=0.3), {0, 1, 2}),
        (Sampling(typical_p=0.2), {1}),
        (Sampling(top_k=1), {0}),
        (Sampling(top_k=2, tfs_z=0.99), {0, 1}),
        (Sampling(temperature=0), {0}),
        (Sampling(xtc_probability=1.0, xtc_threshold=0.14), {2, 3, 4, 5}),
        (Sampling(temperature=0, xtc_probability=1.0, xtc_threshold=0.14), {2}),
        (Sampling(top_n_sigma=0.01), {0}),
    ],
)
def test_each_sampler_cuts(sampling: Sampling, allowed: set[int]) -> None:
    logits = logits_of([0.4, 0.25, 0.15, 0.08, 0.07, 0.05], size=6)
    assert set(draws(sampling, logits, 600)) == allowed


def test_the_names_tell_the_chain_in_its_order() -> None:
    sampling = Sampling(
        temperature=0.8, top_k=40, top_p=0.9, min_p=0.05, typical_p=0.9, tfs_z=0.95, top_n_sigma=1.5,
        xtc_probability=0.5, repeat_penalty=1.1, frequency_penalty=0.1, presence_penalty=0.2,
    )  # fmt: skip
    chain = Chain(100, sampling, 1, banned=[3])
    assert [name.partition("(")[0] for name in chain.names] == [
        "ban", "repeat_penalty", "frequency_penalty", "presence_penalty", "top_n_sigma", "top_k", "tfs_z",
        "typical_p", "top_p", "min_p", "xtc", "temperature", "dist",
    ]  # fmt: skip
    chain.close()


def test_penalties_are_llama_cpps_own_on_the_whole_vocabulary() -> None:
    size, history = 400, [5, 7, 7, 9, 5, 5, 399]
    sampling = Sampling(repeat_penalty=1.3, frequency_penalty=0.2, presence_penalty=-0.4, repeat_last_n=6)
    logits = peaked(size)
    chain = Chain(size, sampling, 1)
    chain.prime(history)
    ours = logits.copy()
    chain._look_back(ours)
    chain.close()
    sampler = api.llama_sampler_init_penalties(size, 6, 1.3, 0.2, -0.4)
    data = (api.llama_token_data * size)(
        *[api.llama_token_data(i, float(logits[i]), 0.0) for i in range(size)]
    )
    array = api.llama_token_data_array(data, size, -1, False)
    for token in history:
        api.llama_sampler_accept(sampler, token)
    api.llama_sampler_apply(sampler, array)
    theirs = np.array([data[i].logit for i in range(size)], np.float32)
    api.llama_sampler_free(sampler)
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, logits)


def test_penalties_see_the_prompts_tail_and_no_more() -> None:
    logits = np.array([2.0, 1.9, -5.0], np.float32)
    greedy = Sampling(temperature=0, repeat_penalty=1.5, repeat_last_n=4)
    assert draws(greedy, logits, 1) == [0]
    assert draws(greedy, logits, 1, history=[0, 2, 2]) == [1]
    assert draws(greedy, logits, 1, history=[0, 2, 2, 2, 2]) == [0]


def test_accepted_tokens_are_penalized_too() -> None:
    logits = np.array([2.0, 1.9, 1.8, -5.0], np.float32)
    chain = Chain(4, Sampling(temperature=0, repeat_penalty=1.5), 1)
    chain.prime([3])
    tokens = []
    for _ in range(3):
        tokens.append(chain.sample(logits))
        chain.accept(tokens[-1])
    chain.close()
    assert tokens == [0, 1, 2]


def test_banned_and_forbidden_tokens_never_come() -> None:
    logits = logits_of([0.5, 0.3, 0.2])
    chain = Chain(3, Sampling(), 1, banned=[0])
    assert {chain.sample(logits) for _ in range(100)} == {1, 2}
    assert {chain.sample(logits, [1]) for _ in range(100)} == {2}
    with pytest.raises(FloatingPointError):
        chain.sample(logits, [1, 2])
    with pytest.raises(FloatingPointError):
        chain.sample(np.full(3, np.nan, np.float32))
    chain.close()


def test_any_number_of_tokens_is_banned() -> None:
    logits = logits_of([0.9, 0.08, 0.02], 100)
    chain = Chain(100, Sampling(), 1, banned=[0, *range(2, 60)])
    assert chain.names[0] == "ban(59)"
    assert {chain.sample(logits) for _ in range(20)} == {1}
    assert chain.sample(logits, [1, *range(60, 99)]) == 99
    chain.close()


@pytest.mark.parametrize("sampling", [Sampling(), LIMARP, Sampling(temperature=1.5, top_p=0.95)])
def test_a_seed_gives_its_draws_again(sampling: Sampling) -> None:
    logits = peaked(3000)
    once = draws(sampling, logits, 60, seed=7)
    assert once == draws(sampling, logits, 60, seed=7)
    if sampling != LIMARP:
        assert once != draws(sampling, logits, 60, seed=8)


@pytest.mark.parametrize("seed", [0, 0xFFFFFFFF, 2**63 - 1, 2**32])
def test_any_seed_is_a_seed(seed: int) -> None:
    logits = peaked(3000)
    assert draws(Sampling(), logits, 20, seed=seed) == draws(Sampling(), logits, 20, seed=seed)


def test_logits_are_left_as_they_were() -> None:
    logits = peaked(2000)
    before = logits.copy()
    draws(LIMARP, logits, 3, history=[1, 2, 3])
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("sampling", [Sampling(), LIMARP, Sampling(min_p=0.05), Sampling(top_n_sigma=1.5)])
def test_the_same_is_drawn_in_place(sampling: Sampling) -> None:
    copied, spoiled = (Chain(2000, sampling, 5, banned=[3]) for _ in range(2))
    for chain in (copied, spoiled):
        chain.prime([1, 2, 3])
    for seed in range(40):
        logits = peaked(2000, seed)
        token = copied.sample(logits)
        assert spoiled.sample(logits, in_place=True) == token
        for chain in (copied, spoiled):
            chain.accept(token)
    copied.close()
    spoiled.close()


@given(
    st.integers(1, 3_000), st.floats(0.3, 8), st.floats(1e-4, 1), st.integers(1, 300), st.integers(0, 2**32)
)
def test_what_min_p_and_top_k_keep_is_in_their_reach(
    size: int, spread: float, share: float, count: int, seed: int
) -> None:
    logits = (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)
    logits[1::7] = -np.inf
    best = logits.max()
    kept = (logits >= best + np.float32(np.log(share))).nonzero()[0]
    assert set(kept) <= set(MinPReach(share)(logits, float(best)))
    likeliest = [token for token in np.argsort(-logits)[:count] if np.isfinite(logits[token])]
    assert set(likeliest) <= set(TopKReach(count)(logits, float(best)))


@settings(max_examples=300)
@given(
    st.integers(8, 3_000),
    st.floats(0.3, 6),
    st.sampled_from((0.25, 0.5, 0.85, 0.95, 0.99)),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_the_beginning_of_the_weights_settles_tail_free_as_all_of_them_do(
    count: int, spread: float, z: float, min_keep: int, reference: bool, seed: int
) -> None:
    logits = np.sort(np.random.default_rng(seed).standard_normal(count).astype(np.float32) * spread)[::-1]
    weights = np.exp(logits - logits[0])
    settled = tail_free_head(weights[weights >= np.exp(-10)], count, z, min_keep, reference)
    if settled is not None:
        assert settled == tail_free_keep(weights / weights.sum(), z, min_keep, reference)


def test_the_beginning_settles_what_a_model_is_sure_of_and_leaves_a_flat_curve_alone() -> None:
    peaked = np.exp(-np.arange(40, dtype=np.float32) / 3)
    assert tail_free_head(peaked, 50_000, 0.85) is not None
    assert tail_free_head(np.ones(40, np.float32), 50_000, 0.85) is None

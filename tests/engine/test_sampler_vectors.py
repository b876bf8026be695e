"""Each sampler against vectors worked out by hand, on synthetic logits; no model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest

from chat.engine.worker import log
from chat.engine.worker.candidates import Candidates
from chat.engine.worker.samplers import Chain
from chat.engine.worker.words import Words
from presets.sampling import DEFAULT_ORDER, Sampler, Sampling

Floats = npt.NDArray[np.float32]
Step = tuple[str, dict[int, float]]

log.catch()


def logits_of(probabilities: list[float]) -> Floats:
    return np.log(np.array(probabilities, np.float32))


@contextmanager
def chain_of(
    sampling: Sampling, size: int, words: Words | None = None, steps: list[Step] | None = None, seed: int = 1
) -> Iterator[Chain]:
    """A chain; what each sampler leaves is put into `steps` as (name, logit of each candidate)."""

    def watch(name: str, candidates: Candidates) -> None:
        assert steps is not None
        if name == "model":
            steps.clear()
        pairs = zip(candidates.ids.tolist(), candidates.logits.tolist(), strict=True)
        steps.append((name, {token: logit for token, logit in pairs if math.isfinite(logit)}))

    chain = Chain(size, sampling, seed, words=words, watch=watch if steps is not None else None)
    chain.prime([])
    yield chain
    chain.close()


def after(
    sampling: Sampling, logits: Floats, history: list[int] | None = None, **words: object
) -> dict[int, float]:
    """The logits that the last sampler leaves."""
    steps: list[Step] = []
    with chain_of(sampling, logits.size, Words(**words), steps) as chain:  # type: ignore[arg-type]
        chain.prime(history or [])
        chain.sample(logits)
    return steps[-1][1]


@pytest.mark.parametrize(("a", "kept"), [(0.0, 5), (0.1, 5), (0.24, 3), (0.4, 3), (0.9, 2), (1.0, 2)])
def test_top_a(a: float, kept: int) -> None:
    # pmax^2 = .25: the thresholds are 0, .025, .06, .1, .225, .25
    logits = logits_of([0.5, 0.3, 0.12, 0.05, 0.03])
    assert sorted(after(Sampling(top_a=a), logits)) == list(range(kept))


def test_top_a_keeps_the_best_of_a_sure_model() -> None:
    assert sorted(after(Sampling(top_a=1.0), logits_of([0.999999, 1e-6, 1e-9]))) == [0]


@pytest.mark.parametrize(
    ("factor", "curve", "bent"),
    [
        (0.5, 1.0, [2.0, 1.5, 0.0, -2.5]),
        (0.5, 2.0, [2.0, 1.5, -1.0, -7.0]),
        (2.0, 1.0, [2.0, 0.0, -6.0, -16.0]),
        (1.0, 3.0, [2.0, 1.0, -6.0, -25.0]),
    ],
)
def test_smoothing(factor: float, curve: float, bent: list[float]) -> None:
    sampling = Sampling(smoothing_factor=factor, smoothing_curve=curve)
    left = after(sampling, np.array([2.0, 1.0, 0.0, -1.0], np.float32))
    assert [left[token] for token in range(4)] == pytest.approx(bent)


def test_smoothing_bends_what_the_temperature_leaves() -> None:
    sampling = Sampling(temperature=0.5, smoothing_factor=0.5)
    left = after(sampling, np.array([2.0, 1.0], np.float32))
    assert [left[0], left[1]] == pytest.approx([4.0, 4.0 - 0.5 * 2.0**2])


@pytest.mark.parametrize(
    ("temperature", "spread", "exponent", "expected"),
    [
        # H(.7, .2, .1) / ln 3 = .72985: T = low + (high - low) * .72985^exponent
        (1.0, 0.5, 1.0, 0.5 + 0.729847),
        (1.0, 0.5, 2.0, 0.5 + 0.532677),
        (0.5, 1.0, 1.0, 1.5 * 0.729847),
    ],
)
def test_dynamic_temperature(temperature: float, spread: float, exponent: float, expected: float) -> None:
    sampling = Sampling(temperature=temperature, dynatemp_range=spread, dynatemp_exponent=exponent)
    logits = logits_of([0.7, 0.2, 0.1])
    left = after(sampling, logits)
    assert left[0] - left[1] == pytest.approx((logits[0] - logits[1]) / expected, rel=1e-3)


@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        (0.5, [4 / 3, 4 / 3, 1.0, -4.0, 2.0]),
        (0.25, [2 / 1.25, 2 / 1.25, 1.0, -4.0, 2.0]),
        (1.0, [1.0, 1.0, 1.0, -4.0, 2.0]),
        (0.0, [1.0, 1.0, 1.0, -4.0, 2.0]),
    ],
)
def test_the_older_half_is_penalized_less(slope: float, expected: list[float]) -> None:
    sampling = Sampling(repeat_penalty=2.0, repeat_penalty_slope=slope, repeat_last_n=4)
    logits = np.array([2.0, 2.0, 2.0, -2.0, 2.0], np.float32)
    left = after(sampling, logits, history=[4, 0, 1, 2, 3])
    assert [left[token] for token in range(5)] == pytest.approx(expected)


def test_the_slope_goes_with_the_other_penalties_and_with_time() -> None:
    sampling = Sampling(
        repeat_penalty=2.0, repeat_penalty_slope=0.5, presence_penalty=0.25, repeat_last_n=2, temperature=0
    )
    logits = np.array([2.0, 1.9, -9.0], np.float32)
    steps: list[Step] = []
    with chain_of(sampling, 3, steps=steps) as chain:
        chain.prime([2, 2])
        for token in (0, 1):
            assert chain.sample(logits) == token
            chain.accept(token)
        chain.sample(logits)
    penalized = dict(steps)["repeat_penalty(2, slope=0.5)"]
    assert [penalized[0], penalized[1]] == pytest.approx([2 / 1.5, 1.9 / 2])
    last = steps[-1][1]
    assert [last[0], last[1]] == pytest.approx([2 / 1.5 - 0.25, 1.9 / 2 - 0.25])


def test_mirostat_2_follows_its_surprise() -> None:
    # mu = 1.2, 1.8, 2.4: tokens of surprise -log2 p = 1, 2, 3, 3 stay while it is not more than mu.
    steps: list[Step] = []
    sampling = Sampling(mirostat=2, mirostat_tau=0.6, mirostat_eta=1.0, top_k=1)
    left = []
    with chain_of(sampling, 4, steps=steps) as chain:
        for _ in range(3):
            token = chain.sample(logits_of([0.5, 0.25, 0.125, 0.125]))
            chain.accept(token)
            left.append(sorted(steps[-1][1]))
            assert token in left[-1]
    assert left == [[0], [0], [0, 1]]


@pytest.mark.parametrize(("tau", "kept"), [(0.5, 1), (1.0, 2), (1.5, 4)])
def test_mirostat_1_cuts_by_its_estimate(tau: float, kept: int) -> None:
    # s = .7615 / .7276 = 1.0466; k = ((s - 1) 2^mu / (1 - 4^(1 - s)))^(1 / s) = 1.46, 2.84, 5.50
    left = after(Sampling(mirostat=1, mirostat_tau=tau), logits_of([0.5, 0.25, 0.125, 0.125]))
    assert len(left) == kept


def test_adaptive_p_prefers_what_is_near_its_target() -> None:
    # 5 - 10 d^2 / (1 + d) with d = |p - .5| / .3 = 0, 2/3, 1
    left = after(Sampling(adaptive_target=0.5), logits_of([0.5, 0.3, 0.2]))
    assert [left[token] for token in range(3)] == pytest.approx([5.0, 7 / 3, 0.0], abs=1e-4)


def test_adaptive_p_learns_what_was_chosen() -> None:
    steps: list[Step] = []
    with chain_of(Sampling(adaptive_target=0.3, adaptive_decay=0.5), 3, steps=steps) as chain:
        for _ in range(4):
            chain.accept(chain.sample(logits_of([0.9, 0.09, 0.01])))
        tempted = steps[-1][1]
    assert tempted[2] != pytest.approx(after(Sampling(adaptive_target=0.3), logits_of([0.9, 0.09, 0.01]))[2])


@pytest.mark.parametrize(
    ("protected", "allowed"),
    [
        ((), {2, 3, 4}),
        ((2,), {2, 3, 4}),
        ((4,), {2, 3, 4}),
        ((0,), {0, 1, 2, 3, 4}),
        ((1, 4), {0, 1, 2, 3, 4}),
    ],
)
def test_xtc_never_removes_a_protected_token(protected: tuple[int, ...], allowed: set[int]) -> None:
    # .4, .3 and .2 reach the threshold: 0 and 1 would go
    sampling = Sampling(xtc_probability=1.0, xtc_threshold=0.15)
    with chain_of(sampling, 5, Words(protected=protected)) as chain:
        assert {chain.sample(logits_of([0.4, 0.3, 0.2, 0.06, 0.04])) for _ in range(500)} == allowed


def test_biases_and_bans() -> None:
    logits = np.array([1.0, 1.0, 1.0, 1.0], np.float32)
    words = Words(banned=frozenset({3}), biases={0: 2.0, 1: -1.5})
    steps: list[Step] = []
    with chain_of(Sampling(), 4, words, steps) as chain:
        assert chain.names[:2] == ["ban(1)", "logit_bias(2)"]
        chain.sample(logits, forbidden=[2], biases={1: 0.25})
    assert dict(steps)["bans and biases"] == {0: 3.0, 1: -0.25}


def test_a_text_of_several_tokens_is_biased_at_its_last() -> None:
    logits = np.zeros(4, np.float32)
    words = Words(sequences=[((1, 2), 3, -math.inf), ((2,), 0, 1.0)])
    steps: list[Step] = []
    with chain_of(Sampling(), 4, words, steps) as chain:
        chain.prime([1])
        chain.sample(logits)
        assert steps[-1][1] == {0: 0, 1: 0, 2: 0, 3: 0}
        chain.accept(2)
        chain.sample(logits)
        assert steps[-1][1] == {0: 1, 1: 0, 2: 0}
        chain.accept(1)
        chain.sample(logits)
        assert steps[-1][1] == {0: 0, 1: 0, 2: 0, 3: 0}


@pytest.mark.parametrize(
    ("order", "kept"),
    [
        # min_p against 1/6 of the best, at temperature 2 against .41 of it
        (DEFAULT_ORDER, [0, 1]),
        (("temperature", "min_p"), [0, 1, 2]),
        (("temperature",), [0, 1, 2]),
        (("min_p",), [0, 1]),
        (("top_k", "min_p", "temperature"), [0]),
    ],
)
def test_the_order_decides(order: tuple[Sampler, ...], kept: list[int]) -> None:
    top_k = 1 if "top_k" in order[:1] else 0
    sampling = Sampling(temperature=2.0, min_p=0.35, top_k=top_k, samplers=order)
    assert sorted(after(sampling, logits_of([0.6, 0.3, 0.1]))) == kept


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_penalties_may_stand_late(slope: float) -> None:
    sampling = Sampling(
        top_k=2,
        repeat_penalty=4.0,
        repeat_penalty_slope=slope,
        samplers=("top_k", "penalties"),
        temperature=0,
    )
    logits = np.array([3.0, 2.0, 1.5], np.float32)
    first = Sampling(top_k=2, repeat_penalty=4.0, temperature=0)
    for order, expected in ((sampling, 1), (first, 1)):
        with chain_of(order, 3) as chain:
            chain.prime([0])
            assert chain.sample(logits) == expected
    left = after(sampling.model_copy(update={"temperature": 1.0}), logits, history=[0])
    assert left == pytest.approx({0: 0.75, 1: 2.0})


def test_the_names_tell_the_order() -> None:
    sampling = Sampling(
        temperature=0.8, dynatemp_range=0.3, smoothing_factor=0.2, top_a=0.1, top_k=40, tfs_z=0.9,
        repeat_penalty=1.1, repeat_penalty_slope=0.5, adaptive_target=0.4,
    )  # fmt: skip
    with chain_of(sampling, 100) as chain:
        assert chain.names == [
            "repeat_penalty(1.1, slope=0.5)", "top_k(40)", "top_a(0.1)", "tfs_z(0.9)",
            "temperature(0.8, dynatemp_range=0.3)", "smoothing(0.2, curve=1)", "adaptive_p(0.4, decay=0.9)",
        ]  # fmt: skip
    with chain_of(sampling.model_copy(update={"mirostat": 2}), 100) as chain:
        assert chain.names == [
            "repeat_penalty(1.1, slope=0.5)", "temperature(0.8, dynatemp_range=0.3)",
            "smoothing(0.2, curve=1)", "mirostat(2, tau=5, eta=0.1)",
        ]  # fmt: skip


BUSY = [
    Sampling(temperature=1.3, top_k=40, top_p=0.9, min_p=0.05, typical_p=0.9, top_n_sigma=2.0),
    Sampling(temperature=0.8, tfs_z=0.95, top_k=100, repeat_penalty=1.2, frequency_penalty=0.1),
    Sampling(xtc_probability=0.5, min_p=0.02, smoothing_factor=0.3, top_a=0.05),
    Sampling(mirostat=2, temperature=0.9, repeat_penalty=1.1),
    Sampling(adaptive_target=0.4, min_p=0.05),
    Sampling(temperature=0, top_p=0.9),
]


@pytest.mark.parametrize("sampling", BUSY)
def test_looking_on_changes_nothing(sampling: Sampling) -> None:
    words = Words(protected=(1, 2))
    written: list[list[int]] = []
    watched: list[Step] = []
    for steps in (None, watched):
        random = np.random.default_rng(3)
        with chain_of(sampling, 4000, words, steps) as chain:
            chain.prime([5, 6, 7])
            written.append([])
            for _ in range(40):
                token = chain.sample((random.standard_normal(4000) * 3).astype(np.float32))
                chain.accept(token)
                written[-1].append(token)
    assert written[0] == written[1]


def test_a_rewound_chain_knows_the_shorter_history() -> None:
    sampling = Sampling(temperature=0, repeat_penalty=3.0, repeat_last_n=8)
    logits = np.array([3.0, 2.5, 2.0, -9.0], np.float32)
    with chain_of(sampling, 4) as chain:
        chain.prime([3])
        for expected in (0, 1, 2):
            assert chain.sample(logits) == expected
            chain.accept(expected)
        chain.rewind([3], [0])
        assert chain.sample(logits) == 1
        assert chain.sample(logits, forbidden=[1]) == 2

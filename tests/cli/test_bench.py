"""`rpchat bench`: measurements by name, with promises that they keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Rpchat = Callable[..., Any]


def test_a_measurement_by_name_and_by_its_beginning(rpchat: Rpchat) -> None:
    found = rpchat("bench", "library", "--json").json
    assert set(found) == {"library.list_ms"}
    assert found["library.list_ms"] < 1_000  # 300 is promised, on a machine with nothing else to do
    shown = rpchat("bench", "library.list_ms")
    assert (shown.status, shown.out.split()[0]) == (0, "library.list_ms")


def test_the_lorebook_scan_is_quick(rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    # The processor's time: other tests run beside this one.
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    assert rpchat("bench", "lore.scan_ms", "--json").json["lore.scan_ms"] < 50


def test_an_unknown_measurement_names_those_that_there_are(rpchat: Rpchat) -> None:
    answer = rpchat("bench", "nonsense")
    assert (answer.status, "lore.scan_ms" in answer.err, answer.err.count("\n")) == (2, True, 1)

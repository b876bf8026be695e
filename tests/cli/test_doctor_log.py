"""`rpchat doctor --log`: the end of what llama.cpp and its process wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rpchat = Callable[..., Any]


@pytest.fixture
def log(home: Path) -> Path:
    """A log with 100 lines, and one of another program that is older."""
    folder = home / "logs"
    folder.mkdir(parents=True)
    log, other = folder / "worker.log", folder / "worker-2.log"
    other.write_text("of another program\n")
    os.utime(other, (1, 1))
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    return log


@pytest.mark.parametrize(("args", "first"), [(("--log",), 60), (("--log", "3"), 97), (("--log", "500"), 0)])
def test_the_last_lines(rpchat: Rpchat, log: Path, args: tuple[str, ...], first: int) -> None:
    answer = rpchat("doctor", *args)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines() == [f"line {number}" for number in range(first, 100)]


def test_the_log_that_was_written_last(rpchat: Rpchat, log: Path) -> None:
    other = log.with_name("worker-2.log")
    other.write_text("newer\n")
    os.utime(log, (1, 1))
    assert rpchat("doctor", "--log", "--json").json == {"log": str(other), "lines": ["newer"]}


def test_what_stands_in_it_is_only_text(rpchat: Rpchat, log: Path) -> None:
    log.write_text("a model called \x1b[31mred\x1b[0m \x07\n")
    out = rpchat("doctor", "--log").out
    assert "\x1b" not in out
    assert "red" in out


def test_no_log_yet(rpchat: Rpchat, home: Path) -> None:
    answer = rpchat("doctor", "--log")
    assert (answer.status, answer.out) == (1, "")
    assert str(home / "logs" / "worker.log") in answer.err
    assert not home.exists()


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_lines_are_counted_from_one(rpchat: Rpchat, log: Path, number: str) -> None:
    assert rpchat("doctor", "--log", number).status == 2

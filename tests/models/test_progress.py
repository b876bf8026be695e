"""The line that shows how far something is: drawn over itself in a terminal, seldom in a log."""

from __future__ import annotations

import io
import sys

import pytest

from chat.cli.progress import progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_the_line_is_drawn_over_itself_and_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    with progress_line("m\x1b[31m.gguf") as line:
        line.size("downloading", 500_000_000, 2_000_000_000)
        line.size("downloading", 2_000_000_000, 2_000_000_000)
    drawn = err.getvalue()
    assert "\x1b" not in drawn
    assert "downloading m.gguf: 25 %, 0.50 of 2.00 GB" in drawn
    assert "100 %, 2.00 of 2.00 GB" in drawn
    assert "\n" not in drawn
    assert drawn.endswith(" \r")


def broken_off() -> None:
    with progress_line("x") as line:
        line.count(1, 9)
        raise KeyboardInterrupt


def test_an_error_leaves_the_terminals_line_empty_too(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert err.getvalue().endswith("\r")


def test_in_a_log_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    err, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr("chat.cli.progress.time.monotonic", lambda: clock[0])
    with progress_line("x to q4_0, tensors") as line:
        for done in range(101):
            clock[0] = done / 8
            line.count(done, 100)
    assert err.getvalue() == "x to q4_0, tensors: 40 of 100\nx to q4_0, tensors: 80 of 100\n"

"""`rpchat preset show` of the shipped formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from presets.library import PresetLibrary

Rpchat = Callable[..., Any]


@pytest.mark.parametrize("id", ["alpaca", "gemma", "limarp-v3", "llama3", "mistral-v7-tekken"])
def test_a_format_is_shown_with_its_rules(rpchat: Rpchat, id: str) -> None:
    """Names, lengths, stops and control tokens stand there whether a file says them or leaves them out."""
    format = PresetLibrary(None).format(id)
    shown = rpchat("preset", "show", id, "--json").json
    assert shown["format"]["source"] == format.source
    assert shown["format"]["stops"] == [*format.stops]
    assert shown["format"]["control"] == [*format.control]
    assert shown["format"]["names"]["default"] == ("off" if id == "gemma" else "on")
    words = shown["format"]["length"] and list(shown["format"]["length"]["words"])
    assert words == (list(format.length.words) if format.length else None)
    assert "Is anyone here?" in shown["example"]
    read = rpchat("preset", "show", id).out
    for name in ("source:", "stops:", "control:", "names:", "length:", "\nexample:\n"):
        assert name in read

"""A program that is ended from outside keeps what it has, as one that is left does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STORY = "She keeps the light of the cape. " * 60
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Vesna",
        "description": STORY,
        "first_mes": "You again.",
    },
}


@pytest.mark.parametrize("ending", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_and_a_systems_end_save_the_state(
    start: Any, home: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    rpchat = Path(sys.executable).with_name("rpchat")
    subprocess.run([rpchat, "persona", "set", "Alex"], check=True, timeout=60)
    card = tmp_path / "vesna.json"
    card.write_text(json.dumps(CARD))
    terminal = start("--card", str(card), "--max-tokens", "4")
    terminal.wait_for(r"ctx .*/8 192")
    terminal.send("Good evening\r")
    terminal.wait_for(r"read \d+ new")
    terminal.process.send_signal(ending)
    assert terminal.process.wait(20) == 0
    assert len(list(home.rglob("*.state"))) == 1
    assert not list((home / "locks").iterdir())

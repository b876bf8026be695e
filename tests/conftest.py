"""What every test shares: a home of its own, and no way out to a network."""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from chat.engine.machine import available_threads

# Deadlines and slow draws speak of the machine, not of the program. A run on a commit tries the same examples
# every time; a run by hand looks for new ones.
settings.register_profile(
    "rpchat",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("rpchat")

# Test processes side by side share the cores: what each starts computes with its part of them. Where two
# OpenMP teams of all cores meet, a team waits for the other's turn at every barrier, and a reply takes four
# times as long.
if shared := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_THREAD_LIMIT", str(max(1, available_threads() // shared)))

SLOW = ("tour", "engine", "cli")
"""Folders of tests that start the real worker, the slowest first."""

LOCAL = ("127.0.0.1", "::1", "localhost")
DATA = Path(__file__).parent / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, then those of most tests: what begins last is short, and no process waits long for
    the other."""
    tests = Counter(item.path for item in items)

    def turn(item: pytest.Item) -> tuple[int, int, str]:
        folder = item.path.parent.name
        return (SLOW.index(folder) if folder in SLOW else len(SLOW), -tests[item.path], str(item.path))

    items.sort(key=turn)


@pytest.fixture
def data() -> Path:
    """The folder of fixtures that are too large to write in a test."""
    return DATA


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty RPCHAT_HOME for each test, and a user without models of other programs."""
    folder, user = tmp_path / "home", tmp_path.parent / f"{tmp_path.name}-user"
    user.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(user))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "HF_HOME", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RPCHAT_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine fails loudly: the program is offline by promise."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise AssertionError(f"a connection to {address[0]} was tried")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)

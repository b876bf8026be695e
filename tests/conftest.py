"""What every test shares: a home of its own, and no way out to a network."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Deadlines and slow draws speak of the machine, not of the program. A run on a commit tries the same examples
# every time; a run by hand looks for new ones.
settings.register_profile(
    "rpchat",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("rpchat")

LOCAL = ("127.0.0.1", "::1", "localhost")
DATA = Path(__file__).parent / "data"


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

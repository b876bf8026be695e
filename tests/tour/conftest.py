"""The installed program on a pseudo-terminal, its screen read by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

# pyte takes `CSI > 1 u` and its like (the Kitty keyboard protocol) for something else.
UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)


class Terminal:
    """A program on a pseudo-terminal of `columns` x `rows` cells."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int, rows: int) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.raw = bytearray()
        """Every byte that reached the terminal."""
        self._master, slave = pty.openpty()
        self.resize(columns, rows, tell=False)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(UNKNOWN_TO_PYTE.sub(b"", data))

    def resize(self, columns: int, rows: int, tell: bool = True) -> None:
        """Change the size of the terminal as a window manager does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            with self._lock:
                self.screen.resize(rows, columns)
            os.kill(self.process.pid, signal.SIGWINCH)

    def lines(self) -> list[str]:
        """The rows of the screen, without trailing blanks."""
        with self._lock:
            return [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.lines())

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def wait(self, condition: Callable[[str], object], seconds: float = 60) -> str:
        """The screen, as soon as the condition holds for it; fails with the screen when it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.text()
            if condition(text):
                return text
            if self.process.poll() is not None:
                time.sleep(0.3)
                if condition(self.text()):
                    return self.text()
                pytest.fail(f"the program ended with {self.process.returncode}:\n{self.text()}")
            time.sleep(0.05)
        pytest.fail(f"never on the screen:\n{self.text()}")

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """The screen, as soon as the regular expression is found on it."""
        return self.wait(lambda text: re.search(pattern, text), seconds)

    def wait_until_gone(self, pattern: str, seconds: float = 60) -> str:
        """The screen, as soon as the regular expression is no longer on it."""
        return self.wait(lambda text: not re.search(pattern, text), seconds)

    def children(self) -> list[int]:
        """Process ids of the program's children: the worker."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            if f"PPid:\t{self.process.pid}\n" in text:
                found.append(int(status.parent.name))
        return found

    def leave(self, keys: str = "\x11", seconds: float = 15) -> int:
        """Press the keys that leave (Ctrl+Q) and give the exit status."""
        self.send(keys)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, as a crash or a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            self.kill()
        os.close(self._master)


Start = Callable[..., Terminal]


@pytest.fixture
def network_log(tmp_path: Path) -> Path:
    """A file that any attempt to leave this machine is written to."""
    return tmp_path / "network.log"


@pytest.fixture
def start(home: Path, network_log: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `rpchat ARGUMENTS` in an empty folder on a terminal of its own."""
    terminals: list[Terminal] = []
    folder = tmp_path / "somewhere"
    folder.mkdir()

    def run(*arguments: str, columns: int = 120, rows: int = 36, **extra: str) -> Terminal:
        # A test runner's COLUMNS and LINES would outrank the size of this terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment = {
            **inherited,
            "RPCHAT_HOME": str(home),
            "RPCHAT_NETWORK_LOG": str(network_log),
            "PYTHONPATH": str(Path(__file__).parent / "offline"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            **extra,
        }
        script = Path(sys.executable).with_name("rpchat")
        terminal = Terminal([str(script), *arguments], environment, columns, rows)
        terminals.append(terminal)
        return terminal

    yield run
    for terminal in terminals:
        terminal.close()
    assert not network_log.exists(), network_log.read_text()

"""README's tour with the real program, worker and demo model, from an empty home to a second start.

Every test starts the program as a person does and reads the screen; `start` fails a test whose program tried
to reach a network.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ENTER, ESCAPE, CTRL_C, CTRL_R, CTRL_G = "\r", "\x1b", "\x03", "\x12", "\x07"
F1, ALT_LEFT, ALT_RIGHT = "\x1bOP", "\x1b[1;3D", "\x1b[1;3C"
GREETING = "The great door of Castle Varnholt"
READY = r"ctx .* \d[\d ]*/8 192"
AT_LENGTH = ("--seed", "1", "--set", "ban_eos=on")
"""A reply that is still being written while a test looks at it."""
WRITING = r"\bwriting\b|\breading [\d ]+ of"


def past_first_start(terminal: Any, name: str = "Alex") -> None:
    """Answer the two questions of a first start."""
    terminal.wait_for("Samuel is waiting")
    terminal.wait_for("Your name")
    terminal.send(name + ENTER)
    terminal.wait_for(f"│  {name} ")
    time.sleep(0.5)  # the box for the persona takes the focus
    terminal.send(ENTER)


def be_alex() -> None:
    """Answer the first start's questions beforehand."""
    rpchat = Path(sys.executable).with_name("rpchat")
    subprocess.run([rpchat, "persona", "set", "Alex"], check=True, timeout=60)


@pytest.fixture
def short_card(tmp_path: Path) -> Path:
    """A card that is read in a moment, and lets the model go on and on; three greetings, as Samuel has."""
    fields = {
        "name": "Mara",
        "description": "Mara has walked from one end of the country to the other, and tells stories to"
        " whoever sits down by her fire. She never tells a short one: there is always another village,"
        " another king, another winter.",
        "first_mes": 'Mara lights the lamp. "Sit down. The night is long, and so is what I have to tell."',
    }
    data = {**fields, "alternate_greetings": ["Sit down.", "Late again."]}
    path = tmp_path / "mara.json"
    path.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    return path


def messages(home: Path) -> list[tuple[str, str]]:
    """Role and text of every message in the store, oldest first."""
    with sqlite3.connect(home / "chats.db") as database:
        return database.execute("select role, text from messages order by id").fetchall()


def replies(home: Path) -> list[str]:
    """Texts by the character, greetings left out."""
    return [text for role, text in messages(home)[3:] if role == "char"]


def answered(terminal: Any, home: Path, count: int = 1) -> None:
    """Wait until that many replies are stored and the screen rests."""
    terminal.wait(lambda _: len(replies(home)) == count, 90)
    terminal.wait_until_gone(WRITING)


def chat_lines(terminal: Any, pattern: str) -> list[str]:
    """The transcript's lines (right of the portrait) in which the pattern is found."""
    return [line for row in terminal.lines() if re.search(pattern, line := row.split("▕")[-1])]


def chat_lines_at_rest(terminal: Any, pattern: str) -> list[str]:
    """The same, once the screen is drawn: they stay as they are for half a second."""
    lines, before = chat_lines(terminal, pattern), None
    while lines != before:
        time.sleep(0.5)
        lines, before = chat_lines(terminal, pattern), lines
    return lines


def wait_for_a_checkpoint(terminal: Any, home: Path) -> None:
    """Wait until a part of the reply is in the store, and a little longer."""

    def kept(_: str) -> bool:
        with sqlite3.connect(home / "chats.db") as database:
            return any(len(text) > 40 for (text,) in database.execute("select text from drafts"))

    terminal.wait(kept)


def test_from_an_empty_home_to_a_second_start(start, home: Path) -> None:
    terminal = start("--card", "samuel.png", "--max-tokens", "24")
    past_first_start(terminal)
    terminal.wait_for(GREETING)
    terminal.wait_for("1/3")  # three greetings
    terminal.wait_for(READY)

    # Greetings are swipes of the first message.
    terminal.send(ALT_RIGHT)
    terminal.wait_for("2/3")
    terminal.wait_for("Mind the ninth step")
    terminal.send(ALT_LEFT)
    terminal.wait_for("1/3")

    # A message, its reply, another reply beside it, back to the first.
    terminal.send("Good evening, Samuel." + ENTER)
    answered(terminal, home)
    terminal.send(CTRL_R)
    terminal.wait_for("2/2")
    terminal.wait_until_gone(WRITING)
    terminal.send(ALT_LEFT)
    terminal.wait_for("1/2")

    # The reply goes on.
    before = len(messages(home))
    terminal.send(CTRL_G)
    terminal.wait(lambda _: len(messages(home)) == before + 1)
    longer = messages(home)[-1][1]
    assert longer.startswith(replies(home)[0].rstrip())

    # Reading mode: edit the user's message, which makes a sibling; delete it, take that back.
    terminal.wait_until_gone(WRITING)
    terminal.send("\t")
    terminal.wait_for("READ")
    terminal.send("\x1b[A")
    terminal.send("e")
    terminal.wait_for("EDIT")
    terminal.send(" The night is cold." + ENTER)
    terminal.wait(lambda _: ("user", "Good evening, Samuel. The night is cold.") in messages(home))
    terminal.wait_for("The night is cold")
    # An edited message is answered; that answer goes and comes back.
    terminal.wait(lambda _: len(replies(home)) == 4)
    terminal.wait_until_gone(WRITING)
    first_words = re.escape(replies(home)[-1][:30].split("\n")[0])
    terminal.wait_for(first_words)
    terminal.send("/delete" + ENTER)
    terminal.wait_until_gone(first_words)
    terminal.send("/undo" + ENTER)
    terminal.wait_for(first_words)
    left_at = chat_lines_at_rest(terminal, "Alex|Samuel  ")
    assert terminal.leave() == 0

    # The second start asks nothing and stands where the first was left.
    terminal = start("--card", "samuel.png")
    terminal.wait_for("The night is cold")
    terminal.wait(lambda _: chat_lines(terminal, "Alex|Samuel  ") == left_at)
    terminal.wait_for(READY)
    terminal.send("/new" + ENTER)
    terminal.wait_until_gone("The night is cold")
    terminal.send("/chats" + ENTER)
    terminal.wait_for("Search names")
    terminal.send(ESCAPE)
    terminal.wait_until_gone("Search names")
    terminal.send(F1)
    terminal.wait_for("Regenerate")
    terminal.send(ESCAPE)
    terminal.wait_until_gone("after a failure")
    assert terminal.leave() == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in [home, *home.rglob("*")])


def test_a_message_sent_while_the_model_loads_is_answered(start, home: Path, short_card: Path) -> None:
    be_alex()
    terminal = start("--card", str(short_card), "--max-tokens", "8")
    terminal.wait_for("Say something to Mara")
    terminal.send("Are you there?" + ENTER)
    terminal.wait_for("Are you there\\?")
    answered(terminal, home)


@pytest.fixture
def long_card(tmp_path: Path) -> Path:
    """A card of several thousand tokens: seconds of reading for the demo model."""
    text = " ".join(
        f"In the year {1000 + n} Vesna saw the ship number {n} pass the lighthouse." for n in range(220)
    )
    card = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Vesna", "description": text}}
    card["data"]["first_mes"] = "Vesna raised the lantern."
    path = tmp_path / "vesna.json"
    path.write_text(json.dumps(card))
    return path


@pytest.mark.parametrize("key", [ESCAPE, CTRL_C], ids=["escape", "ctrl-c"])
def test_a_long_read_stops_at_once(start, home: Path, long_card: Path, key: str) -> None:
    be_alex()
    terminal = start("--card", str(long_card), "--max-tokens", "400")
    terminal.wait_for(READY)
    terminal.send("Hello" + ENTER)
    terminal.wait_for(r"reading [\d ]+ of \d \d\d\d")
    began = time.monotonic()
    terminal.send(key)
    terminal.wait_until_gone(r"reading [\d ]+ of", seconds=10)
    # The promise is 300 ms for the worker; a shared machine, a terminal and a screen stand between.
    assert time.monotonic() - began < 3
    assert [text for role, text in messages(home) if role == "user"] == ["Hello"]
    assert [text for role, text in messages(home) if role == "char"] == ["Vesna raised the lantern."]
    assert terminal.process.poll() is None


def test_the_worker_is_killed_in_mid_reply_and_one_key_tries_again(
    start, home: Path, short_card: Path
) -> None:
    be_alex()
    terminal = start("--card", str(short_card), "--max-tokens", "300", *AT_LENGTH)
    terminal.wait_for(READY)
    terminal.send("Tell me a very long story." + ENTER)
    wait_for_a_checkpoint(terminal, home)
    workers = terminal.children()
    assert workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    screen = terminal.wait_for("Ctrl\\+R")
    terminal.wait(lambda _: len(replies(home)) == 1)
    partial = replies(home)[0]
    assert partial
    assert "Traceback" not in screen
    terminal.send(CTRL_R)
    terminal.wait(lambda _: len(replies(home)) == 2, 90)
    assert replies(home)[0] == partial
    assert set(terminal.children()).isdisjoint(workers)


def test_the_program_is_killed_in_mid_reply_and_the_partial_reply_is_there_again(
    start, home: Path, short_card: Path
) -> None:
    be_alex()
    terminal = start("--card", str(short_card), "--max-tokens", "400", *AT_LENGTH)
    terminal.wait_for(READY)
    terminal.send("Tell me a very long story." + ENTER)
    wait_for_a_checkpoint(terminal, home)
    workers = terminal.children()
    terminal.kill()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)

    terminal = start("--card", str(short_card))
    terminal.wait_for("Tell me a very long story")
    assert len(replies(home)) == 1
    words = re.findall(r"[A-Za-z]{4,}", replies(home)[0])
    assert words
    assert words[0] in terminal.wait_for(re.escape(words[0]))


@pytest.mark.parametrize(
    "extra", [{"NO_COLOR": "1"}, {"TERM": "xterm", "COLORTERM": ""}], ids=["no-color", "16"]
)
def test_the_screen_is_readable_with_few_colours(start, extra: dict[str, str]) -> None:
    be_alex()
    terminal = start("--card", "samuel.png", **extra)
    terminal.wait_for(GREETING)
    assert b"38;2;" not in terminal.raw or "NO_COLOR" not in extra


def test_a_terminal_that_is_too_small_says_so_and_recovers(start) -> None:
    be_alex()
    terminal = start("--card", "samuel.png", columns=20, rows=5)
    terminal.wait_for("too small|Too small")
    terminal.resize(100, 30)
    terminal.wait_for(GREETING)


def test_nothing_of_llama_cpp_reaches_the_terminal(start, home: Path, short_card: Path) -> None:
    be_alex()
    terminal = start("--card", str(short_card), "--max-tokens", "8")
    terminal.wait_for(READY)
    terminal.send("Good evening." + ENTER)
    answered(terminal, home)
    assert b"llama_" not in terminal.raw
    assert b"ggml" not in terminal.raw
    logs = "".join(path.read_text(errors="replace") for path in (home / "logs").glob("*"))
    assert "llama_" in logs
    assert "Good evening" not in logs
    assert replies(home)[0] not in logs

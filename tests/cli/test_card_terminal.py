"""`rpchat card` at a terminal: a name clash is asked, Ctrl-C stops, an edit is settled."""

from __future__ import annotations

import json
import math
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chat.settings import Folders

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]
Step = tuple[bytes, bytes | None]
"""What is waited for on the screen, and the keys pressed then; None is Ctrl-C as a signal."""
CLASH = b"a capital letter for all"


def at_terminal(*args: object, steps: Sequence[Step] = (), editor: Path | None = None) -> tuple[int, str]:
    """Run rpchat with a terminal for stdin, stdout and stderr; its exit status and what was shown."""
    master, slave = pty.openpty()
    program = [sys.executable, "-m", "chat", *map(str, args)]
    env = {**os.environ, "TERM": "xterm"} | ({"EDITOR": str(editor), "VISUAL": ""} if editor else {})
    env.pop("VISUAL", None)
    shown, seen, left = b"", 0, list(steps)
    again = math.inf
    with subprocess.Popen(
        program, stdin=slave, stdout=slave, stderr=slave, env=env, preexec_fn=_hear_ctrl_c
    ) as process:
        os.close(slave)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if time.monotonic() > again:
                process.send_signal(signal.SIGINT)
                again = math.inf
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                shown += os.read(master, 65_536)
            except OSError:
                break
            if left and left[0][0] in shown[seen:]:
                seen, (words, keys) = len(shown), left.pop(0)
                if keys is None:
                    if words == CLASH:
                        # Python misses a signal between the words of a question and the wait for its answer.
                        time.sleep(0.3)
                        again = time.monotonic() + 10
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(master, keys)
        else:
            process.kill()
    os.close(master)
    assert not left, shown
    return process.returncode, shown.decode("utf-8", "replace").replace("\r\n", "\n")


def _hear_ctrl_c() -> None:
    """Whoever started the tests in the background has SIGINT ignored, and that is handed down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def own(rpchat: Rpchat) -> list[tuple[str, str]]:
    cards = [card for card in rpchat("card", "list", "--json").json if not card["starter"]]
    return sorted((card["name"], card["creator"]) for card in cards)


@pytest.fixture
def clashing(rpchat: Rpchat, card_file: WriteCard) -> list[Path]:
    """New versions of three cards of the library."""
    for name in ("Ada", "Bea", "Cy"):
        assert rpchat("card", "import", card_file(name, creator="old")).status == 0
    return [card_file(name, creator="new") for name in ("Ada", "Bea", "Cy")]


@pytest.mark.parametrize(
    ("keys", "status", "cards", "said"),
    [
        (
            [b"k\r", b"r\r", b"c\r"],
            130,
            [("Ada", "new"), ("Ada", "old"), ("Bea", "new"), ("Cy", "old")],
            "stopped; 1 of 3 files was not looked at",
        ),
        ([b"\r", b"x\r", b"S\r"], 0, [("Ada", "new"), ("Ada", "old"), ("Bea", "old"), ("Cy", "old")], ""),
        ([b"R\r"], 0, [("Ada", "new"), ("Bea", "new"), ("Cy", "new")], "3 put in the place"),
        ([None], 130, [("Ada", "old"), ("Bea", "old"), ("Cy", "old")], "stopped; 3 of 3 files were"),
    ],
)
def test_a_clash_is_asked(
    rpchat: Rpchat,
    clashing: list[Path],
    keys: list[bytes | None],
    status: int,
    cards: list[tuple[str, str]],
    said: str,
) -> None:
    steps = [(CLASH, key) for key in keys]
    ended, shown = at_terminal("card", "import", *clashing, steps=steps)
    assert (ended, own(rpchat)) == (status, cards)
    assert said in shown
    question = shown[: shown.index("a capital letter")]
    # The cursor that the bar hides is back where the answer is typed.
    assert question.rfind("\x1b[?25h") > question.rfind("\x1b[?25l")
    assert "Ada is in the library (Ada~" in question


def test_nobody_is_asked_when_the_answer_is_given(rpchat: Rpchat, clashing: list[Path]) -> None:
    status, shown = at_terminal("card", "import", *clashing, "--on-clash", "cancel")
    assert (status, CLASH.decode() in shown) == (1, False)
    assert "ada.json: Ada is in the library (Ada~" in shown
    assert "); 3 of 3 files were not looked at" in shown
    assert {creator for _, creator in own(rpchat)} == {"old"}
    answer = rpchat("card", "import", *clashing, "--on-clash", "cancel")
    assert (answer.status, answer.err.count("\n"), answer.out) == (1, 1, "")


def test_ctrl_c_leaves_whole_cards(rpchat: Rpchat, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3_000):
        card = {"name": f"Card {number}", "description": "x" * 3_000, "first_mes": "Good evening."}
        (folder / f"{number:04}.json").write_text(json.dumps(card))
    status, shown = at_terminal("card", "import", folder, steps=[(b"  1%", None)])
    lines = shown.splitlines()
    assert status == 130
    assert lines[-1].startswith("rpchat: stopped; ")
    assert lines[-1].endswith(" of 3000 files were not looked at")
    cards = Folders.find().cards
    found = [path for path in cards.iterdir() if not path.name.startswith(".")]
    assert 0 < len(found) < 3_000
    assert all(json.loads(path.read_bytes())["first_mes"] for path in found)
    assert not [path for path in cards.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("key", "creators", "kept"),
    [(b"o\r", ["mine"], False), (b"s\r", ["mine", "theirs"], False), (b"r\r", ["theirs, then mine"], True)],
)
def test_a_card_that_changed_while_it_was_edited(
    rpchat: Rpchat, card_file: WriteCard, tmp_path: Path, key: bytes, creators: list[str], kept: bool
) -> None:
    ref = rpchat("card", "import", card_file("Vesna", creator="old"), "--json").json[0]["ref"]
    path = Folders.find().cards / f"{ref}.json"
    editor = tmp_path / "editor.sh"
    editor.write_text(
        "#!/bin/sh\n"
        f"sed -i 's/\"old\"/\"theirs\"/' '{path}'\n"
        "sed -i 's/^  creator: theirs$/&, then mine/; s/^  creator: old$/  creator: mine/' \"$1\"\n"
    )
    editor.chmod(0o700)
    status, shown = at_terminal("card", "edit", "vesna", steps=[(b"aside", key)], editor=editor)
    assert (status, "another program has changed this file" in shown) == (0, True)
    assert [creator for _, creator in own(rpchat)] == creators
    drafts = list((Folders.find().cache / "edits").iterdir())
    assert [("creator: mine" in draft.read_text(), str(draft) in shown) for draft in drafts] == [
        (True, True)
    ] * kept

"""The command line as people and scripts use it: what is printed, and with which exit status."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat import __main__ as program
from chat.cli import failure, root
from chat.settings import Folders, Settings

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]
HEAVY = {"textual", "rich", "llama_cpp", "PIL", "numpy"}
SLOW = {"pydantic", "yaml", "jinja2", "sqlite3"}


def loaded_by(*args: str) -> set[str]:
    """Top-level modules that a run of rpchat has loaded at its end."""
    code = (
        "import sys; from chat.__main__ import run; status = run(sys.argv[1:]);"
        "print('|'.join({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(status)"
    )
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(run.stderr.strip().splitlines()[-1].split("|"))


def test_help_loads_nothing_that_is_slow() -> None:
    for args in (["--help"], ["--version"], ["say", "--help"], ["model", "list", "--help"]):
        assert not loaded_by(*args) & (HEAVY | SLOW)


def test_prompt_loads_neither_screen_nor_model_nor_pictures(card_file: WriteCard) -> None:
    loaded = loaded_by("prompt", "--card", str(card_file()), "--format", "limarp-v1", "--json")
    assert not loaded & HEAVY
    assert not loaded_by("prompt", "--card", "samuel", "--json") & HEAVY


def test_every_verb_has_a_help_text_and_the_version_is_the_packages(rpchat: Rpchat) -> None:
    answer = rpchat("--help")
    assert answer.status == 0
    for verb in root.VERBS:
        assert verb in answer.out
        assert rpchat(verb, "--help").status == 0
    assert rpchat("--version").out.startswith("rpchat 0.")


WRONG_USE = [
    ("no terminal", ["--card", "samuel"], "needs a terminal"),
    ("unknown verb", ["sya", "hi"], "did you mean say?"),
    ("a card without --card", ["samuel.png"], "--card samuel.png"),
    ("unknown option", ["say", "hi", "--carrd", "x"], "--carrd"),
    ("options before the verb", ["--card", "samuel", "say", "hi"], "stand after the verb"),
    ("no text", ["say"], "TEXT"),
    ("empty text", ["say", ""], "the message is empty"),
    ("blank text", ["say", " \n "], "the message is empty"),
    ("no number", ["say", "hi", "--seed", "many"], "many"),
    ("negative seed", ["say", "hi", "--seed", "-1"], "-1"),
    ("layers", ["say", "hi", "--gpu-layers", "all"], "neither auto nor a number"),
    ("more layers than a number has", ["say", "hi", "--gpu-layers", "1" * 5000], "neither auto nor a number"),
    ("setting without a value", ["prompt", "--set", "temperature"], "KEY=VALUE"),
    ("unknown setting", ["prompt", "--set", "temprature=1"], "temperature"),
    ("impossible setting", ["prompt", "--set", "temperature=hot"], "temperature"),
    ("unknown format", ["prompt", "--format", "limarp-v9"], "limarp-v"),
    ("unknown mode", ["prompt", "--as", "narrator"], "narrator"),
    ("two users", ["prompt", "--persona", "a", "--user", "b"], "exclude each other"),
    ("two chats", ["say", "hi", "--chat", "x", "--continue"], "exclude each other"),
    ("no such text file", ["say", "@/no/such/file"], "@@"),
    ("nothing to continue", ["prompt", "--as", "continue", "--say", "hi"], "continue"),
    ("empty --say", ["prompt", "--say", " "], "--say is empty"),
]


@pytest.mark.parametrize(("args", "words"), [case[1:] for case in WRONG_USE], ids=[c[0] for c in WRONG_USE])
def test_wrong_use_is_one_line_and_status_2(rpchat: Rpchat, args: list[str], words: str) -> None:
    answer = rpchat(*args)
    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("rpchat: ")
    assert words in answer.err


NOBODY = "~nobody-of-this-name/x"


@pytest.mark.parametrize(
    "args",
    [
        ["prompt", "--note", f"@{NOBODY}"],
        ["prompt", "--chat", f"{NOBODY}.jsonl"],
        ["prompt", "--model", f"{NOBODY}.gguf"],
        ["prompt", "--card", f"{NOBODY}.png"],
        ["say", "hi", "--lora", f"{NOBODY}.gguf"],
        ["model", "add", NOBODY],
        ["chat", "import", f"{NOBODY}.jsonl"],
        ["preset", "import", NOBODY],
        ["preset", "export", "chatml", "-o", NOBODY],
        ["card", "edit", "samuel", "--from", NOBODY],
    ],
    ids=" ".join,
)
def test_a_home_that_nobody_has_is_no_file(rpchat: Rpchat, args: list[str]) -> None:
    answer = rpchat(*args)
    assert answer.status in (1, 2)
    assert answer.err.count("\n") == 1
    assert "rpchat itself" not in answer.err


def test_settings_may_name_a_home_that_nobody_has(rpchat: Rpchat) -> None:
    Settings(Folders.find()).set("models", [NOBODY])
    assert NOBODY in rpchat("model", "list", "--json").out


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0\x3a\x7e\x9b\x55"
    + b"\0\0\0\0IEND\xaeB`\x82"
)


def bad_inputs(folder: Path) -> dict[str, bytes]:
    files = {
        "empty.png": PNG,
        "notes.txt": b"Just a text, no card.",
        "text.gguf": b"Just a text, no model.",
        "old.ggmlv3.q4_0.bin": b"tjgg" + struct.pack("<I", 3) + bytes(64),
        "cut.gguf": b"GGUF" + struct.pack("<IQQ", 3, 1, 10),
        "chat.jsonl": b"no chat at all",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


FAILURES = [
    ("a PNG without a card", ["card", "show", "{}/empty.png"], "empty.png"),
    ("a text as a card", ["card", "show", "{}/notes.txt"], "notes.txt"),
    ("a missing card", ["card", "show", "{}/none.png"], "none.png"),
    ("an unknown card", ["prompt", "--card", "samule"], "samuel"),
    ("a folder as a card", ["prompt", "--card", "{}"], "folder"),
    ("a text as a model", ["say", "hi", "--model", "{}/text.gguf"], "not a GGUF"),
    ("a pre-GGUF model", ["say", "hi", "--model", "{}/old.ggmlv3.q4_0.bin"], "pre-GGUF file (GGML v3)"),
    ("a truncated model", ["model", "add", "{}/cut.gguf"], "download it again"),
    ("model info of it", ["model", "info", "{}/cut.gguf"], "download it again"),
    ("a missing model", ["say", "hi", "--model", "{}/none.gguf"], "no such file"),
    ("an unknown model", ["say", "hi", "--model", "none"], "rpchat model list"),
    ("an empty models folder", ["model", "add", "{}/sub"], "no .gguf file"),
    ("a chat file that is none", ["prompt", "--chat", "{}/chat.jsonl"], "no chat in it"),
    ("an unknown chat", ["chat", "show", "0123"], "0123"),
    ("an unknown persona", ["prompt", "--persona", "nobody"], "rpchat persona list"),
    ("deleting no persona", ["persona", "delete", "nobody"], "rpchat persona list"),
    ("an unknown preset", ["preset", "show", "limarp-v9"], "did you mean"),
    ("a preset into no folder", ["preset", "export", "chatml", "-o", "{}/none/a.json"], "none/a.json: "),
]


@pytest.mark.parametrize(("args", "words"), [case[1:] for case in FAILURES], ids=[c[0] for c in FAILURES])
def test_what_fails_is_one_line_and_status_1(
    rpchat: Rpchat, tmp_path: Path, args: list[str], words: str
) -> None:
    bad_inputs(tmp_path)
    (tmp_path / "sub").mkdir()
    answer = rpchat(*(arg.format(tmp_path) for arg in args))
    assert answer.status == 1
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("rpchat: ")
    assert words in answer.err


def test_broken_settings_are_named_and_left_as_they_are(rpchat: Rpchat, home: Path) -> None:
    home.mkdir()
    config = home / "config.yaml"
    config.write_text("persona: [Alex\nmax_tokens: 3\n")
    for args in (["persona", "list"], ["prompt"], ["say", "hi"], ["model", "list"]):
        answer = rpchat(*args)
        assert answer.status == 1
        assert answer.err.startswith(f"rpchat: {config}: line 2, column 11:")
        assert answer.err.count("\n") == 1
    assert config.read_text() == "persona: [Alex\nmax_tokens: 3\n"


def test_a_damaged_database_is_set_aside_and_said(rpchat: Rpchat, home: Path) -> None:
    home.mkdir()
    (home / "chats.db").write_bytes(b"this is no database, " * 500)
    answer = rpchat("chat", "list", "--json")
    assert (answer.status, answer.json) == (0, [])
    (aside,) = (file for file in home.glob("chats*") if file.read_bytes().startswith(b"this is no database"))
    assert str(aside) in answer.err
    assert answer.err.count("\n") == 1


def test_an_error_of_our_own_leaves_its_frames_in_the_log_and_no_text_of_a_chat(
    rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise KeyError("words of a chat: " + "secret"[::-1])

    monkeypatch.setattr(root.rpchat, "main", fail)
    answer = rpchat("prompt")
    log = Folders.find().program_log
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert str(log) in answer.err
    assert "in fail" in log.read_text()
    assert "terces" not in log.read_text() + answer.err
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "chat", "card", "show", "samuel"]
    run = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, check=False)
    os.close(written)
    assert (run.returncode, run.stderr) == (failure.FAILED, b"")


@pytest.mark.parametrize("verb", [["--help"], ["card", "list"], ["prompt", "--json"], ["chat", "list"]])
def test_a_full_disk_is_one_line(verb: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "chat", *verb]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert run.returncode == 1
    assert run.stderr == b"rpchat: the output: No space left on device\n"


def test_without_stdin_a_message_is_empty() -> None:
    command = f"{sys.executable} -m chat say - <&-"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "the message is empty" in run.stderr


@pytest.mark.parametrize("args", [["say", "hi"], ["chat", "list"], ["persona", "set", "Alex"]])
def test_a_home_that_cannot_be_made_is_one_line(
    rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RPCHAT_HOME", str(tmp_path / "file" / "home"))
    answer = rpchat(*args)
    assert answer.status == 1
    assert str(tmp_path / "file") in answer.err
    assert answer.err.count("\n") == 1
    doctor = rpchat("doctor", "--json")
    assert doctor.status == 1
    assert any("cannot be written" in check["what"] for check in doctor.json["checks"])


def test_ctrl_c_ends_quietly(rpchat: Rpchat, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(root.rpchat, "main", interrupted)
    answer = rpchat("prompt")
    assert (answer.status, answer.out, answer.err) == (failure.INTERRUPTED, "", "")


# Verbs that only show ---------------------------------------------------------------------------------------


def test_cards_are_listed_and_shown_as_text_and_json(rpchat: Rpchat) -> None:
    listed = rpchat("card", "list", "--json").json
    assert {"samuel", "carina", "charlotte", "etma", "mila"} <= {card["ref"] for card in listed}
    assert set(listed[0]) == {"ref", "path", "name", "spec", "creator", "tags", "tokens", "starter", "error"}
    assert "samuel" in rpchat("card", "list").out
    shown = rpchat("card", "show", "Samuel")
    assert shown.out.startswith("Samuel\n")
    assert "== Greeting 1 of" in shown.out
    whole = rpchat("card", "show", "samuel.png", "--json").json
    assert whole["document"]["data"]["name"] == "Samuel"


def test_what_people_read_is_harmless_and_json_is_exact(rpchat: Rpchat, card_file: WriteCard) -> None:
    hostile = "\x1b]52;c;aGk=\x07[@click=app.quit]x[/] <|im_end|> \x9b31m{{ 7*7 }} \u202eend"
    path = card_file("Vesna", description=hostile)
    shown = rpchat("card", "show", path)
    assert shown.status == 0
    assert not set(shown.out) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "[@click=app.quit]x[/] <|im_end|>" in shown.out
    prompt = rpchat("prompt", "--card", path, "--format", "alpaca", "--say", hostile)
    assert not set(prompt.out) & {"\x1b", "\x07", "\x9b", "\u202e"}
    exact = rpchat("prompt", "--card", path, "--format", "alpaca", "--say", hostile, "--json")
    assert hostile in exact.json["text"]
    assert not set(exact.out) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_models_can_be_added_listed_and_described(
    rpchat: Rpchat, tmp_path: Path, tiny_model: Callable[..., Path]
) -> None:
    folder = tmp_path / "my models"
    path = tiny_model(folder / "pygmalion-2-7b.Q4_K_M.gguf", tokenizer="llama", tokens=32000, template="")
    assert rpchat("model", "add", folder).out == f"{folder}: 1 model\n"
    assert "was known" in rpchat("model", "add", folder).out
    listed = {file["path"]: file for file in rpchat("model", "list", "--json").json}
    described = listed[str(path)]
    assert described["format"] == "metharme"
    assert described["quantization"] == "Q4_K_M"
    assert described["context"] == 4096
    assert described["size"] == path.stat().st_size
    assert described["why"]
    assert described["problem"] is None
    row = next(line for line in rpchat("model", "list").out.splitlines() if path.name in line)
    assert "Q4_K_M" in row
    assert "4,096" in row
    assert rpchat("model", "info", "pygmalion").out.splitlines()[0].endswith(str(path))


def test_personas_are_stored_shown_and_forgotten(rpchat: Rpchat, tmp_path: Path) -> None:
    assert rpchat("persona", "list").out.startswith("no persona yet")
    (tmp_path / "kim.txt").write_text("A pilot.\n")
    assert rpchat("persona", "set", "Alex", "--description", "@@home in the sea.").status == 0
    assert (
        rpchat("persona", "set", "Kim", "--description", f"@{tmp_path / 'kim.txt'}", "--default").status == 0
    )
    assert rpchat("persona", "set", "Jo", "--description", "-", stdin=b"From stdin.\n").status == 0
    assert rpchat("persona", "list", "--json").json == [
        {"name": "Alex", "description": "@home in the sea.", "default": False},
        {"name": "Jo", "description": "From stdin.", "default": False},
        {"name": "Kim", "description": "A pilot.", "default": True},
    ]
    assert rpchat("persona", "show", "alex").out == "Alex\n@home in the sea.\n"
    assert rpchat("persona", "delete", "Kim").status == 0
    assert Settings(Folders.find()).persona("Kim") is None


def test_presets_are_listed_and_shown(rpchat: Rpchat, home: Path) -> None:
    listed = rpchat("preset", "list", "--json").json
    assert {"format", "sampling"} == {preset["kind"] for preset in listed}
    shown = rpchat("preset", "show", "limarp-v1", "--json").json
    assert shown["format"]["ban_eos"] is True
    assert shown["sampling"]["sampling"]["tfs_z"] == 0.85
    assert "tfs_z: 0.85" in rpchat("preset", "show", "limarp-v1").out
    (home / "presets" / "formats").mkdir(parents=True)
    (home / "presets" / "formats" / "broken.yaml").write_text("title: [")
    broken = rpchat("preset", "list")
    assert broken.status == 0
    assert "left out: " in broken.err
    assert "broken.yaml" in broken.err


def test_no_chat_yet(rpchat: Rpchat) -> None:
    assert rpchat("chat", "list").out.startswith("no chat yet")
    assert rpchat("chat", "list", "--json").json == []
    assert rpchat("chat", "search", "lighthouse", "--json").json == []


def test_a_name_with_control_characters_cannot_break_a_table(
    rpchat: Rpchat, card_file: WriteCard, home: Path
) -> None:
    path = card_file("Eve")
    (home / "cards").mkdir(parents=True)
    card = json.loads(path.read_text())
    card["data"]["name"] = "Eve\n\x1b[2Jsecond line"
    (home / "cards" / "eve.json").write_text(json.dumps(card))
    listed = rpchat("card", "list").out
    assert "\x1b" not in listed
    assert len(listed.splitlines()) == len(rpchat("card", "list", "--json").json)


def test_run_returns_what_the_verb_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.cli.root.rpchat.main", lambda *args, **options: 7)
    assert program.run([]) == 7

"""`rpchat preset import` and `export`: files in, ids out, exit statuses, nothing lost."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chat.__main__ import run

INSTRUCT = {
    "name": "Wrapped",
    "input_sequence": "### Q:",
    "output_sequence": "### A:",
    "wrap": True,
    "names_behavior": "always",
    "from_the_future": {"kept": [1, 2.5, None]},
}
CONTEXT = {"name": "Wrapped", "story_string": "{{system}}\n{{description}}\n", "chat_start": "***"}
SYSPROMPT = {"name": "Wrapped", "content": "Be {{char}}."}
TEXTGEN = {"temp": 0.5, "rep_pen": 1.1, "top_p": 1, "top_k": 0, "guidance_scale": 2, "mine": "kept"}


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Rpchat = Callable[..., Answer]


@pytest.fixture
def rpchat(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Rpchat:
    def call(*args: object) -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b""), encoding="utf-8"))
        capfdbinary.readouterr()
        status = run([str(arg) for arg in args])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Answer(status, out.decode("utf-8"), err.decode("utf-8"))

    return call


def written(folder: Path, **documents: dict[str, Any]) -> Path:
    for name, document in documents.items():
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return written(tmp_path / "files", i=INSTRUCT, c=CONTEXT, s=SYSPROMPT)


def test_three_files_become_one_format_that_prompts_are_made_with(rpchat: Rpchat, files: Path) -> None:
    answer = rpchat("preset", "import", files / "i.json", files / "c.json", files / "s.json", "--json")
    assert (answer.status, answer.err) == (0, "")
    assert [(row["kind"], row["id"], row["error"]) for row in answer.json] == [
        ("context", "wrapped", None),
        ("instruct", "wrapped", None),
        ("sysprompt", "wrapped", None),
    ]
    assert "wrapped" in {row["id"] for row in rpchat("preset", "list", "--json").json}
    shown = rpchat("preset", "show", "wrapped", "--json").json["format"]
    assert shown["names"]["default"] == "as-sillytavern"
    prompt = rpchat(
        "prompt", "--card", "samuel", "--format", "wrapped", "--say", "Hello.", "--user", "Alex", "--json"
    )
    text = prompt.json["text"]
    assert text.startswith("Be Samuel.\n")
    assert text.endswith("\n### Q:\nAlex: Hello.\n### A:\nSamuel:")
    assert prompt.json["stop"] == ["\nAlex:", "\n### Q:", "\n### A:"]


def test_people_read_what_was_made_of_what(rpchat: Rpchat, files: Path) -> None:
    answer = rpchat("preset", "import", files)
    assert answer.status == 0
    assert answer.out == "format  wrapped  context Wrapped, instruct Wrapped, sysprompt Wrapped\n"


def test_a_folder_is_taken_whole_and_bad_files_are_named(rpchat: Rpchat, tmp_path: Path) -> None:
    folder = tmp_path / "st"
    written(folder / "instruct", a=INSTRUCT, b={**INSTRUCT, "name": "Other"})
    written(folder / "context", a=CONTEXT, b={**CONTEXT, "name": "Other"})
    written(folder / "TextGen Settings", Warm=TEXTGEN)
    (folder / "broken.json").write_text('{"name": ')
    (folder / "Old.settings").write_text(json.dumps({"temp": 0.5, "typical": 1, "rep_pen": 1.1}))
    (folder / "readme.txt").write_text("not looked at")
    answer = rpchat("preset", "import", folder, "--json")
    assert answer.status == 1
    assert {(row["kind"], row["id"]) for row in answer.json if row["error"] is None} == {
        ("instruct", "wrapped"),
        ("context", "wrapped"),
        ("instruct", "other"),
        ("context", "other"),
        ("sampling", "warm"),
        ("sampling", "old"),
    }
    [bad] = [row for row in answer.json if row["error"] is not None]
    assert bad["path"].endswith("broken.json")
    assert answer.err.count("\n") == 1
    assert "broken.json line 1: not JSON" in answer.err
    sampling = rpchat("preset", "show", "warm", "--json").json["sampling"]
    assert (sampling["sampling"]["temperature"], sampling["sampling"]["repeat_penalty"]) == (0.5, 1.1)
    assert sampling["sillytavern"] == TEXTGEN
    assert rpchat("preset", "list").err == ""


def test_what_has_no_effect_is_said(rpchat: Rpchat, tmp_path: Path) -> None:
    written(tmp_path, Warm=TEXTGEN)
    answer = rpchat("preset", "import", tmp_path / "Warm.json")
    assert answer.status == 0
    assert "warm: kept in the file, without effect here: guidance_scale 2" in answer.err


def test_a_chosen_id_and_a_former_one_that_is_kept(rpchat: Rpchat, files: Path, home: Path) -> None:
    assert rpchat("preset", "import", files, "--as", "mine").status == 0
    file = home / "presets" / "formats" / "mine.yaml"
    former = file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    again = rpchat("preset", "import", files, "--as", "mine")
    assert "former" not in again.err
    written(files, s={**SYSPROMPT, "content": "Else."})
    changed = rpchat("preset", "import", files, "--as", "mine")
    assert changed.status == 0
    assert "mine.yaml.bak" in changed.err
    assert (file.parent / "mine.yaml.bak").read_bytes() == former
    assert b"Else." in file.read_bytes()
    changed_again = file.read_bytes()
    written(files, s={**SYSPROMPT, "content": "Third."})
    assert "mine.yaml.bak2" in rpchat("preset", "import", files, "--as", "mine").err
    assert (file.parent / "mine.yaml.bak").read_bytes() == former
    assert (file.parent / "mine.yaml.bak2").read_bytes() == changed_again


def test_files_may_come_one_at_a_time(rpchat: Rpchat, files: Path) -> None:
    assert rpchat("preset", "import", files / "i.json").status == 0
    answer = rpchat("preset", "import", files / "c.json")
    assert "wrapped: its former instruct kept\n" in answer.err
    assert answer.out == "format  wrapped  context Wrapped\n"
    answer = rpchat("preset", "import", files / "s.json")
    assert (answer.status, answer.out) == (0, "format  wrapped  sysprompt Wrapped\n")
    assert "wrapped: its former instruct and context kept\n" in answer.err
    written(files, i={**INSTRUCT, "wrap": False}, t={"name": "Other", "content": "T"}, u=SYSPROMPT)
    rpchat("preset", "import", files / "t.json", "--as", "wrapped")
    rpchat("preset", "import", files / "i.json", "--as", "wrapped")
    shown = rpchat("preset", "show", "wrapped", "--json").json["format"]
    assert (shown["title"], shown["sillytavern"]["sysprompt"]["content"]) == ("Wrapped", "T")
    answer = rpchat("preset", "import", files / "s.json", files / "u.json")
    assert answer.out == "format  wrapped  sysprompt Wrapped\n"
    assert "u.json: not used: another system prompt is called 'Wrapped'\n" in answer.err
    assert rpchat("preset", "export", "wrapped").json == {
        "instruct": {**INSTRUCT, "wrap": False},
        "context": CONTEXT,
        "sysprompt": SYSPROMPT,
    }


@pytest.mark.parametrize(
    "text", ["", "[", "id: wrapped\nsillytavern: 3", "sillytavern: {context: x}", "a: 1"]
)
def test_what_stands_in_the_place_of_a_format_is_no_trouble(
    rpchat: Rpchat, files: Path, home: Path, text: str
) -> None:
    file = home / "presets" / "formats" / "wrapped.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    answer = rpchat("preset", "import", files / "i.json")
    assert answer.status == 0
    assert "takes the place of a former one" in answer.err
    assert rpchat("preset", "export", "wrapped").json == INSTRUCT


def test_a_shipped_id_is_not_taken(rpchat: Rpchat, tmp_path: Path) -> None:
    written(tmp_path, i={**INSTRUCT, "name": "Alpaca"}, m={**TEXTGEN, "name": "Metharme"})
    rows = rpchat("preset", "import", tmp_path / "i.json", tmp_path / "m.json", "--json").json
    assert [row["id"] for row in rows] == ["alpaca-st", "metharme-st"]
    assert rpchat("preset", "show", "alpaca", "--json").json["format"]["title"] == "Alpaca"


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["preset", "import"], 2, "Missing argument"),
        (["preset", "import", "{files}", "--as", "Not An Id"], 2, "--as"),
        (["preset", "import", "{files}", "--as", "../x"], 2, "--as"),
        (["preset", "import", "{files}", "--as", "x" * 300], 2, "at most 60"),
        (["preset", "import", "{files}", "{other}", "--as", "x"], 2, "names one preset"),
        (["preset", "import", "{files}/nowhere.json"], 1, "no such file or folder"),
        (["preset", "import", "{empty}"], 1, "no .json or .settings file"),
        (["preset", "import", "{files}/s.json"], 1, "a system prompt is a part of a format"),
        (["preset", "import", "{bad}"], 1, "story_string"),
        (["preset", "export", "limarp-v9"], 1, "did you mean"),
    ],
)
def test_errors_are_one_line(
    rpchat: Rpchat, files: Path, tmp_path: Path, arguments: list[str], status: int, line: str
) -> None:
    (tmp_path / "empty").mkdir()
    other = written(tmp_path / "other", i={**INSTRUCT, "name": "B"}, c={**CONTEXT, "name": "B"})
    bad = written(tmp_path / "bad", i=INSTRUCT, s=SYSPROMPT, c={**CONTEXT, "story_string": "{{#if x}}"})
    places = {"files": files, "other": other, "empty": tmp_path / "empty", "bad": bad}
    answer = rpchat(*(argument.format(**places) for argument in arguments))
    assert (answer.status, answer.out) == (status, "")
    assert line in answer.err
    assert answer.err.count("\n") == 1


def test_several_files_of_one_name_are_paired_in_their_order(rpchat: Rpchat, tmp_path: Path) -> None:
    written(tmp_path / "1", i=INSTRUCT, c=CONTEXT, s=SYSPROMPT)
    written(tmp_path / "2", i={**INSTRUCT, "wrap": False}, c={**CONTEXT, "chat_start": "Go"})
    written(
        tmp_path / "3", i={**INSTRUCT, "name": "Else"}, s=SYSPROMPT, t={"name": "Wrapped", "content": "T"}
    )
    answer = rpchat("preset", "import", tmp_path)
    assert answer.status == 0
    assert [line.split()[1] for line in answer.out.splitlines()] == ["wrapped", "wrapped-2", "else"]
    assert f"{tmp_path}/3/t.json: not used: another system prompt is called 'Wrapped'\n" in answer.err
    first, second = (rpchat("preset", "export", id).json for id in ("wrapped", "wrapped-2"))
    assert (first["instruct"]["wrap"], first["context"]["chat_start"]) == (True, "***")
    assert (second["instruct"]["wrap"], second["context"]["chat_start"]) == (False, "Go")


def test_what_else_a_master_export_holds_is_said(rpchat: Rpchat, tmp_path: Path) -> None:
    bundle = {"instruct": INSTRUCT, "context": CONTEXT, "sysprompt": SYSPROMPT, "preset": TEXTGEN}
    beside = {"reasoning": {"prefix": "<think>"}, "srw": {"value": "Sure"}, "extensions": {}}
    written(tmp_path, m={**bundle, **beside})
    answer = rpchat("preset", "import", tmp_path / "m.json")
    assert answer.status == 0
    assert "wrapped: left out: reasoning, srw of the same file, no part of a format here\n" in answer.err
    assert rpchat("preset", "export", "wrapped").json == {
        kind: bundle[kind] for kind in ("instruct", "context", "sysprompt")
    }


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {**INSTRUCT, "input_sequence": "{{[INPUT]}}"},
            "wrapped: {{[INPUT]}} is filled in by KoboldCpp alone",
        ),
        ({**CONTEXT, "trim_sentences": True}, "--set trim_sentences=on"),
    ],
)
def test_what_is_not_the_same_here_is_said(
    rpchat: Rpchat, tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    written(tmp_path, a=document)
    answer = rpchat("preset", "import", tmp_path / "a.json")
    assert answer.status == 0
    assert said in answer.err


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("../../../../outside", "outside"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "preset"),
        ("C:\\Windows\\x", "c-windows-x"),
        ("a\x00b\n\x1b[31m", "a-b-31m"),
        ("x" * 300, "x" * 60),
        ("Wrapped.yaml", "wrapped.yaml"),
    ],
)
def test_a_name_stays_in_the_presets_folder(
    rpchat: Rpchat, tmp_path: Path, home: Path, name: str, id: str
) -> None:
    written(tmp_path / "in", a={**INSTRUCT, "name": name}, t={**TEXTGEN, "name": name})
    before = set(tmp_path.rglob("*"))
    answer = rpchat("preset", "import", tmp_path / "in", "--json")
    assert {row["id"] for row in answer.json} == {id}
    made = {f for f in set(tmp_path.rglob("*")) | set(home.rglob("*")) if f.is_file() and f not in before}
    presets = home / "presets"
    assert {f for f in made if f.suffix == ".yaml"} == {
        presets / "formats" / f"{id}.yaml",
        presets / "samplings" / f"{id}.yaml",
    }
    assert rpchat("preset", "export", id).json["instruct"] == {**INSTRUCT, "name": name}


def test_what_could_not_be_read_again_is_not_written(rpchat: Rpchat, tmp_path: Path, home: Path) -> None:
    deep: object = [1] * 20_000
    for _ in range(40):
        deep = {"in": deep}
    written(tmp_path, big={**TEXTGEN, "mine": deep})
    answer = rpchat("preset", "import", tmp_path / "big.json")
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert "big.json: written as YAML it has" in answer.err
    assert not (home / "presets" / "samplings").exists() or not list((home / "presets").rglob("*.yaml"))


# Export -------------------------------------------------------------------------------------------------


def test_an_imported_format_comes_out_as_it_went_in(rpchat: Rpchat, files: Path, tmp_path: Path) -> None:
    rpchat("preset", "import", files)
    bundle = rpchat("preset", "export", "wrapped")
    assert bundle.json == {"context": CONTEXT, "instruct": INSTRUCT, "sysprompt": SYSPROMPT}
    file = tmp_path / "out.json"
    assert rpchat("preset", "export", "wrapped", "-o", file).status == 0
    assert json.loads(file.read_text("utf-8")) == bundle.json
    assert rpchat("preset", "import", file, "--as", "again", "--json").json[0]["id"] == "again"
    assert rpchat("preset", "export", "again").json == bundle.json


def test_into_a_folder_each_part_is_a_file(rpchat: Rpchat, files: Path, tmp_path: Path) -> None:
    rpchat("preset", "import", files)
    assert rpchat("preset", "export", "wrapped", "-o", f"{tmp_path}/parts/").status == 0
    held = {file.name: json.loads(file.read_text("utf-8")) for file in (tmp_path / "parts").iterdir()}
    assert held == {
        "wrapped.instruct.json": INSTRUCT,
        "wrapped.context.json": CONTEXT,
        "wrapped.sysprompt.json": SYSPROMPT,
    }


def test_a_sampling_comes_out_as_it_went_in(rpchat: Rpchat, tmp_path: Path) -> None:
    written(tmp_path, Warm=TEXTGEN)
    rpchat("preset", "import", tmp_path / "Warm.json")
    assert rpchat("preset", "export", "warm").json == TEXTGEN


def test_a_shipped_format_goes_with_the_sampling_of_its_name(rpchat: Rpchat) -> None:
    answer = rpchat("preset", "export", "limarp-v3")
    assert answer.status == 0
    assert set(answer.json) == {"instruct", "context", "sysprompt", "preset"}
    assert "message length is fixed at" in answer.err
    assert answer.json["preset"]["tfs"] == 0.95


def test_a_format_is_shown_with_an_example(rpchat: Rpchat, files: Path) -> None:
    rpchat("preset", "import", files)
    shown = rpchat("preset", "show", "wrapped")
    assert "example:\nBe Mira.\nMira keeps a lighthouse" in shown.out
    assert shown.out.endswith('### Q:\nAlex: "The fog was thick."\n### A:\nMira:\n')
    assert rpchat("preset", "show", "limarp-v1", "--json").json["example"].startswith("<<SYSTEM>>\n")
    assert "example" not in rpchat("preset", "show", "mistral-nemo", "--json").json

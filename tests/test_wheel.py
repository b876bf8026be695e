"""What `pip install` brings: code, formats, samplings, cards and styles, and nothing beside them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".png", ".tcss"])
def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile, suffix: str) -> None:
    shipped = {name for name in wheel.namelist() if name.endswith(suffix)}
    expected = {
        str(path.relative_to(ROOT))
        for package in ("cards", "presets", "chat")
        for path in (ROOT / package).rglob(f"*{suffix}")
        if "source" not in path.parts
    }
    assert expected
    assert expected <= shipped


def test_the_five_starters_and_the_seed_formats_are_there(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {
        f"cards/starters/{name}.png" for name in ("samuel", "carina", "charlotte", "etma", "mila")
    } <= names
    assert {
        "presets/formats/limarp-v1.yaml",
        "presets/formats/chatml.yaml",
        "presets/samplings/limarp-v1.yaml",
    } <= names


def test_nothing_is_installed_outside_the_three_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cards", "presets", "chat"}

"""`rpchat card export`: which form a file takes, where it goes, and what is said before something is lost."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cards.png import blank_png
from cards.png_chunks import text_chunks
from cards.reading import read_card

Rpchat = Callable[..., Any]
WriteCard = Callable[..., Path]
DATA = {"name": "Vesna", "description": "d", "first_mes": "x", "extensions": {}}
V2 = {"spec": "chara_card_v2", "spec_version": "2.0", "data": DATA}
V3 = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**DATA, "nickname": "V"}}
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab a picture \xff\xd9"


def png(document: Any, tail: bytes = b"") -> bytes:
    body = b"tEXtchara\0" + base64.b64encode(json.dumps(document).encode())
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return blank_png()[:-12] + chunk + blank_png()[-12:] + tail


def charx(front: bytes = b"") -> bytes:
    out = io.BytesIO()
    out.write(front)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("card.json", json.dumps(V3))
        archive.writestr("assets/emotion/image/joy.png", b"joy")
    return out.getvalue()


def webp() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + json.dumps(V2).encode()
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "WEBP", exif=exif)
    return out.getvalue()


def byaf() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"characters": ["c.json"]}))
        archive.writestr("c.json", json.dumps({"name": "Vesna", "persona": "d"}))
    return out.getvalue()


FILES = {
    "png": png(V2, b"tail"),
    "json": json.dumps(V2, indent=1).encode() + b"\n\n",
    "yaml": b"name: Vesna # mine\ncontext: d\ngreeting: x\n",
    "md": b"---\nspec: chara_card_v2\nspec_version: '2.0'\ndata:\n  name: Vesna\n  description: d\n---\n",
    "charx": charx(),
    "jpg": charx(JPEG),
    "webp": webp(),
    "byaf": byaf(),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One card in each container, and a folder to work in."""
    for ending, data in FILES.items():
        (tmp_path / f"card.{ending}").write_bytes(data)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("ending", FILES)
def test_a_card_keeps_its_own_container(rpchat: Rpchat, here: Path, ending: str) -> None:
    source = here / f"card.{ending}"
    for options in ([], ["-o", f"named.{ending}"], ["-o", "new/"], ["-o", "no_ending"]):
        answer = rpchat("card", "export", source, *options)
        assert (answer.status, answer.err) == (0, "")
    assert sorted(str(path.relative_to(here / "work")) for path in (here / "work").rglob("*.*")) == sorted(
        (f"Vesna.{ending}", f"named.{ending}", f"new/Vesna.{ending}")
    )
    written = [path for path in (here / "work").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in written] == [FILES[ending]] * 4


@pytest.mark.parametrize("source", ["png", "json", "webp", "charx"])
@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("x.png", "png"),
        ("x.JSON", "json"),
        ("x.charx", "charx"),
        ("x.yml", "yaml"),
        ("x.yaml", "yaml"),
        ("x.md", "markdown"),
    ],
)
def test_a_files_name_chooses_the_form(
    rpchat: Rpchat, here: Path, source: str, name: str, container: str
) -> None:
    assert rpchat("card", "export", here / f"card.{source}", "-o", name).status == 0
    card, _ = read_card(Path(name).read_bytes())
    assert (card.container, card.name, card.description) == (container, "Vesna", "d")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "json", "-o", "x.png"], "contradict"),
        (["--to", "png", "-o", "x.yaml"], "contradict"),
        (["-o", "x.webp"], "not made of this card"),
        (["-o", "x.jpg"], "not made of this card"),
        (["-o", "x.byaf"], "not made of this card"),
        (["-o", "../card.json/"], "this is a file"),
        (["-o", "no/such/x.png"], "no folder"),
    ],
)
def test_a_contradiction_is_one_line_and_writes_nothing(
    rpchat: Rpchat, here: Path, options: list[str], said: str
) -> None:
    answer = rpchat("card", "export", here / "card.png", *options)
    assert (answer.status, answer.err.count("\n"), said in answer.err) == (2, 1, True)
    assert list((here / "work").iterdir()) == []


def test_what_is_only_read_is_not_made_anew(rpchat: Rpchat, here: Path) -> None:
    assert rpchat("card", "export", here / "card.webp", "--spec", "3", "-o", "x.webp").status == 2
    assert rpchat("card", "export", here / "card.webp", "--spec", "3").status == 0
    assert read_card(Path("Vesna.png").read_bytes())[0].spec == "v3"
    assert rpchat("card", "export", here / "card.jpg", "--to", "png", "-o", "x.jpg").status == 2
    assert rpchat("card", "export", here / "card.jpg", "--to", "charx", "-o", "x.jpg").status == 0
    assert Path("x.jpg").read_bytes() == FILES["jpg"]


def test_several_cards_go_into_a_folder(rpchat: Rpchat, here: Path) -> None:
    sources = [here / "card.png", here / "card.json"]
    assert rpchat("card", "export", *sources, "-o", "out").status == 2
    assert rpchat("card", "export", *sources, "-o", "-").status == 2
    assert rpchat("card", "export", here / "gone.png", "-o", "deep/out/").status == 1
    assert not Path("deep").exists()
    assert rpchat("card", "export", *sources, "-o", "deep/out/").status == 0
    assert sorted(path.name for path in Path("deep/out").iterdir()) == ["Vesna.json", "Vesna.png"]
    assert rpchat("card", "export", *sources, "-o", "deep/out").status == 0
    assert len(list(Path("deep/out").iterdir())) == 4


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("charx", ["--to", "png", "--spec", "2"], ["as V2 it loses nickname", "1 file beside the card stay"]),
        ("charx", ["-o", "x.json", "--spec", "1"], ["as V1 it loses nickname", "1 file"]),
        ("charx", ["--to", "charx"], []),
        ("png", ["--spec", "3"], ["card.png: 4 bytes after the picture's end are left out"]),
        ("png", ["--to", "charx"], ["4 bytes"]),
        ("png", [], []),
        ("json", ["--spec", "3"], []),
    ],
)
def test_what_is_lost_is_said_before(
    rpchat: Rpchat, here: Path, source: str, options: list[str], said: list[str]
) -> None:
    answer = rpchat("card", "export", here / f"card.{source}", *options)
    lines = answer.err.splitlines()
    assert (answer.status, len(lines)) == (0, len(said)), answer.err
    assert all(words in line for words, line in zip(said, lines, strict=True))


@pytest.mark.parametrize(("spec", "keywords"), [("1", ["chara"]), ("2", ["chara"]), ("3", ["chara", "ccv3"])])
def test_a_png_is_really_converted(rpchat: Rpchat, here: Path, spec: str, keywords: list[str]) -> None:
    (here / "v3.png").write_bytes(png(V3))
    assert rpchat("card", "export", here / "v3.png", "--spec", spec, "-o", "x.png").status == 0
    data = Path("x.png").read_bytes()
    assert [chunk.keyword for chunk in text_chunks(data).chunks] == keywords
    assert read_card(data)[0].spec == f"v{spec}"


def test_private_keys_are_taken_out_of_every_container(rpchat: Rpchat, here: Path) -> None:
    private = {"chat": "Vesna - last night", "fav": True, "create_date": "2024", "last_mes": 3}
    (here / "p.png").write_bytes(png({**V2, **private}, b"tail"))
    rpchat("card", "export", here / "p.png", "-o", "x.png")
    rpchat("card", "export", here / "p.png", "-o", "y.png", "--keep-private")
    assert read_card(Path("x.png").read_bytes())[0].document == V2
    assert Path("x.png").read_bytes().endswith(b"tail")
    assert Path("y.png").read_bytes() == (here / "p.png").read_bytes()


def test_an_edited_card_of_the_library_keeps_its_container_too(
    rpchat: Rpchat, here: Path, card_file: WriteCard
) -> None:
    for ending in ("png", "yaml", "md", "charx", "jpg", "json"):
        path = here / f"card.{ending}"
        assert rpchat("card", "edit", path, "--set", "description=new").status == 0
        assert rpchat("card", "export", path, "-o", f"x.{ending}").status == 0
        before, after = read_card(FILES[ending])[0], read_card(Path(f"x.{ending}").read_bytes())[0]
        assert (after.container, after.description) == (before.container, "new")
        assert Path(f"x.{ending}").read_bytes() == path.read_bytes()

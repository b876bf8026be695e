"""What hostile and broken input must come to, where the tests of single modules do not say it already.

The other cases stand with their modules: chunks and base64 in test_png, JSON, YAML and zips in test_reading,
names and saving in test_library, text on a terminal in test_display, macros and lorebooks in their own files,
markup and prompts in the tests of the screen, of the presets and of the engine.
"""

from __future__ import annotations

import io
import json
import socket
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, get_args

import pytest
import tavern_card
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cards.card import card_from_document
from cards.errors import CardError
from cards.library import CardLibrary
from cards.library.arriving import import_cards
from cards.png import blank_png
from cards.reading import read_card, read_lorebook
from cards.writing import ExportFormat, export_card
from presets.library import PresetLibrary
from presets.prompt import build
from presets.values import Budget, Persona, PromptTooLong, Turn

ROOT = Path(__file__).parents[2]
FIELDS: dict[str, Any] = {
    "name": "Vesna",
    "description": "She keeps the lighthouse.",
    "personality": "Dry.",
    "scenario": "A storm.",
    "first_mes": "You are late.",
    "mes_example": "<START>\n{{char}}: Well.",
}
V2: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        **FIELDS,
        "creator_notes": "Notes.",
        "system_prompt": "S",
        "post_history_instructions": "P",
        "alternate_greetings": ["Again?"],
        "tags": ["sea", "東"],
        "creator": "me",
        "character_version": "2",
        "extensions": {"x/y": [1, None]},
    },
}
V3: dict[str, Any] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {**V2["data"], "nickname": "Ves", "group_only_greetings": []},
}


def zipped(members: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


# Zips ---------------------------------------------------------------------------------------------------


def test_a_zip64_file_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("card.json", "w", force_zip64=True) as member:
        member.write(json.dumps(V3).encode())
    assert b"\x01\x00\x14\x00" in out.getvalue() or out.getvalue()[4:6] == b"\x2d\x00"
    assert read_card(out.getvalue())[0].call_name == "Ves"


def with_64_bit_end(data: bytes) -> bytes:
    """The zip with a 64-bit end record, which the old one points to with its largest numbers."""
    at = data.rfind(b"PK\x05\x06")
    count, size, offset = struct.unpack_from("<HII", data, at + 10)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:at] + record + locator + end


def test_a_64_bit_end_record_is_believed_and_limited() -> None:
    data = with_64_bit_end(zipped({"card.json": json.dumps(V3)}))
    assert read_card(data)[0].call_name == "Ves"
    lying = bytearray(data)
    at = lying.find(b"PK\x06\x06")
    lying[at + 32 : at + 40] = struct.pack("<Q", 2**40)
    with pytest.raises(CardError, match="files in it"):
        read_card(bytes(lying))


def test_a_zip_in_a_zip_is_not_opened() -> None:
    inner = zipped({"card.json": json.dumps(V3)})
    with pytest.raises(CardError) as caught:
        read_card(zipped({"inner.charx": inner}))
    assert caught.value.code == "no-card"
    card, _ = read_card(zipped({"card.json": json.dumps(V3), "inner.zip": inner}))
    assert card.name == "Vesna"


def test_nothing_of_a_zip_is_ever_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    before = set(tmp_path.rglob("*"))
    data = zipped({"card.json": json.dumps(V3), "../evil.png": b"x", str(tmp_path / "abs.png"): b"x"})
    _, warnings = read_card(data)
    assert [warning.code for warning in warnings] == ["unsafe-name"]
    assert set(tmp_path.rglob("*")) == before


# Memory and time ----------------------------------------------------------------------------------------

BOMBS = {
    "zTXt of zeros": "png(b'zTXt', b'chara' + bytes(2) + zlib.compress(bytes(300_000_000), 9))",
    "base64 in pieces": "png(b'tEXt', b'chara' + bytes(1) + b'A ' * 30_000_000)",
    "Markdown": "markdown(60_000)",
    "CHARX of zeros": "zipped(bytes(15_000_000) * 4)",
    "numbers": 'b\'{"name":"a","first_mes":"b","x":[\' + b\'1,\' * 990_000 + b\'0]}\'',
    "objects": 'b\'{"name":"a","first_mes":"b","x":[\' + b\'{},\' * 490_000 + b\'0]}\'',
    "brackets": "b'[' * 16_000_000",
    "decorators": "book([{'keys': ['a'], 'content': '@@exclude_keys a\\n' * 200_000 + 'x'}])",
    "assets": "card(assets=[{}] * 480_000)",
    "languages": "card(creator_notes_multilingual={str(n): n for n in range(300_000)})",
    "mojibake": "card(tags=['\\u00c3\\u00a9'] * 400_000, creator='\\u00c3\\u00a9' * 1_000_000)",
    "tags in one text": "card(tags='a,' * 5_000_000)",
    "keys in one text": "book([{'keys': 'a,' * 100_000, 'content': 'x'}] * 50)",
    "odd entries": "book([{'keys': 1, 'content': 2, 'extensions': 3}] * 20_000)",
    "aliases": "b'name: &a [x,x,x,x,x,x,x,x]\\ngreeting: &b [*a,*a,*a,*a,*a,*a,*a]\\nk: [*b,*b]\\n' * 400",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_memory_and_time_are_bounded(bomb: str) -> None:
    """In a process of its own: seconds of CPU for reading, and megabytes at the most."""
    program = f"""
import io, json, resource, struct, time, zipfile, zlib
def png(kind, body):
    return b"\\x89PNG\\r\\n\\x1a\\n" + struct.pack(">I", len(body)) + kind + body + bytes(4)
def markdown(count):
    front = json.dumps({{"name": "a", "first_mes": "b", "list": ["(below)"] * count}})
    texts = "".join(f"\\n<!-- list[{{place}}] -->\\nx\\n" for place in range(count))
    return f"---\\n{{front}}\\n---\\n{{texts}}".encode()
def card(**data):
    data = {{"name": "a", "first_mes": "b", **data}}
    return json.dumps({{"spec": "chara_card_v3", "data": data}}, ensure_ascii=False).encode()
def book(entries):
    return card(character_book={{"entries": entries}})
def zipped(body):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", body)
    return out.getvalue()
data = {bomb}
from cards.reading import read_card
from cards.errors import CardError
import cards.yaml_text, cards.markdown
begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_card(data, "bomb")
except CardError:
    pass
print(time.process_time() - begun, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 1
    assert megabytes < 200


@settings(max_examples=300)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"{", b"---\n", b"name: "]),
)
def test_no_bytes_raise_anything_but_a_card_error(data: bytes, magic: bytes) -> None:
    for read in (read_card, read_lorebook):
        said = "x: a name"
        try:
            assert isinstance(read(magic + data, "x")[0].name, str)
        except CardError as error:
            said = str(error)
        assert said.startswith("x: ")
        assert said.isprintable()


# A card that asks for too much, or for the world outside ------------------------------------------------


def test_a_card_larger_than_the_context_loads_and_is_refused_in_words() -> None:
    card, _ = card_from_document({**V2, "data": {**V2["data"], "description": "word " * 12_000}})
    assert len(card.description) == 60_000
    budget = Budget(2_000, lambda segments: [len(segment.text.split()) for segment in segments])
    with pytest.raises(PromptTooLong, match="card description"):
        build(
            card,
            Persona("Alex"),
            PresetLibrary(None).format("limarp-v1"),
            [Turn("user", "", "Hi")],
            budget=budget,
        )


def test_remote_and_local_addresses_are_kept_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(blank_png() + b"SECRET")
    addresses = ["https://example.invalid/a.png", secret.as_uri(), str(secret), "embeded://../../secret.png"]
    assets = [{"type": "icon", "name": "main", "uri": uri, "ext": "png"} for uri in addresses]
    document = {**V3, "data": {**V3["data"], "assets": assets, "source": addresses}}

    def no_socket(*args: object, **more: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_socket)
    for data in (json.dumps(document).encode(), zipped({"card.json": json.dumps(document)})):
        card, _ = read_card(data)
        assert card.avatar is None
        for form in get_args(ExportFormat):
            written = export_card(card.edited("creator", "x"), form, spec=None)  # type: ignore[arg-type]
            assert b"SECRET" not in written
            assert read_card(written)[0].document["data"]["source"] == addresses


def test_markup_and_html_are_text_to_the_reader() -> None:
    text = "[@click=app.quit]x[/] [/foo] <script>1</script> ![](http://example.invalid/x) {% x %} <|im_end|>"
    card, warnings = read_card(json.dumps({**V2, "data": {**V2["data"], "description": text}}).encode())
    assert (card.description, warnings) == (text, [])


def test_scripts_of_other_programs_stay_where_they_are_and_never_run() -> None:
    scripts = {
        "regex_scripts": [{"x": 1}],
        "TavernHelper_scripts": ["js"],
        "risuai": {"triggerscript": ["lua"]},
    }
    document = {**V3, "data": {**V3["data"], "extensions": scripts}}
    data = zipped({"card.json": json.dumps(document), "module.risum": b"rpack"})
    card, warnings = read_card(data)
    assert [(warning.code, warning.field) for warning in warnings] == [
        ("scripts", ""),
        ("scripts", "data.extensions.regex_scripts"),
        ("scripts", "data.extensions.TavernHelper_scripts"),
        ("scripts", "data.extensions.risuai.triggerscript"),
    ]
    again = zipfile.ZipFile(io.BytesIO(export_card(card.edited("name", "New"), "charx")))
    assert again.read("module.risum") == b"rpack"
    assert json.loads(again.read("card.json"))["data"]["extensions"] == scripts


# Names and ids ------------------------------------------------------------------------------------------

NAMES = [
    "../x",
    "/etc/passwd",
    "a/b",
    "CON",
    ".",
    "x" * 300,
    "end. ",
    "nul\0",
    "line\nbreak",
    "🧛",
    "\u202egnp",
    "~",
]


def test_a_name_is_never_a_path_and_never_the_id(tmp_path: Path) -> None:
    tmp_path /= "here"
    folder = tmp_path / "in"
    folder.mkdir(parents=True)
    for number, name in enumerate([*NAMES, "Straße", "STRASSE", "e\u0301", "é"]):
        (folder / f"{number}.json").write_text(json.dumps({**FIELDS, "name": name}))
    library = CardLibrary(tmp_path / "cards")
    files = sorted(folder.iterdir())
    arrivals = list(import_cards(library, files, lambda *_: "keep"))
    assert {arrival.outcome for arrival in arrivals} == {"new", "kept"}
    refs = [arrival.card.ref for arrival in arrivals if arrival.card]
    assert len({ref.rsplit("~", 1)[1] for ref in refs}) == len(files)
    inside = {path.name for path in (tmp_path / "cards").iterdir() if not path.name.startswith(".")}
    assert inside == {f"{ref}.json" for ref in refs}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cards", "in"]
    for arrival in arrivals:
        assert arrival.card is not None
        assert library.find(arrival.card.ref).read_bytes() == arrival.path.read_bytes()


def test_a_thousand_cards_and_the_bad_ones_among_them(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    bad = (b"", b"{", b"[]", b'{"entries": [{"keys": ["a"], "content": "b"}]}', b"\x89PNG\r\n\x1a\n")
    for number in range(1_000):
        place = folder / "deep" if number % 3 else folder
        data = (
            bad[number // 2 % 5]
            if number % 100 == 7
            else json.dumps({**FIELDS, "name": f"C{number}"}).encode()
        )
        (place / f"{number}.json").write_bytes(data)
    library = CardLibrary(tmp_path / "cards", tmp_path / "none")
    from cards.library.arriving import card_files

    arrivals = list(import_cards(library, card_files([folder]), lambda *_: "keep"))
    reasons = [arrival.error for arrival in arrivals if arrival.error]
    assert (len(arrivals), len(reasons), len(library.list())) == (1_000, 10, 990)
    assert all("\n" not in str(error) for error in reasons)
    begun = time.process_time()
    CardLibrary(tmp_path / "cards", tmp_path / "none").list()
    assert time.process_time() - begun < 0.3


# Other readers ------------------------------------------------------------------------------------------


def strictly_read(data: bytes) -> dict[str, Any]:
    """A reader as strict as any: checksums, order and bounds hold, and the first tEXt `chara` is the card."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, kinds, found = 8, [], None
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert len(body) == length
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        kinds.append(kind)
        if kind == b"tEXt" and body.startswith(b"chara\0") and found is None:
            assert b"IDAT" not in kinds
            found = json.loads(b64decode(body[6:], validate=True).decode("utf-8"))
        position += 12 + length
    assert (kinds[0], kinds[-1], position) == (b"IHDR", b"IEND", len(data))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "document", [V2, V3, FIELDS, {"char_name": "Vesna", "char_greeting": "Hi", "char_persona": "P"}]
)
@pytest.mark.parametrize("edit", [False, True])
def test_four_readers_agree_on_what_is_written(document: dict[str, Any], edit: bool) -> None:
    card, _ = read_card(json.dumps(document).encode())
    card = card.edited("description", "Edited. 東\n[x]") if edit else card
    written = export_card(card, "png")
    strict = strictly_read(written)
    pillow = json.loads(b64decode(Image.open(io.BytesIO(written)).info["chara"]))
    package = tavern_card.parse_png_card(written)
    ours = read_card(written)[0]
    assert strict == pillow
    assert strict["spec"] == "chara_card_v2"
    for name in FIELDS:
        values = {
            strict["data"][name],
            strict[name],
            package["data"][name],
            getattr(ours, name),
            getattr(card, name),
        }
        assert len(values) == 1, (name, values)
    for name in (
        "tags",
        "alternate_greetings",
        "creator",
        "character_version",
        "system_prompt",
        "creator_notes",
    ):
        assert strict["data"][name] == package["data"][name] == getattr(ours, name) == getattr(card, name)


def test_an_unedited_png_leaves_as_it_came_down_to_the_byte() -> None:
    body = b"chara\0" + b64encode(json.dumps(V2).encode())
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    picture = blank_png()
    data = picture[:-12] + chunk + picture[-12:]
    assert export_card(read_card(data)[0], "png") == data


def test_an_apng_keeps_its_frames() -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 120, 240)]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:], duration=100)
    body = b"chara\0" + b64encode(json.dumps(V2).encode())
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    animated = out.getvalue()
    card, warnings = read_card(animated[:-12] + chunk + animated[-12:], "a.apng")
    written = export_card(card.edited("name", "New"), "png")
    assert (card.name, warnings) == ("Vesna", [])
    assert (strictly_read(written)["name"], Image.open(io.BytesIO(written)).n_frames) == ("New", 3)  # type: ignore[attr-defined]
    kinds = [kind for kind in (b"acTL", b"fcTL", b"fdAT") if written.count(kind) == animated.count(kind) > 0]
    assert len(kinds) == 3


def test_a_card_written_by_an_edit_has_one_copy_of_each_kind() -> None:
    """Stale copies in any case, compressed or after the image, are gone: no reader finds an old card."""

    def text(keyword: bytes, kind: bytes = b"tEXt") -> bytes:
        payload = b64encode(json.dumps({**V2, "data": {**V2["data"], "name": "Stale"}}).encode())
        body = keyword + b"\0" + (b"\0" + zlib.compress(payload) if kind == b"zTXt" else payload)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    picture = blank_png()
    data = picture[:33] + text(b"chara") + text(b"Chara") + picture[33:-12] + text(b"CCV3", b"zTXt")
    data += picture[-12:] + text(b"chara")
    card, warnings = read_card(data)
    written = export_card(card.edited("name", "New"), "png")
    assert "after-end" in {warning.code for warning in warnings}
    assert written.lower().count(b"chara\0") == written.lower().count(b"ccv3\0") == 1
    assert (strictly_read(written)["name"], read_card(written)[1]) == ("New", [])

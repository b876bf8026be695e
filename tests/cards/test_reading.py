"""Every form of card that is found in the wild, what is odd in them, and what is no card at all."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cards import limits
from cards.card import Card, card_from_document
from cards.errors import CardError, CardWarning
from cards.reading import read_card, read_card_file, read_lorebook

V1 = {
    "name": "Samuel",
    "description": "A vampire.",
    "personality": "Calm.",
    "scenario": "A castle.",
    "first_mes": "Good evening.",
    "mes_example": "<START>\n{{char}}: Yes.",
}
V2 = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {**V1, "creator_notes": "Notes.", "tags": ["a"], "extensions": {}},
}
V3 = {
    **V2,
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {**V2["data"], "nickname": "Sam", "group_only_greetings": []},
}  # type: ignore[dict-item]
PYGMALION = {
    "char_name": "Samuel",
    "char_persona": "A vampire.",
    "world_scenario": "A castle.",
    "char_greeting": "Good evening.",
    "example_dialogue": "<START>\n{{char}}: Yes.",
}
AGNAI = {
    "kind": "character",
    "name": "Samuel",
    "description": "Notes.",
    "persona": {"kind": "text", "attributes": {"text": ["A vampire."]}},
    "greeting": "Good evening.",
    "scenario": "A castle.",
    "sampleChat": "<START>\n{{char}}: Yes.",
}
WEBUI_YAML = """\
name: Samuel
greeting: |-
  Good evening.
context: A vampire.
example_dialogue: |-
  <START>
  {{char}}: Yes.
"""


def read(data: Any, filename: str = "samuel.json") -> tuple[Card, list[CardWarning]]:
    return read_card(data if isinstance(data, bytes) else json.dumps(data).encode(), filename)


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def webp(comment: bytes) -> bytes:
    comment = b"ASCII\0\0\0" + comment
    exif_directory = struct.pack("<H", 1) + struct.pack("<HHII", 0x9286, 7, len(comment), 44) + b"\0" * 4
    root = struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 26) + b"\0" * 4
    block = b"II*\0" + struct.pack("<I", 8) + root + exif_directory + comment
    chunks = b"VP8 " + struct.pack("<I", 4) + b"\0" * 4 + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


BYAF = zipped(
    {
        "manifest.json": json.dumps(
            {
                "characters": ["c/character.json"],
                "scenarios": ["s/1.json", "s/2.json"],
                "author": {"name": "me"},
            }
        ),
        "c/character.json": json.dumps(
            {
                "displayName": "Samuel",
                "persona": "A vampire.",
                "loreItems": [{"key": "castle, tower", "value": "{character} lives there."}],
                "images": [{"path": "c/p.png"}],
                "id": "x",
            }
        ),
        "c/p.png": b"\x89PNG portrait",
        "s/1.json": json.dumps(
            {
                "narrative": "A castle.",
                "firstMessages": [{"text": "Good evening."}],
                "exampleMessages": [{"text": "#{character}: Yes."}],
            }
        ),
        "s/2.json": json.dumps({"firstMessages": [{"text": "Oh, {user}."}]}),
    }
)
ICON = {"type": "icon", "name": "main", "uri": "embeded://assets/icon/image/1.png", "ext": "png"}
CHARX_CARD = {**V3, "data": {**V3["data"], "assets": [ICON]}}  # type: ignore[dict-item]
CHARX = zipped({"card.json": json.dumps(CHARX_CARD), "assets/icon/image/1.png": b"\x89PNG portrait"})


@pytest.mark.parametrize(
    ("data", "spec", "container"),
    [
        pytest.param(V1, "v1", "json", id="V1"),
        pytest.param(V2, "v2", "json", id="V2"),
        pytest.param(V3, "v3", "json", id="V3"),
        pytest.param(
            {**V2, **V1, "description": "the stale mirror"}, "v2", "json", id="hybrid: data is the truth"
        ),
        pytest.param({"card": V2}, "v2", "json", id="envelope card"),
        pytest.param({"character": V1}, "v1", "json", id="envelope character"),
        pytest.param({"chara_card": V3}, "v3", "json", id="envelope chara_card"),
        pytest.param({"data": V2["data"]}, "v2", "json", id="no spec"),
        pytest.param({**V3, "spec": "chara_card_v4", "spec_version": "4.0"}, "v3", "json", id="a newer spec"),
        pytest.param({"spec": "chara_card_v2", **V1}, "v1", "json", id="no data"),
        pytest.param({**V2, "spec_version": 2}, "v2", "json", id="spec_version a number"),
        pytest.param(PYGMALION, "pygmalion", "json", id="Pygmalion"),
        pytest.param(AGNAI, "agnai", "json", id="Agnai"),
        pytest.param(WEBUI_YAML.encode(), "webui", "yaml", id="text-generation-webui"),
        pytest.param(json.dumps(V2).encode("utf-8-sig"), "v2", "json", id="BOM"),
        pytest.param(json.dumps(V2).encode("utf-16"), "v2", "json", id="UTF-16 LE"),
        pytest.param(b"\xfe\xff" + json.dumps(V2).encode("utf-16-be"), "v2", "json", id="UTF-16 BE"),
        pytest.param(b" \r\n\t" + json.dumps(V2).encode() + b"\r\n", "v2", "json", id="white space"),
        pytest.param(CHARX, "v3", "charx", id="CHARX"),
        pytest.param(b"\xff\xd8\xff\xe0 a picture \xff\xd9" + CHARX, "v3", "jpeg", id="CHARX behind a JPEG"),
        pytest.param(zipped({"inner/card.json": json.dumps(V3)}), "v3", "charx", id="card.json in a folder"),
        pytest.param(webp(json.dumps(V1).encode()), "v1", "webp", id="WebP"),
        pytest.param(
            webp(b",".join(str(byte).encode() for byte in json.dumps(V1).encode())),
            "v1",
            "webp",
            id="WebP, numbers",
        ),
        pytest.param(BYAF, "v2", "byaf", id="Backyard"),
    ],
)
def test_a_form(data: Any, spec: str, container: str) -> None:
    card, _ = read(data, "some.file")
    assert (card.spec, card.container) == (spec, container)
    assert (card.name, card.description, card.first_mes) == ("Samuel", "A vampire.", "Good evening.")
    if spec != "webui":
        assert card.scenario == "A castle."
    assert card.mes_example.strip().endswith(("{{char}}: Yes.", "{{char}}: Yes."))


def test_pictures_inside_zips() -> None:
    assert read(CHARX)[0].avatar == b"\x89PNG portrait"
    assert read(BYAF)[0].avatar == b"\x89PNG portrait"
    jpeg = b"\xff\xd8\xff\xe0 a picture \xff\xd9" + zipped({"card.json": json.dumps(V3)})
    assert read(jpeg)[0].avatar == jpeg


@pytest.mark.parametrize("written", ["c/p.png", "p.png", "images/p.png"])
def test_backyards_picture_lies_where_it_says_or_beside_the_character(written: str) -> None:
    held = f"c/{written.removeprefix('c/')}"
    character = {"name": "Samuel", "images": [{"path": "c/none.png"}, {"path": written}]}
    data = zipped(
        {
            "manifest.json": json.dumps({"characters": ["c/character.json"]}),
            "c/character.json": json.dumps(character),
            held: b"\x89PNG portrait",
        }
    )
    card, warnings = read(data)
    assert card.avatar == b"\x89PNG portrait"
    assert [warning.message for warning in warnings] == ["the picture 'c/none.png' is not in the file"]


def test_backyards_scenarios_and_lore() -> None:
    card, _ = read(BYAF)
    assert card.greetings == ["Good evening.", "Oh, {{user}}."]
    assert card.creator == "me"
    assert card.character_book is not None
    assert card.character_book.entries[0].keys == ("castle", "tower")
    assert card.character_book.entries[0].content == "{{char}} lives there."
    assert card.extensions["byaf"]["character"] == {"id": "x"}


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("wpp", '[character("Samuel") {\nlooks("tall" + "pale")\nmind("calm")\n}]'),
        ("sbf", '[ character: "Samuel"; looks: "tall", "pale"; mind: "calm" ]'),
        ("boostyle", "Samuel + tall + pale + calm"),
        ("attributes", "looks: tall, pale\nmind: calm"),
        ("text", "tall\npale\ncalm"),
    ],
)
def test_agnais_attributes_become_text(kind: str, description: str) -> None:
    persona = {"kind": kind, "attributes": {"looks": ["tall", "pale"], "mind": ["calm"]}}
    card, _ = read({**AGNAI, "persona": persona})
    assert card.description == description
    assert card.creator_notes == "Notes."


def test_v3_nickname_notes_and_greetings() -> None:
    more = {
        "creator_notes_multilingual": {"en": "English.", "de": "Deutsch."},
        "alternate_greetings": ["", "Oh."],
    }
    card, _ = read({**V3, "data": {**V3["data"], **more}})  # type: ignore[dict-item]
    assert (card.name, card.call_name) == ("Samuel", "Sam")
    assert card.creator_notes == "English."
    assert card.greetings == ["Good evening.", "Oh."]


@pytest.mark.parametrize(
    ("field", "value", "attribute", "seen"),
    [
        ("name", 5, "name", "5"),
        ("description", None, "description", ""),
        ("description", 7.5, "description", "7.5"),
        ("mes_example", ["<START>\na", "b"], "mes_example", "<START>\na\nb"),
        ("alternate_greetings", "Oh.", "alternate_greetings", ["Oh."]),
        ("alternate_greetings", None, "alternate_greetings", []),
        ("alternate_greetings", [None, "Oh.", 1], "alternate_greetings", ["Oh.", "1"]),
        ("tags", "a, b", "tags", ["a", "b"]),
        ("tags", {"x": "a"}, "tags", ["a"]),
        ("extensions", [], "extensions", {}),
        ("extensions", "", "extensions", {}),
        ("creator", {"name": "me"}, "creator", '{"name": "me"}'),
        ("character_version", 1.0, "character_version", "1.0"),
        ("nickname", ["S"], "nickname", "S"),
    ],
)
def test_a_wrong_type_is_coerced_with_one_warning_and_kept(
    field: str, value: Any, attribute: str, seen: Any
) -> None:
    document = {**V2, "data": {**V2["data"], field: value}}  # type: ignore[dict-item]
    card, warnings = read(document)
    assert getattr(card, attribute) == seen
    assert [warning.field for warning in warnings if warning.code == "type"] == [f"data.{field}"]
    assert card.document == document


@pytest.mark.parametrize("name", [None, "", "  ", []])
def test_a_card_without_a_name_is_called_after_its_file(name: Any) -> None:
    document = {**V2, "data": {**V2["data"], "name": name}}  # type: ignore[dict-item]
    card, warnings = read(document, "the_count.json")
    assert card.name == "the_count"
    assert any(warning.code == "name" for warning in warnings)


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_a_book_that_is_none(value: Any) -> None:
    card, _ = read({**V2, "data": {**V2["data"], "character_book": value}})  # type: ignore[dict-item]
    assert card.character_book is None


@pytest.mark.parametrize(
    ("entry", "attribute", "seen"),
    [
        ({"keys": "tower, keep"}, "keys", ("tower", "keep")),
        ({"keys": ["a", "", " "]}, "keys", ("a",)),
        ({"keys": [1, None]}, "keys", ("1",)),
        ({"enabled": "true"}, "enabled", True),
        ({"enabled": 0}, "enabled", False),
        ({}, "enabled", True),
        ({"insertion_order": "10"}, "order", 10),
        ({"insertion_order": 1.0}, "order", 1),
        ({"id": "a-string"}, "uid", "a-string"),
        ({"extensions": ""}, "depth", 4),
        ({"extensions": {"depth": 2, "position": 4, "role": 1}}, "role", "user"),
        ({"position": 1}, "position", "after_char"),
        ({"position": "before_char"}, "position", "before_char"),
        ({"content": None}, "content", ""),
        ({"content": "@@depth 2\n@@role assistant\ntext"}, "content", "text"),
        ({"content": "@@depth 2\n@@role assistant\ntext"}, "depth", 2),
        ({"content": "@@depth 2\n@@position before_desc\ntext"}, "position", "before_char"),
        ({"content": "@@nonsense 1\n@@@depth 3\ntext"}, "depth", 3),
        ({"content": "@@depth 5\n@@@depth 3\n@@depth 1\n\ntext"}, "depth", 5),
        ({"content": "@@depth x\ntext"}, "depth", 4),
        ({"content": "plain @@depth 3"}, "content", "plain @@depth 3"),
    ],
)
def test_odd_lorebook_entries(entry: dict[str, Any], attribute: str, seen: Any) -> None:
    book = {"entries": [{"keys": ["k"], "content": "c", **entry}]}
    card, _ = read({**V2, "data": {**V2["data"], "character_book": book}})  # type: ignore[dict-item]
    assert card.character_book is not None
    assert getattr(card.character_book.entries[0], attribute) == seen


WORLD_INFO = {
    "entries": {
        "0": {
            "uid": 0,
            "key": ["tower"],
            "keysecondary": [],
            "comment": "The tower",
            "content": "It is old.",
            "order": 5,
            "position": 4,
            "depth": 2,
            "disable": False,
        }
    }
}


@pytest.mark.parametrize(
    "data",
    [
        {
            "name": "b",
            "entries": [
                {
                    "keys": ["tower"],
                    "content": "It is old.",
                    "enabled": True,
                    "insertion_order": 5,
                    "extensions": {},
                }
            ],
        },
        {
            "spec": "lorebook_v3",
            "data": {"entries": [{"keys": ["tower"], "content": "It is old.", "insertion_order": 5}]},
        },
        WORLD_INFO,
        {
            "kind": "memory",
            "entries": [
                {
                    "name": "t",
                    "entry": "It is old.",
                    "keywords": ["tower"],
                    "priority": 1,
                    "weight": 5,
                    "enabled": True,
                }
            ],
        },
        {
            **V2,
            "data": {
                **V2["data"],
                "character_book": {
                    "entries": {"0": {"keys": ["tower"], "content": "It is old.", "insertion_order": 5}}
                },
            },
        },  # type: ignore[dict-item]
    ],
)
def test_lorebook_files(data: Any) -> None:
    book, warnings = read_lorebook(json.dumps(data).encode(), "eldoria.json")
    entry = book.entries[0]
    assert (entry.keys, entry.content, entry.order) == (("tower",), "It is old.", 5)
    odd = ["data.character_book.entries: an object where a list belongs"]
    assert [str(warning) for warning in warnings] == (odd if "spec_version" in data else [])


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty", "empty"),
        (b"  \n ", "empty", "no text"),
        (b"Dear diary, today I met a vampire.\nname of his: none", "not-a-card", "text file"),
        (b"[1, 2, 3]", "not-a-card", "list"),
        (b'{"a": 1, "b": 2}', "not-a-card", "none of a card's fields"),
        (json.dumps(WORLD_INFO).encode(), "lorebook", "lorebook"),
        (json.dumps({"spec": "lorebook_v3", "data": {"entries": []}}).encode(), "lorebook", "lorebook"),
        (
            json.dumps({"kind": "memory", "entries": [{"entry": "x", "keywords": []}]}).encode(),
            "lorebook",
            "lorebook",
        ),
        (
            b'{"user_name":"A","character_name":"B","chat_metadata":{}}\n{"name":"A","mes":"hi"}',
            "chat",
            "chat",
        ),
        (b'{"input_sequence": "x", "output_sequence": "y"}', "preset", "preset"),
        (b'{"temp": 1.0, "rep_pen": 1.1}', "preset", "sampling"),
        (b'{"<s>": 1, "</s>": 2}', "not-a-card", "not a character card"),
        (b'{"name": "A", "description": "x",}', "json", "line 1 column 34"),
        (b'{"name": "A",\n "description": x}', "json", "line 2 column 17"),
        (b'{"name": "A", // the count\n "description": "x"}', "json", "line 1 column 15"),
        (zipped({"inner.zip": zipped({"card.json": "{}"})}), "no-card", "card.json"),
        (b'{"name": "' + b"A" * 9200, "json", "line 1 column 10"),
        (b"[" * 100_000, "too-deep", "nested"),
        (b'{"a":' * 100_000, "too-deep", "nested"),
        (b'{"a":' + b"[" * 80 + b"]" * 80 + b"}", "too-deep", "nested"),
        (b"rcc||rccv1||AAAA||00||", "encrypted", "RisuAI"),
        (b"GGUF\3\0\0\0", "not-a-card", "model"),
        (b"%PDF-1.7", "not-a-card", "PDF"),
        (b"\xff\xd8\xff\xe0 JFIF", "not-a-card", "JPEG"),
        (b"GIF89a", "not-a-card", "GIF"),
        (b"Rar!\x1a\x07\x01\x00", "not-a-card", "unpack"),
        (b"RIFF\x04\0\0\0WEBP", "no-card", "WebP"),
        (b"\0\1\2\3binary", "not-a-card", "binary"),
        (zipped({"readme.txt": "x"}), "no-card", "card.json"),
        (zipped({"a.png": "x"}), "no-card", "unpack"),
        (zipped({"package.json": "{}", "Characters/x/character.json": "{}"}), "unsupported", "Voxta"),
        (zipped({"card.json": "[]"}), "not-a-card", "card.json"),
        (CHARX[:-40], "truncated", "truncated"),
        (b"PK\x03\x04", "truncated", "truncated"),
        (zipped({f"{n}": "" for n in range(limits.ZIP_MEMBERS + 1)}), "too-large", "files"),
        (zipped({"card.json": b"\0" * (limits.ZIP_DOCUMENT + 1)}), "too-large", "limit"),
        (b"name: !!python/object/apply:os.system ['true']\ngreeting: x", "yaml", "YAML"),
        (b"name: x\ngreeting: &a [*a]\n", "too-large", "aliases"),
        (b"name: x\n2: y\ngreeting: z", "yaml", "key"),
        (b"name: [\n", "yaml", "line 2"),
        (b"name: x\ngreeting: " + b"[" * 10_000, "too-deep", "nested"),
        (
            b"name: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"k%d: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (n, 98 + n, *([97 + n] * 8))
                for n in range(9)
            ),
            "too-large",
            "aliases",
        ),
    ],
)
def test_what_is_refused_and_how(data: bytes, code: str, words: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(CardError) as caught:
        read(data, "x.bin")
    assert (caught.value.code, words in str(caught.value)) == (code, True), str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - begun < 2


def encrypted(data: bytes) -> bytes:
    """The zip with the encryption flag set on every member."""
    out = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = out.find(signature)
        while at >= 0:
            out[at + offset] |= 1
            at = out.find(signature, at + 4)
    return bytes(out)


def test_a_password_protected_zip() -> None:
    with pytest.raises(CardError, match="password"):
        read(encrypted(CHARX))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_odd_zips_are_read_with_warnings(tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("card.json", json.dumps(V1))
        archive.writestr("card.json", json.dumps(V3))
        archive.writestr("module.risum", b"x")
        for name in ("../../evil.png", "/abs.png", "C:\\w.png", "a\\b.png"):
            archive.writestr(name, b"x")
        archive.writestr("Card.json", b"x")
        link = zipfile.ZipInfo("assets/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    card, warnings = read(out.getvalue())
    assert card.spec == "v3"
    assert {"duplicate", "scripts", "unsafe-name"} <= {warning.code for warning in warnings}
    assert set(tmp_path.rglob("*")) == before


def test_a_lying_size_in_a_zip() -> None:
    data = bytearray(CHARX)
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    with pytest.raises(CardError):
        read(bytes(data))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"name":"A","description":"x","n":NaN}', "json"),
        ('{"name":"A","description":"x","n":1e999}', "json"),
        ('{"name":"A","description":"x","n":' + "9" * 5000 + "}", "json"),
        ('{"name":"A","name":"B","description":"x"}', "json"),
        ('{"name":"A","description":"caf\\u00e9"}'.replace("\\u00e9", "é"), "encoding"),
    ],
)
def test_odd_json_is_read_with_a_warning(data: str, code: str) -> None:
    card, warnings = read(data.encode("cp1252"))
    assert card.description in ("x", "café")
    assert [warning.code for warning in warnings] == [code]


def test_lone_surrogates_stay() -> None:
    card, _ = read(b'{"name":"A\\ud83d","description":"x"}')
    assert card.name == "A\ud83d"


def test_mojibake_is_left_alone() -> None:
    card, _ = read({**V1, "description": "PokÃ©mon"})
    assert card.description == "PokÃ©mon"


def test_newer_versions_are_said() -> None:
    _, warnings = read({**V3, "spec_version": "3.1"})
    assert [warning.code for warning in warnings] == ["newer"]


def test_files_that_are_not_files(tmp_path: Path) -> None:
    import os

    (tmp_path / "empty.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "card.json").write_text(json.dumps(V2))
    for name, code in (
        ("empty.png", "empty"),
        ("pipe", "not-a-file"),
        ("", "directory"),
        ("gone.png", "missing"),
        ("loop", "unreadable"),
    ):
        with pytest.raises(CardError) as caught:
            read_card_file(tmp_path / name)
        assert caught.value.code == code, str(caught.value)
    with pytest.raises(CardError):
        read_card_file(Path("/dev/zero"))
    assert read_card_file(tmp_path / "card.json")[0].name == "Samuel"


def test_the_file_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE", 10)
    (tmp_path / "c.json").write_text(json.dumps(V2))
    with pytest.raises(CardError, match="limit"):
        read_card_file(tmp_path / "c.json")


def test_a_card_is_a_view() -> None:
    card, _ = card_from_document(V2)
    assert card.document is V2
    with pytest.raises(AttributeError):
        card.name = "x"  # type: ignore[misc]


@settings(max_examples=400)
@given(
    st.binary(max_size=200)
    | st.sampled_from([json.dumps(V3).encode(), CHARX, BYAF, webp(b"{}"), WEBUI_YAML.encode()]).flatmap(
        lambda whole: st.tuples(st.integers(0, len(whole)), st.binary(max_size=6), st.integers(0, 6)).map(
            lambda cut: whole[: cut[0]] + cut[1] + whole[cut[0] + cut[2] :]
        )
    )
)
def test_no_bytes_raise_anything_but_a_card_error(data: bytes) -> None:
    """What cannot be read is an error of one line that names the file; so is every warning one line."""
    for reader in (read_card, read_lorebook):
        failed, warnings = None, []
        try:
            _, warnings = reader(data, "x")
        except CardError as error:
            failed = error
        assert failed is None or (failed.code and str(failed).startswith("x: "))
        assert all(str(said).isprintable() for said in (failed, *warnings))


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=3) | st.none() | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.none(), max_size=2)
)


@settings(max_examples=300)
@given(st.data())
def test_no_value_of_any_field_raises(data: st.DataObject) -> None:
    names = [*V3["data"], "character_book", "alternate_greetings", "creator", "assets"]  # type: ignore[misc]
    entry_names = [
        "keys",
        "content",
        "extensions",
        "enabled",
        "insertion_order",
        "position",
        "id",
        "secondary_keys",
        "priority",
        "use_regex",
    ]
    fields = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=5))
    entry = data.draw(st.dictionaries(st.sampled_from(entry_names), VALUES, max_size=5))
    if data.draw(st.booleans()):
        fields["character_book"] = {"entries": [entry, data.draw(VALUES)], "scan_depth": data.draw(VALUES)}
    document = {**V3, "data": {**V3["data"], **fields}}  # type: ignore[dict-item]
    card, _ = card_from_document(document)
    for name in (
        "name",
        "greetings",
        "tags",
        "extensions",
        "character_book",
        "depth_prompt",
        "creator_notes",
        "call_name",
    ):
        getattr(card, name)


def test_what_is_imported_to_read_a_card() -> None:
    """No pixels are decoded to read text, and a PNG or JSON card needs no YAML parser."""
    import subprocess
    import sys

    code = (
        "import sys, json, cards.reading, cards.library, cards.lorebook, cards.macros;"
        "cards.reading.read_card(json.dumps({'name': 'A', 'first_mes': 'x'}).encode());"
        "print([name for name in ('PIL', 'yaml', 'regex', 'presets', 'chat') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""A card's text in every encoding, in a picture's comment, with words before it, with a million commas."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
import zlib
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards import limits
from cards.errors import CardError, CardWarning
from cards.json_text import decode_text, parse_json
from cards.png import blank_png
from cards.reading import read_card, read_lorebook
from cards.writing import export_card

V1: dict[str, Any] = {"name": "Vesna 東", "description": "Keeps the light.", "first_mes": "You are late."}
BOOK: dict[str, Any] = {"entries": [{"keys": ["tower"], "content": "old"}]}
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def in_png(payload: bytes) -> bytes:
    body = b"chara\0" + payload
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    picture = blank_png()
    return picture[:33] + chunk + picture[33:]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("space", ["", "\n\t "])
def test_an_encoding(encoding: str, mark: str, space: str) -> None:
    for indent in (None, 2):
        text = (mark + space + json.dumps(V1, ensure_ascii=False, indent=indent)).encode(encoding)
        for data in (text, in_png(text), in_png(b64encode(text))):
            card, warnings = read_card(data, "x")
            assert (card.name, card.description) == ("Vesna 東", "Keeps the light.")
            said = [str(warning) for warning in warnings]
            assert said == ([] if encoding == "utf-8" else [f"the text is {encoding[:6].upper()}"])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_yaml_and_lorebooks_in_an_encoding(encoding: str, mark: str) -> None:
    yaml = (mark + "name: Vesna 東\ngreeting: late\ncontext: light\n").encode(encoding)
    assert read_card(yaml, "x")[0].name == "Vesna 東"
    book = read_lorebook((mark + json.dumps(BOOK)).encode(encoding), "x")[0]
    assert book.entries[0].keys == ("tower",)


@given(st.binary(max_size=40))
def test_any_bytes_are_some_text(data: bytes) -> None:
    warnings: list[CardWarning] = []
    assert isinstance(decode_text(data, warnings), str)
    assert len(warnings) <= 1


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(ENCODINGS))
def test_a_json_text_is_decoded_as_it_was_encoded(text: str, encoding: str) -> None:
    whole = json.dumps({"a": text}, ensure_ascii=False)
    assert decode_text(whole.encode(encoding), []) == whole


# A WebP's comment -----------------------------------------------------------------------------------------


def webp(comment: bytes, order: str = "<") -> bytes:
    inner = struct.pack(f"{order}H", 1) + struct.pack(f"{order}HHII", 0x9286, 7, len(comment), 44) + bytes(4)
    root = struct.pack(f"{order}H", 1) + struct.pack(f"{order}HHII", 0x8769, 4, 1, 26) + bytes(4)
    begin = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    block = begin + root + inner + comment
    chunks = b"VP8 " + struct.pack("<I", 4) + bytes(4) + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


TEXT = json.dumps(V1, ensure_ascii=False)
NUMBERS = ",".join(map(str, TEXT.encode()))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "comment",
    [
        pytest.param(b"ASCII\0\0\0" + TEXT.encode(), id="ASCII"),
        pytest.param(b"ASCII\0\0\0" + TEXT.encode() + b"\0\0 ", id="ASCII padded"),
        pytest.param(TEXT.encode(), id="no prefix"),
        pytest.param(bytes(8) + TEXT.encode(), id="undefined"),
        pytest.param(b"JIS\0\0\0\0\0" + TEXT.encode(), id="JIS"),
        pytest.param(b"UNICODE\0" + TEXT.encode("utf-16-le"), id="UNICODE little"),
        pytest.param(b"UNICODE\0" + TEXT.encode("utf-16-be"), id="UNICODE big"),
        pytest.param(b"UNICODE\0" + TEXT.encode("utf-16"), id="UNICODE marked little"),
        pytest.param(b"UNICODE\0\xfe\xff" + TEXT.encode("utf-16-be"), id="UNICODE marked big"),
        pytest.param(b"UNICODE\0" + TEXT.encode(), id="UNICODE that is UTF-8"),
        pytest.param(b"UNICODE\0" + (TEXT + "\0").encode("utf-16-le"), id="UNICODE ended by zero"),
        pytest.param(b"UNICODE\0" + b64encode(TEXT.encode()), id="UNICODE that is base64"),
        pytest.param(
            b"UNICODE\0" + b64encode(TEXT.encode()).decode().encode("utf-16-be"), id="UNICODE base64"
        ),
        pytest.param(b"ASCII\0\0\0" + NUMBERS.encode(), id="ASCII numbers"),
        pytest.param(NUMBERS.encode(), id="numbers"),
        pytest.param(b"UNICODE\0" + NUMBERS.encode("utf-16-le"), id="UNICODE numbers"),
    ],
)
def test_a_pictures_comment(comment: bytes, order: str) -> None:
    card, warnings = read_card(webp(comment, order), "x.webp")
    assert (card.container, card.name, card.first_mes, warnings) == ("webp", "Vesna 東", "You are late.", [])


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        (b"1," * 10_000_000, "too-large"),
        (b"UNICODE\0" + b"\x00\xd8" * 20_000_000, "too-large"),
        (b"UNICODE\0" + b"{\0" + b"\x00\xd8" * 4_000_000, "json"),
        (b"1," * 4_000_000 + b"1", "too-large"),
        (b"1," * 2_000_000 + b"1", "base64"),
        (b"999,9", "base64"),
        (b"ASCII\0\0\0hello", "base64"),
        (b"", "no-card"),
    ],
    ids=[
        "numbers",
        "UNICODE",
        "damaged",
        "too many numbers",
        "many numbers",
        "large numbers",
        "words",
        "nothing",
    ],
)
def test_a_comment_that_is_no_card(comment: bytes, code: str) -> None:
    begun = time.process_time()
    with pytest.raises(CardError) as caught:
        read_card(webp(comment), "x.webp")
    assert caught.value.code == code
    assert time.process_time() - begun < 1.5


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be"])
def test_damage_is_replaced_in_a_short_text_and_said_of_a_long_one(encoding: str) -> None:
    broken = b"\x00\xd8" if encoding == "utf-16-le" else b"\xff\xff\xff\xff"
    head, tail = '{"name": "A', '", "description": "x"}'
    short = head.encode(encoding) + broken + tail.encode(encoding)
    assert read_card(short, "x")[0].name == "A\ufffd"
    with pytest.raises(CardError) as caught:
        read_card(head.encode(encoding) + broken * limits.DAMAGED_TEXT + tail.encode(encoding), "x")
    assert (caught.value.code, f"is not the {encoding[:6].upper()}" in str(caught.value)) == (
        "encoding",
        True,
    )


def test_a_text_over_the_limit_is_not_searched() -> None:
    begun = time.process_time()
    for text in (b"x" + b"\n" * 60_000_000, b"---\n" + b"\n" * 60_000_000):
        with pytest.raises(CardError, match="the text is over the limit of 16 MB"):
            read_card(text, "x")
    assert time.process_time() - begun < 1


# Broken JSON ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (
            '// my card\n{"name": "A"}',
            (1, 1),
            "'// my card' stands before the card; delete everything before the { at line 2 column 1",
        ),
        ('/* a */ {"name": "A"}', (1, 1), "before the { at line 1 column 9"),
        ('\n\n// mine\n\n  {\n"name": "A"}', (3, 1), "before the { at line 5 column 3"),
        ('Here is your card:\n```json\n{"name": "A"}\n```', (1, 1), "before the { at line 3 column 1"),
        ('const card = {"name": "A",\n"description": "B"};', (1, 1), "before the { at line 1 column 14"),
        ('# a comment\n{\n  "name": "A"\n}', (1, 1), "before the { at line 2 column 1"),
        ('{"name": "A", // why\n"description": "x"}', (1, 15), "JSON has no comments: delete this one"),
        ('{"name": "A",\n /* why */ "description": "x"}', (2, 2), "JSON has no comments: delete this one"),
        ('{"name": "A", # why\n"description": "x"}', (1, 15), "JSON has no comments: delete this one"),
        ('{"name": "A", "description": "x",}', (1, 34), "delete the comma before it"),
        ('{"name": "A", "tags": ["x",\n]}', (2, 1), "delete the comma before it"),
        ('\n\n{"name": "A",\n "description": x}', (4, 17), "near"),
        ('{"name": "A", "description": "x', (1, 30), "fetch the file again"),
        ('{"name": "A", "description": ', (1, 30), "fetch the file again"),
        ("\ufeff\n{,}", (2, 2), "near"),
        ("{'name': 'A'}", (1, 2), 'JSON has only straight double quotes: "'),
        ("{“name”: “A”}", (1, 2), 'JSON has only straight double quotes: "'),
        ('{"name": “A”}', (1, 10), 'JSON has only straight double quotes: "'),
        ('{"name": "A"}\n{"name": "B"}', (2, 1), "delete what follows the card"),
        ('{"name": "A"};', (1, 14), "delete what follows the card"),
        (
            '{"name": "A" "tags": []}',
            (1, 14),
            "a comma is missing, or a quote inside a text lacks its backslash",
        ),
        (
            '{"name": "an "A" card"}',
            (1, 15),
            "a comma is missing, or a quote inside a text lacks its backslash",
        ),
        ('{"name": "C:\\windows"}', (1, 13), "a backslash inside a text is written twice"),
        ('{"name": "C:\\users"}', (1, 14), "a backslash inside a text is written twice"),
    ],
)
def test_broken_json_names_its_place_and_what_to_do(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(CardError) as caught:
        read_card(text.encode(), "x.json")
    error = caught.value
    assert (error.code, error.line, error.column) == ("json", *place)
    assert f"broken JSON at line {place[0]} column {place[1]}: " in str(error)
    assert words in str(error)


@pytest.mark.parametrize(
    "text",
    [
        '# mine\nname: A\ngreeting: "{\\"x\\": 1}"',
        'name: A\ngreeting: hi\nx: {"a": 1}',
        'card: {"name": "A", "greeting": "x"}',
        "x: '{\"a\": 1}'\nname: A\ngreeting: x",
        "'': |\n  {\n  \"x\": 1\nname: A\ngreeting: x",
    ],
)
def test_yaml_with_json_in_it_is_yaml(text: str) -> None:
    assert read_card(text.encode(), "x.yaml")[0].name == "A"


# Many values ----------------------------------------------------------------------------------------------


def test_commas_inside_texts_are_not_values() -> None:
    prose = "red, blue, green [and] {so} on, " * 40_000
    entries = [{"keys": ["a"], "content": prose[n : n + 100_000]} for n in range(0, 1_280_000, 100_000)]
    document = {"spec": "chara_card_v2", "data": {**V1, "character_book": {"entries": entries}}}
    text = json.dumps({**document, "x": prose[:1_000_000], "y": '\\",' * 500_000, "z": prose * 3})
    assert text.count(",") > limits.JSON_VALUES
    assert read_card(text.encode())[0].name == "Vesna 東"


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ('{"a": "' + "," * 30 + '"}', False),
        ('["' + '","' * 4 + '"]', False),
        ('["' + '","' * 11 + '"]', True),
        ("[" + "1," * 9 + "1]", True),
        ("[" + "1," * 8 + "1]", False),
        ('["\\",\\",\\",\\",\\",\\",\\",\\",\\",\\",\\","]', False),
        ('["\\\\",' + "[]," * 3 + "1]", False),
        ('["\\\\",' + "[]," * 4 + "1]", True),
        ("{}" * 11, True),
    ],
)
def test_values_are_counted_by_structure(text: str, over: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JSON_VALUES", 9)
    try:
        parse_json(text, [])
        refused = False
    except CardError as error:
        refused = error.code == "too-large"
    assert refused is over


@given(
    st.recursive(st.integers() | st.text('",[]{}\\', max_size=5), lambda inner: st.lists(inner, max_size=4))
)
def test_the_count_is_that_of_the_values(value: Any) -> None:
    """The limit falls where commas and brackets outside of strings are more than it."""

    def structure(inner: Any) -> int:
        if isinstance(inner, list):
            return 1 + max(0, len(inner) - 1) + sum(map(structure, inner))
        return 0

    limit, text = limits.JSON_VALUES, json.dumps(value)
    try:
        for cap in (structure(value) - 1, structure(value)):
            limits.JSON_VALUES = cap  # type: ignore[misc]
            try:
                parse_json(text, [])
            except CardError:
                assert cap < structure(value)
            else:
                assert cap >= structure(value)
    finally:
        limits.JSON_VALUES = limit  # type: ignore[misc]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"' + "," * 16_000_000,
        '""' * 8_000_000,
        '["' + '\\",' * 5_000_000,
        "{}," * 5_000_000,
        '[",' * 5_000_000,
    ],
    ids=["unended", "empty texts", "escapes", "objects", "quotes"],
)
def test_counting_is_quick_and_copies_nothing(text: str) -> None:
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(CardError):
        parse_json(text, [])
    taken, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1
    assert peak < len(text)


# Our own pictures -----------------------------------------------------------------------------------------


def test_a_v3_card_in_our_own_png_is_nothing_odd() -> None:
    data = {
        **V1,
        "nickname": "Ves",
        "creator_notes": "old",
        "creator_notes_multilingual": {"en": "new", "de": "neu"},
        "assets": [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}],
        "source": ["x"],
        "group_only_greetings": ["hi"],
        "creation_date": 1,
        "modification_date": 2,
        "character_book": {"entries": [{"keys": ["a"], "content": "@@depth 2\nx", "use_regex": True}]},
    }
    document = {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}
    written = export_card(read_card(json.dumps(document).encode())[0].edited("creator", "me"), "png")
    card, warnings = read_card(written, "x.png")
    assert (card.spec, card.call_name, card.creator_notes, warnings) == ("v3", "Ves", "new", [])


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"description": "Another."}, "description"),
        ({"creator_notes": "Another.", "nickname": "N"}, "creator_notes"),
        ({"tags": ["x"], "name": "N"}, "name, tags"),
    ],
)
def test_copies_that_differ_in_what_both_hold_are_a_warning(change: dict[str, Any], fields: str) -> None:
    old = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**V1, "extensions": {}}}
    new = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**V1, "extensions": {}, **change}}
    first = in_png(b64encode(json.dumps(old).encode()))
    body = b"ccv3\0" + b64encode(json.dumps(new).encode())
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    _, warnings = read_card(first[:33] + chunk + first[33:], "x.png")
    assert [(warning.code, warning.field, warning.message) for warning in warnings] == [
        (
            "conflict",
            "chara",
            f"copy 2 of the card differs and was not used, in {fields}; "
            "to take it: rpchat card edit REF --copy 2",
        )
    ]

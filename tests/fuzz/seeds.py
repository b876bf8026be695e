"""Seeds for the fuzzer: one small file of each form, made here. `python tests/fuzz/seeds.py FOLDER` writes
them."""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

V1 = {
    "name": "A",
    "description": "d",
    "personality": "",
    "scenario": "",
    "first_mes": "hi",
    "mes_example": "",
}
ENTRY = {
    "keys": ["castle", "/to+wer/i"],
    "secondary_keys": ["a"],
    "content": "@@depth 2\n@@role user\nc",
    "extensions": {"position": 4, "role": 1, "selectiveLogic": 3, "group": "g", "sticky": 2},
    "enabled": True,
    "insertion_order": 1.0,
    "use_regex": False,
}
V3 = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        **V1,
        "nickname": "S",
        "tags": ["t"],
        "alternate_greetings": ["yo"],
        "extensions": {"depth_prompt": {"prompt": "p", "depth": 2, "role": "system"}},
        "assets": [{"type": "icon", "uri": "embeded://a/i.png", "name": "main", "ext": "png"}],
        "character_book": {"name": "b", "scan_depth": 2, "entries": [ENTRY]},
        "creator_notes_multilingual": {"en": "n"},
        "group_only_greetings": [],
        "creation_date": 1700000000,
    },
}
V2 = {"spec": "chara_card_v2", "spec_version": "2.0", "data": V3["data"], **V1, "fav": True, "chat": "x"}


ODD: dict[str, Any] = {
    **V3,
    "data": {
        **V1,
        "tags": "a, b",
        "assets": [None, {"uri": "http://x"}],
        "source": 5,
        "creation_date": "2024-01-01T00:00:00Z",
        "extensions": {"fav": "true", "talkativeness": "0.5", "regex_scripts": [1]},
        "character_book": {"entries": {"0": {"keys": "k", "content": None, "position": 9, "extensions": ""}}},
    },
}


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    """A PNG of one pixel with these chunks before its image."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixel + chunk(b"IEND", b"")


def zipped(members: dict[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


def webp(comment: bytes, prefix: bytes = b"ASCII\0\0\0") -> bytes:
    """A WebP with an EXIF user comment."""
    comment = prefix + comment
    inner = struct.pack("<H", 1) + struct.pack("<HHII", 0x9286, 7, len(comment), 44) + b"\0" * 4
    root = struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 26) + b"\0" * 4
    block = b"II*\0" + struct.pack("<I", 8) + root + inner + comment
    chunks = b"VP8 " + struct.pack("<I", 4) + b"\0" * 4 + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def seeds() -> dict[str, bytes]:
    """Every seed by name."""
    coded = {name: json.dumps(value).encode() for name, value in (("v1", V1), ("v2", V2), ("v3", V3))}
    agnai: Any = {
        "kind": "character",
        "name": "A",
        "persona": {"kind": "wpp", "attributes": {"a": ["b"]}},
        "greeting": "g",
        "sampleChat": "",
    }
    world = {"entries": {"0": {"uid": 0, "key": ["k"], "keysecondary": [], "content": "c", "order": 1}}}
    manifest = {"characters": ["c.json"], "scenarios": ["s.json"], "author": {"name": "me"}}
    return {
        **{f"{name}.json": data for name, data in coded.items()},
        "agnai.json": json.dumps(agnai).encode(),
        "pygmalion.json": b'{"char_name":"A","char_persona":"p","char_greeting":"g"}',
        "envelope.json": json.dumps({"card": V2}).encode(),
        "world.json": json.dumps(world).encode(),
        "book.json": json.dumps({"spec": "lorebook_v3", "data": V3["data"]["character_book"]}).encode(),  # type: ignore[index]
        "memory.json": b'{"kind":"memory","entries":[{"entry":"e","keywords":["k"],"weight":1}]}',
        "chat.jsonl": b'{"user_name":"A","character_name":"B"}\n{"mes":"x"}',
        "utf16.json": coded["v1"].decode().encode("utf-16"),
        "utf16be.json": coded["v1"].decode().encode("utf-16-be"),
        "utf32.json": coded["v1"].decode().encode("utf-32-le"),
        "mojibake.json": json.dumps({**V1, "name": "Ã©â€™"}, ensure_ascii=False).encode(),
        "comment.json": b"// a card\n" + coded["v1"],
        "odd.json": json.dumps(ODD).encode(),
        "webui.yaml": b"name: A\ngreeting: |-\n  hi\ncontext: &a c\nx: *a\n",
        "card.md": b"---\nname: A\nfirst_mes: (below)\ndescription: d\n---\n\n<!-- first_mes -->\nhi\n",
        "copies.png": png(chunk(b"tEXt", b"chara\0" + coded["v1"]), chunk(b"tEXt", b"chara\0" + coded["v2"])),
        "text.png": png(chunk(b"tEXt", b"chara\0" + b64encode(coded["v2"]))),
        "bare.png": png(chunk(b"tEXt", b"ccv3\0" + coded["v3"]), chunk(b"tEXt", b"chara\0" + coded["v1"])),
        "ztxt.png": png(chunk(b"zTXt", b"Chara\0\0" + zlib.compress(b64encode(coded["v1"])))),
        "itxt.png": png(chunk(b"iTXt", b"ccv3\0\0\0en\0\0" + b64encode(coded["v3"]))),
        "itxtz.png": png(chunk(b"iTXt", b"ccv3\0\1\0\0\0" + zlib.compress(coded["v3"]))),
        "card.charx": zipped({"card.json": coded["v3"].decode(), "a/i.png": "x"}),
        "deflated.charx": zipped({"sub/card.json": coded["v3"].decode()}, zipfile.ZIP_DEFLATED),
        "card.jpg": b"\xff\xd8\xff\xe0 \xff\xd9" + zipped({"card.json": coded["v3"].decode()}),
        "card.byaf": zipped(
            {
                "manifest.json": json.dumps(manifest),
                "c.json": '{"name":"A","persona":"p","loreItems":[{"key":"a,b","value":"v"}]}',
                "s.json": '{"narrative":"n","firstMessages":[{"text":"hi"}]}',
            }
        ),
        "card.webp": webp(coded["v1"]),
        "unicode.webp": webp(coded["v1"].decode().encode("utf-16-be"), b"UNICODE\0"),
        "numbers.webp": webp(b",".join(str(byte).encode() for byte in coded["v1"])),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (folder / name).write_bytes(data)

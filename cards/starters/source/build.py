"""Builds the starter cards: NAME.yaml (texts) and NAME.svg (portrait) become ../NAME.png.

A tool for people who change a starter, not part of the running program. From the repository's root, for all
cards or for those named: `python cards/starters/source/build.py`. It needs the package `resvg_py`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from cards.png import write_card_png

SOURCE: Final = Path(__file__).parent
TARGET: Final = SOURCE.parent
SIZE: Final = (400, 600)
"""Width and height of a portrait in pixels."""
LICENCE: Final = (
    "Text and portrait were made for rpchat and are in the public domain (CC0 1.0): use them as you like."
)


def names() -> list[str]:
    """The starters that have a source, by name."""
    return sorted(path.stem for path in SOURCE.glob("*.yaml"))


def documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The V2 and the V3 document of a card, from its YAML."""
    text = yaml.safe_load((SOURCE / f"{name}.yaml").read_text(encoding="utf-8"))
    data: dict[str, Any] = {
        "name": text["name"],
        "description": text["description"],
        "personality": "",
        "scenario": text["scenario"],
        "first_mes": _paragraphs(text["first_mes"]),
        "mes_example": text["mes_example"],
        "creator_notes": f"{text['creator_notes']}\n\n{LICENCE}",
        "system_prompt": "",
        "post_history_instructions": "",
        "alternate_greetings": [_paragraphs(greeting) for greeting in text["alternate_greetings"]],
        "tags": text["tags"],
        "creator": "rpchat",
        "character_version": "1.0",
        "extensions": {},
    }
    if "character_book" in text:
        data["character_book"] = _book(text["character_book"])
    v2 = {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}
    # V3 asks for one list more; without `assets` the PNG itself is the icon.
    v3 = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**data, "group_only_greetings": []}}
    return v2, v3


def _paragraphs(folded: str) -> str:
    """A folded YAML text has one newline where its paragraphs meet; a message has an empty line there."""
    return folded.replace("\n", "\n\n")


def _book(book: dict[str, Any]) -> dict[str, Any]:
    """A lorebook that is valid in V2 and in V3: V3 wants `use_regex`, which V2 readers keep unread."""
    return {
        "name": book["name"],
        "description": book["description"],
        "scan_depth": 4,
        "token_budget": 500,
        "recursive_scanning": False,
        "extensions": {},
        "entries": [
            {
                "id": number,
                "name": entry["name"],
                "comment": entry["name"],
                "keys": entry["keys"],
                "secondary_keys": [],
                "content": entry["content"],
                "enabled": True,
                "insertion_order": 10 * number,
                "priority": 10,
                "case_sensitive": False,
                "selective": False,
                "constant": False,
                "use_regex": False,
                "position": "before_char",
                "extensions": {},
            }
            for number, entry in enumerate(book["entries"], start=1)
        ],
    }


def portrait(name: str) -> bytes:
    """The portrait as a PNG without a card."""
    import resvg_py  # type: ignore[import-not-found,unused-ignore]  # not among the dependencies
    from PIL import Image

    width, height = SIZE
    drawn = resvg_py.svg_to_bytes(svg_path=str(SOURCE / f"{name}.svg"), width=width, height=height)
    image = Image.open(io.BytesIO(drawn)).convert("RGB")
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def build(name: str) -> Path:
    """Writes a card and returns its path."""
    v2, v3 = documents(name)
    path = TARGET / f"{name}.png"
    path.write_bytes(write_card_png(portrait(name), v2, v3))
    return path


def main(arguments: list[str]) -> int:
    """Builds the cards named, or all. Returns the exit status."""
    unknown = [name for name in arguments if name not in names()]
    if unknown:
        print(f"no source for {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    for name in arguments or names():
        path = build(name)
        print(f"{path.name}: {path.stat().st_size // 1024} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

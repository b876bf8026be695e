"""`rpchat card`: the cards at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
    from cards.card import Card
    from cards.library import CardLibrary

FIELDS = (
    ("description", "Description"),
    ("personality", "Personality"),
    ("scenario", "Scenario"),
    ("system_prompt", "System prompt"),
    ("post_history_instructions", "Post-history instructions"),
    ("mes_example", "Example dialogue"),
    ("creator_notes", "Creator's notes"),
)


@click.group()
def command() -> None:
    """Cards: the characters at hand."""


def _library() -> CardLibrary:
    from cards.library import CardLibrary
    from chat.settings import Folders

    return CardLibrary(Folders.find().cards)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Every card of your folder, and the starter cards."""
    library = _library()
    cards = library.list()
    if as_json:
        write_json(
            [
                {
                    "ref": card.ref,
                    "path": str(card.path),
                    "name": card.name,
                    "spec": card.spec or None,
                    "creator": card.creator,
                    "tags": list(card.tags),
                    "starter": card.starter,
                    "error": card.error or None,
                }
                for card in cards
            ]
        )
        return
    rows = [
        (
            card.ref,
            card.name,
            card.spec,
            card.error or ", ".join(card.tags[:5]),
            "starter" if card.starter else "",
        )
        for card in cards
    ]
    write_table(rows, empty=f"no card yet; put a .png or .json card into {library.folder}")


@command.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print the card's own document, untouched.")
def show(ref: str, as_json: bool) -> None:
    """One card, whole: its fields, greetings and lorebook."""
    from cards.reading import read_card_file

    path = _library().find(ref)
    card, warnings = read_card_file(path)
    if as_json:
        write_json({"path": str(path), "spec": card.spec, "document": card.document})
    else:
        write("\n".join(_lines(card, str(path))))
    for warning in warnings:
        warn(f"{path.name}: {warning}")


def _lines(card: Card, path: str) -> list[str]:
    facts: list[tuple[str, Any]] = [
        ("file", path),
        ("spec", card.spec),
        ("nickname", card.nickname),
        ("creator", card.creator),
        ("version", card.character_version),
        ("tags", ", ".join(card.tags)),
    ]
    lines = [card.name, *(f"{name}: {value}" for name, value in facts if value)]
    for field, title in FIELDS:
        text = getattr(card, field)
        if text:
            lines += ["", f"== {title}", text]
    for number, greeting in enumerate(card.greetings, 1):
        lines += ["", f"== Greeting {number} of {len(card.greetings)}", greeting]
    if card.character_book:
        lines += ["", f"== Lorebook: {len(card.character_book.entries)} entries"]
    return lines

"""`rpchat card`: the cards at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chat.cli import card_edit, card_export, card_files, card_import, card_lore
from chat.cli.card_library import at_hand, card_at, counted, named
from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from cards.card import Card
    from cards.library import CardLibrary, LibraryCard

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


for verb in (
    card_files.check,
    card_files.new,
    card_export.export,
    card_import.import_,
    card_edit.edit,
    card_lore.lore,
):
    command.add_command(verb)


@command.command("list")
@click.option(
    "--sort",
    "by",
    type=click.Choice(["name", "creator", "chat", "tokens"]),
    default="name",
    help="By name, creator, last chat (newest first) or estimated tokens (most first).",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only cards that have this tag.")
@click.option(
    "--text", metavar="WORDS", default="", help="Only cards with all these words in what is listed."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(by: Any, tags: tuple[str, ...], text: str, as_json: bool) -> None:
    """Every card of your folder, and the starter cards."""
    from cards.library import filtered, in_order

    library = at_hand()
    found = filtered(library.list(), tags=tags, text=text)
    last_chats = _last_chats(found) if by == "chat" else {}
    cards = in_order(found, by, last_chats)
    if as_json:
        write_json([_values(card) | _sorted_by(card, by, last_chats) for card in cards])
        return
    rows = [
        (
            card.ref,
            named(card.name),
            card.spec,
            counted(card.tokens, "token") if card.tokens else "",
            card.error or ", ".join(map(named, card.tags[:5])),
            "starter" if card.starter else "",
        )
        for card in cards
    ]
    nothing = f"no card yet; put a .png or .json card into {library.folder}"
    write_table(rows, empty="no card is like that" if tags or text else nothing)


def _values(card: LibraryCard) -> dict[str, Any]:
    return {
        "ref": card.ref,
        "path": str(card.path),
        "name": card.name,
        "spec": card.spec or None,
        "creator": card.creator,
        "tags": list(card.tags),
        "tokens": card.tokens,
        "starter": card.starter,
        "error": card.error or None,
    }


def _sorted_by(card: LibraryCard, by: str, last_chats: dict[str, datetime]) -> dict[str, Any]:
    """What the list is sorted by, where a card's own values do not show it."""
    last = last_chats.get(card.ref)
    return {"last_chat": last.isoformat() if last else None} if by == "chat" else {}


def _last_chats(cards: Sequence[LibraryCard]) -> dict[str, datetime]:
    """When the last chat with each card went on, by the card's ref."""
    from chat.last_chats import last_chats
    from chat.settings import Folders
    from chat.store import Store

    database = Folders.find().database
    if not database.exists():
        return {}
    with Store(database) as store:
        return last_chats(cards, store.chats())


@command.command()
@click.argument("ref")
@click.option(
    "--diff", "other", metavar="REF|original", help="What differs from another card, or from its import."
)
@click.option("--json", "as_json", is_flag=True, help="Print the card's own document, untouched.")
def show(ref: str, other: str | None, as_json: bool) -> None:
    """One card, whole: its fields, greetings and lorebook."""
    library = at_hand()
    path, card, warnings = card_at(library, ref)
    if other is not None:
        _show_differences(library, path, card, other, as_json)
        return
    if as_json:
        write_json({"path": str(path), "spec": card.spec, "document": card.document})
    else:
        write("\n".join(_lines(card, str(path))))
    for warning in warnings:
        warn(f"{path.name}: {warning}")


def _show_differences(library: CardLibrary, path: Path, card: Card, other: str, as_json: bool) -> None:
    from chat.cli.card_diff import differences, lines_of

    before = _original(library, path, card) if other == "original" else card_at(library, other)[1]
    found = differences(before, card)
    if as_json:
        write_json([{"field": field, "before": old, "after": new} for field, old, new in found])
        return
    write(
        "\n".join(line for field, old, new in found for line in lines_of(field, old, new)) or "no difference"
    )


def _original(library: CardLibrary, path: Path, card: Card) -> Card:
    """The card as it was imported: what was kept at the first change, or the card itself."""
    from cards.library.saving import original_of
    from cards.reading import read_card_file
    from cards.writing import ENDINGS

    kept = original_of(library, path) if library.ref_of(path) is not None else None
    if kept is None and library.ref_of(path) is None:
        # The file before an edit may have had another ending: what was a WebP is a PNG now.
        endings = (path.suffix, *ENDINGS.values())
        backups = (path.with_name(f"{path.stem}{ending}.bak") for ending in endings)
        kept = next((backup for backup in backups if backup.exists()), None)
        if kept is None:
            raise click.ClickException(
                f"{path}: no earlier copy is kept; originals are kept of the library's cards"
            )
    return read_card_file(kept)[0] if kept is not None else card


def _lines(card: Card, path: str) -> list[str]:
    facts: list[tuple[str, Any]] = [
        ("file", path),
        ("spec", card.spec),
        ("nickname", card.nickname),
        ("creator", card.creator),
        ("version", card.character_version),
        ("tags", ", ".join(card.tags)),
    ]
    lines = [_one_line(card.name), *(f"{name}: {_one_line(value)}" for name, value in facts if value)]
    for field, title in FIELDS:
        text = getattr(card, field)
        if text:
            lines += ["", f"== {title}", text]
    for number, greeting in enumerate(card.greetings, 1):
        lines += ["", f"== Greeting {number} of {len(card.greetings)}", greeting]
    if card.character_book:
        lines += ["", f"== Lorebook: {counted(len(card.character_book.entries), 'entry', 'entries')}"]
    return lines


def _one_line(text: str) -> str:
    from cards.display import display_text

    return display_text(text, single_line=True)

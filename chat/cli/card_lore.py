"""`rpchat card lore`: which entries of a lorebook fire on a text, and why the others do not."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_library import at_hand, counted, named, write_line
from chat.cli.options import text_or_stdin
from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
    from cards.card import Card
    from cards.errors import CardWarning
    from cards.lore_values import Activation, Budget, LoreSettings
    from cards.lorebook import Entry, Lorebook


@click.command()
@click.argument("ref")
@click.option(
    "--test",
    "messages",
    multiple=True,
    metavar="TEXT|@FILE|-",
    help="What fires on this message; several are a chat, the newest last.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=0),
    metavar="N",
    help="Tokens for all that fires, estimated; the book's own budget counts where it is smaller.",
)
@click.option(
    "--greeting",
    type=click.IntRange(min=0),
    metavar="N",
    help="The greeting that the chat began with, 0 being the first message.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="The dice of entries by chance."
)
@click.option("--add", metavar="FILE", help="Put the entries of a lorebook's file into the card's book.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lore(
    ref: str,
    messages: tuple[str, ...],
    budget: int | None,
    greeting: int | None,
    seed: int,
    add: str | None,
    as_json: bool,
) -> None:
    """The lorebook of a card, or a lorebook's own file: its entries, or with --test which of them fire."""
    from cards.filenames import expanded
    from cards.lore_values import LoreSettings

    library = at_hand()
    path = library.find(ref)
    if add is not None:
        _add(path, expanded(Path(add)))
        return
    book, card, warnings = _read(path)
    for warning in warnings:
        if "entries" in warning.field:
            warn(f"{path.name}: {warning}")
    if not messages:
        _list(book, as_json)
        return
    texts = [text_or_stdin(message) for message in messages]
    settings = LoreSettings(budget=budget)
    _show(_activated(card, book, texts, settings, greeting, seed), book.budget_under(settings), as_json)


def _read(path: Path) -> tuple[Lorebook, Card | None, list[CardWarning]]:
    """The book in a file, and the card around it where there is one. Raises CardError."""
    from cards.errors import CardError
    from cards.library import read_file
    from cards.reading import read_card, read_lorebook

    data = read_file(path)
    try:
        card, warnings = read_card(data, path.name)
    except CardError:
        book, warnings = read_lorebook(data, path.name)
        return book, None, warnings
    if card.character_book is None:
        raise CardError("no-lorebook", "there is no lorebook in this card", path.name)
    return card.character_book, card, warnings


def _activated(
    card: Card | None,
    book: Lorebook,
    texts: list[str],
    settings: LoreSettings,
    greeting: int | None,
    seed: int,
) -> Activation:
    from cards.lore_values import LoreScene
    from cards.lorebook import activate
    from cards.macros import Macros

    if card is not None:
        macros, scene = Macros.for_card(card, "User"), LoreScene.for_card(card, greeting=greeting)
    else:
        macros, scene = Macros(char=book.name), LoreScene(greeting=greeting)
    return activate(
        book,
        texts,
        settings=settings,
        scene=scene,
        dice=Random(seed),
        expand=macros.expand,
        expand_for_scan=lambda text: macros.expand(text, view="scan"),
    )


def _place(entry: Entry) -> str:
    return f"depth {entry.depth} {entry.role}" if entry.position == "depth" else entry.position


def _list(book: Lorebook, as_json: bool) -> None:
    if as_json:
        write_json([_values(entry) for entry in book.entries])
        return
    rows = [
        (
            entry.label,
            "off" if not entry.enabled else "always" if entry.constant else ", ".join(entry.keys[:5]),
            _place(entry),
        )
        for entry in book.entries
    ]
    write_table(rows, empty="the lorebook has no entry")


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.label,
        "keys": list(entry.keys),
        "secondary_keys": list(entry.secondary_keys),
        "enabled": entry.enabled,
        "constant": entry.constant,
        "position": entry.position,
        "content": entry.content,
    }


def _show(activation: Activation, budget: Budget | None, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "fired": [
                    {
                        "entry": fired.entry.label,
                        "why": fired.why,
                        "position": fired.entry.position,
                        "text": fired.text,
                    }
                    for fired in activation.fired
                ],
                "skipped": [
                    {"entry": skipped.entry.label, "why": skipped.why} for skipped in activation.skipped
                ],
                "tokens": activation.tokens,
                "budget": {"tokens": budget.tokens, "of": budget.of} if budget else None,
            }
        )
        return
    fires = [("fires", fired.entry.label, _place(fired.entry), fired.why) for fired in activation.fired]
    stays = [("-", skipped.entry.label, _place(skipped.entry), skipped.why) for skipped in activation.skipped]
    write_table([*fires, *stays], empty="the lorebook has no entry")
    total = len(fires) + len(stays)
    verb = "fires" if len(fires) == 1 else "fire"
    entries, tokens = counted(total, "entry", "entries"), counted(activation.tokens, "token")
    write(f"{len(fires)} of {entries} {verb}, about {tokens}{_bounds(budget)}")


def _bounds(budget: Budget | None) -> str:
    if budget is None:
        return ""
    whose = "the book's own budget" if budget.of == "book" else "the budget given"
    return f"; at most {budget.tokens}, {whose}, the smaller of the two counts"


def _add(path: Path, file: Path) -> None:
    from cards.library import file_state, read_file
    from cards.library.saving import save_card
    from cards.lore_writing import book_with
    from cards.reading import read_card_file

    library = at_hand()
    state = file_state(path)
    card = read_card_file(path)[0]
    edited, count = book_with(card, read_file(file), file.name)
    saved = save_card(library, path, edited, expected=state, now=int(time.time()), notice=warn)
    write_line(f"{named(card.name)}: {counted(count, 'entry', 'entries')} added, saved in {saved}")

"""`rpchat chat`: the stored chats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cards.filenames import expanded
from chat.cli.card_library import counted
from chat.cli.printing import warn, write, write_json, write_table

if TYPE_CHECKING:
    from datetime import datetime

    from chat.opening import Opening
    from chat.store import Store
    from chat.tree import Message


@click.group()
def command() -> None:
    """Chats: what was said."""


def _opening(card: str | None = None) -> Opening:
    from chat.launch import Launch
    from chat.opening import Opening

    return Opening(Launch(card=card))


def _store(opening: Opening | None = None) -> Store:
    opening = opening or _opening()
    store = opening.store
    for notice in opening.notices:
        warn(notice)
    return store


def _time(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """All chats, last used first."""
    chats = _store().chats()
    if as_json:
        write_json(
            [
                {
                    "id": chat.id,
                    "card": chat.card_ref,
                    "name": chat.card_name,
                    "title": chat.title,
                    "created": chat.created.isoformat(),
                    "updated": chat.updated.isoformat(),
                    "messages": chat.messages,
                    "last_line": chat.last_line,
                }
                for chat in chats
            ]
        )
        return
    short = _short_ids([chat.id for chat in chats])
    rows = [
        (
            short[chat.id],
            _time(chat.updated),
            str(chat.messages),
            chat.title or chat.card_name,
            chat.last_line[:60],
        )
        for chat in chats
    ]
    write_table(rows, empty="no chat yet; `rpchat --card samuel` begins one")


def _short_ids(ids: list[str]) -> dict[str, str]:
    """The shortest beginnings, of at least 8 characters, that tell the ids apart; `--chat` takes them."""
    length = 8
    while len({id[:length] for id in ids}) < len(ids):
        length += 1
    return {id: id[:length] for id in ids}


@command.command()
@click.argument("chat", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(chat: str, as_json: bool) -> None:
    """One chat as it stands: the messages of its active path."""
    store = _store()
    opened = store.open_chat(store.find_chat(chat))
    path = opened.tree.path()
    if as_json:
        write_json(
            {
                "id": opened.chat.id,
                "card": opened.chat.card_ref,
                "name": opened.chat.card_name,
                "title": opened.chat.title,
                "created": opened.chat.created.isoformat(),
                "persona": {
                    "name": opened.chat.persona.name,
                    "description": opened.chat.persona.description,
                },
                "format": opened.chat.format or None,
                "options": opened.chat.options,
                "messages": [_values(message) for message in path],
            }
        )
        return
    write("\n\n".join(f"{message.name}\n{message.text}" for message in path))


def _values(message: Message) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "id": message.id,
        "role": message.role,
        "name": message.name,
        "text": message.text,
        "hidden": message.hidden,
        "created": message.created.isoformat(),
        "generation": asdict(message.generation) if message.generation else None,
    }


@command.command()
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(text: str, as_json: bool) -> None:
    """Messages that hold all these words; the last may be a beginning."""
    found = _store().search(text)
    if as_json:
        write_json(
            [
                {
                    "chat": hit.chat_id,
                    "message": hit.message_id,
                    "card": hit.card_name,
                    "name": hit.name,
                    "excerpt": hit.excerpt,
                    "created": hit.created.isoformat(),
                }
                for hit in found
            ]
        )
        return
    short = _short_ids(list(dict.fromkeys(hit.chat_id for hit in found)))
    rows = [(short[hit.chat_id], _time(hit.created), hit.name, hit.excerpt) for hit in found]
    write_table(rows, empty="nothing found")


@command.command()
@click.argument("chat", metavar="ID")
def delete(chat: str) -> None:
    """Take a chat out of every list; its rows stay in the database."""
    opening = _opening()
    chat_id = _store(opening).find_chat(chat)
    opening.delete_chat(chat_id)
    write(f"chat {chat_id} is deleted")


@command.command()
@click.argument("chat", metavar="ID")
@click.option(
    "--to", "kind", type=click.Choice(["jsonl", "text"]), default="jsonl", help="SillyTavern's, or plain."
)
@click.option("-o", "output", metavar="FILE|-", default="-", help="Where to; - is stdout.")
def export(chat: str, kind: str, output: str) -> None:
    """The active path of a chat, exact: as SillyTavern reads it (with swipes), or as plain text."""
    from chat.interchange import export_jsonl, export_text

    store = _store()
    opened = store.open_chat(store.find_chat(chat))
    text = export_jsonl(opened.chat, opened.tree) if kind == "jsonl" else export_text(opened.tree)
    data = f"{text.rstrip()}\n".encode("utf-8", "replace")
    if output == "-":
        click.echo(data, nl=False)
        return
    from chat.files import write_atomically

    file = expanded(output)
    write_atomically(file, data)
    write(f"{file}: {counted(len(opened.tree.path()), 'message')}")


@command.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--card", metavar="REF", help="The character's card; without it, the one of the name in the file."
)
def import_(paths: tuple[Path, ...], card: str | None) -> None:
    """Store SillyTavern chats (.jsonl) as new ones; swipes become siblings."""
    from chat.interchange import import_chat, read_chat_file

    for path in paths:
        file = read_chat_file(expanded(path))
        if card is None and not file.character_name:
            raise click.UsageError(f"{path} names no character; name the card with --card")
        opening = _opening(card or file.character_name)
        store = _store(opening)
        chat = import_chat(store, file, card_ref=opening.card_ref, card=opening.card)
        for problem in file.problems:
            warn(f"{path}: {problem}")
        write(f"{path}: {counted(len(file.messages), 'message')}, chat {chat.id}")

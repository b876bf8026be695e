"""Between the store's rows and the values of a chat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import lru_cache
from typing import Any

from chat.ids import from_milliseconds, new_id, now, to_milliseconds
from chat.records import Chat
from chat.tree import Generation, Message
from presets.placing import place_of, placed_persona
from presets.values import Role, Window

MESSAGE_COLUMNS = (
    "id, chat_id, parent_id, role, name, text, hidden, created, generation, sampling, continues"
    ", thinking, raw"
)
CHAT_COLUMNS = "id, created, card_ref, card_name, card_document, persona_name, persona_description, dice"
_GENERATION_FIELDS = {field.name for field in fields(Generation)}


def storable(text: str) -> str:
    """Text as UTF-8 can hold it: a lone surrogate, as broken JSON may bring it, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # UTF-16 joins halves that stand side by side into the character they were meant to be.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def worded(text: str) -> str:
    """The text itself. Raises ValueError when there is no word in it."""
    if not text.strip():
        raise ValueError("The message is empty.")
    return text


def new_message(
    chat_id: str,
    parent_id: str | None,
    role: Role,
    name: str,
    text: str,
    *,
    hidden: bool = False,
    continues: str | None = None,
) -> Message:
    """A message of this moment, with an id of its own and text that can be stored."""
    return Message(
        id=new_id(),
        chat_id=chat_id,
        parent_id=parent_id,
        role=role,
        name=storable(name),
        text=storable(text),
        hidden=hidden,
        created=now(),
        continues=continues,
    )


def message_row(message: Message) -> tuple[Any, ...]:
    """A message as `MESSAGE_COLUMNS`."""
    generation, sampling = None, None
    if message.generation is not None:
        document = asdict(message.generation)
        sampling = json.dumps(document.pop("sampling"))
        generation = json.dumps(document)
    return (
        message.id,
        message.chat_id,
        message.parent_id,
        message.role,
        storable(message.name),
        storable(message.text),
        int(message.hidden),
        to_milliseconds(message.created),
        generation,
        sampling,
        message.continues,
        storable(message.thinking),
        storable(message.raw),
    )


def read_messages(rows: Sequence[Sequence[Any]]) -> list[Message]:
    """Messages from rows of `MESSAGE_COLUMNS`."""
    # One document is parsed five times as fast as thousands, and a chat is to open at once.
    generations = iter(json.loads(f"[{','.join(row[8] for row in rows if row[8] is not None)}]"))
    return [
        Message(
            id=row[0],
            chat_id=row[1],
            parent_id=row[2],
            role=row[3],
            name=row[4],
            text=row[5],
            hidden=bool(row[6]),
            created=from_milliseconds(row[7]),
            generation=None if row[8] is None else _read_generation(next(generations), row[9]),
            continues=row[10],
            thinking=row[11],
            raw=row[12],
        )
        for row in rows
    ]


def _read_generation(document: dict[str, Any], sampling: str | None) -> Generation:
    """A field that a later rpchat added is passed over."""
    document["sampling"] = _read_sampling(sampling or "{}")
    if document.keys() != _GENERATION_FIELDS:
        document = {key: value for key, value in document.items() if key in _GENERATION_FIELDS}
    return Generation(**document)


@lru_cache(maxsize=64)
def _read_sampling(sampling: str) -> dict[str, Any]:
    """The settings of a chat's replies are nearly always the same ones: they are parsed once and shared."""
    document: dict[str, Any] = json.loads(sampling)
    return document


def chat_row(chat: Chat) -> tuple[Any, ...]:
    """What never changes of a chat, as `CHAT_COLUMNS`."""
    return (
        chat.id,
        to_milliseconds(chat.created),
        storable(chat.card_ref),
        storable(chat.card_name),
        json.dumps(chat.card_document),
        storable(chat.persona.name),
        storable(chat.persona.description),
        chat.dice,
    )


def chat_settings(chat: Chat) -> dict[str, str]:
    """What may change of a chat, each value as JSON."""
    values: dict[str, Any] = {
        "title": chat.title,
        "format": chat.format,
        "sampling": chat.sampling,
        "options": chat.options,
        "window": asdict(chat.window),
        "persona": place_of(chat.persona),
    }
    return {key: json.dumps(value, sort_keys=True) for key, value in values.items()}


def read_chat(row: Sequence[Any], settings: dict[str, str]) -> Chat:
    """A chat from `CHAT_COLUMNS` and its newest settings."""
    id_, created, card_ref, card_name, document, persona_name, persona_description, dice = row
    values = {key: json.loads(value) for key, value in settings.items()}
    window = values.get("window", {})
    return Chat(
        id=id_,
        created=from_milliseconds(created),
        card_ref=card_ref,
        card_name=card_name,
        card_document=json.loads(document),
        persona=placed_persona(persona_name, persona_description, values.get("persona")),
        dice=dice,
        title=values.get("title", ""),
        format=values.get("format", ""),
        sampling=values.get("sampling"),
        options=values.get("options", {}),
        window=Window(window.get("first_turn", ""), window.get("without_examples", False)),
    )

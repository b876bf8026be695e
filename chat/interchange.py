"""Chats in and out: SillyTavern's .jsonl, and plain text.

A .jsonl chat is a header and then one message a line. Header and dates come in several forms, messages may
carry swipes; whatever cannot be read is reported and passed over, never a reason to refuse the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cards.card import Card
from cards.macros import Macros
from chat.dates import read_date
from chat.ids import new_id, now
from chat.note_metadata import note_metadata, note_options
from chat.prompting import macros_of
from chat.records import Chat
from chat.rows import new_message, storable
from chat.seeds import Seeds
from chat.store import Store
from chat.tree import Message, Tree
from presets.values import Persona, Role, Turn

LARGEST_FILE = 256 << 20
"""Bytes; a chat of a million messages is smaller."""


class InterchangeError(Exception):
    """A file is no chat; one line: what, where, what to do."""


@dataclass(frozen=True, slots=True)
class FileMessage:
    """One message of a file, with all its swipes."""

    role: Role
    name: str
    texts: tuple[str, ...]
    """All swipes; one where there are none."""
    chosen: int
    """Which of them is shown."""
    hidden: bool
    """Left out of the prompt."""
    created: datetime | None
    """UTC; None where the file does not tell."""
    line: int
    thoughts: tuple[str, ...] = ()
    """What the model thought before each text; empty where the file has nothing of it."""

    @property
    def text(self) -> str:
        return self.texts[self.chosen]


@dataclass(frozen=True, slots=True)
class ChatFile:
    """A chat as a file tells it."""

    messages: tuple[FileMessage, ...]
    user_name: str = ""
    """Empty where the file does not tell."""
    character_name: str = ""
    created: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """SillyTavern's `chat_metadata`, as it is."""
    problems: tuple[str, ...] = ()
    """One line each: what was passed over."""

    def turns(self, macros: Macros | None = None) -> list[Turn]:
        """The turns for a prompt: roles from the file; names are left to the card and the user.

        With `macros`, those in a first message of the character are expanded, and nowhere else.
        """
        shown = [message for message in self.messages if not message.hidden]
        turns = [Turn(message.role, "", message.text, f"line {message.line}") for message in shown]
        if macros is not None and turns and turns[0].role == "char":
            turns[0] = replace(turns[0], text=macros.expand(turns[0].text))
        return turns


# Reading ------------------------------------------------------------------------------------------------


def read_chat_file(path: Path) -> ChatFile:
    """A .jsonl chat from a file. Raises InterchangeError."""
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "there is no such file"
            raise InterchangeError(f"{path}: {what}; a chat is a .jsonl file.")
        if path.stat().st_size > LARGEST_FILE:
            raise InterchangeError(f"{path}: larger than any chat ({LARGEST_FILE >> 20} MiB).")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InterchangeError(f"{path}: {reason}.") from error
    return read_chat(data, str(path))


def read_chat(data: bytes, where: str = "the file") -> ChatFile:
    """A .jsonl chat from its bytes. Raises InterchangeError when no line of it is of a chat."""
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InterchangeError(f"{where}: not UTF-8 text; a SillyTavern chat is a .jsonl file.") from error
    problems: list[str] = []
    header: dict[str, Any] = {}
    messages: list[FileMessage] = []
    for number, row in _rows(lines, problems):
        text = _text(row.get("mes"))
        if text is not None:
            messages.append(_message(row, text, number))
        elif not messages and not header and _is_header(row):
            header = row
        else:
            problems.append(f"line {number}: no message; passed over")
    if not messages and not header:
        raise InterchangeError(f"{where}: no chat in it; a SillyTavern chat is a .jsonl file.")
    metadata = header.get("chat_metadata")
    return ChatFile(
        messages=tuple(messages),
        user_name=_name(header.get("user_name")),
        character_name=_name(header.get("character_name")),
        created=read_date(header.get("create_date")),
        metadata=metadata if isinstance(metadata, dict) else {},
        problems=tuple(problems),
    )


def _rows(lines: Sequence[str], problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            problems.append(f"line {number}: not JSON; passed over")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            problems.append(f"line {number}: no message; passed over")


def _is_header(row: dict[str, Any]) -> bool:
    return any(key in row for key in ("user_name", "character_name", "chat_metadata", "create_date", "name"))


def _name(value: object) -> str:
    """Newer SillyTavern writes `unused` where the names were."""
    return value.strip() if isinstance(value, str) and value != "unused" else ""


def _text(value: object) -> str | None:
    """A message's text; Chub writes an object around it."""
    if isinstance(value, dict):
        value = value.get("message")
    return value if isinstance(value, str) else None


def _message(row: dict[str, Any], text: str, line: int) -> FileMessage:
    swipes = row.get("swipes")
    texts = [_text(swipe) for swipe in swipes] if isinstance(swipes, list) else []
    thoughts = _thoughts(row.get("swipe_info"), len(texts))
    chosen = row.get("swipe_id")
    if not (isinstance(chosen, int) and 0 <= chosen < len(texts)) or isinstance(chosen, bool):
        chosen = texts.index(text) if text in texts else len(texts)
    if chosen == len(texts):
        texts.append(text)
        thoughts.append("")
    elif texts[chosen] != text:
        # The message was edited after it was swiped to: what is shown counts, the other stays beside it.
        texts.append(texts[chosen])
        thoughts.append(thoughts[chosen])
        texts[chosen] = text
    thoughts[chosen] = _thought(row) or thoughts[chosen]
    kept = [(index, swipe) for index, swipe in enumerate(texts) if swipe is not None]
    return FileMessage(
        role=_role(row),
        name=_name(row.get("name")),
        texts=tuple(swipe for _, swipe in kept),
        chosen=[index for index, _ in kept].index(chosen),
        hidden=row.get("is_system") is True,
        created=read_date(row.get("send_date")),
        line=line,
        thoughts=tuple(thoughts[index] for index, _ in kept),
    )


def _thought(row: object) -> str:
    """SillyTavern keeps what a model thought in `extra.reasoning` of a message, and of each swipe's info."""
    extra = row.get("extra") if isinstance(row, dict) else None
    reasoning = extra.get("reasoning") if isinstance(extra, dict) else None
    return reasoning if isinstance(reasoning, str) else ""


def _thoughts(infos: object, count: int) -> list[str]:
    """One for each of so many swipes."""
    known = [_thought(info) for info in infos[:count]] if isinstance(infos, list) else []
    return [*known, *[""] * (count - len(known))]


def _role(row: dict[str, Any]) -> Role:
    extra = row.get("extra")
    if isinstance(extra, dict) and extra.get("type") == "narrator":
        return "system"
    return "user" if row.get("is_user") is True else "char"


# Into and out of the store ------------------------------------------------------------------------------


def import_chat(
    store: Store,
    file: ChatFile,
    *,
    card_ref: str,
    card: Card,
    persona: Persona | None = None,
) -> Chat:
    """Store a chat from a file as a new one: swipes become siblings. Raises StoreError.

    The user is called as the file says where no `persona` is given.
    """
    persona = persona or Persona(file.user_name or "User")
    chat = Chat(
        id=new_id(),
        created=file.created or now(),
        card_ref=card_ref,
        card_name=card.name,
        card_document=card.document,
        persona=persona,
        dice=Seeds(None).next(),
        options=note_options(file.metadata),
    )
    macros = macros_of(card, persona, chat.created, chat.dice)
    names: dict[Role, str] = {"char": card.call_name, "user": persona.name, "system": "System"}
    messages: list[Message] = []
    head: str | None = None
    for place, one in enumerate(file.messages):
        parent, greeting = head, place == 0 and one.role == "char"
        for index, text in enumerate(one.texts):
            message = new_message(
                chat.id,
                parent,
                one.role,
                one.name or names[one.role],
                macros.expand(text) if greeting else text,
                hidden=one.hidden,
            )
            thinking = storable(one.thoughts[index]) if one.thoughts else ""
            messages.append(replace(message, created=one.created or chat.created, thinking=thinking))
            if index == one.chosen:
                head = message.id
    store.create_chat(chat, messages, head)
    return chat


def export_jsonl(chat: Chat, tree: Tree) -> str:
    """The active path as SillyTavern reads it; the siblings of the character's messages are its swipes."""
    header = {
        "user_name": chat.persona.name,
        "character_name": chat.card_name,
        "create_date": _date(chat.created),
        "chat_metadata": note_metadata(chat.options),
    }
    rows = [header, *(_export_message(message, tree) for message in tree.path())]
    return "\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)


def export_text(tree: Tree) -> str:
    """The active path for reading: `Name: text`, a blank line between; hidden messages are left out."""
    return "".join(f"{message.name}: {message.text}\n\n" for message in tree.path() if not message.hidden)


def _export_message(message: Message, tree: Tree) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": message.name,
        "is_user": message.role == "user",
        "is_system": message.hidden,
        "send_date": _date(message.created),
        "mes": message.text,
        "extra": _extra(message),
    }
    if message.role == "char":
        siblings = tree.siblings(message.id)
        row["swipe_id"] = siblings.index(message)
        row["swipes"] = [sibling.text for sibling in siblings]
        row["swipe_info"] = [
            {"send_date": _date(sibling.created), "extra": _extra(sibling)} for sibling in siblings
        ]
    return row


def _extra(message: Message) -> dict[str, Any]:
    extra: dict[str, Any] = {"type": "narrator"} if message.role == "system" else {}
    if message.generation is not None:
        extra |= {"api": "llama.cpp", "model": message.generation.model}
    if message.thinking:
        extra |= {"reasoning": message.thinking, "reasoning_type": "model"}
        if message.generation is not None and (seconds := message.generation.timings.get("think")):
            extra["reasoning_duration"] = round(seconds * 1000)
    return extra


def _date(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

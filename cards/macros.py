"""Macros: `{{char}}`, `{{user}}`, `{{random:a,b}}` and their kin, one pass over the text.

Names after Character Card V3 (curly braced syntaxes) and SillyTavern's list. Values are never expanded again:
a user named `{{char}}` stays `{{char}}`. Macros written inside the arguments of another are expanded, for
they are part of the text itself. An unknown macro stays as it is written. Clock and dice are handed in, so
that a text expands to the same result whenever they are the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal

from cards import limits
from cards.dice import roll
from cards.moments import date_text, difference, duration_text, format_moment, shifted

if TYPE_CHECKING:
    from cards.card import Card

__all__ = ["Macros", "View"]

View = Literal["prompt", "scan", "screen"]
"""Who will read the text: the model, a lorebook's recursive scan (which sees hidden keys), or the user
(who sees comments)."""

# The last two of several opening braces open, the first two of several closing ones close: `{{{char}}}` is a
# name in braces. `<USER>` in double brackets is another program's placeholder and not ours to touch.
_TOKEN: Final = re.compile(
    r"(?P<open>\{\{(?!\{))|(?P<close>\}\})|(?<!<)<(?P<legacy>user|bot|char|group|charifnotgroup)>(?!>)",
    re.IGNORECASE,
)
_CALL: Final = re.compile(r"\s*(//|[A-Za-z_][A-Za-z_0-9]*)")
_COMMA: Final = re.compile(r"(?<!\\),")
_TRIM: Final = object()


@dataclass(frozen=True)
class Macros:
    """What macros stand for in one chat at one moment."""

    char: str = ""
    """What the character is called: `Card.call_name`."""
    user: str = "User"
    persona: str = ""
    """The user's description of themselves."""
    description: str = ""
    personality: str = ""
    scenario: str = ""
    mes_examples: str = ""
    first_mes: str = ""
    system_prompt: str = ""
    post_history_instructions: str = ""
    char_version: str = ""
    original: str = ""
    """What a card's system prompt or post-history text replaces; given once, then empty."""
    input: str = ""
    last_message: str = ""
    last_user_message: str = ""
    last_char_message: str = ""
    last_message_id: str = ""
    first_included_message_id: str = ""
    """The oldest message that the prompt holds."""
    last_swipe_id: str = ""
    """How many versions the last message has."""
    current_swipe_id: str = ""
    """Which of them is shown, from 1."""
    model: str = ""
    max_prompt: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    """More plain macros, by lower-case name: a format's own."""
    outlets: Mapping[str, str] = field(default_factory=dict)
    """What lorebook entries say where `{{outlet::NAME}}` asks for it; nothing for a name without any."""
    clock: datetime | None = None
    """The time that is told; None: now."""
    idle_since: datetime | None = None
    """When the user last wrote."""
    dice: Random = field(default_factory=Random, compare=False)
    """What `{{random}}` and `{{roll}}` draw from."""
    pick_seed: str = ""
    """A chat's own text: `{{pick}}` draws the same there every time."""
    variables: dict[str, str] = field(default_factory=dict)
    """`{{setvar}}` and kin change it; the chat keeps it."""
    global_variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def for_card(cls, card: Card, user: str, persona: str = "", **more: Any) -> Macros:
        """The macros of a chat with `card`."""
        values: dict[str, Any] = {
            "description": card.description,
            "personality": card.personality,
            "scenario": card.scenario,
            "mes_examples": card.mes_example,
            "first_mes": card.first_mes,
            "system_prompt": card.system_prompt,
            "post_history_instructions": card.post_history_instructions,
            "char_version": card.character_version,
        }
        return cls(char=card.call_name, user=user, persona=persona, **{**values, **more})

    def expand(self, text: str, view: View = "prompt") -> str:
        """`text` with its macros replaced. Never raises; once macros have added `limits.MACRO_OUTPUT`
        characters, those that follow stay as written."""
        if "{{" not in text and "<" not in text:
            return text
        return _Expansion(self, text, view).result()

    def now(self) -> datetime:
        return self.clock or datetime.now().astimezone()


class _Expansion:
    """One text being expanded."""

    def __init__(self, macros: Macros, text: str, view: View) -> None:
        self.macros = macros
        self.text = text
        self.view = view
        self.tokens = list(_TOKEN.finditer(text))
        self.closing = _pairs(self.tokens)
        self.starts = [token.start() for token in self.tokens]
        self.added = 0
        self.original_used = False
        self.plain = _plain_values(macros)

    def result(self) -> str:
        return self.piece(0, len(self.text), 0)

    def piece(self, start: int, end: int, depth: int) -> str:
        """The text between two offsets, expanded."""
        pieces: list[object] = []
        tokens = self.tokens
        number = bisect_left(self.starts, start)
        position = start
        while number < len(tokens) and tokens[number].end() <= end and self.added < limits.MACRO_OUTPUT:
            token = tokens[number]
            number += 1
            value: object = None
            stop = token.end()
            if token["legacy"]:
                value = self.macros.user if token["legacy"].lower() == "user" else self.macros.char
            elif (closing := self.closing.get(number - 1)) is not None:
                stop = tokens[closing].end()
                if depth < limits.MACRO_DEPTH:
                    value = self._macro(token.end(), tokens[closing].start(), depth + 1)
                number = closing + 1
            if value is None or (isinstance(value, str) and not self._fits(value)):
                continue
            pieces += [self.text[position : token.start()], value]
            position = stop
        pieces.append(self.text[position:end])
        return _joined(pieces)

    def _fits(self, value: str) -> bool:
        if self.added + len(value) > limits.MACRO_OUTPUT:
            self.added = limits.MACRO_OUTPUT
            return False
        self.added += len(value)
        return True

    def _macro(self, start: int, end: int, depth: int) -> object:
        """What the macro between two offsets stands for; None when it is not one."""
        call = _CALL.match(self.text, start, min(end, start + 64))
        if call is None:
            return None
        name = call[1].lower()
        rest = call.end()
        if name == "//" or name == "banned":
            return ""
        if end - rest < 64 and not self.text[rest:end].strip():
            return self._simple(name)
        if name == "time_utc":
            return shifted(self.macros.now(), self.text[rest:end])
        arguments = _Arguments(self, rest, end, depth)
        return _with_arguments(self, name, arguments)

    def _simple(self, name: str) -> object:
        if name == "trim":
            return _TRIM
        if name == "original":
            used, self.original_used = self.original_used, True
            return "" if used else self.macros.original
        if name in ("time", "date", "weekday", "isotime", "isodate"):
            return date_text(self.macros.now(), name)
        if name == "idle_duration":
            since = self.macros.idle_since
            return "just now" if since is None else duration_text(self.macros.now(), since)
        return self.plain.get(name)

    def split(self, start: int, end: int, separator: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """The stretches between separators that do not lie inside a nested macro."""
        begin = position = start
        number = bisect_left(self.starts, start)
        while found := separator.search(self.text, position, end):
            while number < len(self.tokens) and self.starts[number] < found.start():
                closing = self.closing.get(number)
                number = (closing or number) + 1
                if closing is not None and self.starts[closing] > found.start():
                    position = self.tokens[closing].end()
                    break
            else:
                yield begin, found.start()
                begin = position = found.end()
        yield begin, end


_DOUBLE_COLON: Final = re.compile("::")


class _Arguments:
    """What follows a macro's name, split and expanded only as far as it is asked for."""

    def __init__(self, expansion: _Expansion, start: int, end: int, depth: int) -> None:
        text = expansion.text
        while start < end and text[start] == " ":
            start += 1
        self.doubled = text.startswith("::", start)
        self.marked = text.startswith(":", start)
        self.expansion = expansion
        self.start = start + (2 if self.doubled else 1 if self.marked else 0)
        self.end = end
        self.depth = depth

    def whole(self) -> str:
        return self.expansion.piece(self.start, self.end, self.depth)

    def parts(self) -> list[str]:
        """The arguments between `::`, each expanded and trimmed; more than three mean nothing to any
        macro."""
        spans = self.expansion.split(self.start, self.end, _DOUBLE_COLON)
        return [self.expansion.piece(*span, self.depth).strip() for span in islice(spans, 3)]

    def choice(self, dice: Random) -> str:
        """One item: between `::` as written, else between commas, trimmed, `\\,` being a comma."""
        spans = list(self.expansion.split(self.start, self.end, _DOUBLE_COLON))
        if len(spans) > 1 or self.doubled:
            return self.expansion.piece(*dice.choice(spans), self.depth)
        spans = list(self.expansion.split(self.start, self.end, _COMMA))
        item = self.expansion.piece(*dice.choice(spans), self.depth)
        return item.replace("\\,", ",").strip()


def _with_arguments(expansion: _Expansion, name: str, arguments: _Arguments) -> str | None:
    macros = expansion.macros
    if name == "random" and arguments.marked:
        return arguments.choice(macros.dice)
    if name == "pick" and arguments.marked:
        raw = expansion.text[arguments.start : arguments.end]
        return arguments.choice(Random(f"{macros.pick_seed}\n{raw}\n{arguments.start}"))
    if name == "roll":
        return roll(arguments.whole(), macros.dice)
    if name == "reverse" and arguments.marked:
        return arguments.whole()[::-1]
    if name == "hidden_key" and arguments.marked:
        return arguments.whole() if expansion.view == "scan" else ""
    if name == "comment" and arguments.marked:
        return arguments.whole() if expansion.view == "screen" else ""
    if name == "outlet" and arguments.doubled:
        return macros.outlets.get(arguments.parts()[0], "")
    if name == "datetimeformat":
        return format_moment(macros.now(), arguments.whole().strip())
    if name == "timediff" and arguments.doubled:
        return difference(arguments.parts())
    if name.endswith("var") and arguments.doubled:
        return _variable(macros, name, arguments.parts())
    return None


def _variable(macros: Macros, name: str, arguments: list[str]) -> str | None:
    everywhere = name.endswith("globalvar")
    store = macros.global_variables if everywhere else macros.variables
    key, value = arguments[0], arguments[1] if len(arguments) > 1 else ""
    verb = name.removesuffix("var").removesuffix("global")
    if verb == "get":
        return store.get(key, "")
    if verb == "set":
        store[key] = value[: limits.MACRO_OUTPUT]
        return ""
    if verb == "add":
        store[key] = _sum(store.get(key, ""), value)[: limits.MACRO_OUTPUT]
        return ""
    if verb in ("inc", "dec"):
        store[key] = _sum(store.get(key, ""), "1" if verb == "inc" else "-1")
        return store[key]
    return None


def _sum(one: str, other: str) -> str:
    """Numbers are added, other text is joined."""
    try:
        total = (float(one) if one else 0.0) + float(other)
        return str(int(total)) if total == int(total) and abs(total) < 1e15 else repr(total)
    except (ValueError, OverflowError):
        return one + other


def _pairs(tokens: list[re.Match[str]]) -> dict[int, int]:
    """Which opening token which closing one ends; the innermost first."""
    waiting: list[int] = []
    pairs: dict[int, int] = {}
    for number, token in enumerate(tokens):
        if token["open"]:
            waiting.append(number)
        elif token["close"] and waiting:
            pairs[waiting.pop()] = number
    return pairs


def _joined(pieces: list[object]) -> str:
    """The pieces as one text; `{{trim}}` takes the newlines on both its sides."""
    out: list[str] = []
    trimming = False
    for piece in pieces:
        if piece is _TRIM:
            trimming = True
            while out and not (shorter := out[-1].rstrip("\r\n")):
                out.pop()
            if out:
                out[-1] = shorter
        elif piece:
            text = str(piece).lstrip("\r\n") if trimming else str(piece)
            if text:
                out.append(text)
                trimming = False
    return "".join(out)


def _plain_values(macros: Macros) -> Mapping[str, str]:
    return {
        "char": macros.char,
        "bot": macros.char,
        "group": macros.char,
        "charifnotgroup": macros.char,
        "user": macros.user,
        "persona": macros.persona,
        "description": macros.description,
        "personality": macros.personality,
        "scenario": macros.scenario,
        "mesexamples": macros.mes_examples,
        "charfirstmessage": macros.first_mes,
        "charprompt": macros.system_prompt,
        "charinstruction": macros.post_history_instructions,
        "charjailbreak": macros.post_history_instructions,
        "charversion": macros.char_version,
        "char_version": macros.char_version,
        "input": macros.input,
        "lastmessage": macros.last_message,
        "lastusermessage": macros.last_user_message,
        "lastcharmessage": macros.last_char_message,
        "lastmessageid": macros.last_message_id,
        "firstincludedmessageid": macros.first_included_message_id,
        "lastswipeid": macros.last_swipe_id,
        "currentswipeid": macros.current_swipe_id,
        "model": macros.model,
        "maxprompt": macros.max_prompt,
        "newline": "\n",
        "noop": "",
        **macros.extra,
    }

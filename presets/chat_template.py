"""A model's own chat template (`tokenizer.chat_template` of its GGUF file) as a format.

No text of a chat ever reaches the template: it is rendered with a mark of random letters in place of each
text, and what it writes around the marks is then cut at them. So a message cannot become template or markup,
and the template cannot read or change a message. A rendering counts only when every mark came back once,
unaltered and in its order; templates that refuse a system turn, a greeting or two turns of one role are asked
again with the turns arranged as they bear (`_ARRANGEMENTS`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from presets.assembly import Block, Script, Spoken, open_parts, spoken_turns
from presets.format import ChatTemplate, Header, PromptFormat, Turns, TurnShape
from presets.header import header
from presets.reasoning import PAIRS, Thinking
from presets.text import Cast, joined
from presets.turns import name_segments, open_words
from presets.values import Role, Segment

__all__ = ["ID", "template_blocks", "template_format", "thinking_of"]

ID = "gguf-jinja"

_NO_DATE = datetime(2025, 1, 1)
"""Told to a template that asks for the date where the caller has no clock."""

_ROLES: dict[Role, str] = {"user": "user", "char": "assistant", "system": "system"}
_MARKER = re.compile(r"<[^\s<>]{1,60}>|\[/?[A-Z_]{2,40}\]")
_THINKING = frozenset(marker for pair in PAIRS for marker in (pair.open, pair.close))


@dataclass(slots=True)
class _Said:
    """A text that goes into the prompt by its mark."""

    block: Block
    segments: list[Segment]
    role: Role


@dataclass(slots=True)
class _Message:
    role: Role
    said: list[_Said] = field(default_factory=list)
    opens: bool = False
    """The turn that the model writes: the prompt ends in it."""


def template_blocks(script: Script, cast: Cast, first: int, *, with_examples: bool) -> list[Block]:
    """The prompt from the `first` turn of the history on, as the format's chat template lays it out.

    Raises ValueError, in one line, when the template bears no arrangement of the turns.
    """
    template = cast.format.chat_template
    assert template is not None
    examples, chat = spoken_turns(script, cast, first, with_examples=with_examples)
    said = [_words(spoken, cast) for spoken in (*examples, *chat)]
    head = _Said(Block("header"), header(script.header, cast, shared=False), "system")
    opener: Role = "user" if script.mode == "impersonate" else "char"
    problem = ""
    for arrange in _ARRANGEMENTS:
        messages = arrange([head] if head.segments else [], said)
        follows_user = bool(messages) and messages[-1].role == "user"
        asks = script.mode == "reply" and (template.opens_turn or (template.user_opens and follows_user))
        if not asks:
            messages = _with_open(messages, opener, arrange)
        try:
            return _Rendering(template, cast, messages, asks).blocks(script)
        except _Unfit as error:
            problem = problem or str(error)
    raise ValueError(
        f"the model's own chat template does not take this chat: {problem}; choose another format"
    )


def _words(spoken: Spoken, cast: Cast) -> _Said:
    name = name_segments(spoken.name, spoken.role, spoken.block.part, cast, ": ")
    return _Said(spoken.block, joined([*name, *spoken.texts]), spoken.role)


# Arrangements of the turns, the one that changes least first ------------------------------------------------


def _as_they_are(head: list[_Said], said: list[_Said]) -> list[_Message]:
    return [_Message(one.role, [one]) for one in (*head, *said)]


def _merged(head: list[_Said], said: list[_Said]) -> list[_Message]:
    """Notes are the user's, and neighbours of one role share a turn."""
    return [_Message("system", [one]) for one in head] + _neighbours(_without_system(said))


def _headless(head: list[_Said], said: list[_Said]) -> list[_Message]:
    """The header opens the user's first turn, or is that turn where the character speaks first."""
    messages = _without_system(said)
    if messages and messages[0].role == "user":
        return [_Message("user", [*head, *messages[0].said]), *messages[1:]]
    return [_Message("user", [one]) for one in head] + messages


def _headless_merged(head: list[_Said], said: list[_Said]) -> list[_Message]:
    return _neighbours(_headless(head, said))


def _in_one_turn(head: list[_Said], said: list[_Said]) -> list[_Message]:
    return [_Message("user", [*head, *said])]


_ARRANGEMENTS = (_as_they_are, _merged, _headless, _headless_merged, _in_one_turn)


def _without_system(said: Sequence[_Said]) -> list[_Message]:
    return [_Message("user" if one.role == "system" else one.role, [one]) for one in said]


def _neighbours(messages: Sequence[_Message]) -> list[_Message]:
    result: list[_Message] = []
    for message in messages:
        if result and result[-1].role == message.role:
            result[-1] = _Message(message.role, [*result[-1].said, *message.said])
        else:
            result.append(message)
    return result


def _with_open(messages: list[_Message], opener: Role, arrange: object) -> list[_Message]:
    """With the open turn at the end: part of the turn before where neighbours share one."""
    if arrange in (_as_they_are, _headless) or not messages or messages[-1].role != opener:
        return [*messages, _Message(opener, opens=True)]
    return [*messages[:-1], _Message(opener, messages[-1].said, opens=True)]


# Rendering --------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """This arrangement cannot be rendered; one line."""


class _Rendering:
    """One arrangement on its way through the template. Raises _Unfit."""

    def __init__(self, template: ChatTemplate, cast: Cast, messages: Sequence[_Message], asks: bool) -> None:
        self._template = template
        self._cast = cast
        self._nonce = secrets.token_hex(8)
        self._said: list[_Said] = [one for message in messages for one in message.said]
        self._asks = asks
        self._text = _render(template, self._contents(messages), asks=asks, think=cast.think, cast=cast)

    def _mark(self, number: int | str) -> str:
        return f"Qz{self._nonce}n{number}zQ"

    def _contents(self, messages: Sequence[_Message]) -> Iterator[dict[str, str]]:
        number = 0
        for message in messages:
            marks = [self._mark(number + index) for index in range(len(message.said))]
            number += len(marks)
            if message.opens:
                marks.append(self._mark("open"))
            yield {"role": _ROLES[message.role], "content": "\n\n".join(marks)}

    def blocks(self, script: Script) -> list[Block]:
        """The text between the marks is the template's, and trusted; each block has what stands before it."""
        text = self._text
        if not self._asks:
            text, found, _rest = text.partition(self._mark("open"))
            if not found:
                raise _Unfit("it does not write the turn that is open")
        if self._template.begins_text:
            text = text.removeprefix(self._template.bos)
        pieces = re.split(rf"Qz{self._nonce}n(\d+)zQ", text)
        self._check(pieces)
        result: list[Block] = []
        for between, number in zip(pieces[::2], pieces[1::2], strict=False):
            one = self._said[int(number)]
            one.block.segments = joined([self._own(one.block, between), *one.segments])
            result.append(one.block)
        return [*result, self._open(script, pieces[-1])]

    def _check(self, pieces: Sequence[str]) -> None:
        numbers = [int(number) for number in pieces[1::2]]
        turns = [number for number in numbers if self._said[number].block.part != "header"]
        if sorted(numbers) != list(range(len(self._said))):
            raise _Unfit("it leaves out, repeats or alters a message")
        if turns != sorted(turns):
            raise _Unfit("it changes the order of the messages")
        if self._nonce in "".join(pieces[::2]):
            raise _Unfit("it alters a message")

    def _own(self, block: Block, text: str) -> Segment:
        return Segment(block.part, self._cast.source, text, True)

    def _open(self, script: Script, before: str) -> Block:
        block = Block("open")
        partial, name = open_parts(script, self._cast)
        words = open_words(script.mode, partial, name, before, self._cast)
        says = any(segment.text for segment in words)
        if self._asks and says and words[0].text == name:
            before += self._template.lead
        elif not self._asks and not says:
            # A space before a text that is still to come would be a token of its own.
            before = before.rstrip(" ")
        block.segments = joined([self._own(block, before), *words])
        return block


def _render(
    template: ChatTemplate,
    messages: Iterator[dict[str, str]] | Sequence[dict[str, str]],
    *,
    asks: bool,
    think: str,
    cast: Cast | None = None,
) -> str:
    # Here, so that what needs no template does not pay for Jinja.
    from presets.jinja_sandbox import TemplateProblem, TemplateTooCostly, render

    values = {
        "messages": list(messages),
        "bos_token": template.bos,
        "eos_token": template.eos,
        "add_generation_prompt": asks,
        "tools": None,
        "documents": None,
        # Qwen 3, SmolLM3, GLM and others ask for the first, DeepSeek V3.1 and Granite for the second.
        "enable_thinking": think != "off",
        "thinking": think != "off",
    }
    try:
        return render(template.text, values, (cast.clock if cast else None) or _NO_DATE)
    except TemplateTooCostly as error:
        raise ValueError(f"the chat template cannot be used: {error}; choose another format") from error
    except TemplateProblem as error:
        raise _Unfit(str(error)) from error


# A template as a format -------------------------------------------------------------------------------------


def template_format(text: str, bos: str = "", eos: str = "", *, source: str = "") -> PromptFormat:
    """The format of a chat template; `bos` and `eos` are those tokens by name, empty where nothing is known.

    Its stops and markers are found by rendering a chat of three turns. Raises ValueError, in one line, for a
    template that cannot lay out even that.
    """
    template = ChatTemplate(text=text, bos=bos, eos=eos)
    try:
        probe = _Probe(template)
    except _Unfit as error:
        raise ValueError(f"the chat template cannot be used: {error}") from error
    answers, asks = probe.between(1), probe.between(0)
    # An answer may begin with white space that a model writes by itself when its turn has been opened.
    lead = asks[len(probe.tail) :] if asks.startswith(probe.tail) else None
    lead = None if lead is None or lead.strip() else lead
    stops = [*_headers(answers), *([eos] if eos and eos in answers else [])]
    found = [*_MARKER.findall(answers), *_MARKER.findall(asks), *_MARKER.findall(probe.tail)]
    return PromptFormat(
        id=ID,
        title="The model's own chat template",
        source=source or "tokenizer.chat_template in the model's GGUF file",
        header=Header(),
        turns=Turns(user=TurnShape(), char=TurnShape(), system=TurnShape()),
        stops=tuple(dict.fromkeys(stops)),
        stops_impersonate=tuple(dict.fromkeys(_headers(asks))),
        control=tuple(dict.fromkeys(marker for marker in found if marker not in _THINKING)),
        thinking=thinking_of(text, bos, eos),
        chat_template=template.model_copy(
            update={
                "opens_turn": probe.opens_turn,
                "begins_text": _begins_text(template, probe),
                "user_opens": lead is not None and not probe.opens_turn,
                "lead": lead or "",
            }
        ),
    )


class _Probe:
    """Three turns rendered: what the template writes between and after them. Raises _Unfit."""

    def __init__(self, template: ChatTemplate, think: str = "off") -> None:
        nonce = secrets.token_hex(8)
        marks = [f"Qz{nonce}n{number}zQ" for number in range(3)]
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        asked = _render(template, messages, asks=True, think=think)
        self._pieces = re.split("|".join(marks), asked)
        self.head = self._pieces[0]
        if len(self._pieces) != 4 or [asked.find(mark) for mark in marks] != sorted(map(asked.find, marks)):
            raise _Unfit("it leaves out, repeats or alters a message")
        self.tail = self._pieces[3]
        self.opens_turn = asked != _render(template, messages, asks=False, think=think)

    def between(self, index: int) -> str:
        """What stands between turn `index` (0 the user's, 1 the character's) and the next."""
        return self._pieces[index + 1]


def _begins_text(template: ChatTemplate, probe: _Probe) -> bool:
    """Whether the template begins with BOS for the text's sake. In some models BOS is the marker that opens
    every turn, and the first turn needs its own."""
    if not template.bos or not probe.head.startswith(template.bos):
        return False
    if template.bos not in probe.between(1):
        return True
    mark = f"Qz{secrets.token_hex(8)}zQ"
    return _Probe(template.model_copy(update={"bos": mark})).head.startswith(mark)


def _headers(between: str) -> list[str]:
    """The markers that end a turn and begin the next, and headers of plain words (`</s>USER:`) beside them: a
    model may write one of those where it should have ended. A bare word (`user` after a marker) is no header.
    """
    markers = [marker for marker in _MARKER.findall(between) if marker not in _THINKING]
    plain = _MARKER.sub("", between)
    lines = [line.strip() for line in plain.splitlines() if len(line.strip()) >= 3]
    if markers:
        lines = [line for line in lines if _is_header(line)]
    return [*markers, *(f"\n{line}" if f"\n{line}" in plain else line for line in lines)]


def _is_header(line: str) -> bool:
    return any(map(str.isalpha, line)) and not (line[0].isalnum() and line[-1].isalnum())


def thinking_of(text: str, bos: str = "", eos: str = "") -> Thinking | None:
    """How a model with this chat template thinks aloud, and what keeps it from it; None: it does not.

    The template's own switch is tried out, and what it writes into the open turn is what a prompt needs too.
    """
    pair = next((pair for pair in PAIRS if pair.open in text or pair.close in text), None)
    if pair is None:
        return None
    opening, closing = f"{pair.open}\n", f"\n{pair.close}\n\n"
    off = f"{pair.open}\n\n{pair.close}\n\n"
    template = ChatTemplate(text=text, bos=bos, eos=eos)
    try:
        tails = [_thoughts(_Probe(template, think).tail, pair.open, pair.close) for think in ("off", "on")]
    except (_Unfit, ValueError):
        return Thinking(open=opening, close=closing, off=off)
    if pair.close in tails[0]:
        off = tails[0]
    note = "/no_think" if "/no_think" in text and tails[0] == tails[1] else ""
    return Thinking(
        open=tails[1] if pair.open in tails[1] and pair.close not in tails[1] else opening,
        close=closing,
        off=off,
        note_off=note,
    )


def _thoughts(tail: str, *markers: str) -> str:
    """The part of an open turn from its first marker of thinking on; empty without one."""
    places = [place for marker in markers if (place := tail.find(marker)) >= 0]
    return tail[min(places) :] if places else ""

"""`rpchat prompt`: the exact prompt, without a screen and without a reply."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cards.filenames import expanded
from chat.cli.options import launch_options, text_or_file
from chat.cli.printing import warn, write, write_json

if TYPE_CHECKING:
    from chat.launch import Launch
    from chat.opening import Opening
    from chat.records import Chat
    from presets.format import PromptFormat
    from presets.values import Budget, Mode, Persona, Prompt, Turn

LARGEST_DEFAULT_CONTEXT = 16_384
"""What the engine takes at most when no context size is asked for."""


@dataclass(frozen=True)
class _History:
    """The turns that a prompt is made for, and what else of their chat shapes it."""

    turns: list[Turn]
    persona: Persona
    dice: int
    chat: Chat | None = None
    """The stored chat that they are of."""
    options: dict[str, str] = field(default_factory=dict)
    """What their chat keeps: its format's options, its author's note."""


@click.command()
@launch_options()
@click.option("--say", metavar="TEXT|@FILE", help="A turn of the user's after the chat.")
@click.option(
    "--as",
    "mode",
    type=click.Choice(["reply", "impersonate", "continue"]),
    default="reply",
    help="The character's next turn, the user's, or more of the last one.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: segments, stops, tokens, what was dropped."
)
def command(launch: Launch, say: str | None, mode: str, as_json: bool) -> None:
    """The exact prompt that a model would get. --chat also takes a SillyTavern .jsonl file.

    Tokens are counted, and what does not fit is dropped, only with --model.
    """
    from chat.opening import Opening

    file = expanded(launch.chat) if launch.chat and _is_file(launch.chat) else None
    launch = replace(launch, counting=True)
    opening = Opening(replace(launch, chat=None, new=True) if file else replace(launch, new=not launch.chat))
    history = _history(opening, file)
    if say is not None:
        from presets.values import Turn

        words = text_or_file(say)
        if not words.strip():
            raise click.UsageError("--say is empty; give a text or leave it out")
        history.turns.append(Turn("user", history.persona.name, words, "--say"))
    prompt, format_id = _prompt(opening, history, cast("Mode", mode))
    for notice in opening.notices if launch.model else []:
        warn(notice)
    if as_json:
        write_json(_values(prompt, format_id))
    else:
        write(prompt.text)


def _is_file(chat: str) -> bool:
    return chat.lower().endswith((".jsonl", ".json")) or "/" in chat or Path(chat).is_file()


def _history(opening: Opening, file: Path | None) -> _History:
    from chat.prompting import macros_of, turns_of
    from presets.values import Turn

    if opening.launch.chat is not None:
        known = opening.store.open_chat(cast("str", opening.chat_asked_for(opening.store)))
        persona = opening.persona_asked_for or known.chat.persona
        turns = turns_of(known.tree.path())
        return _History(turns, persona, known.chat.dice, known.chat, known.chat.options)
    persona, dice = opening.persona(), opening.launch.seed or 0
    macros = macros_of(opening.card, persona, None, dice)
    options = {}
    if file is not None:
        from chat.interchange import read_chat_file
        from chat.note_metadata import note_options

        read = read_chat_file(file)
        for problem in read.problems:
            warn(f"{file.name}: {problem}")
        turns, options = read.turns(macros), note_options(read.metadata)
    else:
        greetings = opening.card.greetings if not opening.format().begins_with_reply else []
        turns = [Turn("char", "", macros.expand(greeting), "greeting") for greeting in greetings[:1]]
    return _History(turns, persona, dice, options=options)


def _prompt(opening: Opening, history: _History, mode: Mode) -> tuple[Prompt, str]:
    from chat.prompting import known_options, prompt_of

    chat = history.chat
    format = opening.format(chat)
    kept = known_options(history.options, format)
    with _budget(opening, format) as budget:
        try:
            prompt = prompt_of(
                opening.card,
                history.persona,
                format,
                history.turns,
                mode,
                options={**kept, **opening.sampling(chat)[1]},
                clock=chat.created if chat else None,
                dice=history.dice,
                budget=budget,
                window=chat.window if chat else None,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    return prompt, format.id


@contextmanager
def _budget(opening: Opening, format: PromptFormat) -> Iterator[Budget | None]:
    """With `--model` a counter on its vocabulary, in the worker process; no weights are read. Markers of the
    format that are none there are said."""
    if opening.launch.model is None:
        yield None
        return
    from chat.engine.protocol import Span
    from chat.marking import marker_check
    from chat.session import MAX_TOKENS
    from presets.values import Budget

    settings, model = opening.settings, opening.model
    context = opening.launch.ctx or settings.context or LARGEST_DEFAULT_CONTEXT
    if model.file and model.file.context_trained:
        context = min(context, model.file.context_trained)  # the engine goes no further either
    reply = opening.launch.max_tokens or settings.max_tokens or MAX_TOKENS
    engine = opening.start_engine()
    try:
        assert model.path is not None  # with --model there is one, or choosing it has failed
        engine.load(model.path, vocabulary_only=True).wait()
        if sentence := marker_check(engine, format).sentence:
            warn(sentence)
        yield Budget(
            context - min(reply, max(context // 2, 1)),
            lambda segments: engine.count([Span(text=s.text, trusted=s.trusted) for s in segments]),
        )
    finally:
        engine.close()


def _values(prompt: Prompt, format_id: str) -> dict[str, Any]:
    parts = None
    if prompt.tokens is not None:
        parts = [
            {"kind": segment.kind, "source": segment.source, "tokens": tokens}
            for segment, tokens in zip(prompt.segments, prompt.tokens, strict=True)
        ]
    return {
        "format": format_id,
        "text": prompt.text,
        "stop": list(prompt.stops),
        "ban_eos": prompt.ban_eos,
        "tokens": sum(prompt.tokens) if prompt.tokens is not None else None,
        "segments": [
            {"kind": s.kind, "source": s.source, "text": s.text, "trusted": s.trusted}
            for s in prompt.segments
        ],
        "dropped": [
            {"kind": d.kind, "source": d.source, "why": d.why, "tokens": d.tokens} for d in prompt.dropped
        ],
        "parts": parts,
    }

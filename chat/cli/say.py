"""`rpchat say`: one turn without a screen."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chat.cli.failure import INTERRUPTED
from chat.cli.options import launch_options, text_or_stdin
from chat.cli.printing import stream, warn, write_json

if TYPE_CHECKING:
    from chat.engine.surface import EngineSurface
    from chat.launch import Launch
    from chat.opening import Opening
    from chat.session import Session
    from chat.store import Store
    from chat.tree import Message


@click.command()
@click.argument("text", metavar="TEXT|@FILE|-")
@launch_options()
@click.option("--continue", "continue_chat", is_flag=True, help="Go on with the card's last chat.")
@click.option("--no-save", is_flag=True, help="Store nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when the reply is whole.")
@click.option(
    "--swipes",
    type=click.IntRange(1, 8),
    metavar="N",
    help="N replies at once, side by side in the chat; with --json a list of objects.",
)
@click.option(
    "--probs",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="With --json: the N best candidates before and after each sampler, for every token.",
)
@click.pass_context
def command(
    context: click.Context,
    text: str,
    launch: Launch,
    continue_chat: bool,
    no_save: bool,
    as_json: bool,
    swipes: int | None,
    probs: int | None,
) -> None:
    """Say one thing to a character; the reply streams to stdout and the turn is stored.

    A new chat begins unless --chat or --continue names one. Ctrl+C stops the reply, keeps what was
    written, and ends with exit status 130.
    """
    if launch.chat is not None and continue_chat:
        raise click.UsageError("--chat and --continue exclude each other; give one of them")
    if probs and not as_json:
        raise click.UsageError("--probs records for --json; give both")
    words = text_or_stdin(text)
    if not words.strip():
        raise click.UsageError("the message is empty; give a text, or - for stdin")

    from chat.opening import Opening

    opening = Opening(replace(launch, new=launch.chat is None and not continue_chat))
    context.call_on_close(opening.close)
    if opening.model.path is None:
        raise click.ClickException("; ".join(opening.model.notices))
    opening.check()
    if opening.launch.new:
        _ = opening.card  # before a model is loaded for nothing
    with _engine(opening) as engine:
        _load(opening, engine)
        session = opening.session(engine, _passing_store(opening) if no_save else None)
        session.inspector.wanted = probs or 0
        try:
            for notice in (*opening.notices, *session.notices, *_markers(session)):
                warn(notice)
            said = session.say(words)
            try:
                messages, error = _replies(session, swipes, aloud=not as_json)
            except click.ClickException:
                _take_back(session, said, opening.launch.new)
                raise
        finally:
            session.close()
            session.saved.wait()
        for notice in session.saved.take_notices():
            warn(notice)
        if as_json:
            answers = [_values(session, message, saved=not no_save, probs=probs) for message in messages]
            write_json(answers if swipes else answers[0])
        if error:
            raise click.ClickException(error)
        if any(made.generation and made.generation.finish_reason == "cancelled" for made in messages):
            context.exit(INTERRUPTED)


@contextmanager
def _engine(opening: Opening) -> Iterator[EngineSurface]:
    engine = opening.start_engine()
    try:
        yield engine
    finally:
        engine.close()


def _passing_store(opening: Opening) -> Store:
    """A store that is forgotten at the end, with the chat that is asked for in it."""
    from chat.store import Store

    passing = Store.in_memory()
    chat_id = opening.chat_asked_for(opening.store) if not opening.launch.new else None
    if chat_id is not None:
        known = opening.store.open_chat(chat_id)
        passing.create_chat(known.chat, known.tree.path(), known.tree.head)
    return passing


def _load(opening: Opening, engine: EngineSurface) -> None:
    loading = opening.load(engine)
    if loading is not None:
        opening.notices.extend(loading.wait().notes)


def _markers(session: Session) -> list[str]:
    from chat.marking import marker_notice

    return list(filter(None, [marker_notice(session)]))


def _replies(session: Session, swipes: int | None, *, aloud: bool) -> tuple[list[Message], str]:
    """What the character said, and why some of it is missing, in one line."""
    if not swipes:
        return [_reply(session, aloud=aloud)], ""
    from chat.cli.swipes import Swipes

    several = Swipes(session, swipes, aloud=aloud)
    with _stopping(session):
        several.make()
    return several.messages, several.error


def _reply(session: Session, *, aloud: bool) -> Message:
    """Make the reply, shown as it comes when `aloud`. Ctrl+C stops it and keeps what was written."""
    from chat.events import Remark, ReplyEmpty, ReplyFailed, ReplyFinished, ReplyStarted, TextAdded

    remarks: list[str] = []
    with _stopping(session):
        for event in session.reply():
            match event:
                case ReplyStarted(base_text=begun) if aloud:
                    stream(begun)
                case TextAdded(text=text) if aloud:
                    stream(text)
                case Remark(text=text):
                    remarks.append(text)
                case ReplyFinished(message=message):
                    if aloud:
                        stream("\n")
                    for remark in remarks:
                        warn(remark)
                    return message
                case ReplyEmpty(why=why, cancelled=cancelled):
                    if cancelled:
                        raise KeyboardInterrupt
                    raise click.ClickException(why)
                case ReplyFailed(error=error, partial=partial):
                    if aloud and partial is not None:
                        stream("\n")
                    raise click.ClickException(error)
    raise click.ClickException("the reply did not end; see rpchat doctor")


def _take_back(session: Session, said: Message, new: bool) -> None:
    """A turn that got no answer is said again by the next call: it must not stand there twice."""
    if session.tree.head != said.id:
        return  # a part of the reply was kept
    if new:
        session.store.delete_chat(session.chat.id)
    else:
        session.delete(said.id)


@contextmanager
def _stopping(session: Session) -> Iterator[None]:
    """The first Ctrl+C stops the reply; a second one ends the program."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        session.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _values(session: Session, message: Message, *, saved: bool, probs: int | None) -> dict[str, Any]:
    made = message.generation
    assert made is not None
    recorded = session.inspector.of(message.id)
    return {
        "reply": message.text,
        "format": made.format,
        "model": made.model,
        "sampling": made.sampling,
        "samplers": made.samplers,
        "seed": made.seed,
        "prompt_tokens": made.prompt_tokens,
        "evaluated_tokens": made.evaluated_tokens,
        "reused_tokens": made.reused_tokens,
        "generated_tokens": made.generated_tokens,
        "broken_at": made.broken_at,
        "broken_by": made.broken_by or None,
        "finish_reason": made.finish_reason,
        "ended_by": made.ended_by or None,
        "thinking": message.thinking or None,
        "timings": made.timings,
        "chat": session.chat.id if saved else None,
        "message": message.id if saved else None,
        **({"probs": [token.model_dump() for token in recorded]} if probs else {}),
    }

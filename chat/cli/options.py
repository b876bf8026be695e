"""The options that every verb which opens a chat shares, gathered into a Launch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from cards.filenames import expanded
from chat.launch import Launch

MAX_SEED = 2**32 - 2
"""llama.cpp takes seeds of 32 bits and keeps the last one for `draw one`."""


def text_or_file(value: str) -> str:
    """TEXT as it is, `@FILE` for the text of a file, `@@text` for a text that begins with `@`."""
    if value.startswith("@@") or not value.startswith("@"):
        return value.removeprefix("@") if value.startswith("@@") else value
    return text_of_file(value[1:], "; a text that begins with @ is written @@")


def text_of_file(name: str, advice: str = "") -> str:
    """The text of a file without its last line breaks. Raises UsageError, `advice` at its end."""
    path = expanded(name)
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: not UTF-8 text") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise click.UsageError(f"{path}: {why}{advice}") from error


def text_or_stdin(value: str) -> str:
    """`-` for what stands on stdin, else as `text_or_file`."""
    if value != "-":
        return text_or_file(value)
    if sys.stdin is None:
        return ""
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"stdin: not UTF-8 text at byte {error.start}") from error


def _text(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else text_or_file(value)


def _gpu_layers(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value not in ("", "auto") and not (value.isdecimal() and len(value) < 10):
        raise click.BadParameter(f"{value!r} is neither auto nor a number of layers", context, parameter)
    return value


def _or_empty(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    return value or ""


def _adapters(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    if values:
        from chat.adapters import AdapterTextError, adapter_of

        for value in values:
            try:
                adapter_of(value)
            except AdapterTextError as error:
                raise click.BadParameter(str(error), context, parameter) from error
    return values


def _memory() -> list[Callable[..., Any]]:
    """What decides how a model is laid out in memory."""
    return [
        click.option("--ctx", type=click.IntRange(min=64), metavar="N", help="Context size in tokens."),
        click.option(
            "--gpu-layers",
            default="",
            callback=_gpu_layers,
            metavar="auto|N",
            help="Layers on the GPU.",
        ),
        click.option(
            "--cache-type",
            callback=_or_empty,
            type=click.Choice(["auto", "f16", "q8_0", "q4_0"]),
            help="What the model remembers a prompt with; q8_0 takes half the memory of f16.",
        ),
        click.option(
            "--flash-attention",
            callback=_or_empty,
            type=click.Choice(["auto", "on", "off"]),
            help="The kernels that save memory; auto is best.",
        ),
    ]


def _options(screen: bool) -> list[Callable[..., Any]]:
    shared: list[Callable[..., Any]] = [
        click.option("--card", metavar="REF", help="Card: a path, else a name."),
        click.option("--model", metavar="REF", help="Model: a path to a GGUF file, else a name."),
        click.option(
            "--format", metavar="ID", help="Prompt format; remembered for a model that is named too."
        ),
        click.option("--sampling", metavar="ID", help="Sampling preset; remembered in the same way."),
        click.option("--chat", metavar="ID", help="Chat: its id or the beginning of it."),
    ]
    if screen:
        shared.append(click.option("--new", is_flag=True, help="Begin a new chat with the card."))
    shared += [
        click.option("--persona", metavar="NAME", help="A stored persona to be."),
        click.option("--user", metavar="NAME", help="Your name, without a stored persona."),
        click.option("--user-persona", metavar="TEXT|@FILE", callback=_text, help="Who you are."),
        click.option(
            "--note",
            metavar="TEXT|@FILE",
            callback=_text,
            help="Author's note; kept with the chat, placed by --set note_depth=N, note_role, note_interval.",
        ),
        click.option("--prefill", metavar="TEXT|@FILE", callback=_text, help="How the reply is to begin."),
        *_memory(),
        click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Longest reply."),
        click.option(
            "--lora",
            multiple=True,
            metavar="FILE[=SCALE]",
            callback=_adapters,
            help="A LoRA adapter for the model.",
        ),
        click.option(
            "--control-vector",
            multiple=True,
            metavar="FILE[=SCALE]",
            callback=_adapters,
            help="A control vector for the model.",
        ),
        click.option("--seed", type=click.IntRange(0, MAX_SEED), metavar="N", help="Same seed, same reply."),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A sampling value or format option."
        ),
    ]
    if screen:
        shared.append(
            click.option("--mouse/--no-mouse", default=True, help="Whether the screen takes the mouse.")
        )
    return shared


def launch_options(*, screen: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the shared options; it receives them as `launch`. `screen` adds those of the screen."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        gathered = _gathered(command)

        @functools.wraps(command)
        def with_settings(*args: Any, **values: Any) -> Any:
            # What may be long or lie in a file has an option of its own.
            texts = ((name, values.pop(name)) for name in ("note", "prefill"))
            given = [f"{name}={text}" for name, text in texts if text is not None]
            return gathered(*args, settings=(*values.pop("settings"), *given), **values)

        return _with_options(with_settings, _options(screen))

    return decorate


def memory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those options only that a plan for memory depends on; it receives them as `launch`."""
    return _with_options(_gathered(command), _memory())


def _with_options(command: Callable[..., Any], options: list[Callable[..., Any]]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def _gathered(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_launch(*args: Any, **values: Any) -> Any:
        names = [field.name for field in fields(Launch) if field.name in values]
        return command(*args, launch=_launch({name: values.pop(name) for name in names}), **values)

    return with_launch


def _launch(values: dict[str, Any]) -> Launch:
    for one, other in (("persona", "user"), ("persona", "user_persona"), ("chat", "new")):
        if values.get(one) and values.get(other):
            raise click.UsageError(
                f"--{one} and --{other.replace('_', '-')} exclude each other; give one of them"
            )
    if values.get("cache_type") in ("q8_0", "q4_0") and values.get("flash_attention") == "off":
        raise click.UsageError(
            f"--cache-type {values['cache_type']} needs flash attention; leave --flash-attention off away"
        )
    for setting in values.get("settings", ()):
        if "=" not in setting:
            raise click.UsageError(f"--set {setting}: KEY=VALUE is needed, such as temperature=0.8")
    return Launch(**values)

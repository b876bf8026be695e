"""From an exception to one line on stderr and an exit status; a traceback goes to a log file."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from chat.cli.printing import warn

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

# Errors that carry a line for people. They are looked up among the modules that are loaded: an error that was
# raised has its module there, and the others need not be imported to say that it is not theirs.
_ONE_LINE = (
    ("cards.errors", "CardError"),
    ("presets.errors", "PresetError"),
    ("presets.values", "PromptTooLong"),
    ("chat.settings", "SettingsError"),
    ("chat.gguf", "GGUFError"),
    ("chat.models", "ModelError"),
    ("chat.store", "StoreError"),
    ("chat.interchange", "InterchangeError"),
    ("chat.opening", "OpeningError"),
    ("chat.engine.surface", "EngineError"),
)


def exit_status(error: BaseException) -> int:
    """Say what went wrong, in one line, and return the exit status."""
    if isinstance(error, click.exceptions.Exit):
        return int(error.exit_code)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return _said(_click_line(error), error.exit_code)
    if isinstance(error, SystemExit):  # click's own end after a broken pipe, and after completing a word
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, BrokenPipeError):
        _close_stdout()
        return FAILED
    if has_line(error):
        return _said(str(error), WRONG_USE if getattr(error, "usage", False) else FAILED)
    if isinstance(error, OSError):
        return _said(f"{error.filename or 'the output'}: {error.strerror or error}", FAILED)
    return _said(f"{type(error).__name__}, an error in rpchat itself; {_where_logged(error)}", FAILED)


def has_line(error: BaseException) -> bool:
    """Whether `str(error)` is a line for people."""
    known = (getattr(sys.modules.get(module), name, None) for module, name in _ONE_LINE)
    return any(isinstance(kind, type) and isinstance(error, kind) for kind in known)


def _said(line: str, status: int) -> int:
    try:
        warn(line)
    except BrokenPipeError:
        _close_stdout()
    return status


def _click_line(error: click.ClickException) -> str:
    line = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None and ";" not in line:
        line = f"{line.rstrip('.')}; see {error.ctx.command_path} --help"
    return line


def _close_stdout() -> None:
    """Whoever read our output has gone: let nothing be written to it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _where_logged(error: BaseException) -> str:
    try:
        return f"where it happened stands in {log_traceback(error)}"
    except OSError as unwritten:
        return f"it could not be logged either ({unwritten.strerror})"


def log_traceback(error: BaseException) -> Path:
    """Append the frames of an error to the program's log (0600); not its message, which may quote a chat."""
    from chat.files import make_private_folder
    from chat.settings import Folders

    log = Folders.find().program_log
    make_private_folder(log.parent)
    frames = "".join(traceback.format_tb(error.__traceback__))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as out:
        out.write(f"{type(error).__module__}.{type(error).__name__}\n{frames}\n")
    return log

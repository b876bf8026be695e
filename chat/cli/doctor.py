"""`rpchat doctor`: what is installed, what lies where, and the one command that mends what is wrong."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.options import memory_options
from chat.cli.printing import write, write_json

if TYPE_CHECKING:
    from chat.cli.checks import Check
    from chat.engine.protocol import Build
    from chat.launch import Launch
    from chat.settings import Folders, Settings


@click.command()
@click.option("--model", metavar="REF", help="The model to plan memory for.")
@memory_options
@click.option(
    "--log",
    "lines",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=40,
    metavar="[N]",
    help="Only print the last N lines (40) of the log that llama.cpp and its process wrote.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a bug report.")
@click.pass_context
def command(context: click.Context, launch: Launch, lines: int | None, as_json: bool) -> None:
    """Check this installation: versions, llama.cpp and the GPU, models, memory, folders, database.

    Exit status 1 when something is wrong; the command that mends it stands below it.
    The options for memory are those of a chat: would this context fit with that cache?
    """
    from chat.cli import checks as look
    from chat.cli.plan_check import check_plan, plan_values
    from chat.settings import Folders

    folders = Folders.find()
    if lines is not None:
        _show_log(folders.worker_log, lines, as_json)
        return
    gpu = look.find_gpu()
    settings, settings_checks = look.check_settings(folders)
    models, model_checks = look.check_models(settings)
    build, error, format_checks = _ask_engine(folders, settings)
    planned = check_plan(build, settings, launch)
    database = look.read_database(folders.database)
    checks = [
        *look.check_system(),
        *look.check_llama(build, error, gpu),
        *model_checks,
        *format_checks,
        *planned.checks,
        *settings_checks,
        *look.check_folders(folders),
        look.check_database(database),
    ]
    if as_json:
        write_json(
            {
                "versions": look.versions(),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "cores": look.cores(),
                "terminal": {
                    name: os.environ.get(name) for name in ("TERM", "COLORTERM", "NO_COLOR", "TMUX")
                },
                "llama": build.model_dump(exclude={"op", "id"}) if build else None,
                "llama_error": error or None,
                "gpu": look.gpu_values(gpu),
                "models": [_model(file) for file in models],
                "plan": plan_values(planned.plan),
                "places": {
                    name: {"path": str(path), "exists": path.exists()}
                    for name, path in look.places(folders).items()
                },
                "database": database,
                "checks": [{"verdict": c.verdict, "what": c.what, "fix": c.fix or None} for c in checks],
                "fix": next((c.fix for c in checks if c.verdict == "FAIL" and c.fix), None),
            }
        )
    else:
        known = look.versions()
        write(
            f"rpchat {known.pop('rpchat')}: "
            + ", ".join(f"{name} {v or 'missing'}" for name, v in known.items())
        )
        for check in checks:
            write(_line(check))
        if build is not None:
            write(f"llama.cpp: {build.system_info}")
            for device in build.devices:
                write(f"device: {device.name} {device.description}, {device.memory_total / 1e9:.1f} GB")
        for name, path in look.places(folders).items():
            write(f"{name}: {path}{'' if path.exists() else ' (not there yet)'}")
    if any(check.verdict == "FAIL" for check in checks):
        context.exit(1)


def _show_log(path: Path, lines: int, as_json: bool) -> None:
    """The end of the log that was written last: each program that runs has one of its own."""
    from chat.engine.logs import log_files, tail

    newest = next(iter(log_files(path)), None)
    if newest is None:
        raise click.ClickException(f"there is no log yet; it will be {path}")
    try:
        last = tail(newest, lines)
    except OSError as error:
        raise click.ClickException(f"{newest}: {error.strerror}") from error
    if as_json:
        write_json({"log": str(newest), "lines": last})
    else:
        write("\n".join(last))


def _line(check: Check) -> str:
    label = f"[{check.verdict}]"
    fix = f"\n       fix: {check.fix}" if check.fix else ""
    return f"{label:<6} {check.what}{fix}"


def _ask_engine(folders: Folders, settings: Settings | None) -> tuple[Build | None, str, list[Check]]:
    """The build of llama.cpp as its own process tells it, else why it does not start; and whether the format
    of the model that would be used fits it."""
    from chat.cli.devices import asked_engine
    from chat.cli.format_check import check_format
    from chat.engine.surface import EngineError

    with asked_engine(folders) as engine:
        try:
            build = engine.devices()
            return build, "", check_format(engine, settings) if settings is not None else []
        except EngineError as error:
            return None, str(error), []


def _model(file: Any) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "size": file.size,
        "quantization": file.quantization or None,
        "architecture": file.architecture or None,
        "problem": file.problem,
    }

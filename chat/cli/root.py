"""`rpchat` itself: the verbs, each read from its file only when it is used."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

from chat.cli.options import launch_options
from chat.launch import Launch

VERBS = ("say", "prompt", "card", "chat", "model", "preset", "persona", "doctor", "bench")


class Verbs(click.Group):
    """A group whose commands lie in modules of their name: one verb does not pay for the others."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"chat.cli.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"a card is opened with --card {name}"
            raise click.UsageError(f"no verb {name!r}; {hint}", context)
        return super().resolve_command(context, args)


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"rpchat {version('rpchat')}")
        context.exit()


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@launch_options(screen=True)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.pass_context
def rpchat(context: click.Context, launch: Launch) -> None:
    """Offline roleplay with a local model: `rpchat --card samuel.png` opens the chat screen.

    A verb does one thing without a screen; the shared options stand after it.
    """
    if context.invoked_subcommand is not None:
        if launch != Launch():
            raise click.UsageError(
                f"options stand after the verb: rpchat {context.invoked_subcommand} --card ..."
            )
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "the chat screen needs a terminal; `rpchat say` and `rpchat prompt` do without"
        )
    from chat.tui.app import run

    context.exit(run(launch))

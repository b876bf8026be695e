"""`rpchat bench`: how long things take on this machine."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import click

from chat.cli.printing import write_json, write_table


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one flat JSON object.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Measurements by name, such as library.list_ms; a beginning (library) names all that begin so."""
    measures = _measures()
    wanted = [name for name in measures if not names or name.startswith(names)]
    if not wanted:
        raise click.UsageError(f"no measurement is called {names[0]!r}; there are {', '.join(measures)}")
    results = {name: round(measures[name](), 3) for name in wanted}
    if as_json:
        write_json(results)
    else:
        write_table([(name, f"{value:g}") for name, value in results.items()])


def _measures() -> dict[str, Callable[[], float]]:
    """What the modules of chat.benchmarks offer, in their order."""
    import chat.benchmarks

    found: dict[str, Callable[[], float]] = {}
    for module in pkgutil.iter_modules(chat.benchmarks.__path__):
        found |= importlib.import_module(f"chat.benchmarks.{module.name}").MEASURES
    return found

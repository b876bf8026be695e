"""`rpchat bench`: how long things take on this machine, and how much of it is llama.cpp's own time."""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chat.cli.printing import warn, write, write_json, write_table
from chat.cli.progress import progress_line

if TYPE_CHECKING:
    from chat.benchmarks.measure import Bench, Figure, Measure


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one flat JSON object.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Measurements by name, such as library.list_ms; a beginning (library) names all that begin so.

    All of them take some twenty minutes on two cores. Speeds are ratios of two sides that take turns,
    since other programs share the machine; what cannot be measured here is null, with the reason on stderr.
    """
    chosen = _chosen(names)
    from chat.benchmarks.measure import Bench
    from chat.models import demo_model

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), demo_model())
        results = _taken(bench, chosen, names)
        figures = [figure for measure in chosen for figure in measure.figures if figure.name in results]
        if as_json:
            write_json({figure.name: _rounded(results[figure.name]) for figure in figures})
            return
        _write_tables(bench, figures, results)


def _taken(bench: Bench, chosen: list[Measure], names: tuple[str, ...]) -> dict[str, float | None]:
    """The figures that were asked for; None where one cannot be taken on this machine."""
    from chat.benchmarks.measure import Missing
    from chat.engine.surface import EngineError

    results: dict[str, float | None] = {}
    with progress_line("measuring") as line:
        for number, measure in enumerate(chosen):
            line.count(number, len(chosen))
            wanted = [figure.name for figure in measure.figures if _is_wanted(figure.name, names)]
            try:
                taken = measure.take(bench)
            except (Missing, EngineError) as error:
                line.clear()
                warn(f"{', '.join(wanted)}: {error}")
                taken = {}
            results |= {name: taken.get(name) for name in wanted}
    return results


def _write_tables(bench: Bench, figures: list[Figure], results: dict[str, float | None]) -> None:
    from chat.benchmarks.machine import machine_line
    from chat.benchmarks.plot import bars

    write(machine_line(bench.folder))
    write_table((figure.name, *_judged(figure, results[figure.name])) for figure in figures)
    if bench.read_over_turns:
        write("\nTokens read in each turn of a chat that outgrows its context:")
        write("\n".join(bars(bench.read_over_turns)))


def _judged(figure: Figure, value: float | None) -> tuple[str, str, str]:
    if value is None:
        return "-", figure.must, ""
    return f"{_rounded(value):g}", figure.must, "" if figure.holds(value) else "not reached"


def _rounded(value: float | None) -> float | None:
    """Three places, or three digits of what is smaller."""
    return None if value is None else round(value, 3) if abs(value) >= 0.01 else float(f"{value:.3g}")


def _is_wanted(name: str, names: tuple[str, ...]) -> bool:
    return not names or name.startswith(names)


def _chosen(names: tuple[str, ...]) -> list[Measure]:
    """The measurements of chat.benchmarks of which some figure is wanted. Raises UsageError."""
    import chat.benchmarks

    found: list[Measure] = []
    for module in pkgutil.iter_modules(chat.benchmarks.__path__):
        found += getattr(importlib.import_module(f"chat.benchmarks.{module.name}"), "MEASURES", ())
    chosen = [one for one in found if any(_is_wanted(figure.name, names) for figure in one.figures)]
    if not chosen:
        known = ", ".join(figure.name for one in found for figure in one.figures)
        raise click.UsageError(f"no measurement is called {names[0]!r}; there are {known}")
    return chosen

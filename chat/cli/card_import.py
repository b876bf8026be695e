"""`rpchat card import`: files and folders into the library."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat.cli.card_library import at_hand, can_ask, counted, named, nothing_in, row, write_line
from chat.cli.failure import FAILED, INTERRUPTED
from chat.cli.printing import warn, write, write_json

if TYPE_CHECKING:
    from cards.card import Card
    from cards.library import LibraryCard
    from cards.library.arriving import Arrival, ClashChoice

FEW = 20
"""So many files are answered one by one; more, in numbers."""
SAID = {
    "new": "imported",
    "kept": "imported beside one of the same name",
    "replaced": "put in the place of one of the same name",
    "same": "here already",
    "skipped": "left out",
    "failed": "not imported",
}
KEYS = {"k": "keep", "r": "replace", "s": "skip"}


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--on-clash",
    type=click.Choice(["ask", "keep", "replace", "skip", "cancel"]),
    default="ask",
    help="A card of that name is here: keep both, replace it (its chats stay), skip it, or cancel the "
    "import there. Where nobody can be asked: keep.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def import_(context: click.Context, paths: tuple[Path, ...], on_clash: str, as_json: bool) -> None:
    """Copy cards into the library: files, and folders with all that lies below them.

    Bad ones are reported and the rest imported; the exit status is 1 then. Ctrl-C stops between two cards.
    """
    from cards.filenames import expanded
    from cards.library.arriving import card_files, import_cards

    files = card_files(map(expanded, paths))
    if not files:
        raise click.ClickException(nothing_in(paths))
    arrivals: list[Arrival] = []
    stopped: BaseException | None = None
    with ExitStack() as stack:
        bar = _progress(stack, len(files))
        try:
            for arrival in import_cards(at_hand(), files, _Clashes(on_clash, bar)):
                arrivals.append(arrival)
                if bar is not None:
                    bar.update(1)
        except (KeyboardInterrupt, click.Abort, _Cancelled) as reason:
            stopped = reason
    _report(arrivals, as_json, few=len(files) <= FEW)
    if stopped is not None:
        cancelled = isinstance(stopped, _Cancelled)
        left = len(files) - len(arrivals)
        rest = f"{left} of {counted(len(files), 'file')} {'was' if left == 1 else 'were'} not looked at"
        warn(f"{stopped if cancelled else 'stopped'}; {rest}")
        context.exit(FAILED if cancelled else INTERRUPTED)
    context.exit(FAILED if any(arrival.error for arrival in arrivals) else 0)


def _progress(stack: ExitStack, length: int) -> Any:
    """A bar on stderr where that is a terminal, else None."""
    if not (sys.stderr and sys.stderr.isatty()) or length < 2:
        return None
    return stack.enter_context(click.progressbar(length=length, label="importing", file=sys.stderr))


class _Cancelled(Exception):
    """`--on-clash cancel` met a card of that name; the message names both."""


class _Clashes:
    """What to do with cards of one name, asked once each or once for all."""

    def __init__(self, settled: str, bar: Any = None) -> None:
        self.bar = bar
        self.settled = settled if settled != "ask" or can_ask() else "keep"

    def __call__(self, file: Path, card: Card, there: LibraryCard) -> ClashChoice:
        clash = f"{named(file.name)}: {named(card.name)} is in the library ({named(there.ref)})"
        if self.settled == "cancel":
            raise _Cancelled(clash)
        if self.settled != "ask":
            return self.settled  # type: ignore[return-value]
        if self.bar is not None:
            # The bar's line ends, and the cursor that it hid is there to answer with.
            self.bar.render_finish()
        question = (
            f"{clash}.\n"
            "[k]eep both, [r]eplace it (its chats stay), [s]kip, [c]ancel; a capital letter for all"
        )
        choices = click.Choice([*KEYS, "c", *(key.upper() for key in KEYS)])
        answer = click.prompt(question, type=choices, default="k", show_choices=False, err=True)
        if answer == "c":
            raise click.Abort
        choice = KEYS[answer.lower()]
        if answer.isupper():
            self.settled = choice
        return choice  # type: ignore[return-value]


def _report(arrivals: list[Arrival], as_json: bool, *, few: bool) -> None:
    if as_json:
        write_json([_row(arrival) for arrival in arrivals])
        return
    for arrival in arrivals:
        if arrival.error is not None:
            warn(f"{arrival.path}: {arrival.error.message}")
        elif few:
            ref = f": {arrival.card.ref}" if arrival.card else ""
            write_line(f"{named(arrival.name)}: {SAID[arrival.outcome]}{ref}")
            for warning in arrival.warnings:
                write(f"  warning: {warning}")
    counts: Counter[str] = Counter(arrival.outcome for arrival in arrivals)
    if not few or len(arrivals) > 1:
        write(", ".join(f"{counts[outcome]} {words}" for outcome, words in SAID.items() if counts[outcome]))
    odd = sum(bool(arrival.warnings) for arrival in arrivals)
    if odd and not few:
        write(f"{odd} of them with warnings; `rpchat card check` shows them")


def _row(arrival: Arrival) -> dict[str, Any]:
    return row(
        arrival.path,
        arrival.card.ref if arrival.card else None,
        arrival.name,
        arrival.spec,
        arrival.warnings,
        arrival.error,
    )

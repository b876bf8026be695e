"""A coverage-guided fuzzer of the card reader, for developers. It is not part of the test run.

    pip install atheris
    python tests/fuzz/seeds.py seeds
    nice python tests/fuzz/fuzz_cards.py -max_total_time=600 -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
        found seeds tests/data/fuzz

What it finds goes, mended and cut short, into tests/data/fuzz, which tests/fuzz/test_corpus.py replays.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

SECONDS = 1.0
"""The longest that any input may take to be read, of the processor."""


def one_input(data: bytes) -> tuple[str, str]:
    """Everything that reading promises for any bytes: nothing but a CardError, in a moment, and what was
    read can be used and written.

    What reading it as a card and as a lorebook came to: `read`, or the code of the error."""
    from cards.errors import CardError
    from cards.reading import read_card, read_lorebook

    begun = time.process_time()
    card = book = None
    as_card = as_book = "read"
    try:
        card, warnings = read_card(data, "fuzz.bin")
        for warning in warnings:
            assert "\n" not in str(warning)
    except CardError as error:
        as_card = told(error)
    taken = time.process_time() - begun
    assert taken < SECONDS, f"reading took {taken:.2f} s"
    try:
        book, _ = read_lorebook(data, "fuzz.bin")
    except CardError as error:
        as_book = told(error)
    if book is not None:
        activated(book)
    if card is not None:
        used(card)
        mended(card, data)
    return as_card, as_book


def told(error: object) -> str:
    """The code of an error, which says in one line which file it is about."""
    assert str(error).startswith("fuzz.bin: ")
    assert "\n" not in str(error)
    return str(getattr(error, "code", ""))


def over_a_limit(error: object, form: str) -> None:
    """A card that was small may be over a limit once it is written out; nothing else may stop it."""
    assert getattr(error, "code", "") in ("too-large", "too-deep"), (form, str(error))


def activated(book: object) -> None:
    """A book that was read can be asked."""
    from random import Random

    from cards.lorebook import activate

    chat = ["Samuel: the castle", "User: a tower"]
    timers = activate(book, chat, dice=Random(0)).timers  # type: ignore[arg-type]
    activate(book, [*chat, "Samuel: yes"], timers=timers, dice=Random(0))  # type: ignore[arg-type]


def used(card: object) -> None:
    """Every field of the view, and every form that is written read again with the same name."""
    from typing import get_args

    from cards.card import COMPARED, Card
    from cards.errors import CardError
    from cards.reading import read_card
    from cards.writing import ExportFormat, export_card, losses

    assert isinstance(card, Card)
    for field in (
        *COMPARED,
        "greetings",
        "call_name",
        "greeting_numbers",
        "assets",
        "creation_date",
        "talkativeness",
    ):
        getattr(card, field)
    for spec in (1, 2, 3):
        losses(card, spec)  # type: ignore[arg-type]
    for form in get_args(ExportFormat):
        try:
            written = export_card(card, form)  # type: ignore[arg-type]
        except CardError:
            continue
        if len(written) < 100_000:
            try:
                read_card(written, "fuzz.bin")
            except CardError as error:
                over_a_limit(error, form)


def mended(card: object, data: bytes) -> None:
    """What is offered for a card: its mojibake mended, another of its copies, its prompt tokens named."""
    from cards.card import Card
    from cards.errors import CardError
    from cards.mojibake import mended_card
    from cards.prompt_tokens import prompt_token_warnings
    from cards.reading import read_copy

    assert isinstance(card, Card)
    assert mended_card(card).shape == card.shape
    for warning in prompt_token_warnings(card):
        assert "\n" not in str(warning)
    try:
        read_copy(data, 2, "fuzz.bin")
    except CardError as error:
        told(error)


def fuzzed(data: bytes) -> None:
    """For the fuzzer, which wants no answer."""
    one_input(data)


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["cards"]):
        import cards.lorebook
        import cards.markdown
        import cards.mojibake
        import cards.prompt_tokens
        import cards.reading
        import cards.writing
        import cards.yaml_text  # noqa: F401
    atheris.Setup(sys.argv, fuzzed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

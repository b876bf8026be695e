"""README says what is true: its tables are those of the data, and what it links to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from presets.library import PresetLibrary
from presets.tables import tables, with_tables

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_data() -> None:
    library = PresetLibrary(None)
    assert all(table in README for table in tables(library).values())
    assert with_tables(README, library) == README


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_file_that_is_linked_is_there(path: str) -> None:
    assert (ROOT / path).is_file()

"""Every option that can be set is explained, in README too."""

from __future__ import annotations

from presets.library import PresetLibrary
from presets.option_help import OPTION_HELP, option_values
from presets.prompt_options import CHAT_OPTIONS
from presets.tables import tables


def test_every_option_has_its_line() -> None:
    library = PresetLibrary(None)
    known = {*CHAT_OPTIONS, *(name for format in library.formats() for name in format.options())}
    assert set(OPTION_HELP) == set(option_values()) == known
    rows = tables(library)["options"].split("\n")
    assert len(rows) == len(known) + 2
    assert "| `reply_length` | free, short, medium, long |" in tables(library)["options"]
    assert "| `note_depth` | 4, or from 0 to 9999 |" in tables(library)["options"]
    assert "| `auto_continue` | off or a number of tokens |" in tables(library)["options"]

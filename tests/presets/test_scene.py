"""The scene that `rpchat preset show` renders."""

from __future__ import annotations

import pytest

from presets.format import PromptFormat
from presets.library import PresetLibrary
from presets.scene import example_prompt


@pytest.mark.parametrize("format", PresetLibrary().formats(), ids=lambda format: format.id)
def test_every_format_shows_its_turns(format: PromptFormat) -> None:
    text = example_prompt(format).text
    assert text.index("You're late") < text.index("The fog was thick.")
    assert "{{" not in text
    if format.uses_card:
        assert "Mira keeps a lighthouse" in text
        assert text.index("Nobody but me.") < text.index("You're late")

"""Control markers looked up in a vocabulary."""

from __future__ import annotations

from presets.library import PresetLibrary
from presets.markers import Pieces, check_markers

LIBRARY = PresetLibrary()


def lookup(*control: str) -> Pieces:
    return lambda text: [True] if text in control else [False] * len(text.split("|"))


def test_markers_that_are_control_tokens() -> None:
    found = check_markers(LIBRARY.format("chatml"), lookup("<|im_start|>", "<|im_end|>"))
    assert found.verified
    assert found.sentence == ""
    assert found.good == ("<|im_start|>", "<|im_end|>")


def test_markers_that_are_plain_text_are_named() -> None:
    found = check_markers(LIBRARY.format("chatml"), lookup("<|im_end|>"))
    assert not found.verified
    assert found.split == (("<|im_start|>", 3),)
    assert "<|im_start|> is 3 tokens" in found.sentence
    assert "\n" not in found.sentence
    many = check_markers(LIBRARY.format("command-r"), lambda _text: [False, False])
    assert "and 2 more" in many.sentence


def test_a_format_of_words_has_nothing_to_check() -> None:
    found = check_markers(LIBRARY.format("limarp-v1"), lookup())
    assert (found.good, found.split, found.sentence, found.verified) == ((), (), "", False)

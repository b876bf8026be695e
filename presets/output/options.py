"""The options of a chat's output, which every format has: `--set NAME=VALUE`, kept with the chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from presets.format import PromptFormat
from presets.reasoning import Choices, think_tokens

__all__ = ["OUTPUT_OPTIONS", "OVERTIME", "SOFT_TARGETS", "OutputOptions", "for_the_prompt"]

OUTPUT_OPTIONS: dict[str, tuple[str, ...]] = {
    "reply_length": ("free", "short", "medium", "long"),
    "speaking_for_user": ("mark", "stop", "off"),
    "name_stop": ("on", "off"),
    "trim_sentences": ("off", "on"),
    "auto_continue": Choices(("off",)),
    "repetition_watch": ("on", "off"),
}
"""Their values, the default first."""

SOFT_TARGETS = {"short": 80, "medium": 200, "long": 400}
"""Tokens after which a reply ends at the next sentence, in formats that were trained with no word for it."""

OVERTIME = 80
"""Tokens that the sentence may still take."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The options in force."""

    target: int | None
    """Soft target in tokens; None: the reply ends where the model ends it."""
    mark_user: bool
    """Sentences that have the persona act or speak are marked on the screen."""
    stop_for_user: bool
    """The reply ends before the first of them."""
    name_stop: bool
    """`Name:` of the user ends the reply."""
    trim_sentences: bool
    auto_continue: int | None
    """Tokens up to which a reply that ended earlier goes on by itself."""
    repetition_watch: bool

    @classmethod
    def read(cls, options: Mapping[str, str], format: PromptFormat) -> OutputOptions:
        """From options as `--set` gives them; what is missing has its default."""
        chosen = {name: options.get(name, values[0]) for name, values in OUTPUT_OPTIONS.items()}
        length = chosen["reply_length"]
        return cls(
            target=None if _trained(length, format) else SOFT_TARGETS.get(length),
            mark_user=chosen["speaking_for_user"] != "off",
            stop_for_user=chosen["speaking_for_user"] == "stop",
            name_stop=chosen["name_stop"] == "on",
            trim_sentences=chosen["trim_sentences"] == "on",
            auto_continue=think_tokens(chosen["auto_continue"]),
            repetition_watch=chosen["repetition_watch"] == "on",
        )


def for_the_prompt(options: Mapping[str, str], format: PromptFormat) -> dict[str, str]:
    """The options that shape the prompt: `reply_length` becomes the word that a format was trained with."""
    kept = {name: value for name, value in options.items() if name not in OUTPUT_OPTIONS}
    length = options.get("reply_length", "free")
    if _trained(length, format):
        kept["length"] = length
    return kept


def _trained(length: str, format: PromptFormat) -> bool:
    return format.length is not None and length in format.length.words

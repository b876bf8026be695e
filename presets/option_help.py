"""What the options of a chat do, a line each: for README's table."""

from __future__ import annotations

from presets.prompt_options import CHAT_OPTIONS, AnyText, Numbers
from presets.reasoning import THINK, listed

__all__ = ["OPTION_HELP", "option_values"]

FORMAT_OPTIONS: dict[str, tuple[str, ...]] = {
    "think": THINK,
    "thoughts": ("off", "on"),
    "names": ("on", "off"),
    "length": (),
    "examples": ("gradual", "pinned", "never"),
    "card_system_prompt": ("on", "off"),
    "card_post_history": ("on", "off"),
    "ban_eos": ("off", "on"),
}
"""Options that depend on the format, each where it means something; so may their defaults."""

OPTION_HELP: dict[str, str] = {
    "reply_length": "The format's own word for it, else 80, 200 or 400 tokens and to a sentence's end",
    "speaking_for_user": "Sentences that have you act or speak are marked, or end the reply",
    "name_stop": "A reply ends where your name and a colon would stand",
    "trim_sentences": "An incomplete last sentence goes",
    "auto_continue": "A reply that ends earlier goes on by itself, up to so many tokens",
    "repetition_watch": "One quiet line when replies repeat each other",
    "note": "Author's note: a text near the end of every prompt",
    "note_depth": "Messages below the note",
    "note_role": "Whose turn the note is",
    "note_interval": "The note stands in the prompt after every so many of your turns",
    "prefill": "How every reply begins",
    "lore": "`cache-friendly`: lore that fires late stands near the end, so that little is read again",
    "lore_budget": "Per cent of the prompt that lorebooks may take",
    "read_ahead": "What you are typing is read before it is sent, where reading is slow",
    "shift": "When the oldest turns leave, the rest is moved instead of read again; approximate",
    "think": "Whether a model that can think first does, or for how many tokens",
    "thoughts": "What was thought before stays in later prompts",
    "names": "`Name:` before every turn",
    "length": "The format's own word for the length, where it has one",
    "examples": "Example dialogue goes when room is short, stays, or is left out",
    "card_system_prompt": "The card's own system prompt is used",
    "card_post_history": "The card's post-history instructions are used",
    "ban_eos": "The model cannot end a reply by itself",
}


def option_values() -> dict[str, str]:
    """Each option and what it takes, the default first."""
    return {name: _values(values) for name, values in {**CHAT_OPTIONS, **FORMAT_OPTIONS}.items()}


def _values(values: tuple[str, ...]) -> str:
    if isinstance(values, AnyText):
        return "any text"
    if isinstance(values, Numbers):
        return f"{values[0]}, or {str(values).removeprefix('a whole number ')}"
    return listed(values) or "a word of the format"

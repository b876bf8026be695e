"""`/set NAME=VALUE`: sampler settings and options of the open chat, kept with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat.session import Session


def change_settings(session: Session, argument: str) -> str:
    """Set what `argument` says; the line to show. Raises StoreError."""
    from presets.errors import PresetError
    from presets.idle import idle_settings
    from presets.settings import apply_settings

    words = argument.split()
    if not words:
        return _listed(session)
    if not all("=" in word for word in words):
        return "Say it as NAME=VALUE, as in /set reply_length=short."
    try:
        sampling, options = apply_settings(
            session.sampling, session.format, dict(word.split("=", 1) for word in words)
        )
    except PresetError as error:
        return str(error)
    session.choose(
        sampling=sampling if sampling != session.sampling else None,
        options={**session.options, **options} if options else None,
    )
    return "\n".join(["Set: " + ", ".join(words), *idle_settings(sampling)])


def _listed(session: Session) -> str:
    """The options that were chosen, and the names of the others."""
    from presets.prompt_options import CHAT_OPTIONS

    known = {**session.format.options(), **CHAT_OPTIONS}
    chosen = [f"{name}={value}" for name, value in session.options.items() if value != known[name][0]]
    others = ", ".join(name for name in known if name not in session.options)
    return f"{', '.join(chosen) or 'Nothing is set in this chat'}. Besides the sampler's: {others}."

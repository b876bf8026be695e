"""`/set NAME=VALUE`, `/note` and `/prefill`: settings of the open chat, kept with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat.session import Session


def change_settings(session: Session, argument: str) -> str:
    """Set what `argument` says; the line to show. Raises StoreError."""
    from presets.errors import PresetError
    from presets.idle import idle_settings
    from presets.settings import apply_settings

    if not argument.strip():
        return _listed(session)
    words = _settings(argument)
    if not all("=" in word for word in words):
        return "Say it as NAME=VALUE, as in /set reply_length=short."
    try:
        pairs = [(name, value) for name, _, value in (word.partition("=") for word in words)]
        sampling, options = apply_settings(session.sampling, session.format, pairs)
    except PresetError as error:
        return str(error)
    session.choose(
        sampling=sampling if sampling != session.sampling else None,
        options={**session.options, **options} if options else None,
    )
    return "\n".join(["Set: " + ", ".join(words), *idle_settings(sampling, [name for name, _ in pairs])])


def _settings(argument: str) -> list[str]:
    """Each `NAME=VALUE`; a value may hold spaces, up to the next name."""
    return re.split(r"\s+(?=[A-Za-z][\w-]*=)", argument.strip())


def _listed(session: Session) -> str:
    """The options that were chosen, and the names of the others."""
    from presets.prompt_options import CHAT_OPTIONS

    known = {**session.format.options(), **CHAT_OPTIONS}
    chosen = [f"{name}={value}" for name, value in session.options.items() if value != known[name][0]]
    others = ", ".join(name for name in known if name not in session.options)
    return f"{', '.join(chosen) or 'Nothing is set in this chat'}. Besides the sampler's: {others}."


_PLACES = {"--depth": "note_depth", "--role": "note_role", "--every": "note_interval"}
"""What `/note` calls the options of the author's note."""

NOTE_HELP = "Say it as /note TEXT, /note --depth 4 --role system --every 1 TEXT, or /note clear."


def change_note(session: Session, argument: str) -> str:
    """Show, set, place or clear the author's note; the line to show. Raises StoreError."""
    from presets.errors import PresetError
    from presets.settings import apply_settings

    chosen: dict[str, str] = {}
    rest = argument.strip()
    while rest.startswith("--"):
        word, _, after = rest.partition(" ")
        value, _, rest = after.strip().partition(" ")
        rest = rest.strip()
        if word not in _PLACES or not value:
            return NOTE_HELP
        chosen[_PLACES[word]] = value
    if rest:
        chosen["note"] = "" if rest == "clear" else rest
    try:
        _, options = apply_settings(session.sampling, session.format, chosen)
    except PresetError as error:
        return str(error)
    if options:
        session.choose(options={**session.options, **options})
    return _told_note(session)


def _told_note(session: Session) -> str:
    from presets.prompt_options import PromptOptions

    note = PromptOptions.read(session.options).note
    if not note.text:
        return f"There is no author's note. {NOTE_HELP}"
    every = f", in one prompt of {note.interval}" if note.interval > 1 else ""
    count = "1 message" if note.depth == 1 else f"{note.depth} messages"
    return f"Author's note, {count} from the end as {note.role}{every}: {note.text}"


def change_prefill(session: Session, argument: str) -> str:
    """Show, set or clear how replies begin; the line to show. Raises StoreError."""
    text = argument.strip()
    if text:
        kept = {name: value for name, value in session.options.items() if name != "prefill"}
        session.choose(options=kept if text == "clear" else {**kept, "prefill": text})
    begins = session.options.get("prefill", "")
    if not begins:
        return "Replies begin as the model likes. Say it as /prefill TEXT, or /prefill clear."
    return f"Every reply begins with: {begins}"

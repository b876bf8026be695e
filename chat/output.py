"""What a chat's output options come to: whom to look for, what to remark, the text that is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from cards.card import Card
from chat.engine.protocol import Span
from chat.engine.surface import EngineSurface
from chat.tree import Message
from presets.output.options import OVERTIME, OutputOptions
from presets.output.repetition import LOOKED_BACK, find_repetition, remark
from presets.output.speaking import UserFinder, is_second_person
from presets.output.trimming import trimmed
from presets.prompt_options import CHAT_OPTIONS
from presets.reasoning import think_tokens
from presets.sampling import Sampling
from presets.values import Persona, Prompt

if TYPE_CHECKING:
    from chat.session import Session

THINKING_SHARE = 4
"""Where thinking is wanted without a limit, this part of the context is kept free for it."""
THINKING = 1024
"""Tokens of it at most."""
RECOUNT = 48
"""Characters after which a growing text is counted anew instead of estimated."""
ESTIMATED = 16
"""Tokens by which a growing text may be longer than it is thought to be."""
QUIET = 5
"""Replies for which nothing is remarked after a remark."""


def output_options(session: Session) -> OutputOptions:
    """The options in force now."""
    return OutputOptions.read(session.options, session.format)


def reply_room(session: Session, context: int | None) -> int:
    """Tokens that a reply may take: `max_tokens`, and behind a soft target its last sentence; never more than
    half of a small context."""
    target, most = output_options(session).target, session.max_tokens
    if target is not None and target <= most:
        most = max(most, target + OVERTIME + ESTIMATED)
    return most if context is None else min(most, max(context // 2, 1))


def keep_output_options(session: Session) -> None:
    """What was asked for of the output and the prompt stays with the chat; how one reply begins does not.

    Raises StoreError.
    """
    kept_names = CHAT_OPTIONS.keys() - {"prefill"}
    chosen = {name: value for name, value in session.options.items() if name in kept_names}
    kept = {**session.chat.options, **chosen}
    if kept != session.chat.options:
        session.chat = replace(session.chat, options=kept)
        session.store.save_settings(session.chat)


def user_finder(card: Card, persona: Persona) -> UserFinder:
    """Finds the sentences that are the user's, by name and, where the card's narrator says it, by `you`."""
    return _user_finder(persona.name or "User", card.call_name, (*card.greetings[:3], card.mes_example))


@lru_cache(maxsize=4)
def _user_finder(user: str, char: str, texts: tuple[str, ...]) -> UserFinder:
    names = (user,) if user != char else ()
    said = [text.replace("{{user}}", user) for text in texts if text]
    return UserFinder(names, second_person=is_second_person(said, names))


def thinking_room(options: dict[str, str], context: int) -> int:
    """Tokens that are kept free for thinking."""
    think = options.get("think", "off")
    if think == "off":
        return 0
    return min(think_tokens(think) or THINKING, context // THINKING_SHARE)


def kept_text(session: Session, prompt: Prompt, text: str, *, cut: bool, cancelled: bool) -> str:
    """The reply's text as it is stored."""
    options = output_options(session)
    return trimmed(
        text,
        stops=prompt.stops,
        user_names=[session.persona.name or "User"] if options.name_stop else [],
        own_name=session.card.call_name,
        cut=cut,
        sentences=options.trim_sentences and not cancelled,
    )


@dataclass(slots=True)
class RepetitionWatch:
    """Remarks on a chat's replies that repeat earlier ones, not more often than is useful."""

    _quiet: int = 0

    def look(self, path: Sequence[Message], text: str, sampling: Sampling) -> str:
        """One line about a reply that comes after `path`; mostly empty."""
        if self._quiet:
            self._quiet -= 1
            return ""
        earlier = [message.text for message in path if message.role == "char"]
        found = find_repetition(text, earlier[-LOOKED_BACK:])
        if found is None:
            return ""
        self._quiet = QUIET
        return remark(found, sampling)


def meter(engine: EngineSurface) -> Callable[[str], int]:
    """Tokens of a text that grows: counted now and then, estimated between. Raises EngineError."""
    exact, tokens = "", 0

    def count(text: str) -> int:
        nonlocal exact, tokens
        if not text.startswith(exact) or len(text) - len(exact) >= RECOUNT:
            exact, tokens = text, engine.count([Span(text=text, trusted=False)])[0]
        return tokens + -(-(len(text) - len(exact)) // 4)

    return count

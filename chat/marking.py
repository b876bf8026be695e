"""Whether the markers of a chat's format are control tokens of the model that is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chat.engine.protocol import Span
from chat.engine.surface import EngineError, EngineSurface
from presets.format import PromptFormat
from presets.markers import MarkerCheck, check_markers

if TYPE_CHECKING:
    from chat.session import Session

__all__ = ["marker_check", "marker_notice"]

LEAD = Span(text="x\n", trusted=True)
"""Takes BOS and the space that SentencePiece puts first, so that neither counts in a marker."""


def marker_check(engine: EngineSurface, format: PromptFormat) -> MarkerCheck:
    """Asks the model's tokenizer for each of the format's control markers; blocks. Raises EngineError.

    A control token is one token where the text is trusted and several where it is not: text that nobody
    trusts never becomes one.
    """

    def pieces(marker: str) -> list[bool]:
        _, trusted = engine.count([LEAD, Span(text=marker, trusted=True)])
        _, plain = engine.count([LEAD, Span(text=marker, trusted=False)])
        return [trusted == 1 < plain] * trusted

    return check_markers(format, pieces)


def marker_notice(session: Session) -> str:
    """One line where the chat's format does not fit the model that is loaded; blocks. Empty without one."""
    engine = session.engine
    if engine is None or engine.loaded is None:
        return ""
    try:
        return marker_check(engine, session.format).sentence
    except EngineError:
        return ""  # a worker that died is told where it matters: at the reply

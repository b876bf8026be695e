"""What a model thought before it spoke, as rows of its message: one dim line, opened by a key or a click."""

from __future__ import annotations

from dataclasses import dataclass, field

from cards.display import display_text
from chat.tree import Message
from chat.tui.rows import Row, wrap


@dataclass(slots=True)
class Thought:
    """The thinking of one message."""

    source: str
    seconds: float = 0.0
    """0: not known."""
    tokens: int = 0
    """0: not known."""
    opened: bool = False
    under_way: bool = False
    """The model is still at it."""
    _text: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, message: Message) -> Thought | None:
        """That of a stored message; None where it has none."""
        if not message.thinking:
            return None
        made = message.generation
        seconds = made.timings.get("think", 0.0) if made else 0.0
        return cls(message.thinking, seconds, made.thinking_tokens if made else 0)

    @property
    def line(self) -> str:
        """`▸ thought for 3.2 s, 140 tokens`."""
        arrow = "▾" if self.opened else "▸"
        if self.under_way:
            return f"{arrow} thinking …"
        duration = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{arrow} thought{duration}" + (f", {self.tokens} tokens" if self.tokens else "")

    @property
    def text(self) -> str:
        """It, without anything that a terminal acts on."""
        if self._text is None:
            self._text = display_text(self.source).replace("\t", "    ")
        return self._text

    def add(self, text: str) -> None:
        """The model thought on."""
        self.source += text
        self._text = None

    def rows(self, width: int) -> list[Row]:
        """The rows of the opened thought; none while it is folded."""
        return wrap(self.text, max(1, width - 2)) if self.opened else []

    def height(self, width: int) -> int:
        """Rows at a text width, the line that is always there included."""
        return 1 + len(self.rows(width))

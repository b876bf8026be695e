"""One line above the box that stays until it is settled: an error and the key that mends it, or why there
is no reply."""

from __future__ import annotations

from typing import Literal

from textual.content import Content
from textual.widgets import Static

from cards.display import display_text


class Banner(Static):
    """Hidden while there is nothing to say."""

    DEFAULT_CSS = """
    Banner {
        display: none;
        height: auto;
        max-height: 40%;
        margin: 0 1;
        padding: 0 1;
        background: $surface;
        color: $foreground;

        &.-shown { display: block; }
        &.-error { border-left: outer $error; }
        &.-plain { border-left: outer $accent; }
    }
    """

    message = ""
    """What is shown, empty when nothing is."""

    def say(self, text: str, *, key: str = "", kind: Literal["error", "plain"] = "error") -> None:
        """Show a text; `key` says what to press, `Ctrl+R tries again`."""
        self.message = text
        self.set_classes(f"-shown -{kind}")
        parts = [Content(display_text(text))]
        if key:
            parts.append(Content.styled(f"  {key}", "bold $accent"))
        self.update(Content.assemble(*parts))

    def settle(self) -> None:
        """Nothing to say any more."""
        self.message = ""
        self.set_classes("")

"""What reading a card can say: one error that ends it, or warnings that go with the card."""

from __future__ import annotations

from dataclasses import dataclass

from cards.display import display_text

__all__ = ["CardError", "CardWarning"]


class CardError(Exception):
    """A card that cannot be read, found or written. `str(error)` is one line that is safe to print."""

    def __init__(
        self, code: str, message: str, where: str = "", *, line: int | None = None, column: int | None = None
    ) -> None:
        self.code = code
        """A short stable word for programs: `not-a-card`, `truncated`, `json`, `missing` ..."""
        self.message = display_text(message, single_line=True)
        """What is wrong and what to do, in one line."""
        self.where = display_text(where, single_line=True)
        """The file or the member of a file, empty when there is none."""
        self.line = line
        """The line of the text that cannot be read, counted from 1; None where there is none."""
        self.column = column
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def at(self, where: str) -> CardError:
        """The same error with its place named, unless one is named already."""
        if self.where or not where:
            return self
        return CardError(self.code, self.message, where, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True)
class CardWarning:
    """Something odd that did not stop the card from being read."""

    code: str
    message: str
    field: str = ""
    """Where in the document: `data.tags`, `data.character_book.entries[3].keys`; empty for the file
    itself."""
    line: int | None = None
    """The line that it is about, where a text could not be read; counted from 1."""
    column: int | None = None

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        return display_text(text, single_line=True)

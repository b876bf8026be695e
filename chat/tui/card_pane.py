"""The column beside a wide chat: the character's portrait, name, a line about them, their tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from cards.card import Card
from cards.display import cells, display_text
from chat.tui.portrait import Cell, Colours, Picture, PortraitError, halfblocks, initials

WIDTH = 28
"""Cells of the portrait; its height follows from 2:3 and cells twice as high as wide."""
NOTES_LENGTH = 140
TAGS_CELLS = 90


class Portrait(Widget):
    """The picture, once a thread has decoded it; initials until then and where there is none."""

    DEFAULT_CSS = f"""
    Portrait {{ width: {WIDTH}; height: {WIDTH * 3 // 4}; background: $surface; color: $character; }}
    """

    @dataclass
    class Decoded(Message):
        """A thread is done with the picture."""

        picture: Picture

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._image: bytes | None = None
        self._colours: Colours = "full"
        self._picture: Picture | None = None
        self._initials = ""

    def show_card(self, card: Card, colours: Colours) -> None:
        """Show initials now and the card's picture when it is decoded."""
        self._picture, self._image, self._colours = None, card.avatar, colours
        self._initials = display_text(initials(card.name), single_line=True)
        self.refresh()
        self._decode()

    def on_resize(self) -> None:
        """The same picture for the new size."""
        self._decode()

    def _decode(self) -> None:
        image, colours, (width, height) = self._image, self._colours, self.size
        if image is None or not width or not height:
            return

        def decode() -> None:
            try:
                picture = halfblocks(image, width, height, colours)
            except PortraitError:
                return  # the initials stay: a chat is no worse for a broken picture
            self.post_message(self.Decoded(picture))

        self.run_worker(decode, thread=True, exclusive=True, group="portrait", exit_on_error=False)

    def on_portrait_decoded(self, decoded: Decoded) -> None:
        """Show the picture, unless the size or the card has changed since."""
        picture = decoded.picture
        if len(picture.rows or picture.text) == self.size.height:
            self._picture = picture
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        base = self.rich_style
        width = self.size.width
        picture = self._picture
        if picture is not None and y < len(picture.rows):
            return Strip(
                [Segment("▀", _style(cell, picture.ansi)) for cell in picture.rows[y]]
            ).adjust_cell_length(width, base)
        if picture is not None and y < len(picture.text):
            return Strip([Segment(picture.text[y], base)]).adjust_cell_length(width, base)
        if picture is None and y == self.size.height // 2:
            text = self._initials.center(width)
            return Strip([Segment(text, base + Style(bold=True))]).adjust_cell_length(width, base)
        return Strip.blank(width, base)


def _style(cell: Cell, ansi: bool) -> Style:
    upper, lower = ((RichColor.from_ansi(pixel) if ansi else _rgb(pixel)) for pixel in cell)
    return Style(color=upper, bgcolor=lower)


def _rgb(pixel: int) -> RichColor:
    return RichColor.from_rgb(pixel >> 16, pixel >> 8 & 255, pixel & 255)


class CardPane(Vertical):
    """Portrait and name; shown on wide screens only."""

    DEFAULT_CSS = f"""
    CardPane {{
        width: {WIDTH + 4};
        height: 100%;
        padding: 1 2;
        border-right: vkey $rule;
        background: $background;

        & > .name {{ margin-top: 1; color: $character; text-style: bold; height: auto; }}
        & > .about {{ color: $foreground; height: auto; }}
        & > .tags {{ margin-top: 1; color: $note; height: auto; }}
    }}
    """

    def compose(self) -> ComposeResult:
        """Portrait, name, about, tags."""
        yield Portrait()
        yield Static(classes="name")
        yield Static(classes="about")
        yield Static(classes="tags")

    def show_card(self, card: Card, colours: Colours) -> None:
        """Show another character."""
        self.query_one(Portrait).show_card(card, colours)
        self._say(".name", display_text(card.name, single_line=True, limit=80))
        self._say(".about", first_sentences(display_text(card.creator_notes, single_line=True)))
        self._say(".tags", whole_tags(card.tags, TAGS_CELLS))

    def _say(self, selector: str, text: str) -> None:
        widget = self.query_one(selector, Static)
        widget.update(Content(text))
        widget.display = bool(text)


def whole_tags(tags: Sequence[str], limit: int) -> str:
    """As many tags as fit in so many cells, one long first one cut; `…` stands for the others."""
    shown = [display_text(tag, single_line=True, limit=limit) for tag in tags]
    shown = [tag for tag in shown if tag]
    count = len(shown)
    while len(shown) > 1 and cells(" · ".join(shown)) + (2 if len(shown) < count else 0) > limit:
        shown.pop()
    return " · ".join(shown) + (" …" if len(shown) < count else "")


def first_sentences(text: str, length: int = NOTES_LENGTH) -> str:
    """As many whole sentences as fit, at most two; a first one that does not fit is cut."""
    sentences = re.split(r"(?<=[.!?。！？])\s+", text, maxsplit=2)
    if len(sentences) > 1 and len(sentences[0]) + len(sentences[1]) < length:
        return f"{sentences[0]} {sentences[1]}"
    return display_text(sentences[0], single_line=True, limit=length)

"""The first start: who the user is. Both answers may stay empty, and nothing else is asked."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from cards.display import display_text
from chat.settings import Settings, SettingsError
from chat.tui.composer import Composer
from chat.tui.engine import EngineStatus
from chat.tui.keys import Field
from presets.values import Persona


class FirstStart(Screen[None]):
    """Name and persona of the user, kept as the default persona."""

    DEFAULT_CSS = """
    FirstStart {
        align: center middle;
        & > VerticalScroll { width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 1 2; }
        & .title { color: $accent; text-style: bold; }
        & .text { color: $foreground; margin-bottom: 1; }
        & .label { color: $note; }
        & Input { border: round $rule; background: $background; height: 3; }
        & Input:focus { border: round $accent; background-tint: $background 0%; }
        & Composer { min-height: 5; }
        & #model { color: $note; margin-top: 1; }
        & #keys { color: $note; margin-top: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "done", show=False)]

    def __init__(self, settings: Settings, character: str = "") -> None:
        """`character` is who waits; empty: none has been chosen yet."""
        super().__init__()
        self._settings = settings
        name = display_text(character, single_line=True, limit=40)
        self._heading = f"Welcome to rpchat. {name} is waiting." if name else "Welcome to rpchat"
        self._named = False
        """The name was entered: a second Enter may come before the focus has moved on, and means the end."""

    def compose(self) -> ComposeResult:
        """Two questions, and what there is to know about the model."""
        with VerticalScroll(can_focus=False):
            yield Static(Content(self._heading), classes="title")
            yield Static(
                Content(
                    "Who are you in your stories? Both may stay empty; `rpchat persona` changes them later."
                ),
                classes="text",
            )
            yield Static(Content("Your name"), classes="label")
            yield Field(placeholder="User", id="name")
            yield Static(Content("A few words about you, which the character knows"), classes="label")
            yield Composer(id="persona")
            yield Static(Content("Enter goes on"), id="keys")
            yield Static(id="model")

    def on_mount(self) -> None:
        """Begin with the name."""
        self.query_one("#name", Input).focus()
        self.query_one("#model", Static).display = False

    def show_model(self, status: EngineStatus) -> None:
        """How to get a model, when there is none; that it loads meanwhile, when there is one."""
        model = self.query_one("#model", Static)
        lines = status.lines
        if status.state == "loading":
            lines = (f"{status.model} is being loaded meanwhile: {status.fraction:.0%}",)
        elif status.state == "ready":
            lines = (f"{status.model} is ready on the {status.device}.",)
        model.update(Content("\n".join(display_text(line, single_line=True) for line in lines)))
        model.display = bool(lines)

    @on(Input.Submitted)
    def _go_on(self) -> None:
        if self._named:
            self.action_done()
            return
        self._named = True
        self.query_one("#persona", Composer).focus()

    @on(Composer.ReadingWanted)
    def _back(self) -> None:
        self._named = False
        self.query_one("#name", Input).focus()

    @on(Composer.Submitted)
    def action_done(self) -> None:
        """Keep the answers, or that there are none, and begin."""
        name = " ".join(self.query_one("#name", Input).value.split())
        persona = Persona(name or Persona().name, self.query_one("#persona", Composer).text.strip())
        try:
            self._settings.save_persona(persona, default=True)
        except SettingsError as error:
            self.notify(display_text(str(error)), severity="error", markup=False, timeout=10)
        self.dismiss()

"""The program on a headless screen: real store, session and cards, an engine that follows a script."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.launch import Launch
from chat.models import ModelChoice
from chat.opening import Opening
from chat.session import Session
from chat.settings import Folders, Settings
from chat.tui.app import RpchatApp
from chat.tui.screens.chat import ChatScreen
from presets.values import Persona


class ScriptedOpening(Opening):
    """An opening whose worker is a script, with or without a model."""

    def __init__(
        self,
        launch: Launch,
        engine: ScriptedEngine,
        model: Path | None,
        folders: Folders | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(launch, folders, settings)
        self.scripted = engine
        self.model = ModelChoice(model, None, None, "the script's")

    def start_engine(self) -> Any:
        self.scripted.start()
        return self.scripted


class Play:
    """The program under test and what a test looks at."""

    def __init__(self, app: RpchatApp, engine: ScriptedEngine, pilot: Pilot[int]) -> None:
        self.app = app
        self.engine = engine
        self.pilot = pilot

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat

    @property
    def session(self) -> Session:
        assert self.app.desk.session is not None
        return self.app.desk.session

    @property
    def texts(self) -> list[str]:
        """The active path as text."""
        return [message.text for message in self.session.path()]

    def lines(self) -> list[str]:
        """The visible rows of the transcript."""
        transcript = self.chat.transcript
        return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]

    def screen(self) -> str:
        """Everything on the screen, as text."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Wait for it; fails with the screen when it never comes."""
        for _ in range(int(seconds / 0.02)):
            await self.pilot.pause(0.02)
            if condition():
                return
        pytest.fail(f"never came:\n{self.screen()}")

    async def idle(self) -> None:
        """Until no reply is under way."""
        await self.until(lambda: not self.chat.replies.running)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Key by key when it is short; longer texts come as a paste, which is a hundred times as quick."""
        if len(text) > 2 and "\\" not in text:
            self.app.post_message(events.Paste(text))
            await self.pilot.pause()
            return
        await self.pilot.press(*(NAMED.get(character, character) for character in text))

    async def say(self, text: str) -> None:
        """Type a text, send it, and wait for the answer."""
        await self.type(text)
        await self.press("enter")
        await self.idle()


NAMED = {
    " ": "space",
    "\n": "ctrl+j",
    "/": "slash",
    ".": "full_stop",
    "\\": "backslash",
    "?": "question_mark",
}


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders.find(home)


@pytest.fixture
def settled(folders: Folders) -> Settings:
    """Settings of someone who has said who they are."""
    settings = Settings(folders)
    settings.save_persona(Persona("Alex", "A courier."), default=True)
    return settings


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A small card with three greetings."""
    return write_card(tmp_path / "vera.json", "Vera")


def write_card(path: Path, name: str, **fields: Any) -> Path:
    data = {
        "name": name,
        "description": f"{name} keeps a lighthouse.",
        "personality": "",
        "scenario": "",
        "first_mes": '*The lamp turned.* "You found me," she said.',
        "mes_example": "",
        "alternate_greetings": ["The second greeting.", "The third greeting."],
        "creator_notes": "A keeper of lights.",
        "tags": ["sea"],
        "system_prompt": "",
        "post_history_instructions": "",
        "creator": "",
        "character_version": "",
        "extensions": {},
        **fields,
    }
    path.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    return path


@pytest.fixture
def make_card() -> Callable[..., Path]:
    """Writes a card with fields of the test's choice."""
    return write_card


Start = Callable[..., Any]


@pytest.fixture
def play(settled: Settings, card: Path, folders: Folders) -> Start:
    """`async with play(replies...) as p`: the program with a chat open and a model ready."""

    @asynccontextmanager
    async def start(
        *replies: ScriptedReply | str,
        launch: Launch | None = None,
        size: tuple[int, int] = (100, 30),
        model: Path | None = Path("script.gguf"),
        engine: ScriptedEngine | None = None,
        wait: bool = True,
        settings: Settings | None = None,
    ) -> AsyncIterator[Play]:
        engine = engine or ScriptedEngine(replies)
        opening = ScriptedOpening(
            launch or Launch(card=str(card)), engine, model, folders, settings or settled
        )
        app = RpchatApp(lambda: opening)
        async with app.run_test(size=size, notifications=True) as pilot:
            played = Play(app, engine, pilot)
            if wait:
                await played.until(lambda: app.desk.session is not None)
                if model is not None:
                    await played.until(lambda: app.engine_status.state in ("ready", "failed"))
            yield played
            if app.desk.session is not None:
                app.desk.session.close()

    return start

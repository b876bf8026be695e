"""/lora and /memory on the screen: the adapters in force, and where the model lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chat.adapting import change_adapters
from chat.engine.protocol import Adapter
from chat.engine.scripted import ScriptedEngine
from chat.loading import settled_adapters
from chat.settings import Folders, Settings


async def command(p: Any, text: str, expected: str) -> None:
    await p.type(text)
    await p.press("enter")
    await p.until(lambda: expected in p.screen())


async def test_adapters_are_listed_added_scaled_and_removed(play: Any, tmp_path: Path) -> None:
    for name in ("style.gguf", "calm.gguf"):
        (tmp_path / name).touch()
    async with play("She smiled.") as p:
        await command(p, "/lora", "The model has no adapters.")
        await command(p, f"/lora {tmp_path}/style.gguf=0.8", "Adapters: style.gguf=0.8.")
        await command(p, f"/lora --control {tmp_path}/calm.gguf=-1", "calm.gguf=-1 (control vector).")
        assert p.engine.adapters == [
            Adapter(path=str(tmp_path / "style.gguf"), scale=0.8),
            Adapter(path=str(tmp_path / "calm.gguf"), scale=-1.0, kind="control"),
        ]
        await command(p, "/lora remove calm", "Adapters: style.gguf=0.8.")
        await command(p, "/lora style.gguf=0.25", "Adapters: style.gguf=0.25.")
        await command(p, "/lora clear", "The model has no adapters.")
        assert p.engine.adapters == []


async def test_settings_that_cannot_be_read_are_said(play: Any) -> None:
    async with play("She smiled.") as p:
        Folders.find().config.write_text("- a list", encoding="utf-8")
        await command(p, "/lora", "config.yaml")


async def test_memory_is_told_in_a_line(play: Any) -> None:
    async with play("She smiled.") as p:
        await command(p, "/memory", "weights 0.1 GB = 0.1 GB: on the CPU")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(ready=True)


def settings() -> Settings:
    return Settings(Folders.find())


def test_what_is_in_force_is_kept_for_the_model(engine: ScriptedEngine, tmp_path: Path) -> None:
    assert engine.loaded is not None
    model = Path(engine.loaded.path)
    (tmp_path / "style.gguf").touch()
    change_adapters(engine, settings(), f"{tmp_path}/style.gguf=0.8")
    assert settled_adapters(settings(), model) == engine.adapters
    change_adapters(engine, settings(), "clear")
    assert settled_adapters(settings(), model) == []


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("remove nothing", "No adapter is called 'nothing'. Adapters: style.gguf."),
        ("style.gguf=loud", "'loud' is no scale"),
        ("/x/other.gguf", "other.gguf is for another model."),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    engine: ScriptedEngine, tmp_path: Path, argument: str, said: str
) -> None:
    style = [Adapter(path=str(tmp_path / "style.gguf"))]
    engine.adapt(style)
    engine.adapt_error = "other.gguf is for another model."
    assert said in change_adapters(engine, settings(), argument)
    assert engine.adapters == style
    assert change_adapters(None, settings(), argument) == "No model is loaded yet."

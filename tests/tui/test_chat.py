"""A chat on the screen, with its keys: what is drawn, and what is in the store afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events

from chat.engine.scripted import ScriptedReply

GREETING = '*The lamp turned.* "You found me," she said.'


async def test_the_greeting_stands_there_with_its_siblings(play: Any) -> None:
    async with play() as p:
        assert p.lines()[0].split() == ["Vera", "‹", "1/3", "›"]
        assert p.lines()[1] == f"  {GREETING}"
        await p.press("alt+right")
        assert "  The second greeting." in p.lines()
        assert p.lines()[0].endswith("‹ 2/3 ›")
        await p.press("alt+left", "alt+left")
        assert p.texts == [GREETING]
        assert p.engine.requests == []


async def test_sending_and_the_answer(play: Any) -> None:
    async with play('She smiled. "Sit."') as p:
        await p.say("Good evening.")
        assert p.texts == [GREETING, "Good evening.", 'She smiled. "Sit."']
        assert "  Good evening." in p.lines()
        assert '  She smiled. "Sit."' in p.lines()
        assert p.chat.composer.text == ""
        assert p.session.path()[1].name == "Alex"


async def test_a_reply_streams_and_escape_keeps_what_was_written(play: Any) -> None:
    async with play(ScriptedReply("one two three four", hold_after=2)) as p:
        await p.type("Hello")
        await p.press("enter")
        await p.until(lambda: "  one two▌" in p.lines())
        assert "writing" in p.screen()
        await p.press("escape")
        await p.idle()
        assert p.texts[-1] == "one two"
        assert "  — stopped" in p.lines()


async def test_ctrl_c_stops_too_and_only_then_asks_to_leave(play: Any) -> None:
    async with play(ScriptedReply("one two three", hold_after=1)) as p:
        await p.type("Hello")
        await p.press("enter")
        await p.until(lambda: "  one▌" in p.lines())
        await p.press("ctrl+c")
        await p.idle()
        assert p.texts[-1] == "one"
        await p.type("draft")
        await p.press("ctrl+c")
        assert p.chat.composer.text == ""
        assert p.app.is_running
        await p.press("ctrl+c")
        assert "again" in p.screen()
        await p.press("ctrl+c")
        await p.until(lambda: p.app.return_value == 0)


async def test_regenerate_makes_a_sibling_and_swipes_walk(play: Any) -> None:
    async with play("first", "second", "third") as p:
        await p.say("Hi")
        await p.press("ctrl+r")
        await p.idle()
        assert p.texts[-1] == "second"
        assert p.lines()[6].endswith("‹ 2/2 ›")
        await p.press("alt+left")
        assert p.texts[-1] == "first"
        await p.press("alt+right")
        assert p.texts[-1] == "second"
        await p.press("alt+right")  # past the last: a new one
        await p.idle()
        assert p.texts[-1] == "third"
        assert p.lines()[6].endswith("‹ 3/3 ›")


async def test_continue_makes_the_last_reply_longer(play: Any) -> None:
    async with play(ScriptedReply("The sea", finish_reason="length"), " was calm.") as p:
        await p.say("Hi")
        assert any("cut at the length limit" in line for line in p.lines())
        await p.press("ctrl+g")
        await p.idle()
        assert p.texts[-1] == "The sea was calm."
        assert len(p.texts) == 3
        assert not any("cut at" in line for line in p.lines())


async def test_edit_makes_a_sibling_and_gives_the_draft_back(play: Any) -> None:
    async with play("first", "answer to the edit") as p:
        await p.say("Hi")
        await p.type("a draft")
        await p.press("tab", "up")
        assert p.chat.transcript.cursor == 1
        await p.press("e")
        assert p.chat.composer.text == "Hi"
        assert "editing" in p.screen()
        await p.type(" there")
        await p.press("enter")
        await p.idle()
        assert p.texts == [GREETING, "Hi there", "answer to the edit"]
        assert p.chat.composer.text == "a draft"
        assert p.session.position(p.session.path()[1].id) == (2, 2)


async def test_an_edit_can_be_left(play: Any) -> None:
    async with play("first") as p:
        await p.say("Hi")
        await p.type("a draft")
        await p.press("ctrl+t")
        assert p.chat.composer.text == "first"
        await p.press("escape")
        assert p.chat.composer.text == "a draft"
        assert p.texts[-1] == "first"


async def test_editing_a_reply_asks_for_no_other(play: Any) -> None:
    async with play("first") as p:
        await p.say("Hi")
        await p.press("ctrl+t")
        await p.type(" edited")
        await p.press("enter")
        await p.idle()
        assert p.texts[-1] == "first edited"
        assert len(p.engine.requests) == 1


async def test_delete_and_undo(play: Any) -> None:
    async with play("first") as p:
        await p.say("Hi")
        await p.type("/delete")
        await p.press("enter")
        assert p.texts == [GREETING, "Hi"]
        assert "  first" not in p.lines()
        await p.type("/undo")
        await p.press("enter")
        assert p.texts == [GREETING, "Hi", "first"]
        assert "  first" in p.lines()


async def test_alt_keys_act_with_a_draft_in_the_box(play: Any) -> None:
    async with play("first") as p:
        await p.say("Hi")
        await p.type("my draft")
        await p.press("alt+d")
        assert p.texts == [GREETING, "Hi"]
        await p.press("alt+u")
        assert p.texts == [GREETING, "Hi", "first"]
        assert "brings it back" not in p.screen()
        await p.press("alt+y")
        assert p.app.clipboard == "first"
        assert p.chat.composer.text == "my draft"


async def test_a_remark_covers_nothing_and_goes_with_the_chat(play: Any) -> None:
    async with play("first") as p:
        await p.press("alt+right")
        marker = p.lines()[0]
        await p.say("Hi")
        await p.press("alt+d")
        assert "brings it back" in p.screen().split("\n")[-2]
        assert marker in p.screen()
        assert not p.app._notifications
        await p.press("ctrl+n")
        await p.until(lambda: p.app.desk.session is not None and len(p.texts) == 1)
        assert "brings it back" not in p.screen()


async def test_a_long_remark_stands_above_the_box(play: Any) -> None:
    async with play(size=(60, 20)) as p:
        await p.type("/dance")
        await p.press("enter")
        await p.until(lambda: "Begin with //" in p.screen())
        assert "/dance" in p.chat.composer.text


async def test_a_narrow_screen_says_the_name_once(play: Any) -> None:
    async with play(size=(60, 20)) as p:
        assert p.screen().split("\n")[0].split() == ["Vera", "‹", "1/3", "›"]


async def test_the_context_is_counted_whenever_the_chat_changes(play: Any) -> None:
    async with play("one two three", "four") as p:

        def used() -> str:
            return p.screen().rsplit("/4 096", 1)[0].rsplit(" ", 1)[1]

        async def counted() -> int:
            await p.until(lambda: used() not in ("–", ""))
            prompt = p.session.prompt()
            assert prompt.tokens is not None
            assert used() == str(sum(prompt.tokens))
            return sum(prompt.tokens)

        empty = await counted()
        await p.say("Hi " * 40)
        assert p.session.context_used is not None
        assert used() == str(p.session.context_used)
        await p.press("alt+d")
        await counted()
        await p.press("alt+d")
        assert await counted() == empty
        await p.press("alt+u")
        assert await counted() > empty
        await p.press("ctrl+n")
        await p.until(lambda: p.app.desk.session is not None and len(p.texts) == 1)
        assert await counted() == empty


async def test_letters_act_on_the_message_under_the_cursor(play: Any) -> None:
    async with play("first", "second") as p:
        await p.say("Hi")
        await p.press("up")
        assert "READ" in p.screen()
        assert "▌ first" in p.lines()
        await p.press("r")
        await p.idle()
        assert p.texts[-1] == "second"
        await p.press("h")
        assert p.texts[-1] == "first"
        await p.press("l", "home", "right")
        assert p.texts == ["The second greeting."]
        await p.press("left")
        assert p.texts[-1] in ("first", "second")
        await p.press("end", "d")
        assert p.session.position(p.session.path()[-1].id) == (1, 1)  # one of the two siblings is gone
        await p.press("u")
        assert p.session.position(p.session.path()[-1].id)[1] == 2
        await p.press("escape")
        assert "WRITE" in p.screen()


@pytest.mark.parametrize("back", ["escape", "tab", "i"])
async def test_in_and_out_of_reading(play: Any, back: str) -> None:
    async with play() as p:
        await p.press("tab")
        assert p.chat.reading
        await p.press(back)
        assert not p.chat.reading
        await p.type("r")
        assert p.chat.composer.text == "r"


async def test_down_past_the_last_message_leads_back_to_the_box(play: Any) -> None:
    async with play() as p:
        await p.press("up")
        assert p.chat.reading
        await p.press("down")
        assert not p.chat.reading


async def test_up_inside_a_draft_moves_its_cursor_first(play: Any) -> None:
    async with play() as p:
        await p.type("one\ntwo")
        await p.press("up")
        assert not p.chat.reading
        await p.press("up")
        assert p.chat.reading


@pytest.mark.parametrize("key", ["ctrl+j", "alt+enter", "shift+enter"])
async def test_keys_that_begin_a_line(play: Any, key: str) -> None:
    async with play() as p:
        await p.type("one")
        await p.press(key)
        await p.type("two")
        assert p.chat.composer.text == "one\ntwo"
        assert len(p.texts) == 1


async def test_a_backslash_and_enter_begin_a_line(play: Any) -> None:
    async with play() as p:
        await p.type("one\\")
        await p.press("enter")
        await p.type("two")
        assert p.chat.composer.text == "one\ntwo"
        assert len(p.texts) == 1


async def test_a_paste_of_several_lines_never_sends_itself(play: Any) -> None:
    async with play() as p:
        p.app.post_message(events.Paste("one\ntwo\n/quit\n"))
        await p.pilot.pause()
        assert p.chat.composer.text == "one\ntwo\n/quit\n"
        assert len(p.texts) == 1
        assert p.app.is_running


async def test_the_box_grows_but_not_over_the_screen(play: Any) -> None:
    async with play(size=(80, 30)) as p:
        before = p.chat.composer.size.height
        await p.type("a\nb\nc")
        await p.pilot.pause()
        assert p.chat.composer.size.height == before + 2
        await p.type("\n" * 30)
        await p.pilot.pause()
        assert p.chat.composer.outer_size.height <= 12


async def test_words_work_below_a_draft_and_keep_it(play: Any) -> None:
    async with play("first", "second") as p:
        await p.say("Hi")
        await p.type("my draft\n/regen")
        await p.press("enter")
        await p.idle()
        assert p.texts[-1] == "second"
        assert p.chat.composer.text == "my draft"


async def test_a_text_with_a_slash_and_an_unknown_word(play: Any) -> None:
    async with play("ok") as p:
        await p.say("//me waves")
        assert p.texts[1] == "/me waves"
        await p.type("/dance")
        await p.press("enter")
        assert p.chat.composer.text == "/dance"
        assert len(p.texts) == 3
        assert "There is no /dance" in p.screen()


async def test_tab_completes_a_word(play: Any) -> None:
    async with play() as p:
        await p.type("/he")
        await p.press("tab")
        assert p.chat.composer.text == "/help"


async def test_an_empty_message_is_not_sent(play: Any) -> None:
    async with play() as p:
        await p.type("   ")
        await p.press("enter")
        assert len(p.texts) == 1
        assert p.engine.requests == []
        assert "nothing to send" in p.screen()


async def test_a_text_sent_during_a_reply_stays_in_the_box(play: Any) -> None:
    async with play(ScriptedReply("one two", hold_after=1)) as p:
        await p.type("Hi")
        await p.press("enter")
        await p.until(lambda: "  one▌" in p.lines())
        await p.type("more")
        await p.press("enter")
        assert p.chat.composer.text == "more"
        p.engine.go.set()
        await p.idle()
        assert p.texts[1:] == ["Hi", "one two"]


async def test_regenerate_during_a_reply_stops_it_first(play: Any) -> None:
    async with play(ScriptedReply("one two", hold_after=1), "anew") as p:
        await p.type("Hi")
        await p.press("enter")
        await p.until(lambda: "  one▌" in p.lines())
        await p.press("ctrl+r")
        await p.until(lambda: p.texts[-1] == "anew")
        assert p.session.position(p.session.path()[-1].id) == (2, 2)


async def test_the_status_line_tells_what_the_turn_cost(play: Any) -> None:
    async with play("one two three", "four five six", size=(140, 30)) as p:
        await p.say("Hi")
        await p.say("Again")
        last = p.session.last
        assert last is not None
        assert f"read {last.evaluated_tokens} new, {last.reused_tokens} reused" in p.screen()
        assert f"{p.session.context_used}/4 096" in p.screen()
        assert "script · CPU · " in p.screen()


async def test_impersonation_lands_in_the_box(play: Any) -> None:
    async with play("I bow.") as p:
        await p.type("/impersonate")
        await p.press("enter")
        await p.idle()
        assert p.chat.composer.text == "I bow."
        assert len(p.texts) == 1


async def test_the_marker_can_be_clicked(play: Any) -> None:
    async with play() as p:
        row = p.lines()[0]
        await p.pilot.click("#transcript", offset=(row.index("›"), 0))
        await p.pilot.pause()
        assert p.texts == ["The second greeting."]
        assert not p.chat.reading

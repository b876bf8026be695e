"""Thinking folded, the user's own sentences marked, settings changed, on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chat.engine.scripted import ScriptedEngine, ScriptedReply
from chat.launch import Launch
from chat.tui.blocks import Block, PaintedBlock
from chat.tui.heights import Heights
from chat.tui.selecting import selected_text
from chat.tui.thoughts import Thought

THOUGHT = "<think>\nA stranger. I should be kind.\n</think>\n\n"


def styled(play: Any, words: str) -> Any:
    """The style of the words on the screen."""
    transcript = play.chat.transcript
    for y in range(transcript.size.height):
        for segment in transcript.render_line(y):
            if words in segment.text:
                return segment.style
    raise AssertionError(f"{words!r} is not on the screen:\n{play.screen()}")


async def test_thinking_is_one_line_and_t_opens_it(play: Any) -> None:
    async with play(THOUGHT + "She smiled.") as p:
        await p.say("Hello")
        lines = p.lines()
        line = next(line for line in lines if "thought" in line)
        assert line.startswith("  ▸ thought for 0.")
        assert line.endswith("tokens")
        assert lines[lines.index(line) + 1] == "  She smiled."
        assert "A stranger" not in p.screen()
        await p.press("tab", "t")
        opened = p.lines()
        at = next(n for n, text in enumerate(opened) if "▾ thought" in text)
        assert opened[at + 1] == "▌   A stranger. I should be kind."
        assert opened[at + 2] == "▌ She smiled."
        await p.press("t")
        assert "A stranger" not in p.screen()
        await p.press("up", "t")
        assert "no thought" in p.screen()


async def test_a_click_opens_it_too(play: Any) -> None:
    async with play(THOUGHT + "She smiled.") as p:
        await p.say("Hello")
        row = next(n for n, text in enumerate(p.lines()) if "▸ thought" in text)
        await p.pilot.click("#transcript", offset=(4, row))
        assert "A stranger" in p.screen()


async def test_thinking_while_it_comes(play: Any) -> None:
    async with play(ScriptedReply("<think>one two three</think> She smiled.", hold_after=2)) as p:
        await p.type("Hello")
        await p.press("enter")
        await p.until(lambda: "  ▸ thinking …" in p.lines())
        assert "two" not in p.screen()
        p.engine.go.set()
        await p.idle()
        assert p.texts[-1] == "She smiled."
        assert p.session.path()[-1].thinking == "one two three"


async def test_text_that_turns_out_to_be_thinking(play: Any) -> None:
    async with play(ScriptedReply("I should greet. </think> She smiled.", hold_after=5)) as p:
        await p.type("Hello")
        await p.press("enter")
        await p.until(lambda: any("She" in line for line in p.lines()))
        assert "greet" not in p.screen()
        p.engine.go.set()
        await p.idle()
        assert "  She smiled." in p.lines()
        assert "▸ thought" in p.screen()


async def test_what_the_persona_does_is_marked_not_deleted(play: Any) -> None:
    async with play("She smiles. Alex nods slowly. She waits.") as p:
        await p.say("Hello")
        assert p.texts[-1] == "She smiles. Alex nods slowly. She waits."
        assert styled(p, "Alex nods slowly.").underline
        assert not styled(p, "She smiles.").underline
        await p.say("/set speaking_for_user=off")
        assert not styled(p, "Alex nods slowly.").underline


async def test_a_reply_that_ended_before_the_user(play: Any) -> None:
    async with play("She smiles. Alex nods. She waits.") as p:
        await p.say("/set speaking_for_user=stop")
        await p.say("Hello")
        assert p.texts[-1] == "She smiles."
        assert "ended where you would have spoken" in p.screen()


async def test_settings_of_a_chat(play: Any) -> None:
    async with play("x") as p:
        await p.say("/set reply_length=short temperature=0.9")
        assert p.session.options["reply_length"] == "short"
        assert p.session.sampling.temperature == 0.9
        stored = p.session.store.open_chat(p.session.chat.id).chat
        assert stored.options["reply_length"] == "short"
        assert stored.sampling["temperature"] == 0.9
        await p.say("/set")
        assert "reply_length=short" in p.screen()
        await p.say("/set reply_lenght=long")
        assert "reply_length" in p.screen()
        await p.say("/set nothing")
        assert "NAME=VALUE" in p.screen()
        await p.say("/set banned_strings=shivers down banned_strings=barely above temperature=0.8")
        assert p.session.sampling.banned_strings == ("shivers down", "barely above")
        assert p.session.sampling.temperature == 0.8
        await p.say("/set top_k=40 samplers=min_p,temperature")
        assert "top_k=40 has no effect: samplers leaves top_k out" in p.screen()
        assert p.session.options["reply_length"] == "short"


async def test_a_quiet_remark_on_repetition(play: Any) -> None:
    same = "The rain drummed softly on the old tin roof of the shed by the sea."
    async with play(same, same) as p:
        await p.say("Hello")
        await p.say("And?")
        await p.until(lambda: "dry_multiplier" in p.screen())


def test_rows_add_up_and_a_selection_leaves_the_thought_out() -> None:
    thought = Thought("one two three four five six", opened=True)
    block = Block("1", "char", "Vera", "alpha beta gamma", "length", thought=thought)
    painted = PaintedBlock.__new__(PaintedBlock)
    for opened in (True, False):
        thought.opened = opened
        width = 16
        painted.__init__(block, width, {}, None, at_cursor=False)  # type: ignore[misc,arg-type]
        assert painted.height == block.height(13)
        rows = [painted.text_row(y) for y in range(painted.height)]
        assert [row for row in rows if row is not None] == painted.rows
        heights = Heights([block])
        heights.change_width(width)
        first = rows.index(painted.rows[0])

        class Drag:
            def __init__(self, start: int, end: int) -> None:
                self.start, self.end = Spot(2, start), Spot(99, end)

        class Spot:
            def __init__(self, x: int, y: int) -> None:
                self.transpose = (y, x)

        assert selected_text([block], heights, Drag(first, first)) == "alpha beta"  # type: ignore[arg-type]
        assert selected_text([block], heights, Drag(0, 99)) == "Vera\nalpha beta gamma"  # type: ignore[arg-type]


@pytest.mark.parametrize("knows", [True, False])
async def test_a_format_that_does_not_fit_the_model_is_told(play: Any, card: Path, knows: bool) -> None:
    engine = ScriptedEngine()
    engine.knows_markers = knows
    launch = Launch(card=str(card), format="chatml")
    async with play(launch=launch, engine=engine, size=(140, 30)) as p:
        if knows:
            await p.until(lambda: any(spans[-1].text == "<|im_end|>" for spans in engine.counted))
            await p.pilot.pause(0.1)
            assert "may be wrong" not in p.screen()
        else:
            await p.until(lambda: "format chatml may be wrong for this model" in p.screen())
            assert "try another format" in p.screen()


async def test_the_authors_note_and_how_replies_begin(play: Any) -> None:
    async with play(" she said.", " she went on.") as p:
        await p.say("/note")
        assert "There is no author's note" in p.screen()
        await p.say("/note --depth 1 --role user Keep [it] short, {{user}}.")
        assert "1 message from the end as user" in p.screen()
        await p.say('/prefill "Well,"')
        await p.say("Hello")
        assert p.texts[-1] == '"Well," she said.'
        prompt = p.session.prompt_for(p.session.path()[:-1], "reply").text
        assert prompt.index("Keep [it] short, Alex.") < prompt.index("Alex: Hello")
        assert prompt.endswith(': "Well,"')
        stored = p.session.store.open_chat(p.session.chat.id).chat.options
        assert (stored["note_depth"], stored["note_role"]) == ("1", "user")
        assert stored["prefill"] == '"Well,"'
        await p.say("/note --depth deep")
        assert "a whole number from 0 to 9999" in p.screen()
        await p.say("/note --wide 3")
        assert "/note --depth 4" in p.screen()
        await p.say("/note clear")
        await p.say("/prefill clear")
        assert p.session.options["note"] == ""
        assert "prefill" not in p.session.options
        assert "Keep [it] short" not in p.session.prompt().text

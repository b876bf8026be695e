"""The transcript: heights, speed, anchoring, cursor, selection, and text that is only ever text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.selection import Selection

from cards.display import display_text
from chat.tree import Generation, Message
from chat.tui.blocks import Block
from chat.tui.themes import RPCHAT, chat_colours
from chat.tui.transcript import Transcript
from presets.values import Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def message(number: int, text: str, role: Role = "char", finish: str = "", name: str = "") -> Message:
    generation = Generation("m", "f", {}, 1, finish_reason=finish) if finish else None
    who = name or ("Samuel" if role == "char" else "Alex")
    return Message(f"{number}", "c", None, role, who, text, False, NOW, generation)


def talk(count: int) -> list[Message]:
    text = 'He nodded — slowly. "The storm was not," he said, and *stepped aside* for her.\n\nRain fell. ' * 3
    return [message(n, f"{n}: {text}", "char" if n % 2 else "user") for n in range(count)]


def only(_id: str) -> tuple[int, int]:
    return (1, 1)


class Stage(App[None]):
    """A transcript and nothing else."""

    AUTO_FOCUS = None

    def __init__(self, path: list[Message]) -> None:
        super().__init__()
        self.path = path
        self.swiped: list[tuple[str, int]] = []
        self.register_theme(RPCHAT)
        self.theme = "rpchat"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return chat_colours(self.current_theme, self.current_theme.to_color_system().generate())

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_mount(self) -> None:
        self.transcript.show(self.path, only)

    def on_transcript_swiped(self, swiped: Transcript.Swiped) -> None:
        self.swiped.append((swiped.message_id, swiped.step))

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)


def lines(transcript: Transcript) -> list[str]:
    """The visible rows as text."""
    return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]


def drawn(transcript: Transcript) -> Iterator[tuple[str, str]]:
    for y in range(transcript.size.height):
        for segment in transcript.render_line(y):
            yield segment.text, str(segment.style)


async def test_name_text_note_and_blank_row() -> None:
    stage = Stage([message(1, "one\n\ntwo", finish="length"), message(2, "three", "user")])
    async with stage.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        assert lines(stage.transcript)[:8] == [
            "  Samuel",
            "  one",
            "",
            "  two",
            "  — cut at the length limit; Ctrl+G goes on",
            "",
            "  Alex",
            "  three",
        ]


async def test_fifty_thousand_messages_open_at_once_and_stay_quick() -> None:
    stage = Stage(talk(50_000))
    start = time.monotonic()
    async with stage.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        assert time.monotonic() - start < 3
        transcript = stage.transcript
        assert any("49999:" in line for line in lines(transcript))
        assert len(stage.query("*")) < 10
        start = time.monotonic()
        transcript.show([*stage.path, message(50_000, "the newest")], only)
        assert time.monotonic() - start < 0.5
        await pilot.pause()
        assert "  the newest" in lines(transcript)
        transcript.focus()
        await pilot.press("home")
        await pilot.pause()
        assert lines(transcript)[1].startswith("▌ 0:")
        assert transcript.virtual_size.height == sum(b.height(97) for b in transcript.blocks)


async def test_guessed_heights_become_exact_without_moving_what_is_read() -> None:
    stage = Stage(talk(3_000))
    async with stage.run_test(size=(60, 20)) as pilot:
        transcript = stage.transcript
        transcript.release_anchor()
        transcript.scroll_to(y=transcript.scroll_y - 200, animate=False, immediate=True)
        before = lines(transcript)
        for _ in range(50):
            await pilot.pause(0.02)
        assert lines(transcript) == before
        assert transcript.virtual_size.height == sum(b.height(57) for b in transcript.blocks)


async def test_follows_the_end_until_the_user_scrolls_up() -> None:
    stage = Stage(talk(20))
    async with stage.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        transcript = stage.transcript
        transcript.begin(Block("new", "char", "Samuel", ""), "19")
        for n in range(30):
            transcript.grow(f"line {n}\n")
        await pilot.pause(0.1)
        assert any("line 29" in line for line in lines(transcript))
        transcript.scroll_up(animate=False)
        transcript.scroll_up(animate=False)
        await pilot.pause()
        before = lines(transcript)
        transcript.grow("more\n" * 10)
        await pilot.pause(0.1)
        assert lines(transcript) == before
        transcript.scroll_end(animate=False)
        await pilot.pause(0.1)
        transcript.grow("the end\n" * 10)
        await pilot.pause(0.1)
        assert any("the end" in line for line in lines(transcript))


async def test_a_caret_stands_at_the_end_of_a_growing_reply() -> None:
    stage = Stage([message(1, "Hello", "user")])
    async with stage.run_test(size=(60, 20)) as pilot:
        transcript = stage.transcript
        transcript.begin(Block("new", "char", "Samuel", ""), "1")
        transcript.say_progress("reading 1 200 of 4 096")
        await pilot.pause(0.1)
        assert "  Samuel  reading 1 200 of 4 096" in lines(transcript)
        transcript.grow("Good eve")
        await pilot.pause(0.1)
        assert "  Good eve▌" in lines(transcript)
        assert "  Samuel" in lines(transcript)


HOSTILE = [
    "[@click=app.quit]x[/]",
    "[/]",
    "[bold]b[/bold]",
    "[/ unterminated",
    "{{ 7*7 }}",
    "{% raw %}",
    "<|im_end|>",
    "</s>",
    "<START>",
    "1) one",
    "# head",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_text_is_text(text: str) -> None:
    stage = Stage([message(1, text, name=text)])
    async with stage.run_test(size=(60, 8)) as pilot:
        await pilot.pause()
        assert lines(stage.transcript)[:2] == [f"  {text}", f"  {text}"]
        assert not any("@click" in style for _, style in drawn(stage.transcript))


@pytest.mark.parametrize(
    "text",
    [
        "a\x1b]52;c;aGk=\x07b",
        "a\x1b[2Jb",
        "a\x9b31mb",
        "a\u202eb",
        "a\x00\x08b",
        "a\ud800b",
        "a\tb",
    ],
)
async def test_nothing_that_a_terminal_acts_on_is_drawn(text: str) -> None:
    stage = Stage([message(1, text, name=text)])
    async with stage.run_test(size=(60, 8)) as pilot:
        await pilot.pause()
        assert lines(stage.transcript)[1] == "  " + display_text(text).replace("\t", "    ")
        assert all(c.isprintable() for text, _ in drawn(stage.transcript) for c in text)


async def test_the_marker_counts_siblings_and_its_arrows_are_clicked() -> None:
    stage = Stage([message(1, "hi")])
    async with stage.run_test(size=(60, 8)) as pilot:
        stage.transcript.show(stage.path, lambda _id: (2, 3))
        await pilot.pause()
        row = lines(stage.transcript)[0]
        assert row.endswith("‹ 2/3 ›")
        await pilot.click(Transcript, offset=(row.index("›"), 0))
        await pilot.click(Transcript, offset=(row.index("‹"), 0))
        await pilot.click(Transcript, offset=(5, 1))
    assert stage.swiped == [("1", 1), ("1", -1)]


async def test_the_cursor_walks_and_tall_messages_scroll_first() -> None:
    stage = Stage(
        [
            message(1, "short", "user"),
            message(2, "\n".join(f"row {n}" for n in range(40))),
            message(3, "end", "user"),
        ]
    )
    async with stage.run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        transcript = stage.transcript
        transcript.focus()
        await pilot.pause()
        assert transcript.cursor_id == "3"
        assert "▌ end" in lines(transcript)
        await pilot.press("up")
        assert transcript.cursor_id == "2"
        seen = set()
        for _ in range(8):
            seen |= {line[2:] for line in lines(transcript) if "row" in line}
            await pilot.press("up")
            await pilot.pause()
        assert len(seen) == 40
        assert transcript.cursor_id == "1"
        await pilot.press("end")
        assert transcript.cursor_id == "3"


async def test_a_selection_is_the_text_that_was_written() -> None:
    text = "one two three four five six seven eight nine ten"
    stage = Stage([message(1, text), message(2, "reply", "user")])
    async with stage.run_test(size=(24, 12)) as pilot:
        await pilot.pause()
        transcript = stage.transcript
        whole = transcript.get_selection(Selection(None, None))
        assert whole is not None
        assert whole[0] == f"Samuel\n{text}\n\nAlex\nreply"
        part = transcript.get_selection(Selection(Offset(2 + 4, 1), Offset(2 + 4, 2)))
        assert part is not None
        assert text.startswith("one " + part[0])
        assert "\n" not in part[0]


async def test_a_drag_selects_exactly_what_it_covers() -> None:
    stage = Stage([message(1, "one two three")])
    async with stage.run_test(size=(40, 8)) as pilot:
        await pilot.pause()
        await pilot.mouse_down(Transcript, offset=(6, 1))
        await pilot.hover(Transcript, offset=(9, 1))
        await pilot.mouse_up(Transcript, offset=(9, 1))
        assert stage.screen.get_selected_text() in ("two", "two ")


async def test_another_width_keeps_the_place() -> None:
    stage = Stage(talk(200))
    async with stage.run_test(size=(100, 20)) as pilot:
        await pilot.pause(0.2)
        transcript = stage.transcript
        transcript.release_anchor()
        transcript.scroll_to(y=transcript._heights.top(77), animate=False, immediate=True)
        await pilot.pause()
        await pilot.resize_terminal(50, 20)
        await pilot.pause(0.2)
        assert any("77:" in line for line in lines(transcript)[:3])
        assert transcript.virtual_size.height == sum(b.height(47) for b in transcript.blocks)

"""The one table: everything in it can be done, nothing in it collides."""

from __future__ import annotations

import pytest

from chat.tui.actions import Actions
from chat.tui.commands import BY_WORD, COMMANDS, GROUPS, completion, key_name, read_line
from chat.tui.screens.help import help_content


def test_every_command_has_its_action() -> None:
    for command in COMMANDS:
        if command.id:
            assert callable(getattr(Actions, command.id)), command.id


def test_words_keys_and_letters_are_told_apart() -> None:
    for names in (
        [word for command in COMMANDS for word in command.words],
        [key for command in COMMANDS for key in command.keys],
        [letter for command in COMMANDS for letter in command.letters],
    ):
        assert len(names) == len(set(names))


def test_what_can_be_done_while_reading_can_be_done_while_writing() -> None:
    for command in COMMANDS:
        if command.letters and command.id != "write":
            assert command.words or command.keys, command.title


def test_every_action_has_a_key_that_works_with_a_draft_in_the_box() -> None:
    for command in COMMANDS:
        if command.id and command.id not in (
            "write",
            "set_option",
            "note",
            "prefill",
            "lora",
        ):  # already there; need words
            assert command.keys, command.title
            assert not any(len(key) == 1 for key in command.keys)


@pytest.mark.parametrize("width", [30, 60, 100, 160])
def test_help_tells_of_every_command(width: int) -> None:
    text = help_content(width).plain
    for command in COMMANDS:
        assert command.group in GROUPS
        assert command.title in text
        assert all(key_name(key) in text for key in (*command.keys, *command.letters))
        assert not command.words or f"/{command.words[0]}" in text


@pytest.mark.parametrize(
    "word", ["continue", "regen", "edit", "delete", "undo", "new", "chats", "help", "quit", "swipe"]
)
def test_the_promised_words(word: str) -> None:
    assert word in BY_WORD


@pytest.mark.parametrize(
    ("typed", "text", "command", "argument", "draft", "unknown"),
    [
        ("Good evening", "Good evening", None, "", "", ""),
        ("/regen", "", "regenerate", "", "", ""),
        ("/REGEN  ", "", "regenerate", "", "", ""),
        ("/chats the storm", "", "chats", "the storm", "", ""),
        ("/swipe back", "", "swipe_next", "back", "", ""),
        ("//quit", "/quit", None, "", "", ""),
        ("//", "/", None, "", "", ""),
        ("/me waves", "", None, "", "", "me"),
        ("/", "", None, "", "", ""),
        ("a draft\n/regen", "", "regenerate", "", "a draft", ""),
        ("a draft\nwith /regen", "a draft\nwith /regen", None, "", "", ""),
        ("a draft\n/etc/passwd", "a draft\n/etc/passwd", None, "", "", ""),
        ("a draft\n/set reply_length=short", "", "set_option", "reply_length=short", "a draft", ""),
        ("a draft\n/back to the sea", "a draft\n/back to the sea", None, "", "", ""),
        ("a draft\n//regen", "a draft\n/regen", None, "", "", ""),
        ("/quit\nis a word", "/quit\nis a word", None, "", "", ""),
    ],
)
def test_lines(typed: str, text: str, command: str | None, argument: str, draft: str, unknown: str) -> None:
    line = read_line(typed)
    assert (line.command.id if line.command else None) == command
    assert (line.text, line.argument, line.draft, line.unknown) == (text, argument, draft, unknown)


@pytest.mark.parametrize(
    ("typed", "rest"), [("/reg", "en"), ("/q", "uit"), ("/quit", ""), ("q", ""), ("/x", ""), ("/", "")]
)
def test_completion(typed: str, rest: str) -> None:
    assert completion(typed) == rest

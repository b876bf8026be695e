"""Everything that can be done on the chat screen, once: slash words, keys, letters, palette and help come
from here.

An id names a method of `chat.tui.actions.Actions`; an entry without one only explains keys that a widget
handles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

GROUPS = ("Writing", "Replies", "Messages", "Chats", "Program")


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can do."""

    id: str
    """Method of Actions; empty: explained here, done by a widget."""
    group: str
    title: str
    help: str
    words: tuple[str, ...] = ()
    """Slash words, without the slash; the first is the one that is shown."""
    argument: str = ""
    """What may follow the slash word, for the help."""
    keys: tuple[str, ...] = ()
    """Keys that work in both modes, also with a draft in the box; Textual's names."""
    letters: tuple[str, ...] = ()
    """Keys of reading mode."""
    hint: str = ""
    """A word for the hint line; empty: not hinted."""
    bound: bool = True
    """The screen binds `keys`; False: a widget or Textual does."""
    needs_model: bool = False
    """Of no use in a chat that can only be read."""


COMMANDS: tuple[Command, ...] = (
    Command("", "Writing", "Send", "Send what is in the box", keys=("enter",), bound=False),
    Command(
        "",
        "Writing",
        "New line",
        "Begin a new line; so do a final backslash and Enter, and Shift+Enter where it arrives",
        keys=("ctrl+j", "alt+enter"),
        bound=False,
    ),
    Command(
        "read",
        "Writing",
        "Read",
        "Reading mode: letters act on the message under a cursor; Up in the first line, too",
        keys=("tab",),
        hint="read",
        bound=False,
    ),
    Command(
        "write",
        "Writing",
        "Write",
        "Back to the box",
        letters=("escape", "tab", "i", "enter"),
        hint="write",
        bound=False,
        needs_model=True,
    ),
    Command(
        "impersonate",
        "Writing",
        "Impersonate",
        "Let the model write your next turn into the box",
        ("impersonate",),
        keys=("alt+i",),
        needs_model=True,
    ),
    Command(
        "stop",
        "Replies",
        "Stop",
        "Stop the reply, keep what was written; else Ctrl+C copies, clears the box, or leaves",
        ("stop",),
        keys=("escape", "ctrl+c"),
        bound=False,
    ),
    Command(
        "regenerate",
        "Replies",
        "Regenerate",
        "Another reply in place of the last one, which is kept beside it; after a failure: try again",
        ("regen", "regenerate", "retry"),
        keys=("ctrl+r",),
        letters=("r",),
        hint="regenerate",
        needs_model=True,
    ),
    Command(
        "swipes",
        "Replies",
        "Swipes",
        "Several replies at once, side by side; take one with Enter, or Escape keeps them all",
        ("swipes",),
        "[how many]",
        keys=("alt+r",),
        letters=("w",),
        needs_model=True,
    ),
    Command(
        "continue_reply",
        "Replies",
        "Continue",
        "Let the last reply go on",
        ("continue",),
        keys=("ctrl+g",),
        letters=("c",),
        hint="continue",
        needs_model=True,
    ),
    Command(
        "set_option",
        "Replies",
        "Set",
        "Change a setting of this chat: reply_length=short, temperature=0.9; alone it lists what is set",
        ("set",),
        "[NAME=VALUE ...]",
    ),
    Command(
        "note",
        "Replies",
        "Author's note",
        "What the model is to keep in mind, between the messages; alone it shows the note",
        ("note",),
        "[--depth N] [--role R] [--every N] [TEXT | clear]",
    ),
    Command(
        "prefill",
        "Replies",
        "Prefill",
        "How every reply is to begin; alone it shows it",
        ("prefill",),
        "[TEXT | clear]",
    ),
    Command(
        "lora",
        "Replies",
        "Adapters",
        "LoRA adapters and control vectors of the model: add, scale, remove; alone it lists them",
        ("lora",),
        "[FILE[=SCALE] | --control FILE | remove FILE | clear]",
    ),
    Command(
        "memory",
        "Program",
        "Memory",
        "Where the model lies in memory, and what takes how much",
        ("memory",),
        keys=("alt+m",),
    ),
    Command(
        "swipe_next",
        "Replies",
        "Next swipe",
        "The next reply beside this one; past the last of the newest message: a new one",
        ("swipe", "next"),
        keys=("alt+right",),
        letters=("right", "l"),
        hint="swipe",
    ),
    Command(
        "swipe_back",
        "Replies",
        "Swipe back",
        "The reply before this one; on the first message the greetings",
        ("back",),
        keys=("alt+left",),
        letters=("left", "h"),
    ),
    Command(
        "edit",
        "Messages",
        "Edit",
        "Change a message in the box; Enter keeps both, Escape leaves it",
        ("edit",),
        keys=("ctrl+t",),
        letters=("e",),
        hint="edit",
        needs_model=True,
    ),
    Command(
        "delete",
        "Messages",
        "Delete",
        "Take a message and what follows it away",
        ("delete",),
        keys=("alt+d",),
        letters=("d",),
        hint="delete",
    ),
    Command(
        "undo",
        "Messages",
        "Undo",
        "Bring back what was deleted last",
        ("undo",),
        keys=("alt+u",),
        letters=("u",),
        hint="undo",
    ),
    Command(
        "thought",
        "Messages",
        "Thought",
        "Open or fold what the model thought before a message",
        ("thought",),
        keys=("alt+t",),
        letters=("t",),
    ),
    Command(
        "inspect",
        "Messages",
        "Inspect",
        "How each token of a reply was chosen: the best candidates before and after each sampler",
        ("inspect",),
        "[on|off]",
        keys=("alt+s",),
        letters=("s",),
    ),
    Command(
        "copy",
        "Messages",
        "Copy",
        "Copy a message to the clipboard",
        ("copy",),
        keys=("alt+y",),
        letters=("y",),
        hint="copy",
    ),
    Command(
        "new",
        "Chats",
        "New chat",
        "Begin a new chat with this character",
        ("new",),
        keys=("ctrl+n",),
        letters=("n",),
        hint="new",
    ),
    Command(
        "chats",
        "Chats",
        "Chats",
        "All chats, to open, search or delete",
        ("chats",),
        "[words to look for]",
        keys=("ctrl+l",),
        letters=("o",),
    ),
    Command(
        "cards",
        "Chats",
        "Cards",
        "The characters, found by name or tag: the last chat with one, or a new one",
        ("cards",),
        keys=("ctrl+o",),
    ),
    Command(
        "help",
        "Program",
        "Help",
        "This page",
        ("help",),
        keys=("f1",),
        letters=("question_mark",),
        hint="help",
    ),
    Command(
        "",
        "Program",
        "Palette",
        "Find any of these by name, and the themes",
        keys=("ctrl+p",),
        bound=False,
    ),
    Command("quit", "Program", "Leave", "Leave; everything is saved", ("quit", "exit"), keys=("ctrl+q",)),
)

BY_WORD = {word: command for command in COMMANDS for word in command.words}


@dataclass(frozen=True, slots=True)
class Line:
    """What a submitted text means."""

    text: str = ""
    """To be said, when there is no command."""
    command: Command | None = None
    argument: str = ""
    draft: str = ""
    """What stays in the box after a command."""
    unknown: str = ""
    """A slash word that nobody knows; nothing is sent."""


def read_line(text: str) -> Line:
    """A slash word alone, or as the last line below a draft, is a command; `//` begins a text with a
    slash."""
    body, _, last = text.rstrip().rpartition("\n")
    word, _, argument = last[1:].partition(" ")
    command = BY_WORD.get(word.lower())
    if not body:
        if not last.startswith("/"):
            return Line(text=text)
        if last.startswith("//"):
            return Line(text=last[1:])
        if command is None:
            return Line(unknown=word)
        return Line(command=command, argument=argument.strip())
    if last[:1] == "/" and command is not None and (command.argument or not argument):
        return Line(command=command, argument=argument.strip(), draft=body)
    if last[:2] == "//" and last[2:].lower() in BY_WORD:
        return Line(text=f"{body}\n{last[1:]}")
    return Line(text=text[1:] if text.startswith("//") else text)


def completion(text: str) -> str:
    """The rest of the slash word that the text's last line begins; empty when there is none."""
    last = text.rpartition("\n")[2]
    if len(last) < 2 or last[0] != "/" or not last[1:].isalpha():
        return ""
    return next(
        (word[len(last) - 1 :] for word in BY_WORD if word.startswith(last[1:]) and word != last[1:]), ""
    )


_KEY_NAMES = {
    "question_mark": "?",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
}


def key_name(key: str) -> str:
    """A key as people write it: `Ctrl+R`, `Alt+→`, `r`."""
    parts = key.split("+")
    named = [
        _KEY_NAMES.get(part, part if len(part) == 1 and len(parts) == 1 else part.title()) for part in parts
    ]
    return "+".join(named)


def in_group(group: str) -> Iterator[Command]:
    """The commands of one part of the help."""
    return (command for command in COMMANDS if command.group == group)

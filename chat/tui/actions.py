"""What the commands of the table do: each method is named by a command's id and runs on the screen's thread.

An action that changes the path while a reply is being written stops the reply first and keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cards.display import display_text
from chat.events import SessionEvent
from chat.inspector import BEST
from chat.store import StoreError
from chat.tree import Message

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tui.screens.chat import ChatScreen


AT_ONCE = 4
"""Replies at once, when nobody says how many."""


class Actions:
    """The commands, for the chat screen they act on."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self.editing: Message | None = None
        """The message that the box holds for a change."""
        self._draft = ""
        """What was in the box before the edit."""

    def run(self, command_id: str, argument: str = "") -> None:
        """Do what a command says; a store that cannot do it is told in the banner."""
        action: Callable[..., None] = getattr(self, command_id)
        try:
            action(argument) if argument else action()
        except StoreError as error:
            self._screen.banner.say(str(error))

    # Writing ------------------------------------------------------------------------------------------------

    def send(self, text: str) -> bool:
        """Say it, or keep an edit; False leaves the text in the box."""
        session = self._screen.session
        if session is None:
            self._screen.tell("The chat is still being opened.")
            return False
        if self._screen.replies.running:
            self._screen.tell(f"{self._name(session)} is still writing; Esc stops the reply.")
            return False
        if not text.strip():
            return self._nothing_to_say(session)
        if self.editing is not None:
            self._finish_edit(session, self.editing, text)
            return True
        session.say(text)
        self._screen.show_path(follow=True)
        self.answer(session)
        return True

    def _nothing_to_say(self, session: Session) -> bool:
        """Enter in an empty box asks for the reply that is due, and does nothing else."""
        if self.editing is None and session.wants_reply():
            self.answer(session)
        else:
            self._screen.tell("There is nothing to send yet.")
        return False

    def answer(self, session: Session) -> None:
        """The character's turn; a session waits by itself for a model that is still being loaded."""
        if self._screen.engine.state == "failed":
            self._screen.load_again()
        self._screen.replies.start(session, session.reply)

    def begin_chat(self) -> None:
        """Some formats have no greeting: the character speaks first, as soon as it can."""
        session = self._screen.session
        if session is not None and not session.path() and session.wants_reply() and self._screen.has_model:
            self.answer(session)

    def impersonate(self) -> None:
        """The model writes the user's next turn into the box."""
        self._make(lambda session: session.impersonate)

    def read(self) -> None:
        """To reading mode."""
        self._screen.transcript.focus()

    def write(self) -> None:
        """To the box."""
        self._screen.focus_composer()

    # Replies ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop the reply."""
        self._screen.replies.stop()

    def regenerate(self) -> None:
        """Another reply; what failed, again."""
        failed = self._screen.replies.failed
        if self._screen.engine.state == "failed":
            self._screen.load_again()
            if not failed:
                return
        if failed:
            self._make(lambda session: session.retry)
            return
        target = self._target()
        if target is None or (target.parent_id is None and target.generation is None):
            self._screen.tell("There is no reply to make anew: the greetings are the card's own.")
            return
        self._make(lambda session: lambda: session.regenerate(target.id))

    def swipes(self, count: str = "") -> None:
        """Several replies at once."""
        from chat.swiping import MOST
        from chat.tui.several import Several

        wanted = int(count) if count.isdecimal() and len(count) < 3 else 0 if count else AT_ONCE
        target, session = self._target(), self._screen.session
        if not 1 <= wanted <= MOST:
            self._screen.tell(f"How many replies at once? /swipes {AT_ONCE}; {MOST} at most.")
        elif session is None or target is None or (target.parent_id is None and target.role == "char"):
            self._screen.tell("There is no turn to answer: the greetings are the card's own.")
        elif not self._screen.has_model:
            self._screen.tell("There is no model to answer.")
        else:
            replies, id_ = self._screen.replies, target.id
            several = Several(self._screen, session)
            replies.when_idle(lambda: replies.start(session, lambda: session.swipes(wanted, id_), several))

    def continue_reply(self) -> None:
        """The last reply goes on."""
        path = self._path()
        if not path or path[-1].role != "char":
            self._screen.tell("There is no reply that could go on.")
            return
        self._make(lambda session: session.continue_reply)

    def _make(self, events: Callable[[Session], Callable[[], Iterator[SessionEvent]]]) -> None:
        session = self._screen.session
        if session is None:
            return
        if not self._screen.has_model:
            self._screen.tell("There is no model to answer.")
            return
        self._screen.replies.when_idle(lambda: self._screen.replies.start(session, events(session)))

    def swipe_next(self, word: str = "") -> None:
        """The next sibling; past the last of the newest reply, a new one."""
        if word in ("back", "left", "-"):
            self.swipe_back()
            return
        self._screen.replies.when_idle(lambda: self._swipe(1))

    def swipe_back(self) -> None:
        """The sibling before."""
        self._screen.replies.when_idle(lambda: self._swipe(-1))

    def _swipe(self, step: int) -> None:
        target = self._target()
        if target is not None:
            self.swipe_message(target.id, step)

    def swipe_message(self, message_id: str, step: int) -> None:
        """Walk the siblings of one message."""
        session = self._screen.session
        if session is None:
            return
        if session.swipe(message_id, step) is not None:
            self._screen.show_path()
            return
        path = session.path()
        last = path[-1]
        if step > 0 and last.id == message_id and last.role == "char" and last.parent_id is not None:
            self.regenerate()
        else:
            self._screen.tell("There is no other beside this one." if step > 0 else "This is the first one.")

    def set_option(self, argument: str = "") -> None:
        """Settings of this chat."""
        from chat.tui.setting import change_settings

        self._change(change_settings, argument)

    def _change(self, change: Callable[[Session, str], str], argument: str) -> None:
        session = self._screen.session
        if session is not None:
            self._screen.tell(display_text(change(session, argument), single_line=True))
            self._screen.show_path()

    def note(self, argument: str = "") -> None:
        """The author's note."""
        from chat.tui.setting import change_note

        self._change(change_note, argument)

    def prefill(self, argument: str = "") -> None:
        """How replies begin."""
        from chat.tui.setting import change_prefill

        self._change(change_prefill, argument)

    def lora(self, argument: str = "") -> None:
        """The model's adapters."""
        from chat.tui.model_commands import change_adapters

        self._screen.replies.when_idle(lambda: change_adapters(self._screen, argument))

    def memory(self) -> None:
        """Where the model lies."""
        from chat.tui.model_commands import show_memory

        show_memory(self._screen)

    # Messages -----------------------------------------------------------------------------------------------

    def edit(self) -> None:
        """Take a message into the box."""
        self._screen.replies.when_idle(self._begin_edit)

    def _begin_edit(self) -> None:
        target = self._target()
        if target is None:
            self._screen.tell("There is no message to edit.")
            return
        composer = self._screen.composer
        if self.editing is None:
            self._draft = composer.text
        self.editing = target
        composer.set_text(target.text)
        self._screen.focus_composer()
        self._screen.show_state()

    def cancel_edit(self) -> None:
        """Leave the message as it is and give the draft back."""
        self.editing = None
        self._screen.composer.set_text(self._draft)
        self._screen.show_state()

    def _finish_edit(self, session: Session, message: Message, text: str) -> None:
        self.editing = None
        changed = text != message.text
        if changed:
            session.edit(message.id, text)
        self._screen.show_path(follow=True)
        self._screen.composer.set_text(self._draft)
        if changed and session.wants_reply():
            self.answer(session)

    @property
    def draft(self) -> str:
        """What the user is writing, whether or not an edit has the box."""
        return self._screen.composer.text if self.editing is None else self._draft

    def delete(self) -> None:
        """Take a message and all below it away."""
        self._screen.replies.when_idle(self._delete)

    def _delete(self) -> None:
        session, target = self._screen.session, self._target()
        if session is None or target is None:
            self._screen.tell("There is no message to delete.")
            return
        session.delete(target.id)
        self._screen.show_path()
        self._screen.tell("Deleted; Alt+U or /undo brings it back.")

    def undo(self) -> None:
        """Bring back what was deleted last."""
        self._screen.replies.when_idle(self._undo)

    def _undo(self) -> None:
        session = self._screen.session
        if session is None:
            return
        self._screen.around.hush()
        if session.undo() is None:
            self._screen.tell("Nothing was deleted.")
        self._screen.show_path()

    def thought(self) -> None:
        """Open or fold what was thought before a message."""
        target = self._target()
        if target is None or not self._screen.transcript.toggle_thought(target.id):
            self._screen.tell("There is no thought before this message.")

    def inspect(self, word: str = "") -> None:
        """How a reply's tokens were chosen, where that was recorded; else record it from now on."""
        session, target = self._screen.session, self._target()
        if session is None:
            return
        inspector = session.inspector
        tokens = inspector.of(target.id) if target is not None and not word else []
        if tokens:
            from chat.tui.screens.inspector import InspectorScreen

            self._screen.app.push_screen(InspectorScreen(tokens))
            return
        was_on, inspector.wanted = bool(inspector.wanted), 0 if word == "off" else BEST
        if not inspector.wanted:
            self._screen.tell("Nothing is recorded from now on.")
        elif was_on and not word:
            self._screen.tell("Nothing was recorded of this message.")
        else:
            self._screen.tell("Recording now; Ctrl+R makes this reply anew.")

    def copy(self) -> None:
        """Copy a message, without anything that a terminal would act on."""
        target = self._target()
        if target is not None:
            self._screen.app.copy_to_clipboard(display_text(target.text))
            self._screen.tell("Copied.")

    # Chats and program --------------------------------------------------------------------------------------

    def new(self) -> None:
        """A new chat with the same character."""
        session = self._screen.session
        if session is not None:
            self._screen.replies.when_idle(
                lambda: self._screen.rpchat.desk.open_card(session.chat.card_ref, new=True)
            )

    def chats(self, words: str = "") -> None:
        """The list of chats."""
        self._screen.replies.when_idle(lambda: self._screen.rpchat.desk.pick_chat(words))

    def cards(self) -> None:
        """The list of cards."""
        self._screen.replies.when_idle(self._screen.rpchat.desk.pick_card)

    def help(self) -> None:
        """The help screen."""
        self._screen.rpchat.show_help()

    def quit(self) -> None:
        """Leave."""
        self._screen.rpchat.leave()

    # Which message ------------------------------------------------------------------------------------------

    def _path(self) -> list[Message]:
        return self._screen.session.path() if self._screen.session is not None else []

    def _target(self) -> Message | None:
        """The message under the reading cursor, else the last one."""
        path = self._path()
        wanted = self._screen.transcript.cursor_id if self._screen.reading else None
        return next((message for message in path if message.id == wanted), path[-1] if path else None)

    @staticmethod
    def _name(session: Session) -> str:
        return display_text(session.card.call_name, single_line=True, limit=40)

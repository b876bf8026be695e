"""Which chat is open: opening and leaving chats, and what stood in the box of each when it was left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chat.tui.opener import ChatFailed, ChatOpened, Prepared, open_chat, prepare

if TYPE_CHECKING:
    from chat.opening import Opening
    from chat.session import Session
    from chat.tui.app import RpchatApp

NOTICE_SECONDS = 10.0
"""How long it is said what was remarkable about opening a chat."""


class Desk:
    """Has one chat on it, or none yet."""

    def __init__(self, app: RpchatApp, make_opening: Callable[[], Opening]) -> None:
        self._app = app
        self._make_opening = make_opening
        self.opening: Opening | None = None
        """How the open chat was opened; None until the settings are read."""
        self.session: Session | None = None
        self._drafts: dict[str, str] = {}
        self._before: str | None = None
        """Id of the chat that was left for one that is being opened."""
        self._failure = ""
        """Why that one could not be opened."""

    # The start ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Read the settings in a thread."""
        make, app = self._make_opening, self._app
        app.run_worker(
            lambda: prepare(make, app.post_message), thread=True, group="opening", exit_on_error=False
        )

    def prepared(self, prepared: Prepared) -> None:
        """Spawn the worker, from this thread, which outlives it; ask who the user is; open the chat."""
        from chat.opening import OpeningError

        opening = self.opening = prepared.opening
        self._app.use_theme_of(opening.settings)
        try:
            self._app.engine = opening.start_engine()
            first = opening.persona_needed
        except OpeningError as error:
            self._app.give_up(str(error), 2 if error.usage else 1)
            return
        self._app.load_model()
        if first:
            from chat.tui.screens.first_start import FirstStart

            character = opening.card.call_name if opening.launch.card else ""
            screen = FirstStart(opening.settings, character)
            self._app.push_screen(screen, lambda _: self.open(opening))
        else:
            self.open(opening)

    # Opening and leaving ------------------------------------------------------------------------------------

    def open(self, opening: Opening) -> None:
        """Open a chat in a thread; the one that is open is left first."""
        self._leave()
        app, engine = self._app, self._app.engine
        app.run_worker(
            lambda: open_chat(opening, engine, app.post_message),
            thread=True,
            exclusive=True,
            group="opening",
            exit_on_error=False,
        )

    def _leave(self) -> None:
        if self.session is not None:
            self._drafts[self.session.chat.id] = self._app.chat.actions.draft
            self._before = self.session.chat.id
            self.session.close()
            self.session = None
            self._app.chat.leave_session()

    def opened(self, opened: ChatOpened) -> None:
        """Show it. What was typed while it was being opened stays in the box."""
        chat = self._app.chat
        self.opening, self.session = opened.opening, opened.session
        if self._app.engine is None:
            opened.session.engine = None
        self._before = None
        drafts = self._drafts.get(opened.session.chat.id, ""), chat.composer.text
        chat.show_session(opened.session, "\n".join(draft for draft in drafts if draft))
        # How to get a model stands in the banner.
        choice = vars(opened.opening).get("model")
        said = choice.notices if choice is not None and choice.path is None else ()
        notices = [self._failure, *opened.opening.notices, *opened.session.notices]
        opened.opening.notices.clear()
        self._failure = ""
        remarks = [notice for notice in notices if notice and notice not in said]
        if remarks:
            chat.tell("\n".join(remarks), NOTICE_SECONDS)

    def failed(self, failed: ChatFailed) -> None:
        """At the start there is nothing to show; later the chat before comes back, with the reason. What was
        sent meanwhile is in the box again."""
        self._app.chat.outbox.take_back()
        before, self._before = self._before, None
        if before is None or self.opening is None:
            self._app.give_up(failed.line, failed.exit_status)
            return
        self._failure = failed.line
        self.open(self.opening.another(chat=before))

    def close(self) -> str:
        """Leave the chat and the store, blocking for a moment; one line when something could not be kept."""
        from chat.store import StoreError

        try:
            if self.session is not None:
                self.session.close()
                self.session.saved.wait()
            if self.opening is not None:
                self.opening.close()
        except StoreError as error:
            return str(error)
        return ""

    # Choosing -----------------------------------------------------------------------------------------------

    def open_card(self, ref: str, *, new: bool = False) -> None:
        """The last chat with a card, or a new one."""
        if self.opening is not None:
            self.open(self.opening.another(card=ref, new=new))

    def pick_card(self) -> None:
        """Choose a character."""
        from chat.opening import DEFAULT_CARD
        from chat.tui.screens.library import LibraryScreen, Picked

        def picked(choice: Picked | None) -> None:
            if choice is not None:
                self.open_card(choice.ref, new=choice.new)
            elif self.session is None:
                self.open_card(DEFAULT_CARD)

        opening = self.opening
        if opening is not None:
            self._app.chat.outbox.take_back()
            self._app.push_screen(LibraryScreen(opening.library, lambda: opening.store.chats()), picked)

    def pick_chat(self, words: str = "") -> None:
        """Choose a chat."""
        from chat.tui.screens.chats import ChatsScreen

        def picked(chat_id: str | None) -> None:
            if chat_id is not None and chat_id != current and self.opening is not None:
                self.open(self.opening.another(chat=chat_id))

        if self.session is not None and self.opening is not None:
            current = self.session.chat.id
            self._app.push_screen(ChatsScreen(self.opening, current, words), picked)

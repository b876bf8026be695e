"""Several replies under way at once: what the session tells of them goes to their page, or, when one of them
was taken already, to the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cards.display import display_text
from chat.events import (
    ReadingPrompt,
    Remark,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    SessionEvent,
    Waiting,
)
from chat.store import StoreError
from chat.tui.screens.swipes import SwipesScreen

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tui.screens.chat import ChatScreen

__all__ = ["Several"]


class Several:
    """The replies of one `Session.swipes`, for a chat screen."""

    def __init__(self, screen: ChatScreen, session: Session) -> None:
        self._screen = screen
        self._session = session
        self._started: list[ReplyStarted] = []
        self._page: SwipesScreen | None = None
        self._opened = False
        self._taken = ""
        """The one that was chosen while it was being written: it grows in the chat."""
        self._over = False

    def show(self, event: SessionEvent) -> bool:
        """Bring one event to the screen; False when it is the chat's."""
        match event:
            case ReplyStarted():
                self._started.append(event)
                return True
            case Waiting():
                return False
            case Remark(message_id="", text=text):
                # A note above every screen: the page of the replies is about to hide the chat's.
                self._screen.app.notify(display_text(text), severity="warning", markup=False, timeout=10)
                return True
            case Remark():
                return True  # that one of them repeats an earlier reply is seen where they stand side by side
            case ReplyFailed(refused=True, error=error):
                self._screen.tell(error)
                return True
            case ReadingPrompt() | ReplyFailed():
                is_ours = False
            case _:
                is_ours = True
        if not self._opened:
            if isinstance(event, ReplyFailed | ReplyEmpty):
                return False
            self._open()
        if self._page is not None:
            self._page.show(event)
            return is_ours
        mine = event.message.id if isinstance(event, ReplyFinished) else getattr(event, "message_id", "")
        return is_ours and (mine != self._taken or isinstance(event, ReplyEmpty))

    def end(self) -> None:
        """All of them are over."""
        self._over = True
        if self._page is not None:
            self._page.all_over()
        head = self._session.tree.head
        if head is not None:
            self._screen.meter.finished(self._session.tree[head])

    # The page -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._opened = True
        ids = [started.message_id for started in self._started]
        self._page = SwipesScreen(ids, self._session.card.call_name, self._before())
        self._screen.app.push_screen(self._page, self._chosen)

    def _before(self) -> str:
        """What the replies answer to."""
        parent = self._started[0].parent_id
        return self._session.tree[parent].text if parent is not None else ""

    def _chosen(self, message_id: str | None) -> None:
        """The page is closed: this one was taken, or all are kept as they are."""
        page, self._page = self._page, None
        if message_id is None:
            if not self._over:
                self._screen.replies.stop()
                self._screen.tell("All are kept beside each other: Alt+← and Alt+→ walk them.")
            return
        try:
            if not self._over:
                self._taken = message_id
                if page is not None:
                    self._screen.transcript.begin(page.block(message_id), self._started[0].parent_id)
                self._session.choose_swipe(message_id)
            elif message_id in self._session.tree:
                self._session.show(message_id)
        except StoreError as error:
            self._screen.banner.say(str(error))
        if self._over:
            self._screen.show_path(follow=True)

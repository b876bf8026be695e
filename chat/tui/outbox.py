"""Texts that were sent before there was a chat to say them in: said as soon as it is open, or given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chat.store import StoreError

if TYPE_CHECKING:
    from chat.session import Session
    from chat.tui.screens.chat import ChatScreen


class Outbox:
    """Holds them in the order in which they were sent."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self.texts: list[str] = []

    def keep(self, text: str) -> None:
        """Send it later; the box is free for the next."""
        self.texts.append(text)
        self._screen.composer.set_text("")
        self._screen.show_state()

    def take_back(self) -> bool:
        """Put everything back into the box, before what stands there; False when there is nothing."""
        if not self.texts:
            return False
        composer = self._screen.composer
        texts = [*self.texts, composer.text]
        self.texts.clear()
        composer.set_text("\n".join(text for text in texts if text))
        self._screen.show_state()
        return True

    def say_all(self, session: Session) -> bool:
        """Say everything in the chat that is open now; what cannot be said goes back into the box. True when
        an answer is due."""
        if not self._screen.has_model:
            self.take_back()
            return False
        said = False
        try:
            while self.texts:
                session.say(self.texts[0])
                self.texts.pop(0)
                said = True
        except StoreError as error:
            self.take_back()
            self._screen.banner.say(str(error))
            return False
        return said

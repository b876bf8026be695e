"""The command palette, from the one table."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from chat.tui.commands import COMMANDS, Command, key_name


class ChatCommands(Provider):
    """The chat's commands by name."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for command in self._commands():
            yield DiscoveryHit(_label(command), self._run(command), help=command.help)

    async def search(self, query: str) -> Hits:
        """Those whose name or words fit."""
        matcher = self.matcher(query)
        for command in self._commands():
            label = _label(command)
            score = matcher.match(label)
            if score > 0:
                yield Hit(score, matcher.highlight(label), self._run(command), help=command.help)

    def _commands(self) -> list[Command]:
        from chat.tui.screens.chat import ChatScreen

        if not isinstance(self.screen, ChatScreen):
            return []
        return [command for command in COMMANDS if command.words]

    def _run(self, command: Command) -> partial[None]:
        from chat.tui.screens.chat import ChatScreen

        assert isinstance(self.screen, ChatScreen)
        return partial(self.screen.actions.run, command.id)


def _label(command: Command) -> str:
    keys = f"  {key_name(command.keys[0])}" if command.keys else ""
    return f"{command.title}  /{command.words[0]}{keys}"

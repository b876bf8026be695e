"""The message that a reply becomes: saved while it grows, kept when it breaks off, put where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chat.checkpoints import Checkpoints
from chat.engine.surface import EngineSurface
from chat.events import (
    ImpersonationFinished,
    Remark,
    ReplyEmpty,
    ReplyFailed,
    ReplyFinished,
    SessionEvent,
)
from chat.output import kept_text, output_options
from chat.rows import new_message, storable
from chat.stretches import Stretches
from chat.tree import Generation, Message
from presets.values import Mode, Prompt

if TYPE_CHECKING:
    from chat.session import Session
    from chat.underway import UnderWay

__all__ = ["Draft"]


class Written(NamedTuple):
    """What a checkpoint keeps."""

    text: str
    thinking: str
    raw: str


class Draft:
    """One reply's message. `begin` comes first, then text with `checkpoint`, then `finished` or `broken`."""

    def __init__(
        self, session: Session, mode: Mode, path: list[Message], continued: Message | None = None
    ) -> None:
        """`path` is what the prompt shows, root first; `continued` its last message, when that grows."""
        self.mode = mode
        self.path = path
        self.parent = continued.parent_id if continued else (path[-1].id if path else None)
        self._session = session
        self._head = session.tree.head
        self._continued = continued
        self._message = new_message(
            session.chat.id,
            self.parent,
            "char",
            continued.name if continued else session.card.call_name,
            "",
            continues=continued.id if continued else None,
        )
        self._checkpoints = Checkpoints(self._save)
        self._writing: Stretches | None = None
        self._prompt: Prompt | None = None

    @property
    def message_id(self) -> str:
        """Of the message to be; empty when nothing will be stored."""
        return "" if self.mode == "impersonate" else self._message.id

    @property
    def generation(self) -> Generation:
        """How it is made, as far as that is known before it is."""
        assert self._message.generation is not None
        return self._message.generation

    def begin(self, engine: EngineSurface, prompt: Prompt, seed: int, under_way: UnderWay) -> Stretches:
        """From now on it is written."""
        session = self._session
        generation = Generation(
            model=Path(engine.loaded.path).name if engine.loaded else "",
            format=session.format.id,
            sampling=session.sampling.model_dump(mode="json"),
            seed=seed,
            prompt_tokens=sum(prompt.tokens or ()),
            finish_reason="interrupted",
        )
        self._message = replace(self._message, generation=generation)
        self._prompt = prompt
        self._writing = Stretches(
            session, engine, prompt, self.mode, self.path, self._message, under_way.stopped
        )
        return self._writing

    def checkpoint(self) -> None:
        """Some of it was written."""
        written = self._written()
        if self.mode != "impersonate" and (written.text.strip() or written.thinking):
            self._checkpoints.update(written)

    def save_now(self) -> None:
        """Have all that was written on the disk."""
        self._checkpoints.flush()

    def end(self) -> None:
        """Nothing is saved any more."""
        self._checkpoints.end()

    def finished(self, generation: Generation) -> Iterator[SessionEvent]:
        """It is whole; `generation` says how it was made and why it ended."""
        session, output = self._session, self._written_by.output
        last = self._written_by.totals.last
        if self.mode == "impersonate":
            yield ImpersonationFinished(output.text, generation.finish_reason)
            return
        session.last = generation
        if last is not None:
            session.context_used = last.prompt_tokens + last.generated_tokens
        if not (output.text.strip() or output.thinking):
            yield self._empty(generation.finish_reason == "cancelled")
            return
        if output_options(session).repetition_watch:
            before = self.path[:-1] if self.mode == "continue" else self.path
            text = self._base_text + output.text
            if line := session.repetition.look(before, text, session.sampling):
                yield Remark(self.message_id, line)
        message, problem = self._land(generation)
        yield ReplyFailed(message.id, problem, message) if problem else ReplyFinished(message)

    def broken(self, error: str) -> SessionEvent:
        """The engine broke off: what was written becomes a message."""
        generation = self._message.generation
        output = self._writing.output if self._writing is not None else None
        if output is not None:
            output.finish()
        something = output is not None and (output.text.strip() or output.thinking)
        if self.mode == "impersonate" or generation is None or not something:
            return ReplyFailed(self.message_id or None, error, None)
        reason = "interrupted" if error else "cancelled"
        message, problem = self._land(replace(generation, finish_reason=reason))
        self._session.last = message.generation
        return ReplyFailed(message.id, " ".join(filter(None, (error, problem))), message)

    # How -------------------------------------------------------------------------------------------------

    @property
    def _written_by(self) -> Stretches:
        assert self._writing is not None
        return self._writing

    @property
    def _base_text(self) -> str:
        return self._prompt.base_text if self._prompt is not None else ""

    def _empty(self, cancelled: bool) -> ReplyEmpty:
        self._checkpoints.end()
        if self._checkpoints.saved:
            self._session.store.drop_draft(self._message.id)
        why = "stopped before the first word" if cancelled else "the model had nothing to say"
        return ReplyEmpty(self.message_id, why, cancelled)

    def _written(self, text: str | None = None) -> Written:
        """What there is of the message, with `text` in place of what is shown when that is another."""
        output = self._writing.output if self._writing is not None else None
        if output is None:
            return Written(self._base_text, "", "")
        whole = storable(self._base_text + (output.text if text is None else text))
        before = self._continued
        thinking = "\n\n".join(filter(None, (before.thinking if before else "", output.thinking)))
        raw = (before.raw if before and before.raw else self._base_text) + output.raw
        return Written(whole, thinking, "" if raw.strip() == whole.strip() else raw)

    def _save(self, written: Written) -> None:
        self._session.store.save_draft(replace(self._message, **written._asdict()))

    def _land(self, generation: Generation) -> tuple[Message, str]:
        """Store the message; it joins the tree also when the store refuses, and is stored later then."""
        self._checkpoints.end()
        reason = generation.finish_reason
        text = self._writing.output.text if self._writing is not None else ""
        if text and self._prompt is not None:
            cut, cancelled = reason not in ("eos", "stop"), reason in ("cancelled", "interrupted")
            text = kept_text(self._session, self._prompt, text, cut=cut, cancelled=cancelled)
        message = replace(self._message, **self._written(text)._asdict(), generation=generation)
        return message, self._session.land(message, self._head)

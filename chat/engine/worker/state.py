"""Saving the chat's sequence to disk, when loading it will be quicker than reading it again, and bringing it
back into another process."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import llama_cpp.llama_cpp as api

from chat.engine.shelf import Shelf
from chat.engine.state_lines import RestoreState, SaveState, Skipped, StateRestored, StateSaved
from chat.engine.worker import log
from chat.engine.worker.checkpoints import Checkpoints
from chat.engine.worker.loading import LoadedModel
from chat.engine.worker.sequence import LiveSequence
from chat.engine.worker.slots import Slots
from chat.engine.worker.statefile import (
    Record,
    StateFileError,
    finish,
    read_checkpoints,
    read_record,
    record_of,
)
from chat.engine.worker.statekey import StateKey
from chat.files import make_private_folder

__all__ = ["States"]

SLACK = 8
"""Tokens before a reply's end that a sliding window is saved without: what is saved of it cannot go back, and
the next prompt may cut its last tokens otherwise."""

CHECKPOINTS = 3
"""The newest ones, which go into the file: a model that cannot go back by itself goes back to them."""

SMALLEST_READING = 16
"""Tokens that must have been read at once for the time to say anything."""


class States:
    """The saved states of one loaded model. Called on the main thread, between requests."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._key = StateKey(loaded)
        self._reading = 0.0
        """Tokens a second, of prompts; 0: not measured yet."""
        self._held: dict[Path, tuple[tuple[int, int], list[int]]] = {}
        """What files hold that this process wrote or read, and how they were told from others then."""

    def measured(self, tokens: int, seconds: float) -> None:
        """So many tokens of a prompt took so long to read."""
        if tokens >= SMALLEST_READING and seconds > 0:
            self._reading = tokens / seconds

    # Saving -----------------------------------------------------------------------------------------------

    def save(self, slots: Slots, request: SaveState) -> StateSaved:
        """Writes the chat's sequence, unless that does not pay; the file is whole or as it was before."""
        started = time.monotonic()
        shelf, sequence = Shelf(Path(request.folder), request.quota), slots.main
        if self._known_by_window(sequence):
            sequence.keep(sequence.cache.solid - SLACK)
        size = int(api.llama_state_seq_get_size(slots.context.handle, sequence.number))
        size += sum(len(one.data) for one in sequence.checkpoints.held[-CHECKPOINTS:])
        try:
            key = self._key.values()
            file = shelf.file(request.chat, self._key.digest(key))
            make_private_folder(shelf.folder)
            skipped = self._why_not(shelf, file, sequence, size, request.within)
            if not skipped and not shelf.make_room(size, file):
                skipped = "quota"
            if skipped:
                log.write(f"the chat's state ({size} bytes) is not saved: {skipped}")
                return StateSaved(id=request.id, skipped=skipped)
            written = self._write(slots, file, key)
        except OSError as error:
            return self._refused(request, f"{shelf.folder}: {error.strerror or 'cannot be written'}")
        if not written:
            return self._refused(request, self._cause(shelf))
        seconds = time.monotonic() - started
        shelf.measured(written, seconds)
        self._remember(file, sequence.cache.ids)
        return StateSaved(id=request.id, tokens=sequence.length, bytes=written, seconds=seconds)

    @staticmethod
    def _known_by_window(sequence: LiveSequence) -> bool:
        """Whether the sequence has a sliding window which could still go back a little."""
        context, window, end = sequence.context, sequence.sliding_window, sequence.cache.solid - SLACK
        if not (window and context.checkpointed) or end <= 0:
            return False
        return context.first_position(sequence.number) <= max(0, end - window)

    def _why_not(
        self, shelf: Shelf, file: Path, sequence: LiveSequence, size: int, within: float | None
    ) -> Skipped:
        """Empty when it pays: what a cold start would have to read again takes longer than the file."""
        if not sequence.length:
            return "empty"
        new = sequence.length - same(self._known(file), sequence.cache.ids)
        if new == 0:
            with suppress(OSError):
                os.utime(file)
            return "unchanged"
        seconds = size / shelf.speed
        if self._reading and seconds >= new / self._reading:
            return "quick"
        return "slow" if within is not None and seconds > within else ""

    def _write(self, slots: Slots, file: Path, key: dict[str, str]) -> int:
        """Bytes that were written; 0 when llama.cpp could not. Raises OSError. Nothing half is left."""
        sequence = slots.main
        ids = sequence.cache.ids
        new = file.with_name(f".{file.name}.{os.getpid()}")
        log.forget()
        try:
            os.close(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
            data = int(
                api.llama_state_seq_save_file(
                    slots.context.handle, os.fsencode(new), sequence.number, _tokens(ids), len(ids)
                )
            )
            if not data or new.stat().st_size != data:  # what could not be flushed goes unsaid
                return 0
            held = sequence.checkpoints.held[-CHECKPOINTS:]
            written = finish(new, held, record_of(sequence.cache, held, key, data, self._reading))
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)
        return written

    def _refused(self, request: SaveState, cause: str) -> StateSaved:
        log.write(f"the chat's state is not saved: {cause}", log.WARN)
        problem = f"The state of this chat was not saved ({cause}); the chat itself is."
        return StateSaved(id=request.id, skipped="disk", problem=problem)

    @staticmethod
    def _cause(shelf: Shelf) -> str:
        said = next((line for line in reversed(log.errors()) if "write error" in line), "")
        return f"{shelf.folder}: {said.rpartition(': ')[2] or 'llama.cpp could not write it'}"

    # Restoring --------------------------------------------------------------------------------------------

    def restore(self, slots: Slots, request: RestoreState) -> StateRestored:
        """Brings a chat's sequence back where its file is for this very model; else the file, when it is not
        what it should be, is deleted with a line in the log."""
        started = time.monotonic()
        shelf = Shelf(Path(request.folder))
        tokens = 0
        try:
            key = self._key.values()
            file = shelf.file(request.chat, self._key.digest(key))
            if file.exists():
                tokens = self._restore(slots, file, key, shelf)
        except OSError as error:
            log.write(f"the chat's state cannot be read: {error}", log.WARN)
        except StateFileError as error:
            log.write(f"{file} is deleted: {error}", log.WARN)
            with suppress(OSError):
                file.unlink()
        return StateRestored(id=request.id, tokens=tokens, seconds=time.monotonic() - started)

    def _restore(self, slots: Slots, file: Path, key: dict[str, str], shelf: Shelf) -> int:
        started = time.monotonic()
        record = read_record(file)
        other = [name for name in {**key, **record.key} if key.get(name) != record.key.get(name)]
        if other:
            raise StateFileError(f"it is for another {' and '.join(other)}")
        length = len(record.ids)
        if length > slots.context.size:
            log.write(f"{file}: {length} tokens are more than the context of {slots.context.size} holds")
            return 0
        live = max(same(record.ids, one.cache.ids) for one in (slots.main, *slots.others))
        if length and live == length:
            return length  # the chat was never away
        sequence = _place(slots, length)
        _read(slots, sequence, file, record)
        slots.promote(sequence)
        self._reading = self._reading or record.reading
        self._remember(file, record.ids)
        shelf.measured(record.data, time.monotonic() - started)
        with suppress(OSError):
            os.utime(file)
        return length

    # What the files hold ------------------------------------------------------------------------------------

    def _remember(self, file: Path, ids: Sequence[int]) -> None:
        with suppress(OSError):
            self._held[file] = (_told(file), list(ids))

    def _known(self, file: Path) -> list[int]:
        """The tokens that a file holds, as far as this process knows, if nobody has replaced it since."""
        told, ids = self._held.get(file, ((0, 0), []))
        with suppress(OSError):
            if told == _told(file):
                return ids
        return []


def same(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin alike with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _place(slots: Slots, length: int) -> LiveSequence:
    """An empty sequence with room for so many tokens: beside what is there when that can stay, else in the
    place of the chat's."""
    main = slots.main
    if main.length and slots.cells_free >= length + slots.context.size - main.length:
        with suppress(RuntimeError):
            return slots.fresh()
    main.keep(0)
    slots.make_room(length)
    return main


def _read(slots: Slots, sequence: LiveSequence, file: Path, record: Record) -> None:
    """Raises StateFileError where llama.cpp refuses the file or finds something else in it; the sequence is
    empty then."""
    cache = record.sequence()
    length = len(cache.ids)
    tokens = _tokens([0] * length)
    count = ctypes.c_size_t()
    read = api.llama_state_seq_load_file(
        slots.context.handle, os.fsencode(file), sequence.number, tokens, length, ctypes.byref(count)
    )
    if (
        not read
        or list(tokens[: count.value]) != cache.ids
        or slots.context.length(sequence.number) != length
    ):
        slots.context.clear(sequence.number)
        raise StateFileError("llama.cpp cannot use it")
    sequence.cache = cache
    sequence.checkpoints = Checkpoints(read_checkpoints(file, record))


def _tokens(ids: Sequence[int]) -> ctypes.Array[ctypes.c_int32]:
    return (api.llama_token * max(1, len(ids)))(*ids)  # type: ignore[no-any-return]


def _told(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_ino, state.st_size

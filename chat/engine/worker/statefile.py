"""The file of a saved state: what llama.cpp writes of a sequence, then our record of it, then a checksum.

    llama.cpp's state file, `data` bytes | checkpoints | the record as JSON | its length (u64) | CRC-32 of all
    before the length (u32) | 16 bytes of magic, little-endian

llama.cpp reads from the beginning and does not mind what follows. It may abort on a file that is damaged: the
checksum is looked at before it gets to see one.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError

from chat.engine.worker.cache import CachedSequence
from chat.engine.worker.checkpoints import Checkpoint

__all__ = ["Record", "StateFileError", "finish", "read_checkpoints", "read_record", "record_of"]

FORMAT = 1
"""Goes up with every change of the record."""

MAGIC = b"rpchat-state-\r\n\x1a"
FOOTER = struct.Struct("<QI16s")


class StateFileError(Exception):
    """A file that is no saved state, or a damaged one; the reason in a few words."""


class Record(BaseModel):
    """What a sequence holds, and for which model it is true."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    key: dict[str, str]
    data: int
    """Bytes of llama.cpp's part."""
    ids: list[int]
    lengths: list[int]
    """Bytes that each token stands for; `images` are those, joined."""
    images: Base64Bytes
    reply_starts: list[int]
    solid: int
    checkpoints: list[tuple[int, int]] = []
    """Tokens and bytes of each snapshot that stands behind llama.cpp's part, in order."""
    reading: float = 0.0
    """Tokens a second at which prompts were read; 0: nobody has measured it."""

    def sequence(self) -> CachedSequence:
        """The record as the cache keeps it. Raises StateFileError where it contradicts itself."""
        if len(self.ids) != len(self.lengths) or sum(self.lengths) != len(self.images):
            raise StateFileError("its record contradicts itself")
        images, position = [], 0
        for length in self.lengths:
            images.append(self.images[position : position + length])
            position += length
        return CachedSequence(self.ids, images, set(self.reply_starts), min(self.solid, len(self.ids)))


def record_of(
    cache: CachedSequence, held: Sequence[Checkpoint], key: dict[str, str], data: int, reading: float
) -> bytes:
    """The record of a sequence as it stands in the file."""
    record = Record.model_construct(
        format=FORMAT,
        key=key,
        data=data,
        ids=cache.ids,
        lengths=[len(image) for image in cache.images],
        images=b"".join(cache.images),
        reply_starts=sorted(cache.reply_starts),
        solid=cache.solid,
        checkpoints=[(one.length, len(one.data)) for one in held],
        reading=reading,
    )
    return record.model_dump_json().encode()


def finish(path: Path, held: Sequence[Checkpoint], record: bytes) -> int:
    """Puts checkpoints, record and checksum behind what llama.cpp wrote; returns the whole size. Raises
    OSError."""
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            checksum = zlib.crc32(data)
        file.seek(0, os.SEEK_END)
        for part in (*(one.data for one in held), record):
            checksum = zlib.crc32(part, checksum)
            file.write(part)
        file.write(FOOTER.pack(len(record), checksum, MAGIC.ljust(16, b"\0")))
        return file.tell()


def read_checkpoints(path: Path, record: Record) -> list[Checkpoint]:
    """The snapshots of a file that was checked. Raises OSError."""
    with path.open("rb") as file:
        file.seek(record.data)
        return [Checkpoint(length, file.read(size)) for length, size in record.checkpoints]


def read_record(path: Path) -> Record:
    """Checks a file whole and reads its record. Raises StateFileError; OSError when it cannot be read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= FOOTER.size:
            raise StateFileError("it is too short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            length, checksum, magic = FOOTER.unpack_from(data, size - FOOTER.size)
            if magic != MAGIC.ljust(16, b"\0"):
                raise StateFileError("it is no saved state, or its end is missing")
            with memoryview(data) as view, view[: size - FOOTER.size] as body:
                if zlib.crc32(body) != checksum:
                    raise StateFileError("its checksum is wrong")
                if length > len(body):
                    raise StateFileError("its record is longer than it is")
                text = bytes(body[len(body) - length :])
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        raise StateFileError("its record is not one that this version knows") from error
    if record.format != FORMAT:
        raise StateFileError("another version of rpchat wrote it")
    if record.data + sum(held for _, held in record.checkpoints) != size - FOOTER.size - length:
        raise StateFileError("its record contradicts itself")
    return record

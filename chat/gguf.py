"""Reading the header of a GGUF file: metadata and the table of tensors, no weights, no vocabulary.

Written from the GGUF specification (ggml, docs/gguf.md). The file is mapped, and the large arrays of a
vocabulary are stepped over instead of being made into Python values: a header with 262 000 tokens takes well
under 100 ms. Every length in the file is untrusted: nothing is allocated from one, and any bytes at all give
a header or a GGUFError, never another exception.
"""

from __future__ import annotations

import math
import mmap
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MAGIC = b"GGUF"
MAX_ENTRIES = 65_536
MAX_TENSORS = 262_144
MAX_ARRAY = 1 << 22
"""Strings in one array; the largest vocabularies hold some 500 000 merges."""
KEPT_ARRAY = 1024
"""Longer arrays of numbers are stepped over."""
KEPT_STRING = 1 << 20
"""Bytes; longer strings are stepped over. Chat templates reach some 20 000."""
STRIDE = 1024
MAX_NAME = 4096
MAX_DIMENSIONS = 4
"""Of a tensor that llama.cpp takes."""

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9

# fmt: off
# Values in a block and bytes of a block for each tensor type (ggml.h, `enum ggml_type`).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# `general.file_type` (llama.h, `enum llama_ftype`) as people call them.
QUANTIZATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0",
}
# fmt: on
GUESSED = 1024
"""Added to a file type that the converter only guessed."""

# The files before GGUF begin with these four bytes (a little-endian word) and, but for the first, a version.
_OLD_MAGICS = {b"lmgg": "GGML", b"fmgg": "GGMF", b"tjgg": "GGML", b"algg": "GGML LoRA"}

ErrorCode = Literal["missing", "unreadable", "not_gguf", "pre_gguf", "version", "truncated", "corrupt"]
Value = str | int | float | bool | list[int] | list[float] | list[bool] | list[int | float | bool]


class GGUFError(Exception):
    """A file is not a usable GGUF; one line that says what it is and what to do."""

    def __init__(self, code: ErrorCode, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.code = code
        self.what = what
        """The line without the path."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    """Bytes from the start of the tensor data."""
    size: int | None
    """Bytes; None for a type this version does not know."""


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself."""

    path: Path
    version: int
    metadata: dict[str, Value]
    """Scalars, strings and short arrays of numbers."""
    lengths: dict[str, int]
    """Items of every array, kept or stepped over: `tokenizer.ggml.tokens` gives the vocabulary."""
    tensors: tuple[Tensor, ...]
    data_start: int
    """Bytes before the tensor data."""
    file_size: int
    alignment: int = 32
    """Bytes; every tensor begins at a multiple of it."""
    bos: str = ""
    """The tokens that begin and end a text, as the vocabulary spells them; empty when unknown."""
    eos: str = ""

    @property
    def bytes_needed(self) -> int:
        """Bytes that the file must have at least, by its own tensor table."""
        return max((self.data_start + t.offset + (t.size or 0) for t in self.tensors), default=0)

    @property
    def truncated(self) -> bool:
        """Whether tensors lie beyond the end of the file: a download that stopped, or a full disk."""
        return self.file_size < self.bytes_needed

    @property
    def defect(self) -> str | None:
        """What llama.cpp would refuse in the table of tensors: a damaged file; None when nothing is wrong.

        The checks are those of its loader (ggml, src/gguf.cpp): the data of each tensor begins where that of
        the one before it ends.
        """
        names: set[str] = set()
        end: int | None = 0
        for tensor in self.tensors:
            values = _BLOCKS.get(tensor.type, (1, 0))[0]
            if tensor.name in names:
                return f"two tensors are called {tensor.name}"
            if len(tensor.shape) > MAX_DIMENSIONS or math.prod(tensor.shape) >= 1 << 63:
                return f"the tensor {tensor.name} has an impossible shape"
            if tensor.shape and tensor.shape[0] % values:
                return f"the rows of the tensor {tensor.name} are no whole blocks"
            if end is not None and tensor.offset != end:
                return f"the tensor {tensor.name} does not lie where the one before it ends"
            names.add(tensor.name)
            unknown = end is None or tensor.size is None
            end = None if unknown else _padded(tensor.offset + (tensor.size or 0), self.alignment)
        return None

    @property
    def architecture(self) -> str:
        """`llama`, `qwen2` ...; empty when the header does not say."""
        return self.text("general.architecture")

    @property
    def quantization(self) -> str:
        """`Q4_K_M`; empty when the header does not say."""
        kind = self.number("general.file_type")
        return QUANTIZATIONS.get(kind & ~GUESSED, "") if kind is not None else ""

    def text(self, key: str) -> str:
        """A string of the metadata; empty when absent or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int | None:
        """A whole number of the metadata (the largest, where there is one a layer); `{arch}` is filled in."""
        return max(self.numbers(key), default=None)

    def numbers(self, key: str) -> list[int]:
        """The whole numbers of an array (one a layer), or the one number that stands for all of them."""
        value = self.metadata.get(key.replace("{arch}", self.architecture))
        values = value if isinstance(value, list) else [value]
        return [item for item in values if isinstance(item, int) and not isinstance(item, bool)]


def read_header(path: Path) -> GGUFHeader:
    """Read a GGUF header. A file whose tensors are cut off is not an error here: see `truncated`.

    Raises GGUFError for anything that is not a whole GGUF header.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise GGUFError(
                "unreadable", path, "a folder; name the .gguf file in it, or `rpchat model add` the folder"
            )
        if not stat.S_ISREG(status.st_mode):
            raise GGUFError("unreadable", path, "not a regular file; name a .gguf file")
        if status.st_size == 0:
            raise GGUFError("truncated", path, "empty; download it again")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _parse(path, mapped)
    except FileNotFoundError as error:
        raise GGUFError("missing", path, "no such file; check the path or see `rpchat model list`") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or a file that shrank to nothing
        raise GGUFError("unreadable", path, getattr(error, "strerror", None) or str(error)) from error


def _parse(path: Path, data: mmap.mmap) -> GGUFHeader:
    if data[:4] != MAGIC:
        raise _stranger(path, data[:512])
    try:
        return _Reader(path, data).header()
    except (struct.error, OverflowError) as error:
        raise GGUFError(
            "truncated", path, "the GGUF header stops in the middle; download it again"
        ) from error


class _Reader:
    """A position in the file that moves on with every value read. Reads past the end raise struct.error."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = 4
        self.size = len(data)
        self.tokens: tuple[list[int], int] = ([], 0)
        """Where every STRIDE-th token of the vocabulary lies, and how many tokens there are."""

    def header(self) -> GGUFHeader:
        version = self.u32()
        if version in (0x02000000, 0x03000000):
            raise GGUFError("version", self.path, "a big-endian GGUF; get the usual little-endian one")
        if version not in (2, 3):
            known = "which llama.cpp no longer reads" if version == 1 else "which is newer than this program"
            raise GGUFError(
                "version", self.path, f"GGUF version {version}, {known}; get a GGUF version 3 of the model"
            )
        tensor_count = self.count(MAX_TENSORS, "tensors")
        entry_count = self.count(MAX_ENTRIES, "metadata entries")
        metadata: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(entry_count):
            key = self.name()
            kind = self.u32()
            value = self.array(key, lengths) if kind == _ARRAY else self.value(kind)
            if value is not None:
                metadata[key] = value
        tensors = tuple(self.tensor() for _ in range(tensor_count))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self.corrupt("general.alignment is no power of two")
        data_start = _padded(self.at, alignment)
        bos, eos = (self.token(metadata.get(f"tokenizer.ggml.{kind}_token_id")) for kind in ("bos", "eos"))
        return GGUFHeader(
            self.path, version, metadata, lengths, tensors, data_start, self.size, alignment, bos, eos
        )

    def token(self, number: Value | None) -> str:
        """A token of the vocabulary by its number."""
        marks, count = self.tokens
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < count:
            return ""
        self.at = marks[number // STRIDE]
        for _ in range(number % STRIDE):
            self.skip(self.u64())
        length = self.u64()
        return self.bytes(length).decode("utf-8", "replace") if length <= MAX_NAME else ""

    def corrupt(self, what: str) -> GGUFError:
        return GGUFError("corrupt", self.path, f"a damaged GGUF header ({what}); download it again")

    def u32(self) -> int:
        value: int = _U32.unpack_from(self.data, self.at)[0]
        self.at += 4
        return value

    def u64(self) -> int:
        value: int = _U64.unpack_from(self.data, self.at)[0]
        self.at += 8
        return value

    def count(self, limit: int, what: str) -> int:
        value = self.u64()
        if value > limit:
            raise self.corrupt(f"{value} {what}")
        return value

    def bytes(self, length: int) -> bytes:
        end = self.at + length
        if end > self.size:
            raise struct.error
        value = self.data[self.at : end]
        self.at = end
        return value

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > self.size:
            raise struct.error

    def name(self) -> str:
        return self.bytes(self.count(MAX_NAME, "bytes in a name")).decode("utf-8", "replace")

    def value(self, kind: int) -> Value | None:
        if kind == _STRING:
            length = self.u64()
            if length > KEPT_STRING:
                self.skip(length)
                return None
            return self.bytes(length).decode("utf-8", "replace")
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise self.corrupt(f"a value of type {kind}")
        value: int | float | bool = scalar.unpack_from(self.data, self.at)[0]
        self.at += scalar.size
        return value

    def array(self, key: str, lengths: dict[str, int]) -> Value | None:
        kind = self.u32()
        count = self.u64()
        lengths[key] = count
        if kind == _STRING:
            marks = self.skip_strings(count)
            if key == "tokenizer.ggml.tokens":
                self.tokens = marks, count
            return None
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise self.corrupt(f"an array of type {kind}")
        if count > KEPT_ARRAY:
            self.skip(count * scalar.size)
            return None
        return [value for (value,) in scalar.iter_unpack(self.bytes(count * scalar.size))]

    def skip_strings(self, count: int) -> list[int]:
        """Step over strings; where every STRIDE-th of them lies."""
        if count > MAX_ARRAY:
            raise self.corrupt(f"an array of {count} strings")
        data, at, unpack, marks = self.data, self.at, _U64.unpack_from, []
        for first in range(0, count, STRIDE):
            marks.append(at)
            for _ in range(min(STRIDE, count - first)):
                at += 8 + unpack(data, at)[0]
        self.at = at
        self.skip(0)
        return marks

    def tensor(self) -> Tensor:
        name = self.name()
        dimensions = self.u32()
        if dimensions > 8:
            raise self.corrupt(f"a tensor of {dimensions} dimensions")
        shape = tuple(self.u64() for _ in range(dimensions))
        kind, offset = self.u32(), self.u64()
        block = _BLOCKS.get(kind)
        size = math.prod(shape) // block[0] * block[1] if block else None
        return Tensor(name, shape, kind, offset, size)


def old_llama(head: bytes) -> bool:
    """Whether a file begins as a GGML v3 file does, the last kind before GGUF."""
    return head[:8] == b"tjgg\x03\0\0\0"


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _stranger(path: Path, head: bytes) -> GGUFError:
    """The error for a file that is not GGUF: what it looks like, and what to do."""
    old = _OLD_MAGICS.get(head[:4])
    if old == "GGML LoRA":
        return GGUFError("pre_gguf", path, "a pre-GGUF LoRA adapter, not a model; get a GGUF model")
    if old:
        version = int.from_bytes(head[4:8], "little") if head[:4] != b"lmgg" else 0
        which = f"{old} v{version}" if 1 <= version <= 3 else old
        then = "`rpchat model convert` makes a .gguf of it" if old_llama(head) else "get the model as .gguf"
        return GGUFError(
            "pre_gguf", path, f"a pre-GGUF file ({which}), which llama.cpp no longer reads; {then}"
        )
    looks = next((what for test, what in _LOOKS if test(head)), "starts with no GGUF mark")
    return GGUFError("not_gguf", path, f"not a GGUF file ({looks}); a model file ends in .gguf")


_LOOKS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: head.startswith(b"\x89PNG"), "a PNG picture; did you mean --card?"),
    (
        lambda head: head.startswith(b"version https://git-lfs"),
        "a Git LFS pointer: the download fetched only a note",
    ),
    (
        lambda head: head.lstrip()[:14].lower().startswith((b"<!doctype", b"<html")),
        "a web page: the download failed",
    ),
    (lambda head: head.startswith(b"PK\x03\x04"), "a zip or PyTorch file"),
    (lambda head: head[8:10] == b'{"' and head[6:8] == b"\0\0", "a safetensors file"),
    (lambda head: head.startswith(b"\x80\x02"), "a PyTorch pickle"),
    (lambda head: head.lstrip()[:1] in (b"{", b"["), "JSON text"),
    (lambda head: bool(head) and all(byte >= 32 or byte in b"\t\r\n" for byte in head), "text"),
    (lambda head: not any(head), "zeros: the download did not finish"),
)

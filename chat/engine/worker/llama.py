"""A thin, typed layer over llama.cpp's C functions: a model, a context, and the sequences in its KV cache."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt

from chat.engine.needs import CHECKPOINT_BUDGET
from chat.engine.protocol import CacheType, FlashAttention
from chat.engine.worker.crowding import WritingThreads
from chat.engine.worker.offload import experts_in_main_memory

__all__ = ["ABORTED", "NO_ROOM", "Context", "Model", "initialize"]

NO_ROOM = 1
"""llama_decode: the cache has no free cells for the batch."""
ABORTED = 2
"""llama_decode: the abort callback said so."""

PARTIAL = api.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY

CACHE_TYPES: dict[CacheType, int] = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""ggml_type."""
FLASH_TYPES: dict[FlashAttention, int] = {"auto": -1, "off": 0, "on": 1}
"""llama_flash_attn_type."""

UNEVEN_POSITIONS = frozenset(
    (
        "afmoe",
        "cohere2",
        "cohere2moe",
        "exaone-moe",
        "exaone4",
        "llama4",
        "muse-glimmer",
        "smallthinker",
        "smollm3",
    )
)
"""Architectures of which some layers may have no positions: llama.cpp's shift would turn their keys all the
same."""

Floats = npt.NDArray[np.float32]


def initialize() -> None:
    """Once a process, after the log was taken."""
    api.llama_backend_init()


class Model:
    """A model in memory, or its vocabulary alone. Making one that fails raises OSError; the log has the
    cause.

    `progress` is called with 0..1 and returns False to give up.
    """

    def __init__(
        self,
        path: str,
        gpu_layers: int,
        vocabulary_only: bool,
        progress: Callable[[float], bool],
        experts_aside: int = 0,
    ) -> None:
        """`experts_aside`: so many layers, from the first, keep their experts in main memory."""
        parameters = api.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        parameters.vocab_only = vocabulary_only
        aside = experts_in_main_memory(experts_aside)
        if aside is not None:
            parameters.tensor_buft_overrides = ctypes.cast(aside, ctypes.c_void_p)
        callback = api.llama_progress_callback(lambda fraction, _data: progress(fraction))
        parameters.progress_callback = callback
        self.handle: Any = api.llama_model_load_from_file(path.encode(), parameters)
        if not self.handle:
            raise OSError("llama_model_load_from_file gave no model")
        self.vocab: Any = api.llama_model_get_vocab(self.handle)

    def close(self) -> None:
        """Frees the memory; contexts must be closed before."""
        if self.handle:
            api.llama_model_free(self.handle)
            self.handle = None

    @property
    def context_trained(self) -> int:
        return int(api.llama_model_n_ctx_train(self.handle))

    @property
    def layers(self) -> int:
        return int(api.llama_model_n_layer(self.handle))

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return int(api.llama_model_n_embd(self.handle))

    @property
    def sliding_window(self) -> int:
        """Tokens that sliding attention layers look back on; 0 without any."""
        return int(api.llama_model_n_swa(self.handle))

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return int(api.llama_model_size(self.handle))

    @property
    def encodes(self) -> bool:
        """Whether it has an encoder: it reads with another half than it writes with, or writes nothing."""
        return bool(api.llama_model_has_encoder(self.handle) or not api.llama_model_has_decoder(self.handle))

    @property
    def diffuses(self) -> bool:
        """Whether it writes all of a text at once, not token by token."""
        return bool(api.llama_model_is_diffusion(self.handle))

    @property
    def has_state(self) -> bool:
        """Whether layers of it have a recurrent state, which cannot go back."""
        return bool(api.llama_model_is_recurrent(self.handle) or api.llama_model_is_hybrid(self.handle))

    def metadata(self, key: str) -> str:
        """A value of the GGUF header as text, empty if there is none. `{arch}` stands for the
        architecture."""
        if "{arch}" in key:
            key = key.replace("{arch}", self.metadata("general.architecture"))
        buffer = ctypes.create_string_buffer(1024)
        length = api.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else ""


class _Batch:
    """A llama_batch over numpy arrays: filling it costs no ctypes store a token."""

    def __init__(self, capacity: int) -> None:
        self.token = np.zeros(capacity, np.int32)
        self.position = np.zeros(capacity, np.int32)
        self.sequence = np.zeros(capacity, np.int32)
        self.output = np.zeros(capacity, np.int8)
        self._sequence_counts = np.ones(capacity, np.int32)
        step = self.sequence.itemsize
        self._sequence_rows = (self.sequence.ctypes.data + step * np.arange(capacity)).astype(np.uintp)
        self.struct = api.llama_batch(
            n_tokens=0,
            token=_pointer(self.token, ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=_pointer(self.position, ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=_pointer(self._sequence_counts, ctypes.POINTER(ctypes.c_int32)),
            seq_id=_pointer(self._sequence_rows, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=_pointer(self.output, ctypes.POINTER(ctypes.c_int8)),
        )


class Context:
    """The KV cache and compute buffers of a model. One thread may use it; `abort` and `resume` any.

    Making one that does not fit in memory raises MemoryError.
    """

    def __init__(
        self,
        model: Model,
        size: int,
        threads: int,
        batch: int,
        sequences: int,
        cells: int | None = None,
        *,
        threads_reading: int | None = None,
        cache_type: CacheType = "f16",
        flash_attention: FlashAttention = "auto",
        full_window: bool = False,
    ) -> None:
        """`size` tokens are what one prompt and its reply may fill; `cells`, when more, hold what else stands
        beside them: another sequence that is being prepared, or several replies to one prompt.

        `full_window`: layers with sliding attention keep all of it, so that they can go back.
        """
        self._abort = ctypes.create_string_buffer(2)
        parameters = api.llama_context_default_params()
        parameters.n_ctx = max(size, cells or 0)
        parameters.n_batch = batch
        parameters.n_ubatch = batch
        parameters.n_seq_max = sequences
        parameters.kv_unified = True
        parameters.n_threads = threads
        parameters.n_threads_batch = threads_reading or threads
        parameters.flash_attn_type = FLASH_TYPES[flash_attention]
        parameters.type_k = parameters.type_v = CACHE_TYPES[cache_type]
        parameters.swa_full = full_window
        parameters.abort_callback = ctypes.cast(_strlen(), api.ggml_abort_callback)
        parameters.abort_callback_data = ctypes.addressof(self._abort)
        self.handle: Any = api.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            raise MemoryError("llama_init_from_model gave no context")
        # llama.cpp rounds up to a multiple of 256; what was asked for is what a prompt may fill.
        self.size = min(size, int(api.llama_n_ctx(self.handle)))
        self.cells = int(api.llama_n_ctx(self.handle))
        self.sequences = sequences
        self._has_state = model.has_state
        self._moves = not model.has_state and model.metadata("general.architecture") not in UNEVEN_POSITIONS
        self.checkpointed = model.has_state or (model.sliding_window > 0 and not full_window)
        """Whether going back needs a snapshot of the state."""
        self.checkpoint_budget = CHECKPOINT_BUDGET
        """Bytes that the snapshots of one sequence may take."""
        self.batch_size = batch
        self.vocabulary = int(api.llama_vocab_n_tokens(model.vocab))
        self._memory: Any = api.llama_get_memory(self.handle)
        self._batch = _Batch(batch)
        self._threads_reading = threads_reading or threads
        self.writing_threads = WritingThreads(self.write_with, threads)
        self._views: dict[int, Floats] = {}

    def close(self) -> None:
        """Frees the memory."""
        if self.handle:
            api.llama_free(self.handle)
            self.handle = None

    @property
    def has_memory(self) -> bool:
        """Whether there is a cache at all; encoders have none."""
        return bool(self._memory)

    def abort(self) -> None:
        """Makes a running `decode` return ABORTED within milliseconds, where the backend asks (CPU,
        Metal)."""
        self._abort[0] = b"\x01"

    def resume(self) -> None:
        """Takes `abort` back."""
        self._abort[0] = b"\x00"

    def write_with(self, threads: int) -> None:
        """Replies are decoded by so many threads from now on."""
        api.llama_set_n_threads(self.handle, threads, self._threads_reading)

    def decode(self, tokens: Sequence[int], position: int, sequence: int = 0) -> int:
        """Evaluates up to `batch_size` tokens; logits of the last one can be read after. llama_decode's
        status."""
        count, batch = len(tokens), self._batch
        batch.token[:count] = tokens
        batch.position[:count] = np.arange(position, position + count)
        batch.sequence[:count] = sequence
        batch.output[:count] = 0
        batch.output[count - 1] = 1
        batch.struct.n_tokens = count
        return int(api.llama_decode(self.handle, batch.struct))

    def decode_one(self, token: int, position: int, sequence: int = 0) -> int:
        """`decode` for a single token, without the slices."""
        batch = self._batch
        batch.token[0] = token
        batch.position[0] = position
        batch.sequence[0] = sequence
        batch.output[0] = 1
        batch.struct.n_tokens = 1
        return int(api.llama_decode(self.handle, batch.struct))

    def decode_each(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]) -> int:
        """One more token for each of several sequences, in one batch; `logits(row)` can be read after.
        llama_decode's status."""
        count, batch = len(tokens), self._batch
        batch.token[:count] = tokens
        batch.position[:count] = positions
        batch.sequence[:count] = sequences
        batch.output[:count] = 1
        batch.struct.n_tokens = count
        threads = self.writing_threads
        if not threads.are_fewer:
            return int(api.llama_decode(self.handle, batch.struct))
        api.llama_set_n_threads(self.handle, threads.now, threads.now)  # llama.cpp takes it for reading
        status = int(api.llama_decode(self.handle, batch.struct))
        self.write_with(threads.now)
        return status

    def logits(self, row: int = -1) -> Floats:
        """Of the last decoded token, or of that one in the batch: shape (vocabulary,), a view that the next
        `decode` overwrites."""
        pointer = api.llama_get_logits_ith(self.handle, row)
        address = ctypes.addressof(pointer.contents)
        view = self._views.get(address)
        if view is None:
            view = np.ctypeslib.as_array(pointer, (self.vocabulary,))
            if len(self._views) > self.sequences:
                self._views.clear()
            self._views[address] = view
        return view

    def copy(self, source: int, target: int, end: int, start: int = 0) -> None:
        """The tokens of a sequence from `start` up to `end` belong to another one too, in the same cells."""
        api.llama_memory_seq_cp(self._memory, source, target, start, end)

    @property
    def can_shift(self) -> bool:
        """Whether tokens may be moved to other positions; decoding after a forbidden move would abort. A
        recurrent state could be told so, and would still hold all that was cut out."""
        return self._moves and bool(api.llama_memory_can_shift(self._memory))

    def shift(self, sequence: int, start: int, by: int) -> None:
        """Moves all tokens from a position on by so many; the keys are turned on the next decode."""
        api.llama_memory_seq_add(self._memory, sequence, start, -1, by)

    def cut(self, sequence: int, start: int, end: int) -> bool:
        """Forgets a sequence from a position up to another; False where the model cannot."""
        return bool(api.llama_memory_seq_rm(self._memory, sequence, start, end))

    def remove(self, sequence: int, start: int) -> bool:
        """Forgets a sequence from a position on; False where the model can only forget everything."""
        return bool(api.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def forget_all(self) -> None:
        """Forgets every sequence and what its cells held: a state that is no number stays one otherwise."""
        api.llama_memory_clear(self._memory, True)

    def clear(self, sequence: int) -> None:
        """Forgets a whole sequence."""
        api.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def snapshot(self, sequence: int) -> bytes:
        """What of a sequence's state cannot be had by going back: recurrent states, sliding windows. Empty
        when llama.cpp gives none, and where one is more than all of them may take."""
        size = int(api.llama_state_seq_get_size_ext(self.handle, sequence, PARTIAL))
        if size > self.checkpoint_budget:
            return b""
        buffer = (ctypes.c_uint8 * size)()
        written = int(api.llama_state_seq_get_data_ext(self.handle, buffer, size, sequence, PARTIAL))
        return bytes(buffer) if written == size else b""

    def restore(self, sequence: int, snapshot: bytes) -> bool:
        """Puts a snapshot back; False when llama.cpp refuses it, and then the sequence is to be cleared."""
        buffer = (ctypes.c_uint8 * len(snapshot)).from_buffer_copy(snapshot)
        read = api.llama_state_seq_set_data_ext(self.handle, buffer, len(snapshot), sequence, PARTIAL)
        return int(read) == len(snapshot)

    def pack(self, sequence: int, most: int) -> bool:
        """Moves a sequence, which must be the only one, to the first cells, in order; not where that would
        move more than `most` bytes. False when llama.cpp lost it on the way."""
        size = int(api.llama_state_seq_get_size_ext(self.handle, sequence, 0))
        if size > most:
            return True
        buffer = _pointer(np.empty(size, np.uint8), ctypes.POINTER(ctypes.c_uint8))
        if int(api.llama_state_seq_get_data_ext(self.handle, buffer, size, sequence, 0)) != size:
            return True
        api.llama_memory_clear(self._memory, False)
        return int(api.llama_state_seq_set_data_ext(self.handle, buffer, size, sequence, 0)) == size

    def first_position(self, sequence: int) -> int:
        """The oldest position that is still there, -1 when none is. Sliding windows lose their oldest."""
        return int(api.llama_memory_seq_pos_min(self._memory, sequence))

    def length(self, sequence: int) -> int:
        """Tokens that stand in the cache for a sequence."""
        return int(api.llama_memory_seq_pos_max(self._memory, sequence)) + 1


def _pointer(array: npt.NDArray[Any], type_: Any) -> Any:
    return array.ctypes.data_as(type_)


def _strlen() -> Any:
    """libc's strlen as an abort callback: of a buffer it is 0 or 1, with neither Python nor its lock
    involved."""
    library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    return library.strlen

"""The messages between the program and its worker process: one JSON object a line, UTF-8, both ways.

The first field, `op`, tells them apart. Requests carry an `id`; every event that answers one carries it too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from chat.engine.lines import (
    Adapter,
    CacheChoice,
    CacheType,
    Candidate,
    Device,
    FinishReason,
    FlashAttention,
    Line,
    Purpose,
    SamplerStep,
    Span,
    TokenProbs,
)
from chat.engine.state_lines import Ping, Pong, RestoreState, SaveState, StateRestored, StateSaved
from presets.sampling import Sampling

# fmt: off
__all__ = [
    "Adapt", "Adapted", "Adapter", "Build", "CacheChoice", "CacheType", "Cancel", "Candidate", "Count",
    "Counted", "Device", "Devices", "Done", "Event", "Failed", "FinishReason", "FlashAttention", "Generate",
    "Load", "Loaded", "Loading", "Ping", "Pong", "Prepare", "Prepared", "Purpose", "Quit", "Reading",
    "ReplyDone", "Request", "RestoreState", "SamplerStep", "SaveState", "Span", "StateRestored",
    "StateSaved", "Swipes", "SwipesDone", "Text", "TokenProbs", "Work", "event_line", "request_line",
]
# fmt: on


class _Line(Line, BaseModel):
    """A message."""


# Requests ---------------------------------------------------------------------------------------------------


class Load(_Line):
    op: Literal["load"] = "load"
    id: int
    path: str
    context: int | None = None
    """Context size in tokens; None: the model's own, at most 16 384."""
    gpu_layers: int | Literal["auto"] = 0
    """Layers on the GPU; `auto`: as many as safely fit. The client steps down from what fails."""
    threads: int | None = None
    """Threads; None: the cores that this process may use."""
    vocabulary_only: bool = False
    """Enough to count tokens; no weights are read."""
    cache_type: CacheChoice = "auto"
    flash_attention: FlashAttention = "auto"
    full_window: bool = False
    """Layers with sliding attention keep the whole context, which costs memory and spares checkpoints."""
    adapters: list[Adapter] = []
    gpu_limit: int | None = None
    """Bytes on all GPUs together that the plan may use; the client lowers it when loading failed."""
    plans: str = ""
    """A file in which the worker remembers what loading needed on these devices; empty: nowhere."""


class Adapt(_Line):
    """Puts these adapters in the place of all that are in force, without loading the model again."""

    op: Literal["adapt"] = "adapt"
    id: int
    adapters: list[Adapter]


class Count(_Line):
    op: Literal["count"] = "count"
    id: int
    spans: list[Span]


class Generate(_Line):
    op: Literal["generate"] = "generate"
    id: int
    spans: list[Span]
    sampling: Sampling
    seed: int
    max_tokens: int
    stops: list[str]
    ban_eos: bool = False
    strip_names: list[str] = []
    keep_leading_space: bool = False
    dry_breakers: list[str] = []
    """Markers and names that break DRY's sequences, beside those of the sampling."""
    grammar_text: str = ""
    """What stands of the reply already: a grammar goes on behind it."""
    grammar_after: list[str] = []
    """The reply begins inside of thinking, which one of these ends: a grammar holds for what comes then."""
    siblings: list[str] = []
    """Replies to the same prompt, or how they begin: this one is not to begin as they do."""
    probs: int = 0
    """The so many best candidates before and after each sampler are recorded for every token; 0: none."""
    aside: bool = False
    """A side task: it is written in a sequence of its own, and the chat's stays as it is."""
    shift: bool = False
    """What left the middle of the prompt is cut out of the cache and the rest moved up, instead of being
    read again: quick, but approximate."""


class Prepare(_Line):
    """Reads a prompt ahead while nothing else is to be done; any other request but a Count ends it early.

    What was read stays: asked again, it goes on where it stopped. Without spans, what was read for `next` is
    dropped.
    """

    op: Literal["prepare"] = "prepare"
    id: int
    spans: list[Span]
    purpose: Purpose
    """`next`: in a sequence beside the chat's, which takes that one's place when a reply's prompt goes on
    from it. `draft`: in the sequence that keeps most of it."""


class Swipes(_Line):
    """Several replies to one prompt, side by side."""

    op: Literal["swipes"] = "swipes"
    id: int
    generate: Generate
    """All that they have in common; its seed does not count."""
    seeds: list[int]
    """One for each."""


class Cancel(_Line):
    op: Literal["cancel"] = "cancel"
    id: int
    """The request to stop."""
    reply: int | None = None
    """Only this one of several replies."""


class Devices(_Line):
    """Asks for the build and the devices, without a model."""

    op: Literal["devices"] = "devices"
    id: int


class Quit(_Line):
    op: Literal["quit"] = "quit"


# Events -----------------------------------------------------------------------------------------------------


class Build(_Line):
    op: Literal["build"] = "build"
    id: int
    llama_cpp_python: str
    system_info: str
    """What llama.cpp says of its build: instruction sets, backends."""
    supports_gpu_offload: bool
    devices: list[Device]
    cpu_seconds: float = 0.0
    """Of all cores, that the worker has used since it began."""
    memory_peak: int | None = None
    """Bytes."""


class Loading(_Line):
    op: Literal["loading"] = "loading"
    id: int
    fraction: float
    gpu_layers: int | None = None
    """Layers that this attempt puts on the GPU; None: not known yet."""
    gpu_bytes: int = 0
    """Bytes that this attempt means to use on all GPUs together."""


class Loaded(_Line):
    op: Literal["loaded"] = "loaded"
    id: int
    path: str
    context: int
    """Context size in tokens; 0 with a vocabulary alone."""
    context_trained: int
    layers: int
    gpu_layers: int
    """Layers that are on a GPU; 0: the CPU does it all."""
    device: str
    """The device that holds the layers, for the status line: `CPU`, `NVIDIA GeForce RTX 3060` ..."""
    vocabulary: int
    threads: int
    bos: str
    eos: str
    seconds: float
    notes: list[str] = []
    """One line each: what was made smaller than asked for, and why."""
    cells: int = 0
    """Tokens that the cache holds in all: `context`, and what stands beside the chat."""
    cache_type: CacheType = "f16"
    plan: str = ""
    """What takes how much memory, in one line."""
    can_shift: bool = False
    """Tokens may be moved in its cache, which the approximate shift needs."""
    checkpoints: bool = False
    """The model cannot go back in its cache by itself; snapshots of its state serve for that."""
    adapters: list[Adapter] = []


class Adapted(_Line):
    op: Literal["adapted"] = "adapted"
    id: int
    adapters: list[Adapter]
    """All that are in force now."""


class Counted(_Line):
    op: Literal["counted"] = "counted"
    id: int
    tokens: list[int]
    """Of each span; a token counts where its first byte lies. BOS counts in the first."""


class Reading(_Line):
    """Progress of reading the prompt into the KV cache, in tokens."""

    op: Literal["reading"] = "reading"
    id: int
    done: int
    total: int
    """New tokens to read; `reused` are beside them."""
    reused: int


class Text(_Line):
    """A piece of the reply, safe to show: whole characters, past every possible stop string."""

    op: Literal["text"] = "text"
    id: int
    text: str
    reply: int = 0
    """Which of several replies it belongs to."""


class Done(_Line):
    op: Literal["done"] = "done"
    id: int
    text: str
    """The whole reply: the joined `Text` pieces, without trailing white space."""
    finish_reason: FinishReason
    stop: str = ""
    """The stop string that ended it, if one did."""
    prompt_tokens: int
    evaluated_tokens: int
    """Prompt tokens that were read in this turn."""
    reused_tokens: int
    """Prompt tokens that stood in the KV cache already."""
    generated_tokens: int
    broken_at: int | None = None
    """Token at which the prompt left what the cache held; None: it only grew."""
    broken_span: int | None = None
    """The span of the prompt in which it did."""
    shifted_tokens: int = 0
    """Tokens that were moved up instead of being read again."""
    read_seconds: float
    write_seconds: float
    samplers: list[str] = []
    """The chain in force, in order, as `name(value)`."""
    rewound_tokens: int = 0
    """Tokens that were taken back because of banned strings."""
    probs: list[TokenProbs] = []
    """One for each token that was kept, and for the one that ended the reply, where they were asked for."""


class Prepared(_Line):
    """What became of a Prepare."""

    op: Literal["prepared"] = "prepared"
    id: int
    evaluated: int
    """Tokens that were read."""
    whole: bool
    """All of the prompt stands in the cache now; else something else came first, or there is no room."""
    room: bool = True
    """False: the cache has no room for a second sequence of that length."""
    seconds: float = 0.0


class ReplyDone(_Line):
    """One of several replies is over; its place among them is that of its seed."""

    op: Literal["reply_done"] = "reply_done"
    id: int
    reply: int
    done: Done
    error: str = ""
    """One line when it broke off; the others go on."""


class SwipesDone(_Line):
    """All of them are."""

    op: Literal["swipes_done"] = "swipes_done"
    id: int
    replies: list[Done]
    """In the order of the seeds. The prompt's reading is the first one's."""


class Failed(_Line):
    op: Literal["failed"] = "failed"
    id: int | None
    code: Literal["load", "context", "memory", "request", "adapter", "room", "internal"]
    message: str
    """One line: what, where, what to do."""


Work = Load | Adapt | Count | Generate | Prepare | Swipes | SaveState | RestoreState | Devices
"""Requests that are answered one after the other."""
AnyRequest = Work | Cancel | Ping | Quit
AnyEvent = (
    Build
    | Loading
    | Loaded
    | Adapted
    | Counted
    | Reading
    | Text
    | Done
    | Prepared
    | ReplyDone
    | SwipesDone
    | StateSaved
    | StateRestored
    | Pong
    | Failed
)
Request = Annotated[AnyRequest, Field(discriminator="op")]
Event = Annotated[AnyEvent, Field(discriminator="op")]
request_line: TypeAdapter[AnyRequest] = TypeAdapter(Request)
event_line: TypeAdapter[AnyEvent] = TypeAdapter(Event)

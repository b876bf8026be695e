"""The model on its way to being ready, as the screens see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.message import Message

from chat.tui.status import EngineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from chat.engine.protocol import Loaded
    from chat.engine.surface import EngineSurface
    from chat.opening import Opening


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where loading stands."""

    state: EngineState = "starting"
    model: str = ""
    device: str = ""
    fraction: float = 0.0
    context: int | None = None
    """Context size in tokens, once it is known."""
    lines: tuple[str, ...] = ()
    """`none`: how to get a model; `failed`: why, never empty then."""
    notes: tuple[str, ...] = ()
    """`ready`: what was given up for memory."""


@dataclass
class EngineChanged(Message):
    """Loading got on."""

    status: EngineStatus


@dataclass
class Failed(Message):
    """The program cannot go on: one line, and the exit status."""

    line: str
    exit_status: int


def load_model(opening: Opening, engine: EngineSurface, post: Callable[[Message], object]) -> None:
    """Choose the model and load it; blocks until it is ready. Tells everything through `post`."""
    from chat.engine.protocol import Loaded, Loading
    from chat.engine.surface import EngineError
    from chat.models import how_to_get_a_model
    from chat.opening import OpeningError

    try:
        choice = opening.model
        operation = opening.load(engine)
    except OpeningError as error:
        post(Failed(str(error), 2 if error.usage else 1))
        return
    if operation is None:
        lines = choice.notices or how_to_get_a_model(opening.settings)
        post(EngineChanged(EngineStatus("none", lines=lines)))
        return
    status = EngineStatus("loading", model=choice.path.stem if choice.path else "")
    post(EngineChanged(status))
    try:
        for event in operation:
            if isinstance(event, Loading):
                status = replace(status, fraction=event.fraction)
                post(EngineChanged(status))
            elif isinstance(event, Loaded):
                post(EngineChanged(ready(status, event)))
    except EngineError as error:
        post(EngineChanged(replace(status, state="failed", lines=(error.message,))))


def ready(status: EngineStatus, loaded: Loaded) -> EngineStatus:
    """The status of a model that stands ready."""
    return replace(
        status,
        state="ready",
        fraction=1.0,
        device=device(loaded),
        context=loaded.context,
        lines=(),
        notes=tuple(loaded.notes),
    )


def device(loaded: Loaded) -> str:
    """`CPU`, `GPU`, or `GPU 20/33` when only some layers are on it."""
    if not loaded.gpu_layers:
        return "CPU"
    if loaded.layers and loaded.gpu_layers < loaded.layers:
        return f"GPU {loaded.gpu_layers}/{loaded.layers} layers"
    return "GPU"

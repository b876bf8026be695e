"""What a person asked for when they started rpchat: the shared options of the command line, as one value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Launch:
    """The options of one start. None and empty mean: not said, decide from settings, chat, card and model."""

    card: str | None = None
    """A path, else a name."""
    model: str | None = None
    """A path to a GGUF file, else the name of one that `rpchat model list` shows."""
    format: str | None = None
    """Id of a prompt format."""
    sampling: str | None = None
    """Id of a sampling preset."""
    chat: str | None = None
    """Id of a chat, or the unique beginning of one."""
    new: bool = False
    """Begin a new chat instead of opening the card's last one."""
    persona: str | None = None
    """Name of a stored persona."""
    user: str | None = None
    """The user's name, without a stored persona."""
    user_persona: str | None = None
    """The user's description, already read from its file."""
    ctx: int | None = None
    """Context size in tokens."""
    max_tokens: int | None = None
    """Longest reply, in tokens."""
    gpu_layers: str = ""
    """`auto` or a number of layers; empty: the settings decide."""
    lora: tuple[str, ...] = ()
    """`--lora FILE[=SCALE]` as given; empty: what is settled for the model."""
    control_vector: tuple[str, ...] = ()
    cache_type: str = ""
    """`auto`, `f16`, `q8_0`, `q4_0`; empty: the settings decide."""
    flash_attention: str = ""
    """`auto`, `on`, `off`; empty: the settings decide."""
    seed: int | None = None
    settings: tuple[str, ...] = ()
    """`--set KEY=VALUE` as given: sampling values and format options."""
    counting: bool = False
    """The model only counts tokens: a file without weights will do."""
    mouse: bool = True

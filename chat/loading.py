"""How a model is to be loaded: what the command line says, else what is settled, else what fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast, get_args

from chat.adapters import AdapterTextError, adapter_of, adapter_text, adapters_from
from chat.engine.protocol import Adapter, CacheChoice, FlashAttention
from chat.launch import Launch
from chat.settings import Settings, SettingsError

if TYPE_CHECKING:
    from chat.engine.surface import GpuLayers

__all__ = ["PLANS_FILE", "LoadChoices", "load_choices", "remember_adapters", "settled_adapters"]

QUANTIZED = ("q8_0", "q4_0")

LAYER_DIGITS = 9
"""Of a number of layers, at most: of thousands Python makes no number."""

PLANS_FILE = "plans.json"
"""In the cache folder: what loading needed where the first plan had failed."""


class LoadChoices(TypedDict):
    """What `EngineSurface.load` takes beside the path."""

    context: int | None
    gpu_layers: GpuLayers
    threads: int | None
    cache_type: CacheChoice
    flash_attention: FlashAttention
    full_window: bool
    adapters: list[Adapter]


def load_choices(launch: Launch, settings: Settings, model: Path) -> LoadChoices:
    """For one model. Raises SettingsError for a value that is none, or for two that exclude each other."""
    cache_type = _one_of(launch.cache_type, settings, "cache_type", get_args(CacheChoice))
    flash = _one_of(launch.flash_attention, settings, "flash_attention", get_args(FlashAttention))
    if cache_type in QUANTIZED and flash == "off":
        raise SettingsError(f"cache_type {cache_type} needs flash_attention, which is off; set it to auto")
    return LoadChoices(
        context=launch.ctx or settings.context,
        gpu_layers=_gpu_layers(launch, settings),
        threads=settings.threads,
        cache_type=cast(CacheChoice, cache_type),
        flash_attention=cast(FlashAttention, flash),
        full_window=_yes(settings, "full_window"),
        adapters=_adapters(launch, settings, model),
    )


def settled_adapters(settings: Settings, model: Path) -> list[Adapter]:
    """Those that belong to a model by its settings. Raises SettingsError."""
    folder = settings.folders.config.parent
    try:
        loras = adapters_from(settings.of_model(model, "lora"), "lora", folder)
        return loras + adapters_from(settings.of_model(model, "control_vector"), "control", folder)
    except AdapterTextError as error:
        raise SettingsError(f"overrides of {model.name}: {error}") from error


def remember_adapters(settings: Settings, model: Path, adapters: list[Adapter]) -> None:
    """Make these the adapters that a model is loaded with. Raises SettingsError."""
    for key, kind in (("lora", "lora"), ("control_vector", "control")):
        texts = [adapter_text(adapter) for adapter in adapters if adapter.kind == kind]
        settings.remember_of_model(model, key, texts or None)


def _adapters(launch: Launch, settings: Settings, model: Path) -> list[Adapter]:
    """Those of the command line take the place of the settled ones of their kind."""
    settled = settled_adapters(settings, model)
    try:
        loras = [adapter_of(text, "lora") for text in launch.lora]
        controls = [adapter_of(text, "control") for text in launch.control_vector]
    except AdapterTextError as error:
        raise SettingsError(str(error)) from error
    return [
        *(loras or [adapter for adapter in settled if adapter.kind == "lora"]),
        *(controls or [adapter for adapter in settled if adapter.kind == "control"]),
    ]


def _gpu_layers(launch: Launch, settings: Settings) -> GpuLayers:
    value = launch.gpu_layers or settings.gpu_layers
    if value == "auto":
        return "auto"
    if not (value.isdecimal() and len(value) <= LAYER_DIGITS):
        raise SettingsError(f"gpu_layers: {value!r} is neither auto nor a number; mend the settings")
    return int(value)


def _one_of(asked: str, settings: Settings, key: str, allowed: tuple[str, ...]) -> str:
    value: Any = asked or settings.get(key)
    if isinstance(value, bool):  # what YAML makes of `on` and `off`
        value = "on" if value else "off"
    if value in (None, ""):
        return "auto"
    if value not in allowed:
        raise SettingsError(f"{key}: {value!r} is none of {', '.join(allowed)}; mend the settings")
    return str(value)


def _yes(settings: Settings, key: str) -> bool:
    value = settings.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise SettingsError(f"{key}: {value!r} is neither true nor false; mend the settings")

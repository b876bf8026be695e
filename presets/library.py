"""The formats and samplings at hand: the shipped ones, and the user's own, which win where ids are equal.

The only module of this package that reads files of the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict

from presets.errors import PresetError, nearest
from presets.format import PromptFormat
from presets.reading import Model, checked, read_document
from presets.sampling import Sampling

__all__ = ["NamedSampling", "PresetLibrary"]

_LARGEST = 1_000_000
"""Bytes; no preset is anywhere near."""


class NamedSampling(BaseModel):
    """A sampling preset: `values` are its settings, everything else is neutral."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str
    source: str
    values: dict[str, Any] = {}
    sampling: Sampling = Sampling()
    sillytavern: dict[str, Any] | None = None
    """The file of SillyTavern's that it was imported from, as it was: what has no effect here is kept."""
    notes: tuple[str, ...] = ()
    """A sentence for each value that this program does not know: it is kept in `values`, without effect."""


class PresetLibrary:
    """What can be chosen by id. `user_folder` may hold `formats/*.yaml` and `samplings/*.yaml`."""

    def __init__(self, user_folder: Path | None = None) -> None:
        self._user = user_folder

    def formats(self) -> list[PromptFormat]:
        """Every format that reads well, by id."""
        return self._formats.all()

    def format(self, id: str) -> PromptFormat:
        """The format with this id. Raises PresetError: the nearest name, or what is wrong in its file."""
        return self._formats.get(id)

    def samplings(self) -> list[NamedSampling]:
        """Every sampling preset that reads well, by id."""
        return self._samplings.all()

    def sampling(self, id: str) -> NamedSampling:
        """The sampling preset with this id. Raises PresetError as `format` does."""
        return self._samplings.get(id)

    def shipped(self) -> tuple[set[str], set[str]]:
        """The ids of the formats and of the samplings that come with the program."""
        own = PresetLibrary()
        return {format.id for format in own.formats()}, {sampling.id for sampling in own.samplings()}

    def problems(self) -> list[PresetError]:
        """One for each file that could not be used."""
        return [*self._formats.broken.values(), *self._samplings.broken.values()]

    @cached_property
    def _formats(self) -> _Shelf[PromptFormat]:
        return _Shelf("format", PromptFormat, self._files("formats"))

    @cached_property
    def _samplings(self) -> _Shelf[NamedSampling]:
        return _Shelf("sampling", NamedSampling, self._files("samplings"))

    def _files(self, folder: str) -> list[_File]:
        """Shipped ones first, so that the user's take their place."""
        paths: list[Traversable] = list(files("presets").joinpath(folder).iterdir())
        own = self._user / folder if self._user else None
        if own is not None and own.is_dir():
            paths += sorted(own.iterdir())
        return [_File(path) for path in paths if path.name.endswith((".yaml", ".yml"))]


class _File:
    """A preset's file, read when it is asked for."""

    def __init__(self, path: Traversable) -> None:
        self.path = path
        self.id = path.name.rsplit(".", 1)[0]
        self.text = ""
        self.document: dict[str, Any] = {}

    def read(self) -> None:
        self.text = _text(self.path)
        self.document = {"id": self.id, **read_document(self.text, str(self.path))}
        if self.document["id"] != self.id:
            raise PresetError(
                f"{self.path}: its id is {self.document['id']!r}, its file name says {self.id!r}"
            )


class _Shelf(Generic[Model]):
    """The presets of one kind, read and checked; a broken file is set aside and harms no other."""

    def __init__(self, kind: str, model: type[Model], candidates: Iterable[_File]) -> None:
        self._kind = kind
        self._model = model
        self.found: dict[str, Model] = {}
        self.broken: dict[str, PresetError] = {}
        self._read: dict[str, list[_File]] = {}
        for file in candidates:
            try:
                file.read()
                self._read.setdefault(file.id, []).append(file)
            except PresetError as error:
                self.broken[file.id] = error
        for same in list(self._read.values()):
            for file in same:
                try:
                    self.found[file.id] = self._checked(file)
                except PresetError as error:
                    self.broken[file.id] = error

    def all(self) -> list[Model]:
        return [self.found[id] for id in sorted(self.found)]

    def get(self, id: str) -> Model:
        if id in self.found:
            return self.found[id]
        if id in self.broken:
            raise self.broken[id]
        raise PresetError(f"there is no {self._kind} {id!r}{nearest(id, sorted(self.found))}")

    def _checked(self, file: _File) -> Model:
        document = self._whole(file, ())
        where = str(file.path)
        model = checked(self._model, document, file.text, where)
        if isinstance(model, NamedSampling):
            known = {name: value for name, value in model.values.items() if name in Sampling.model_fields}
            sampling = checked(_SamplingValues, {"values": known}, file.text, where).values
            notes = tuple(_unknown(name, where) for name in model.values if name not in known)
            return model.model_copy(update={"sampling": sampling, "notes": notes})
        return model

    def _whole(self, file: _File, seen: tuple[_File, ...]) -> dict[str, Any]:
        """The document with what it inherits by `like`: another preset, or the shipped one of its name."""
        document = dict(file.document)
        base = document.pop("like", None)
        if base is None:
            return document
        others = [other for other in self._read.get(str(base), []) if other not in (*seen, file)]
        if not others:
            raise PresetError(f"{file.path}: there is no {self._kind} {base!r} for it to be like")
        inherited = self._whole(others[-1], (*seen, file))
        # A chat template tells the format itself, never one that is merely like it.
        inherited.pop("template", None)
        return _merged(inherited, document)


class _SamplingValues(BaseModel):
    """Only to name the line of a wrong value."""

    values: Sampling


def _unknown(name: str, where: str) -> str:
    said = f"{where}: values.{name} is kept, but has no effect: there is no such setting"
    return said + nearest(name, sorted(Sampling.model_fields))


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        held = result.get(key)
        both = isinstance(held, Mapping) and isinstance(value, Mapping) and key != "words"
        result[key] = _merged(held, value) if both and held is not None else value
    return result


def _text(path: Traversable) -> str:
    try:
        if isinstance(path, Path) and not path.is_file():
            raise PresetError(f"{path}: not a file")
        data = path.read_bytes()
    except OSError as error:
        raise PresetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > _LARGEST:
        raise PresetError(f"{path}: {len(data)} bytes is no preset")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PresetError(f"{path}: not UTF-8 text") from error

"""Which format and sampling a model was made for, and why: from its file name and its GGUF header.

In this order (the user's own choice, which comes first of all, is the caller's): the names of the models of
2023, the file's chat template (a shipped format's where it has its signature, else itself), the tokenizer's
kind, and last a guess that says so. The rules are data, `models.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from presets.chat_template import ID as OWN_TEMPLATE
from presets.chat_template import template_format, thinking_of
from presets.errors import PresetError
from presets.format import PromptFormat
from presets.library import NamedSampling, PresetLibrary
from presets.model_sampling import OWN_SAMPLING, recommended
from presets.reading import checked, read_document
from presets.settings import apply_settings

__all__ = ["Match", "ModelFacts", "apply_settings", "family_sampling", "format_for", "match", "sampling_for"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model file; empty or None where its header does not say."""

    file_name: str
    name: str = ""
    """`general.name`; `basename` and `finetune` are its neighbours."""
    basename: str = ""
    finetune: str = ""
    architecture: str = ""
    tokenizer_model: str = ""
    """`tokenizer.ggml.model`: `llama` is SentencePiece, `gpt2` byte-level BPE."""
    tokenizer_pre: str = ""
    vocabulary: int | None = None
    chat_template: str = ""
    bos: str = ""
    """The tokens that begin and end a text, by name; a chat template writes them."""
    eos: str = ""
    sampling: Mapping[str, float | int | str] = field(default_factory=dict)
    """`general.sampling.*` without that prefix: what the model's makers recommend."""


@dataclass(frozen=True, slots=True)
class Match:
    """The choice for a model."""

    format: str
    sampling: str
    why: str
    """One line for people."""
    certain: bool
    """False: a guess."""
    alternatives: tuple[str, ...] = ()
    """Other formats that the model may know."""


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    format: str


class _NameRule(_Rule):
    match: str
    alternatives: tuple[str, ...] = ()
    over_template: bool = False


class _TokenizerRule(_Rule):
    pre: str = ""
    architecture: str = ""
    tokenizer: str = ""

    def fits(self, facts: ModelFacts) -> bool:
        wanted = (self.pre, self.architecture, self.tokenizer)
        held = (facts.tokenizer_pre, facts.architecture, facts.tokenizer_model)
        return all(not want or want == have for want, have in zip(wanted, held, strict=True))


class _SamplingRule(BaseModel):
    """A family by its sampling preset; every field given must fit, `names` any of the model's names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sampling: str
    names: str = ""
    pre: str = ""
    architecture: str = ""

    def fits(self, facts: ModelFacts) -> bool:
        if self.pre and self.pre != facts.tokenizer_pre:
            return False
        if self.architecture and not re.fullmatch(self.architecture, facts.architecture):
            return False
        return not self.names or any(
            re.search(self.names, name, re.IGNORECASE) for _what, name in _names(facts)
        )


class _Vocabulary(BaseModel):
    tokenizer: str
    entries: tuple[int, int]

    def may_be(self, facts: ModelFacts) -> bool:
        """Also where the header says nothing: then the name is all there is."""
        low, high = self.entries
        kind = facts.tokenizer_model in ("", self.tokenizer)
        return kind and (facts.vocabulary is None or low <= facts.vocabulary <= high)


class _Models(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    vocabulary: _Vocabulary
    names: tuple[_NameRule, ...]
    tokenizers: tuple[_TokenizerRule, ...]
    samplings: tuple[_SamplingRule, ...]
    guess: str


def match(facts: ModelFacts, library: PresetLibrary) -> Match:
    """The format and sampling for a model. A rule whose format is not at hand falls to the next, said so."""
    formats = {format.id: format for format in library.formats()}
    known = [*formats.values()]
    own, problem = _own_template(facts, known)
    if own is not None:
        formats[own.id] = own
    missing: list[str] = []
    for format, why, certain, alternatives in _candidates(facts, known, own, problem):
        if format not in formats:
            missing.append(f"{why}, but format {format} is not at hand")
            continue
        return Match(
            format,
            family_sampling(facts, formats[format], library),
            "; ".join([*missing, why]),
            certain and not missing,
            tuple(id for id in alternatives if id in formats and id != format),
        )
    raise LookupError("no format is at hand")


def format_for(id: str, facts: ModelFacts | None, library: PresetLibrary) -> PromptFormat:
    """The format with this id as it is for a model: `gguf-jinja` is its own chat template, and a format that
    knows nothing of thinking learns from the template how this model does it. Use it for every format that a
    model is going to answer in.

    Raises PresetError, in one line.
    """
    if id == OWN_TEMPLATE:
        if facts is None or not facts.chat_template.strip():
            raise PresetError(f"format {OWN_TEMPLATE} needs a model whose file has a chat template")
        try:
            return template_format(facts.chat_template, facts.bos, facts.eos, source=_template_source(facts))
        except ValueError as error:
            problem = str(error).removesuffix("; choose another format")
            raise PresetError(f"{facts.file_name}: {problem}; choose another format") from error
    format = library.format(id)
    if facts is None or format.thinking is not None or not facts.chat_template.strip():
        return format
    thinking = thinking_of(facts.chat_template, facts.bos, facts.eos)
    return format.model_copy(update={"thinking": thinking}) if thinking else format


def sampling_for(id: str, facts: ModelFacts | None, library: PresetLibrary) -> NamedSampling:
    """The sampling preset with this id; `model` is what the model's file recommends. Raises PresetError."""
    preset = library.sampling(id)
    return recommended(preset, facts.sampling) if facts is not None and id == OWN_SAMPLING else preset


def _template_source(facts: ModelFacts) -> str:
    return f"tokenizer.chat_template of {facts.file_name}"


def _own_template(facts: ModelFacts, formats: Sequence[PromptFormat]) -> tuple[PromptFormat | None, str]:
    """The model's own chat template as a format where no shipped one has its signature; else what is wrong
    with it."""
    text = facts.chat_template
    if not text.strip() or _by_template(text, formats):
        return None, ""
    try:
        return template_format(text, facts.bos, facts.eos, source=_template_source(facts)), ""
    except ValueError as error:
        return None, str(error).partition(": ")[2]


def family_sampling(facts: ModelFacts, format: PromptFormat, library: PresetLibrary) -> str:
    """The sampling preset of a model's family: the format's where that is older than the families known."""
    if format.sampling != "modern":
        return format.sampling
    rules = [*_models().samplings]
    own = [OWN_SAMPLING] if facts.sampling else []
    wanted = [*(rule.sampling for rule in rules if rule.fits(facts)), *own]
    at_hand = {preset.id for preset in library.samplings()}
    return next((id for id in wanted if id in at_hand), format.sampling)


_Candidate = tuple[str, str, bool, tuple[str, ...]]
"""Format, why, whether that is certain, alternatives."""


def _candidates(
    facts: ModelFacts, formats: Sequence[PromptFormat], own: PromptFormat | None, problem: str
) -> Iterator[_Candidate]:
    rules = _models()
    template = _by_template(facts.chat_template, formats)
    yield from _by_name(facts, rules, template)
    if template:
        why = f"its chat template is that of {template.title}"
        if "<think>" in facts.chat_template:
            why += "; it may think aloud before it answers"
        yield template.id, why, True, ()
    if own is not None:
        why = "its own chat template, for it is none of the shipped formats'"
        if own.thinking:
            why += "; it may think aloud before it answers"
        yield own.id, why, True, ()
    but = (
        f", for its chat template is none that is known here and cannot be used: {problem}" if problem else ""
    )
    for kind in rules.tokenizers:
        if kind.fits(facts):
            said = f"tokenizer {facts.tokenizer_pre}" if kind.pre else f"architecture {facts.architecture}"
            yield kind.format, f"a guess from its {said}{but}", False, ()
    nothing = but or ", for neither its name nor its header says what it was made for"
    yield rules.guess, f"a guess{nothing}", False, ()
    yield from ((format.id, f"a guess{nothing}", False, ()) for format in formats)


def _by_name(facts: ModelFacts, rules: _Models, template: PromptFormat | None) -> Iterator[_Candidate]:
    if not rules.vocabulary.may_be(facts):
        return
    for rule in rules.names:
        if facts.chat_template.strip() and not rule.over_template:
            continue
        for what, name in _names(facts):
            found = re.search(rule.match, name, re.IGNORECASE)
            if found:
                others = (*rule.alternatives, *([template.id] if template else []))
                yield rule.format, f"its {what} says {found[0].strip('-')}", True, others
                break


def _names(facts: ModelFacts) -> list[tuple[str, str]]:
    """The names of a model with what they are, spaces and `_` as `-`."""
    named = [
        ("file name", facts.file_name.replace("\\", "/").rsplit("/", 1)[-1]),
        ("name", facts.name),
        ("base name", facts.basename),
        ("finetune", facts.finetune),
    ]
    return [(what, re.sub(r"[\s_]", "-", name)) for what, name in named if name]


def _by_template(text: str, formats: Sequence[PromptFormat]) -> PromptFormat | None:
    """The format with the most telling signature that `text` has."""
    fitting = [
        (sum(map(len, signature.contains)), format)
        for format in formats
        for signature in format.template
        if all(mark in text for mark in signature.contains)
        and not any(mark in text for mark in signature.lacks)
    ]
    return max(fitting, key=lambda item: item[0])[1] if fitting else None


@cache
def _models() -> _Models:
    text = files("presets").joinpath("models.yaml").read_text("utf-8")
    return checked(_Models, read_document(text, "models.yaml"), text, "models.yaml")

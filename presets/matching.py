"""Which format and sampling a model was made for, and why: from its file name and its GGUF header.

In this order (the user's own choice, which comes first of all, is the caller's): the names of the models of
2023, the file's chat template, the tokenizer's kind, and last a guess that says so. The rules are data,
`models.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from presets.format import PromptFormat
from presets.library import PresetLibrary
from presets.reading import checked, read_document
from presets.settings import apply_settings

__all__ = ["Match", "ModelFacts", "apply_settings", "match"]


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
    guess: str


def match(facts: ModelFacts, library: PresetLibrary) -> Match:
    """The format and sampling for a model. A rule whose format is not at hand falls to the next, said so."""
    formats = {format.id: format for format in library.formats()}
    missing: list[str] = []
    for format, why, certain, alternatives in _candidates(facts, list(formats.values())):
        if format not in formats:
            missing.append(f"{why}, but format {format} is not at hand")
            continue
        return Match(
            format,
            formats[format].sampling,
            "; ".join([*missing, why]),
            certain and not missing,
            tuple(id for id in alternatives if id in formats and id != format),
        )
    raise LookupError("no format is at hand")


_Candidate = tuple[str, str, bool, tuple[str, ...]]
"""Format, why, whether that is certain, alternatives."""


def _candidates(facts: ModelFacts, formats: Sequence[PromptFormat]) -> Iterator[_Candidate]:
    rules = _models()
    template = _by_template(facts.chat_template, formats)
    yield from _by_name(facts, rules, template)
    if template:
        why = f"its chat template is that of {template.title}"
        if "<think>" in facts.chat_template:
            why += "; it may think aloud before it answers"
        yield template.id, why, True, ()
    unknown = bool(facts.chat_template.strip())
    but = ", for its chat template is none that is known here" if unknown else ""
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
    named = [
        ("file name", facts.file_name.replace("\\", "/").rsplit("/", 1)[-1]),
        ("name", facts.name),
        ("base name", facts.basename),
        ("finetune", facts.finetune),
    ]
    for rule in rules.names:
        if facts.chat_template.strip() and not rule.over_template:
            continue
        for what, name in named:
            found = re.search(rule.match, re.sub(r"[\s_]", "-", name), re.IGNORECASE)
            if found:
                others = (*rule.alternatives, *([template.id] if template else []))
                yield rule.format, f"its {what} says {found[0].strip('-')}", True, others
                break


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

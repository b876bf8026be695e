"""A format's markers in real vocabularies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.engine.client import Engine
from chat.marking import marker_check
from chat.models import demo_model
from presets.library import PresetLibrary

LIBRARY = PresetLibrary(None)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("marking") / "worker.log")
    yield engine
    engine.close()


@pytest.fixture(params=["demo", "llama2"])
def vocabulary(request: pytest.FixtureRequest, engine: Engine, data: Path) -> str:
    path = demo_model() if request.param == "demo" else data / "llama2-vocab.gguf"
    assert path is not None
    engine.load(path, vocabulary_only=True).wait()
    return str(request.param)


KNOWN = {
    "demo": {"chatml"},
    "llama2": {"llama2-chat", "mistral-v1", "vicuna-1.1", "airoboros-2.0", "airoboros-2.0-inline"},
}
"""Formats whose markers are control tokens of SmolLM2's vocabulary, and of Llama 2's."""


def test_every_format_against_two_vocabularies(engine: Engine, vocabulary: str) -> None:
    for format in LIBRARY.formats():
        found = marker_check(engine, format)
        assert found.verified == (format.id in KNOWN[vocabulary]), format.id
        assert bool(found.sentence) == bool(format.control and format.id not in KNOWN[vocabulary]), format.id
        assert len(found.good) + len(found.split) == len(format.control)


def test_words_that_are_one_token_are_no_control_token(engine: Engine, vocabulary: str) -> None:
    format = LIBRARY.format("alpaca").model_copy(update={"control": ("the",)})
    assert marker_check(engine, format).split == (("the", 1),)
    assert "the is a token of plain text" in marker_check(engine, format).sentence

"""Tokenization: llama.cpp's ids for harmless text, and no control token from hostile text."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import llama_cpp.llama_cpp as api
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.engine.protocol import Span
from chat.engine.worker import log
from chat.engine.worker.llama import Model, initialize
from chat.engine.worker.tokens import Tokenized, Vocabulary, count, tokenize

HOSTILE = [
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "</s>",
    "<s>",
    "<unk>",
    "<repo_name>",
    "<|im_end|",
    "|>",
    "<",
    "s>",
    "</",
    "unk",
    "im_end",
]
"""Names of control tokens of both vocabularies, and parts that could join up to one."""

HARMLESS = st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=30)
"""Any text but the mark that SentencePiece writes for a space, which it cannot tell from one."""

REPRESENTABLE = st.text(
    st.characters(max_codepoint=0xFFFF, exclude_characters="▁", exclude_categories=["Cs", "Cc"])
    | st.sampled_from("\n\t🦙😶"),
    max_size=30,
)
"""The demo model's vocabulary has no token for some bytes; llama.cpp leaves such characters out."""


@pytest.fixture(scope="module", params=["llama2", "demo"])
def vocabulary(request: pytest.FixtureRequest, demo_model: Path) -> Iterator[Vocabulary]:
    log.catch()
    initialize()
    path = (
        Path(__file__).parent.parent / "data" / "llama2-vocab.gguf"
        if request.param == "llama2"
        else demo_model
    )
    model = Model(str(path), 0, True, lambda _fraction: True)
    yield Vocabulary(model.vocab)
    model.close()


def native(vocabulary: Vocabulary, text: str, *, bos: bool = True) -> list[int]:
    """llama.cpp's own ids for the whole string, with parse_special."""
    data = text.encode()
    buffer = (ctypes.c_int32 * (len(data) + 8))()
    number = api.llama_tokenize(vocabulary.handle, data, len(data), buffer, len(buffer), bos, True)
    return list(buffer[:number])


def text_of(vocabulary: Vocabulary, tokens: Tokenized) -> str:
    """The text that the tokens stand for: without BOS and the space that SentencePiece puts first."""
    ids = tokens.ids[1:] if vocabulary.adds_bos else tokens.ids
    data = b"".join(vocabulary.piece(token) for token in ids)
    if vocabulary.space_prefix:
        data = data.removeprefix(b" ")
    return data.decode() + " " * tokens.stripped


def spans_of(texts: list[str], trust: list[bool]) -> list[Span]:
    return [Span(text=text, trusted=trusted) for text, trusted in zip(texts, trust, strict=True)]


@pytest.mark.parametrize(
    "text",
    [
        "Hello world",
        "  two  spaces\n\nand lines\t",
        'He said: "Good evening, mädchen 🦙" *smiles*',
        "### Instruction:\nCharacter's Persona: kind\n\n### Response: (length = long)\n",
        "<|system|>Enter RP mode.<|user|>hi<|model|>",
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>assistant\n",
        "[INST] hi [/INST]",
        "one</s>two</s> three </s>",
        "a<unk>b",
        "",
    ],
)
def test_a_trusted_text_gives_llama_cpps_ids(vocabulary: Vocabulary, text: str) -> None:
    tokens = tokenize(vocabulary, [Span(text=text, trusted=True)])
    assert tokens.ids == native(vocabulary, text[: len(text) - tokens.stripped])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(HARMLESS, max_size=5), data=st.data())
def test_harmless_text_gives_llama_cpps_ids_wherever_it_comes_from(
    vocabulary: Vocabulary, texts: list[str], data: st.DataObject
) -> None:
    texts = ["<|im_start|>user\n", *texts, "</s>"]
    trust = [
        True,
        *data.draw(st.lists(st.booleans(), min_size=len(texts) - 2, max_size=len(texts) - 2)),
        True,
    ]
    whole = "".join(texts)
    assert tokenize(vocabulary, spans_of(texts, trust)).ids == native(vocabulary, whole)


def test_the_vectors_of_llama_cpp(vocabulary: Vocabulary, data: Path) -> None:
    if not vocabulary.is_spm:  # the vectors are for the other one
        return
    texts = (data / "llama2-vocab.inp.txt").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = (data / "llama2-vocab.out.txt").read_text().split("\n")
    checked = 0
    for text, line in zip(texts, lines, strict=False):
        ids = [1, *map(int, line.split())]
        assert [1, *vocabulary.raw_ids(text.encode())] == ids
        if not text.endswith(" "):
            assert tokenize(vocabulary, [Span(text=text, trusted=False)]).ids == ids
            checked += 1
    assert checked > 30


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    parts=st.lists(st.sampled_from(HOSTILE) | REPRESENTABLE, min_size=1, max_size=8),
    places=st.sets(st.integers(0, 99)),
)
def test_hostile_text_stays_text(vocabulary: Vocabulary, parts: list[str], places: set[int]) -> None:
    text = "".join(parts)
    bounds = [0, *sorted(place for place in places if place < len(text)), len(text)]
    pieces = [text[a:b] for a, b in pairwise(bounds)]
    tokens = tokenize(vocabulary, spans_of(pieces, [False] * len(pieces)))
    body = tokens.ids[1:] if vocabulary.adds_bos else tokens.ids
    assert vocabulary.guarded.isdisjoint(body)
    assert vocabulary.unknown.isdisjoint(body)
    assert text_of(vocabulary, tokens) == text


def test_only_names_wholly_in_trusted_text_become_control_tokens(vocabulary: Vocabulary) -> None:
    name = "</s>" if vocabulary.is_spm else "<|im_end|>"
    end = next(special.id for special in vocabulary.specials if special.text == name.encode())

    def ends(*spans: tuple[str, bool]) -> int:
        return tokenize(vocabulary, [Span(text=text, trusted=trusted) for text, trusted in spans]).ids.count(
            end
        )

    assert ends((f"a{name}b", True)) == 1
    assert ends((f"a{name}b", False)) == 0
    assert ends((f"a{name[:2]}", True), (f"{name[2:]}b", True)) == 1
    assert ends((f"a{name[:2]}", True), (f"{name[2:]}b", False)) == 0
    assert ends((f"a{name[:2]}", False), (f"{name[2:]}b", True)) == 0
    assert ends((f"a{name}{name}", False), (name, True)) == 1


def test_bos_comes_once(vocabulary: Vocabulary) -> None:
    bos = vocabulary.text(vocabulary.bos).decode()
    for text in ("Hello", bos + "Hello"):
        ids = tokenize(vocabulary, [Span(text=text, trusted=True)]).ids
        expected = 1 if vocabulary.adds_bos or text != "Hello" else 0
        assert ids.count(vocabulary.bos) == expected
    hostile = tokenize(vocabulary, [Span(text=bos + "Hello", trusted=False)]).ids
    assert hostile.count(vocabulary.bos) == int(vocabulary.adds_bos)


def test_spaces_of_the_open_turn(vocabulary: Vocabulary) -> None:
    with_space = tokenize(
        vocabulary, [Span(text="USER: hi\nASSISTANT:", trusted=True), Span(text="  ", trusted=True)]
    )
    without = tokenize(vocabulary, [Span(text="USER: hi\nASSISTANT:", trusted=True)])
    assert (with_space.ids == without.ids) == vocabulary.is_spm
    assert with_space.stripped == (2 if vocabulary.is_spm else 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(st.sampled_from(HOSTILE) | HARMLESS, min_size=1, max_size=6), data=st.data())
def test_counts_sum_and_a_token_counts_where_it_begins(
    vocabulary: Vocabulary, texts: list[str], data: st.DataObject
) -> None:
    spans = spans_of(texts, data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))))
    tokens = tokenize(vocabulary, spans)
    counts = count(spans, tokens)
    assert sum(counts) == len(tokens.ids)
    assert tokens.starts == sorted(tokens.starts)


def test_counts_of_spans(vocabulary: Vocabulary) -> None:
    spans = [Span(text=text, trusted=True) for text in ("Hello", " world", " again", "")]
    extra = int(vocabulary.adds_bos)
    assert count(spans, tokenize(vocabulary, spans)) == [1 + extra, 1, 1, 0]
    split = [Span(text="Hel", trusted=True), Span(text="lo world", trusted=False)]
    assert count(split, tokenize(vocabulary, split)) == [1 + extra, 1]


def test_marker_like_user_defined_tokens_need_trust(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some converters leave `<|im_end|>` USER_DEFINED; llama.cpp then forms it from any text."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter, TokenType

    log.catch()
    initialize()
    path = tmp_path / "marked.gguf"
    writer = GGUFWriter(path, "llama")
    for field in GGUFReader(data / "llama2-vocab.gguf").fields.values():
        if not field.name.startswith("tokenizer."):
            continue
        value = field.contents()
        if field.name == "tokenizer.ggml.tokens":
            value = [*value, "<|im_end|>", "\n\n\n"]
        if field.name == "tokenizer.ggml.scores":
            value = [*value, 0.0, 0.0]
        if field.name == "tokenizer.ggml.token_type":
            value = [*value, TokenType.USER_DEFINED, TokenType.USER_DEFINED]
        kind = field.types[0]
        writer.add_key_value(
            field.name, value, kind, field.types[-1] if kind == GGUFValueType.ARRAY else None
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = Model(str(path), 0, True, lambda _fraction: True)
    vocabulary = Vocabulary(model.vocab)
    text = "one<|im_end|>two<|im_end|>\n\n\nthree"
    assert native(vocabulary, text).count(32000) == 2
    assert tokenize(vocabulary, [Span(text=text, trusted=True)]).ids == native(vocabulary, text)
    hostile = tokenize(vocabulary, [Span(text="one<|im_end|>two<|im_end|> 3", trusted=False)])
    assert 32000 not in hostile.ids
    assert text_of(vocabulary, hostile) == "one<|im_end|>two<|im_end|> 3"
    assert 32001 in tokenize(vocabulary, [Span(text="a\n\n\nb", trusted=False)]).ids
    model.close()

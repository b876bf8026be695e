"""The GGUF header reader: what it reads, how quickly, and that no bytes upset it."""

from __future__ import annotations

import contextlib
import os
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.gguf import _BLOCKS, QUANTIZATIONS, GGUFError, read_header

WriteModel = Callable[..., Path]


def test_a_header_gives_metadata_lengths_and_tensors(tmp_path: Path, tiny_model: WriteModel) -> None:
    header = read_header(tiny_model(tmp_path / "tiny.gguf"))
    assert header.text("general.name") == "Tiny Model"
    assert header.architecture == "llama"
    assert header.quantization == "Q4_K_M"
    assert header.number("{arch}.context_length") == 4096
    assert header.number("{arch}.attention.head_count_kv") == 8
    assert header.lengths["tokenizer.ggml.tokens"] == 8
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert [(t.name, t.shape, t.size) for t in header.tensors] == [
        ("token_embd.weight", (64, 8), 2048),
        ("output.weight", (32, 4), 256),
    ]
    assert not header.truncated


def test_the_ends_of_a_text_are_read_out_of_the_vocabulary(tmp_path: Path) -> None:
    for bos, eos, spelled in [
        (1, 2050, ("t1", "t2050")),
        (1024, 99_999, ("t1024", "")),
        (None, None, ("", "")),
    ]:
        writer = gguf.GGUFWriter(tmp_path / "t.gguf", "llama")
        writer.add_token_list([f"t{number}" for number in range(3000)])
        if bos is not None and eos is not None:
            writer.add_bos_token_id(bos)
            writer.add_eos_token_id(eos)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        header = read_header(tmp_path / "t.gguf")
        assert (header.bos, header.eos) == spelled


def test_sizes_and_names_are_those_of_the_gguf_package() -> None:
    activations_only = {gguf.GGMLQuantizationType.Q8_1}
    for kind, block in gguf.GGML_QUANT_SIZES.items():
        if kind not in activations_only:
            assert _BLOCKS[kind.value] == block, kind
    for kind in gguf.LlamaFileType:
        if kind != gguf.LlamaFileType.GUESSED:
            assert kind.name.replace("ALL_", "").replace("MOSTLY_", "").startswith(QUANTIZATIONS[kind.value])


def test_a_download_that_stopped_is_seen(tmp_path: Path, tiny_model: WriteModel) -> None:
    whole = tiny_model(tmp_path / "tiny.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[:-100])
    assert read_header(cut).truncated
    cut.write_bytes(whole[:200])
    with pytest.raises(GGUFError, match="stops in the middle") as caught:
        read_header(cut)
    assert caught.value.code == "truncated"


STRANGERS = [
    (b"", "truncated", "empty"),
    (b"hello, I am a text\n", "not_gguf", "text"),
    (b"\x89PNG\r\n\x1a\n", "not_gguf", "PNG"),
    (b"<!DOCTYPE html><html>", "not_gguf", "web page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "not_gguf", "Git LFS"),
    (b"PK\x03\x04rest", "not_gguf", "PyTorch"),
    (b"\x10\0\0\0\0\0\0\0" + b'{"a": 1}', "not_gguf", "safetensors"),
    (b"\0" * 64, "not_gguf", "zeros"),
    (b"tjgg" + struct.pack("<I", 3) + bytes(64), "pre_gguf", "a pre-GGUF file (GGML v3)"),
    (b"tjgg" + struct.pack("<I", 1) + bytes(64), "pre_gguf", "a pre-GGUF file (GGML v1)"),
    (b"lmgg" + bytes(64), "pre_gguf", "a pre-GGUF file (GGML)"),
    (b"algg" + bytes(64), "pre_gguf", "LoRA"),
    (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version", "version 1"),
    (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version", "newer"),
    (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version", "big-endian"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "corrupt", "damaged"),
    (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "corrupt", "damaged"),
    (b"GGUF\x03", "truncated", "stops"),
]


@pytest.mark.parametrize(("data", "code", "words"), STRANGERS)
def test_a_file_that_is_no_gguf_says_what_it_is_in_one_line(
    tmp_path: Path, data: bytes, code: str, words: str
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(GGUFError) as caught:
        read_header(path)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_paths_folders_and_pipes_are_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, code in [
        (tmp_path / "no", "missing"),
        (tmp_path, "unreadable"),
        (tmp_path / "pipe", "unreadable"),
        (Path("nul\0"), "unreadable"),
    ]:
        with pytest.raises(GGUFError) as caught:
            read_header(path)
        assert caught.value.code == code


def lying(length: int) -> bytes:
    """A header whose one string array claims to hold `length` strings."""
    key = b"tokenizer.ggml.tokens"
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(key)) + key + struct.pack("<IIQ", 9, 8, length)


@pytest.mark.parametrize("length", [2**20, 2**40, 2**63, 2**64 - 1])
def test_lying_lengths_allocate_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / "lie.gguf"
    path.write_bytes(lying(length) + struct.pack("<Q", length) + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_large_vocabulary_is_stepped_over_in_a_blink(tmp_path: Path, tiny_model: WriteModel) -> None:
    path = tiny_model(tmp_path / "large.gguf", tokens=262_144, tensors=False)
    best = min(_seconds(path) for _ in range(5))
    assert best < 0.1
    assert read_header(path).lengths["tokenizer.ggml.tokens"] == 262_144


def _seconds(path: Path) -> float:
    begun = time.perf_counter()
    read_header(path)
    return time.perf_counter() - begun


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_raise_anything_but_the_own_error(
    tmp_path: Path, tiny_model: WriteModel, data: st.DataObject
) -> None:
    whole = tmp_path / "whole.gguf"
    if not whole.exists():
        tiny_model(whole)
    source = bytearray(whole.read_bytes()[:1500])
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(4, len(source) - 9))
        piece = data.draw(
            st.one_of(st.binary(max_size=8), st.integers(0, 2**64 - 1).map(struct.Struct("<Q").pack))
        )
        source[at : at + len(piece)] = piece
    if data.draw(st.booleans()):
        source = bytearray(b"GGUF\x03\0\0\0" + data.draw(st.binary(max_size=200)))
    path = tmp_path / "mutant.gguf"
    path.write_bytes(source)
    with contextlib.suppress(GGUFError):
        header = read_header(path)
        assert header.bytes_needed >= 0
        assert isinstance(header.truncated, bool)
        assert isinstance(header.quantization, str)

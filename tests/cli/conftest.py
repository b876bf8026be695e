"""Running the command line, and writing the small files that it is given."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from chat.__main__ import run

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>'}}{% endfor %}"
)


@dataclass(frozen=True)
class Answer:
    """What a run of the command line came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def rpchat(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Run `rpchat ARGS` in this process; `stdin` is what it reads."""

    def call(*args: object, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capfdbinary.readouterr()
        status = run([str(arg) for arg in args])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Answer(status, out.decode("utf-8"), err.decode("utf-8"))

    return call


@pytest.fixture
def tiny_model() -> Callable[..., Path]:
    """Write a small GGUF file with a vocabulary and, if asked, two tensors."""

    def write(
        path: Path, *, tokens: int = 8, tensors: bool = True, architecture: str = "llama", **texts: str
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_name(texts.get("name", "Tiny Model"))
        writer.add_file_type(15)
        writer.add_context_length(4096)
        writer.add_block_count(2)
        writer.add_head_count_kv([4, 8])
        writer.add_tokenizer_model(texts.get("tokenizer", "gpt2"))
        writer.add_tokenizer_pre(texts.get("pre", "default"))
        writer.add_token_list([f"<token {number}>" for number in range(tokens)])
        writer.add_token_scores([0.0] * tokens)
        writer.add_chat_template(texts.get("template", CHATML))
        if tensors:
            writer.add_tensor("token_embd.weight", np.zeros((8, 64), dtype=np.float32))
            writer.add_tensor("output.weight", np.zeros((4, 32), dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture
def card_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a V2 card as JSON."""

    def write(name: str = "Vesna", **fields: Any) -> Path:
        data = {
            "name": name,
            "description": "{{char}} keeps the lighthouse.",
            "personality": "",
            "scenario": "",
            "first_mes": '"You are late, {{user}}," {{char}} said.',
            "mes_example": "",
            "alternate_greetings": [],
            "extensions": {},
            **fields,
        }
        path = tmp_path / f"{name.lower()}.json"
        card = {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}
        path.write_text(json.dumps(card, ensure_ascii=False), encoding="utf-8")
        return path

    return write

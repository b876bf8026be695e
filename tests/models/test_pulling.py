"""`rpchat model pull` against a hub on localhost: progress, resuming, sums, and what goes wrong."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from chat.settings import Folders

Rpchat = Callable[..., Any]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The little of the Hugging Face Hub that a download needs."""

    files: dict[str, bytes] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    """Sums that are told instead of the right ones."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of every request for a file."""
    stop_after: int | None = None
    """Break a download off after so many bytes, and refuse to go on."""
    status: int = 200
    error: str = ""
    url: str = ""

    def description(self) -> dict[str, Any]:
        return {
            "id": "maker/model-GGUF", "modelId": "maker/model-GGUF", "sha": COMMIT, "tags": [],
            "siblings": [
                {
                    "rfilename": name,
                    "size": len(data),
                    "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
                    **({"lfs": self.lfs(name, data)} if name.endswith(".gguf") else {}),
                }
                for name, data in self.files.items()
            ],
        }  # fmt: skip

    def lfs(self, name: str, data: bytes) -> dict[str, Any]:
        digest = self.sums.get(name) or hashlib.sha256(data).hexdigest()
        return {"sha256": digest, "size": len(data), "pointerSize": 130}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if hub.status != 200:
                self.answer(hub.status, b"{}", {"X-Error-Code": hub.error, "X-Error-Message": "no"})
            elif path == "/api/models/maker/model-GGUF":
                self.answer(200, json.dumps(hub.description()).encode(), {})
            elif path.startswith(f"/maker/model-GGUF/resolve/{COMMIT}/"):
                self.file(path.split(f"{COMMIT}/")[1])
            else:
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def file(self, name: str) -> None:
            data, wanted = hub.files[name], self.headers.get("Range")
            hub.asked.append((name, wanted))
            start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if wanted else {}
            if hub.stop_after is not None:
                hub.status, hub.error = 503, ""
                self.answer(206 if wanted else 200, data[start:], headers, cut=hub.stop_after)
            else:
                self.answer(206 if wanted else 200, data[start:], headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body[:cut])
            self.close_connection = cut is not None

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def whole(tmp_path: Path, tiny_gguf: Callable[..., Path]) -> bytes:
    return tiny_gguf(tmp_path / "source.gguf", name="Pulled").read_bytes()


def here() -> Path:
    return Folders.find().models / "maker" / "model-GGUF"


def test_a_model_is_fetched_checked_and_then_listed(rpchat: Rpchat, hub: Hub, whole: bytes) -> None:
    hub.files = {"README.md": b"# A model", "model.Q4_K_M.gguf": whole, "mmproj-model.gguf": b"x"}
    done = rpchat("model", "pull", "maker/model-GGUF")
    assert (done.status, done.err) == (
        0,
        f"rpchat: asking {hub.url}; this is the only verb that uses a network\n",
    )
    path = here() / "model.Q4_K_M.gguf"
    assert path.read_bytes() == whole
    assert done.out.startswith(f"{path}: ")
    assert "checked; fits" in done.out
    assert str(path) in [file["path"] for file in rpchat("model", "list", "--json").json]
    assert hub.asked == [("model.Q4_K_M.gguf", None)]
    assert rpchat("model", "pull", "maker/model-GGUF", "q4_k_m", "--json").json["name"] == "Pulled"
    assert len(hub.asked) == 1


def test_a_broken_download_goes_on_where_it_stopped(
    rpchat: Rpchat, hub: Hub, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50)
    hub.files = {"model.gguf": whole}
    hub.stop_after = 100
    broken = rpchat("model", "pull", "maker/model-GGUF")
    assert broken.status == 1
    assert broken.err.splitlines()[-1].endswith("pull it again to go on from there")
    assert len(broken.err.splitlines()) == 2
    assert not (here() / "model.gguf").exists()
    hub.stop_after, hub.status = None, 200
    hub.asked.clear()
    assert rpchat("model", "pull", "maker/model-GGUF").status == 0
    assert hub.asked == [("model.gguf", "bytes=100-")]
    assert (here() / "model.gguf").read_bytes() == whole
    assert not list(Folders.find().models.rglob("*.part"))


def test_a_wrong_sum_is_thrown_away(rpchat: Rpchat, hub: Hub, whole: bytes) -> None:
    hub.files, hub.sums = {"model.gguf": whole}, {"model.gguf": "0" * 64}
    wrong = rpchat("model", "pull", "maker/model-GGUF")
    assert wrong.status == 1
    assert "the sum of what came is wrong, it was thrown away" in wrong.err
    assert not [path for path in Folders.find().models.rglob("*") if path.is_file()]
    hub.sums = {}
    assert rpchat("model", "pull", "maker/model-GGUF").status == 0


def test_another_file_of_that_name_is_only_replaced_by_force(rpchat: Rpchat, hub: Hub, whole: bytes) -> None:
    hub.files = {"model.gguf": whole}
    here().mkdir(parents=True)
    (here() / "model.gguf").write_bytes(b"mine")
    refused = rpchat("model", "pull", "maker/model-GGUF")
    assert refused.status == 1
    assert "--force replaces it" in refused.err
    assert (here() / "model.gguf").read_bytes() == b"mine"
    assert rpchat("model", "pull", "maker/model-GGUF", "--force").status == 0
    assert (here() / "model.gguf").read_bytes() == whole


def test_of_several_models_one_is_named_by_a_part(rpchat: Rpchat, hub: Hub, whole: bytes) -> None:
    hub.files = {f"model.{kind}.gguf": whole for kind in ("Q4_K_M", "Q5_K_M", "Q8_0")}
    several = rpchat("model", "pull", "maker/model-GGUF")
    assert several.status == 1
    assert "3 models; name one of them" in several.err
    assert len(several.out.splitlines()) == 3
    assert rpchat("model", "pull", "maker/model-GGUF", "k_m").status == 1
    assert "no file is called 'Q2'" in rpchat("model", "pull", "maker/model-GGUF", "Q2").err
    assert rpchat("model", "pull", "maker/model-GGUF", "q8").status == 0
    assert [path.name for path in here().iterdir()] == ["model.Q8_0.gguf"]


def test_of_a_split_model_all_parts_are_fetched(
    rpchat: Rpchat, hub: Hub, tmp_path: Path, tiny_gguf: Callable[..., Path]
) -> None:
    for number in range(3):
        name = f"big-{number + 1:05}-of-00003.gguf"
        hub.files[f"Q4/{name}"] = tiny_gguf(tmp_path / name, parts=3, number=number).read_bytes()
    done = rpchat("model", "pull", "maker/model-GGUF", "q4", "--json")
    assert done.status == 0
    assert len(done.json["parts"]) == 3
    assert done.json["problem"] is None


def test_names_that_lead_elsewhere_are_never_written(rpchat: Rpchat, hub: Hub, whole: bytes) -> None:
    hub.files = {"../../../evil.gguf": whole, "/evil.gguf": whole, "a\\..\\evil.gguf": whole}
    refused = rpchat("model", "pull", "maker/model-GGUF")
    assert refused.status == 1
    assert "no GGUF file in this repository" in refused.err


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, "RepoNotFound", "has no such repository"),
        (403, "GatedRepo", "asks you to accept terms first"),
        (500, "", "500"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    rpchat: Rpchat, hub: Hub, status: int, error: str, words: str
) -> None:
    hub.status, hub.error = status, error
    refused = rpchat("model", "pull", "maker/model-GGUF")
    assert refused.status == 1
    assert words in refused.err
    assert len(refused.err.splitlines()) == 2


def test_no_hub_at_all_and_wrong_names_are_one_line(
    rpchat: Rpchat, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model", "a/b/c", "../x", "a b/c"):
        wrong = rpchat("model", "pull", name)
        assert wrong.status == 2
        assert "it is called OWNER/REPO" in wrong.err
        assert len(wrong.err.splitlines()) == 1
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    nobody = rpchat("model", "pull", "maker/model-GGUF")
    assert nobody.status == 1
    assert "http://127.0.0.1:9" in nobody.err
    assert len(nobody.err.splitlines()) == 2
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "huggingface_hub" else find(name)
    )
    missing = rpchat("model", "pull", "maker/model-GGUF")
    assert missing.status == 1
    assert "pip install 'rpchat[hub]'" in missing.err
    assert len(missing.err.splitlines()) == 1
    assert hub.asked == []

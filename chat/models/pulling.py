"""Fetching GGUF files from the Hugging Face Hub: the one thing in the program that reaches a network.

It goes through huggingface-hub, which brings the user's own settings along: HF_ENDPOINT for another hub,
HF_TOKEN, proxies, HF_HUB_OFFLINE. That library no longer resumes a download in a later run, and it checks the
size of a file but not its sum; both are done here. A file grows under a name that carries its sum, in the
folder `.pull` below the models folder, and is moved into place once the sum is right.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chat.files import make_private_folder
from chat.models import ModelError, describe
from chat.settings import reason

__all__ = ["RemoteFile", "Repository", "check", "choose", "endpoint", "fetch", "look_up"]

_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

PULLING = ".pull"
BLOCK = 1 << 20

Report = Callable[[str, int, int], None]
"""What is being done (`downloading`, `checking`), bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A GGUF file of a repository."""

    name: str
    """With the folders in the repository."""
    size: int
    """Bytes."""
    sha256: str
    """Empty for a file outside LFS; then `blob` is there."""
    blob: str
    """Git's own sum: SHA-1 over a header and the file."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What a repository holds, at one commit."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]
    """Its GGUF files, by name."""


def endpoint() -> str:
    """The hub that is asked: HF_ENDPOINT, else huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def check(name: str) -> None:
    """Raise ModelError when nothing needs to be asked to know that it will fail."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name:
        raise ModelError(f"{name!r} is no repository; it is called OWNER/REPO", usage=True)
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ModelError(
            f"pulling needs the package huggingface-hub: {sys.executable} -m pip install 'rpchat[hub]'"
        )


def look_up(name: str) -> Repository:
    """Ask the hub what GGUF files a repository OWNER/REPO holds. Raises ModelError."""
    check(name)
    from huggingface_hub import HfApi

    with _one_line(name):
        info = HfApi(endpoint=endpoint()).model_info(name, files_metadata=True)
    files = [
        RemoteFile(
            name=sibling.rfilename,
            size=sibling.size or 0,
            sha256=sibling.lfs.sha256 if sibling.lfs else "",
            blob=sibling.blob_id or "",
        )
        for sibling in info.siblings or []
        if sibling.rfilename.lower().endswith(".gguf") and _harmless(sibling.rfilename)
    ]
    if not files:
        raise ModelError(f"{name}: no GGUF file in this repository; look for one whose name ends in -GGUF")
    return Repository(name, info.sha or "main", tuple(sorted(files, key=lambda file: file.name)))


def choose(repository: Repository, wanted: str | None) -> list[RemoteFile]:
    """The file that is meant by its name or a part of it, or the only one; of a split model all parts.

    Raises ModelError when several are meant.
    """
    files = [file for file in repository.files if not _base(file).startswith("mmproj")]
    if wanted is not None:
        lower = wanted.lower()
        exact = [file for file in repository.files if lower in (file.name.lower(), _base(file).lower())]
        files = exact or [file for file in files if lower in file.name.lower()]
        if not files:
            names = ", ".join(file.name for file in repository.files[:6])
            raise ModelError(f"{repository.name}: no file is called {wanted!r}; there are {names}")
    models = {_model_of(file) for file in files}
    if len(models) != 1:
        raise ModelError(f"{repository.name}: {len(models)} models; name one of them after the repository")
    (name,) = models
    return [file for file in repository.files if _model_of(file) == name]


def fetch(repository: Repository, file: RemoteFile, folder: Path, *, force: bool, report: Report) -> Path:
    """Download a file to `folder`/OWNER/REPO, going on where an earlier try stopped. Raises ModelError.

    A file that is there and whose sum is right is not fetched again; another one is only replaced by `force`.
    """
    check(repository.name)
    out = folder / repository.name / file.name
    part = folder / PULLING / repository.name / f"{file.name}.{(file.sha256 or file.blob)[:16]}.part"
    try:
        if out.exists():
            if out.stat().st_size == file.size and _sum_is_right(out, file, report):
                return out
            if not force:
                raise ModelError(f"{out}: another file is there already; --force replaces it")
        make_private_folder(out.parent)
        make_private_folder(part.parent)
        there = part.stat().st_size if part.exists() else 0
        if there > file.size:
            part.unlink()
            there = 0
        free = shutil.disk_usage(folder).free
        if file.size - there > free:
            needed = f"{(file.size - there) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
            raise ModelError(f"{folder}: {needed}")
        _download(repository, file, part, report)
        if part.stat().st_size != file.size or not _sum_is_right(part, file, report):
            part.unlink()
            raise ModelError(f"{file.name}: the sum of what came is wrong, it was thrown away; pull it again")
        problem = describe(part).problem if "-of-" not in file.name else None
        part.replace(out)
    except OSError as error:
        raise ModelError(f"{error.filename or out}: {reason(error)}") from error
    if problem:
        raise ModelError(f"{out}: {problem}")
    return out


class _Counted(io.FileIO):
    """A file that tells how large it has grown."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(path, "ab")
        self._told = told

    def write(self, data: object) -> int:
        written = super().write(data)  # type: ignore[arg-type]
        self._told(self.tell())
        return written


def _download(repository: Repository, file: RemoteFile, part: Path, report: Report) -> None:
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # and its warnings: what went wrong is said here, in one line
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    url = hf_hub_url(repository.name, file.name, revision=repository.commit, endpoint=endpoint())
    token = get_token()

    def told(size: int) -> None:
        report("downloading", size, file.size)

    with _one_line(repository.name), _Counted(part, told) as out:
        size = out.seek(0, os.SEEK_END)
        told(size)
        if size < file.size:
            http_get(
                url,
                out,
                resume_size=size,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                expected_size=file.size,
            )


def _sum_is_right(path: Path, file: RemoteFile, report: Report) -> bool:
    as_git = b"blob %d\0" % file.size
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(as_git, usedforsecurity=False)
    done = 0
    with path.open("rb") as data:
        while block := data.read(BLOCK):
            digest.update(block)
            done += len(block)
            report("checking", done, file.size)
    return digest.hexdigest() == (file.sha256 or file.blob)


def _model_of(file: RemoteFile) -> str:
    """One name for all parts of a split model."""
    return re.sub(r"-\d{5}-of-(\d{5}\.gguf)$", r"-of-\1", file.name)


def _base(file: RemoteFile) -> str:
    return PurePosixPath(file.name).name


def _harmless(name: str) -> bool:
    """Whether a name from the hub stays inside the folder that it is put into, on every system."""
    parts = PurePosixPath(name).parts
    return not name.startswith("/") and ".." not in parts and not re.search(r'[\\:*?"<>|\x00-\x1f]', name)


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """The library's errors, which may be paragraphs, as one line."""
    from huggingface_hub import HfApi, errors  # noqa: F401 - the api loads the client, and so its errors

    failures: tuple[type[Exception], ...] = (errors.HfHubHTTPError, OSError, ValueError, *_network_errors())
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name}: its owner asks you to accept terms first, at {endpoint()}/{name}; then set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{name}: {endpoint()} has no such repository, or it is private") from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelError(f"{name}: HF_HUB_OFFLINE is set; unset it to pull a model") from error
    except failures as error:
        if isinstance(error, OSError) and (error.filename or error.errno in _DISK_FULL):
            raise  # the disk, not the network
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{name}: {endpoint()}: {said}; pull it again to go on from there") from error


def _network_errors() -> tuple[type[Exception], ...]:
    """The errors of the client below the library, which has changed twice; only one of these is loaded."""
    names = (("httpx2", "HTTPError"), ("httpx", "HTTPError"), ("requests", "RequestException"))
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))

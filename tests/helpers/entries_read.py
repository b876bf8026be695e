"""How often the entries of a lorebook are read."""

from __future__ import annotations

from typing import Any

import pytest

from cards import book


def count_entries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places of all entries that are read from now on; grows as they are."""
    read: list[int] = []
    real = book.read_book_entry

    def counted(raw: Any, index: int, *more: Any) -> Any:
        read.append(index)
        return real(raw, index, *more)

    monkeypatch.setattr(book, "read_book_entry", counted)
    return read

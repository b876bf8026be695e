"""Ids and times of the store's rows."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits. Each is above the last one.

    Monotonic in this process by the RFC's method 2: where the clock has not moved on (or has gone back), the
    last value is raised by a random step instead.
    """
    global _last
    with _lock:
        fresh = (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(10)) >> 6
        _last = max(fresh, _last + 1 + (int.from_bytes(os.urandom(4))))
        bits = _last
    # 122 bits are free: 48 of time and 12 before the variant, 62 after it.
    value = (bits >> 74) << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def now() -> datetime:
    """This moment, UTC, in whole milliseconds, as the store keeps it."""
    return from_milliseconds(time.time_ns() // 1_000_000)


def to_milliseconds(moment: datetime) -> int:
    """Unix time in milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_milliseconds(milliseconds: int) -> datetime:
    """A moment in UTC. Raises OverflowError for what no calendar holds."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

"""The dates that SillyTavern has written into chats over the years."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_HUMANIZED = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})\s*@\s*(\d{1,2})h\s*(\d{1,2})m\s*(?:(\d{1,2})s)?\s*(?:(\d{1,3})ms)?",
    re.ASCII,
)
"""`2024-9-28 @13h 05m 09s 123ms`, `2024-09-28@13h05m09s`."""

_ENGLISH = re.compile(
    r"([A-Z][a-z]+) (\d{1,2}), (\d{4}) (\d{1,2}):(\d{2})(?::(\d{2}))?\s*([ap])\.?m\.?",
    re.ASCII | re.IGNORECASE,
)
"""`September 28, 2024 1:05pm`."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_date(value: object) -> datetime | None:
    """A date in any of those forms, ISO 8601, or Unix milliseconds, in UTC; None for what is none.

    Forms without a time zone are local time, as they were when they were written.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _EPOCH + timedelta(milliseconds=int(value))
        if not isinstance(value, str):
            return None
        text = value.strip()
        if text.isdecimal():
            return _EPOCH + timedelta(milliseconds=int(text))
        found = _humanized(text) or _english(text) or datetime.fromisoformat(text)
        moment = found.astimezone(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _humanized(text: str) -> datetime | None:
    match = _HUMANIZED.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, millisecond = (int(part or 0) for part in match.groups())
    return datetime(year, month, day, hour, minute, second, millisecond * 1000)


def _english(text: str) -> datetime | None:
    match = _ENGLISH.fullmatch(text)
    if match is None or match[1][:3].lower() not in _MONTHS:
        return None
    month = _MONTHS.index(match[1][:3].lower()) + 1
    hour = int(match[4]) % 12 + (12 if match[7].lower() == "p" else 0)
    return datetime(int(match[3]), month, int(match[2]), hour, int(match[5]), int(match[6] or 0))

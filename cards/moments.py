"""Times and dates as macros tell them: always in English, so that a prompt does not change with the machine.

`format_moment` reads the tokens of the moment.js library, which SillyTavern's `{{datetimeformat}}` takes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["date_text", "difference", "duration_text", "format_moment", "shifted"]

_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TOKENS: Final = re.compile(
    r"\[([^\]]*)\]|YYYY|YY|MMMM|MMM|MM|Mo|M|DDDD|DDD|DD|Do|D|dddd|ddd|dd|d|E|HH|H|hh|h|kk|k|mm|m|ss|s|SSS|SS|S|A|a"
    r"|ZZ|Z|X|x|Q|LTS|LT|LLLL|LLL|LL|L"
)
_LONG: Final = {
    "LT": "h:mm A",
    "LTS": "h:mm:ss A",
    "L": "MM/DD/YYYY",
    "LL": "MMMM D, YYYY",
    "LLL": "MMMM D, YYYY h:mm A",
    "LLLL": "dddd, MMMM D, YYYY h:mm A",
}
_MACROS: Final = {"time": "LT", "date": "LL", "weekday": "dddd", "isotime": "HH:mm", "isodate": "YYYY-MM-DD"}


def date_text(now: datetime, macro: str) -> str:
    """What `time`, `date`, `weekday`, `isotime` and `isodate` say."""
    return format_moment(now, _MACROS[macro])


def format_moment(now: datetime, pattern: str) -> str:
    """`now` in a moment.js pattern; text in square brackets stays, at most 200 characters are read."""

    def one(found: re.Match[str]) -> str:
        token = found[0]
        if token.startswith("["):
            return found[1]
        if token in _LONG:
            return format_moment(now, _LONG[token])
        return _value(now, token)

    return _TOKENS.sub(one, pattern[:200])


def _value(now: datetime, token: str) -> str:
    hour12 = now.hour % 12 or 12
    zone = now.strftime("%z") or "+0000"
    day_of_year = now.timetuple().tm_yday
    values: dict[str, object] = {
        "YYYY": f"{now.year:04}",
        "YY": f"{now.year % 100:02}",
        "MMMM": _MONTHS[now.month - 1],
        "MMM": _MONTHS[now.month - 1][:3],
        "MM": f"{now.month:02}",
        "Mo": _ordinal(now.month),
        "M": now.month,
        "DDDD": f"{day_of_year:03}",
        "DDD": day_of_year,
        "DD": f"{now.day:02}",
        "Do": _ordinal(now.day),
        "D": now.day,
        "dddd": _DAYS[now.weekday()],
        "ddd": _DAYS[now.weekday()][:3],
        "dd": _DAYS[now.weekday()][:2],
        "d": now.isoweekday() % 7,
        "E": now.isoweekday(),
        "HH": f"{now.hour:02}",
        "H": now.hour,
        "hh": f"{hour12:02}",
        "h": hour12,
        "kk": f"{now.hour or 24:02}",
        "k": now.hour or 24,
        "mm": f"{now.minute:02}",
        "m": now.minute,
        "ss": f"{now.second:02}",
        "s": now.second,
        "SSS": f"{now.microsecond // 1000:03}",
        "SS": f"{now.microsecond // 10000:02}",
        "S": now.microsecond // 100000,
        "A": "AM" if now.hour < 12 else "PM",
        "a": "am" if now.hour < 12 else "pm",
        "ZZ": zone,
        "Z": f"{zone[:3]}:{zone[3:5]}",
        "X": int(now.timestamp()),
        "x": int(now.timestamp() * 1000),
        "Q": (now.month + 2) // 3,
    }
    return str(values[token])


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def shifted(now: datetime, offset: str) -> str | None:
    """The time of day at UTC plus a number of hours, `+2`; None when that is no offset."""
    found = re.fullmatch(r"\s*([+-][0-9]{1,2})\s*", offset)
    if found is None:
        return None
    return format_moment(now.astimezone(UTC) + timedelta(hours=int(found[1])), "LT")


_UNITS: Final = (
    # Up to this many seconds: how it is said; `{}` is the count of the unit of so many seconds. As moment.js
    # rounds.
    (44, "a few seconds", 1),
    (89, "a minute", 60),
    (44.5 * 60, "{} minutes", 60),
    (89.5 * 60, "an hour", 3600),
    (21.5 * 3600, "{} hours", 3600),
    (35.5 * 3600, "a day", 86400),
    (25.5 * 86400, "{} days", 86400),
    (45.5 * 86400, "a month", 2629746),
    (319.5 * 86400, "{} months", 2629746),
    (547.5 * 86400, "a year", 31556952),
)


def _humanized(seconds: float) -> str:
    for most, words, unit in _UNITS:
        if seconds <= most:
            return words.format(round(seconds / unit))
    return f"{round(seconds / 31556952)} years"


def duration_text(now: datetime, since: datetime) -> str:
    """How long ago `since` was: `5 minutes`."""
    return _humanized(abs(_aware(now) - _aware(since)).total_seconds())


def difference(arguments: list[str]) -> str:
    """`in 2 hours` or `2 hours ago`: the first of two ISO times seen from the second; "" when one is no
    time."""
    try:
        one, other = (_aware(datetime.fromisoformat(text)) for text in arguments)
    except ValueError:
        return ""
    words = _humanized(abs(one - other).total_seconds())
    return f"in {words}" if one > other else f"{words} ago"


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

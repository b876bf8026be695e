"""Times and dates as macros tell them: always in English, so that a prompt does not change with the machine.

`format_moment` reads the tokens of the moment.js library, which SillyTavern's `{{datetimeformat}}` takes.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
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
    r"\[([^\]]*)\]|YYYY|YY|MMMM|MMM|MM|Mo|M|DDDD|DDDo|DDD|DD|Do|D|dddd|ddd|dd|do|d|E|e|HH|H|hh|h|kk|k|mm|m|ss|s"
    r"|SSS|SS|S|A|a|ZZ|Z|zz|z|X|x|Qo|Q|wo|ww|w|Wo|WW|W|gggg|gg|GGGG|GG|LTS|LT|LLLL|LLL|LL|L|llll|lll|ll|l"
)
_LONG: Final = {
    "LT": "h:mm A",
    "LTS": "h:mm:ss A",
    "L": "MM/DD/YYYY",
    "LL": "MMMM D, YYYY",
    "LLL": "MMMM D, YYYY h:mm A",
    "LLLL": "dddd, MMMM D, YYYY h:mm A",
    "l": "M/D/YYYY",
    "ll": "MMM D, YYYY",
    "lll": "MMM D, YYYY h:mm A",
    "llll": "ddd, MMM D, YYYY h:mm A",
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
    day_of_year, quarter = now.timetuple().tm_yday, (now.month + 2) // 3
    iso_year, iso_week, _ = now.isocalendar()
    year, week = _american_week(now)
    values: dict[str, object] = {
        "YYYY": f"{now.year:04}",
        "YY": f"{now.year % 100:02}",
        "MMMM": _MONTHS[now.month - 1],
        "MMM": _MONTHS[now.month - 1][:3],
        "MM": f"{now.month:02}",
        "Mo": _ordinal(now.month),
        "M": now.month,
        "DDDD": f"{day_of_year:03}",
        "DDDo": _ordinal(day_of_year),
        "DDD": day_of_year,
        "DD": f"{now.day:02}",
        "Do": _ordinal(now.day),
        "D": now.day,
        "dddd": _DAYS[now.weekday()],
        "ddd": _DAYS[now.weekday()][:3],
        "dd": _DAYS[now.weekday()][:2],
        "do": _ordinal(now.isoweekday() % 7),
        "d": now.isoweekday() % 7,
        "e": now.isoweekday() % 7,
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
        "Qo": _ordinal(quarter),
        "Q": quarter,
        "wo": _ordinal(week),
        "ww": f"{week:02}",
        "w": week,
        "Wo": _ordinal(iso_week),
        "WW": f"{iso_week:02}",
        "W": iso_week,
        "gggg": f"{year:04}",
        "gg": f"{year % 100:02}",
        "GGGG": f"{iso_year:04}",
        "GG": f"{iso_year % 100:02}",
        "zz": now.tzname() or "",
        "z": now.tzname() or "",
    }
    return str(values[token])


def _american_week(now: datetime) -> tuple[int, int]:
    """The year and the week in it, where weeks begin on Sunday and the first is the one with 1 January."""
    sunday = now.toordinal() - now.isoweekday() % 7
    year = date.fromordinal(min(sunday + 6, date.max.toordinal())).year
    first = date(year, 1, 1)
    begin = first.toordinal() - first.isoweekday() % 7
    return year, (sunday - begin) // 7 + 1


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

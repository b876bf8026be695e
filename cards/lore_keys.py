"""The keys of a lorebook, compiled once and looked for in a text once.

All plain keys stand in one trie, written as a regular expression that looks at each place of a text for the
longest key that begins there; the shorter ones that begin there too are its prefixes. What a text holds is
remembered, so that a message is scanned when it is new and never again.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cards import limits
from cards.lore_entry import Entry

if TYPE_CHECKING:
    import regex

__all__ = ["KeyIndex", "compile_pattern"]

_SLASHED: Final = re.compile(r"/((?:[^\\/]|\\.)+)/([dgimsuvy]*)", re.DOTALL)
_QUANTIFIER: Final = re.compile(r"\{([0-9]{1,6})(?:,([0-9]{0,6}))?\}")
_REPEATS: Final = 20_000
"""The product of a pattern's counted repeats: compiling unrolls them."""
_REGEX_TEXT: Final = 20_000
"""Characters at a message's end that patterns are run on."""
_REMEMBERED: Final = 4_096
"""Texts whose keys are remembered."""
_TRIE_DEPTH: Final = 24
"""Characters of a key that the trie spells; the rest is compared where it begins."""

Key = int
"""A key's number in its index. Equal keys with equal rules share one."""


class KeyIndex:
    """The keys of some entries under one choice of defaults."""

    def __init__(
        self,
        entries: Iterable[Entry],
        *,
        case_sensitive: bool,
        whole_words: bool,
        expand: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._numbers: dict[tuple[object, ...], Key] = {}
        self._plain: dict[bool, dict[str, list[tuple[bool, Key]]]] = {True: {}, False: {}}
        self._patterns: dict[Key, regex.Pattern[str] | None] = {}
        self.broken: dict[Key, str] = {}
        """Patterns that are not used, and why."""
        self._compiling = self._slow = self._allowed = self._spent = 0.0
        """Seconds: what patterns took to compile, what their slow searches took, what the quick ones might
        take together, and what they took."""
        self._found: dict[str, frozenset[Key]] = {}
        self._case_sensitive = case_sensitive
        self._whole_words = whole_words
        self._expand = expand
        self.primary: dict[int, tuple[Key, ...]] = {}
        self.secondary: dict[int, tuple[Key, ...]] = {}
        self.required: dict[int, tuple[tuple[Key, ...], ...]] = {}
        """Of V3's `@@additional_keys`: one of each group must be there."""
        self.excluded: dict[int, tuple[Key, ...]] = {}
        for entry in entries:
            self._add(entry)
        self._tries = {sensitive: _trie(self._plain[sensitive]) for sensitive in (True, False)}

    def _add(self, entry: Entry) -> None:
        self.primary[entry.index] = self._keys(entry, entry.keys)
        self.secondary[entry.index] = self._keys(entry, entry.secondary_keys)
        marks = entry.decorators
        if marks.additional_keys:
            self.required[entry.index] = tuple(self._keys(entry, line) for line in marks.additional_keys)
        if marks.exclude_keys:
            self.excluded[entry.index] = self._keys(entry, marks.exclude_keys)

    def _keys(self, entry: Entry, keys: Sequence[str]) -> tuple[Key, ...]:
        return tuple(self._number(entry, key.strip()) for key in keys if key.strip())

    def _number(self, entry: Entry, key: str) -> Key:
        sensitive = self._case_sensitive if entry.case_sensitive is None else entry.case_sensitive
        slashed = _SLASHED.fullmatch(key)
        if slashed or entry.use_regex:
            pattern, flags = (slashed[1], slashed[2]) if slashed else (key, "" if sensitive else "i")
            number, new = self._known(("pattern", pattern, "".join(sorted(flags))))
            if new:
                self._compile(number, pattern, flags)
            return number
        text = self._expand(key) if "{{" in key or "<" in key else key
        whole = self._whole_words if entry.whole_words is None else entry.whole_words
        # A key of several words is looked for as it stands, as SillyTavern does.
        whole = whole and not any(map(str.isspace, text))
        text = text if sensitive else text.casefold()
        number, new = self._known(("text", text, whole, sensitive))
        if new and number >= limits.LORE_BOOK_KEYS:
            self.broken[number] = f"the book has over {limits.LORE_BOOK_KEYS} keys"
        elif new and text:
            self._plain[sensitive].setdefault(text, []).append((whole, number))
        return number

    def _known(self, identity: tuple[object, ...]) -> tuple[Key, bool]:
        size = len(self._numbers)
        number = self._numbers.setdefault(identity, size)
        return number, number == size

    def _compile(self, number: Key, pattern: str, flags: str) -> None:
        if self._compiling > limits.REGEX_COMPILING:
            self.broken[number] = "its book has too many patterns"
            return
        begun = time.perf_counter()
        try:
            self._patterns[number] = compile_pattern(pattern, flags)
        except ValueError as error:
            self.broken[number] = str(error)
        self._compiling += time.perf_counter() - begun

    @cached_property
    def users(self) -> Mapping[Key, Sequence[int]]:
        """For each key the entries that ask for it, in any way, by their place in the book."""
        users: dict[Key, list[int]] = {}
        for asked in (self.primary, self.secondary, self.excluded):
            for place, keys in asked.items():
                for key in keys:
                    users.setdefault(key, []).append(place)
        for place, groups in self.required.items():
            for key in (key for group in groups for key in group):
                users.setdefault(key, []).append(place)
        return users

    def found(self, text: str) -> frozenset[Key]:
        """Every key that the text holds. A pattern that takes too long is not run again."""
        known = self._found.get(text)
        if known is None:
            known = frozenset(self._search(text))
            if len(self._found) >= _REMEMBERED:
                self._found.pop(next(iter(self._found)))
            self._found[text] = known
        return known

    def _search(self, text: str) -> Iterable[Key]:
        for sensitive, trie in self._tries.items():
            if trie is not None:
                yield from trie.keys(text if sensitive else text.casefold())
        tail = text[-_REGEX_TEXT:]
        self._allowed += limits.REGEX_TEXT_SECONDS
        for number, pattern in self._patterns.items():
            if pattern is not None and self._matches(number, pattern, tail):
                yield number

    def _matches(self, number: Key, pattern: regex.Pattern[str], text: str) -> bool:
        patient = self._slow < limits.REGEX_BOOK_SECONDS
        begun, worked = time.perf_counter(), time.thread_time()
        try:
            found = pattern.search(text, timeout=limits.REGEX_SECONDS if patient else limits.REGEX_IMPATIENCE)
        except TimeoutError:
            found = None
            self._patterns[number] = None
            self.broken[number] = "its pattern takes too long"
        taken = time.perf_counter() - begun
        if taken > limits.REGEX_IMPATIENCE:
            self._slow += taken
        else:
            self._quick(number, time.thread_time() - worked)
        return found is not None

    def _quick(self, number: Key, taken: float) -> None:
        """Thousands of patterns that are quick by themselves: those go that take more than their share."""
        self._spent += taken
        share = limits.REGEX_TEXT_SECONDS / len(self._patterns)
        if self._spent > limits.REGEX_BOOK_SECONDS + self._allowed and taken > share:
            self._patterns[number] = None
            self.broken[number] = "its book's patterns take too long"

    def complaint(self, entry: Entry) -> str:
        """Why keys of an entry are not used, "" when all are."""
        numbers = self.primary[entry.index] + self.secondary[entry.index]
        return next((self.broken[number] for number in numbers if number in self.broken), "")


class _Trie:
    """Plain keys as one regular expression."""

    def __init__(self, keys: dict[str, list[tuple[bool, Key]]]) -> None:
        self._long: dict[str, list[str]] = {}
        spelled: set[str] = set()
        for key in keys:
            head = key[:_TRIE_DEPTH]
            spelled.add(head)
            self._long.setdefault(head, []).append(key)
        self._keys = keys
        self._pattern = re.compile(f"(?=({_spelled(sorted(spelled))}))", re.DOTALL)
        prefixes: dict[str, list[str]] = {}
        for head in spelled:
            prefixes[head] = [head[:end] for end in range(1, len(head) + 1) if head[:end] in spelled]
        self._prefixes = prefixes

    def keys(self, text: str) -> Iterable[Key]:
        for found in self._pattern.finditer(text):
            start = found.start()
            for head in self._prefixes[found[1]]:
                for key in self._long[head]:
                    if len(key) <= _TRIE_DEPTH or text.startswith(key, start):
                        yield from self._ending(text, start, key)

    def _ending(self, text: str, start: int, key: str) -> Iterable[Key]:
        alone: bool | None = None
        for whole, number in self._keys[key]:
            if whole and alone is None:
                alone = _stands_alone(text, start, start + len(key))
            if not whole or alone:
                yield number


def _trie(keys: dict[str, list[tuple[bool, Key]]]) -> _Trie | None:
    return _Trie(keys) if keys else None


def _spelled(keys: list[str]) -> str:
    """A pattern that matches the longest of some sorted keys: shared beginnings are written once."""
    if not keys:
        return "(?!)"
    groups: dict[str, list[str]] = {}
    ends = False
    for key in keys:
        if key:
            groups.setdefault(key[0], []).append(key[1:])
        else:
            ends = True
    branches = [re.escape(first) + _rest(rests) for first, rests in groups.items()]
    if not branches:
        return ""
    joined = branches[0] if len(branches) == 1 and not ends else f"(?:{'|'.join(branches)})"
    return f"{joined}?" if ends else joined


def _rest(rests: list[str]) -> str:
    # One key left: no branching, no nesting.
    return re.escape(rests[0]) if len(rests) == 1 else _spelled(rests)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the stretch is a word of its own. Scripts that write no spaces have no edges of words."""
    before = start == 0 or not (_in_word(text[start - 1]) and _in_word(text[start]))
    return before and (end == len(text) or not (_in_word(text[end - 1]) and _in_word(text[end])))


def _in_word(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character == "_"
    if unicodedata.category(character)[0] not in "LMN":
        return False
    name = unicodedata.name(character, "")
    return not name.startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR"))


def compile_pattern(pattern: str, flags: str) -> regex.Pattern[str]:
    """A JavaScript pattern for `regex`. Raises ValueError with the reason when it is invalid or too
    costly."""
    # Most books have no pattern in them, and every start of the program reads books.
    import regex

    if len(pattern) > limits.REGEX:
        raise ValueError(f"its pattern is over {limits.REGEX} characters long")
    repeats = 1
    for low, high in _QUANTIFIER.findall(pattern):
        repeats *= max(1, int(low), int(high or 0))
        if repeats > _REPEATS:
            raise ValueError("its pattern repeats too much")
    options: Any = regex.VERSION0
    for flag, option in (("i", regex.IGNORECASE), ("m", regex.MULTILINE), ("s", regex.DOTALL)):
        if flag in flags:
            options |= option
    try:
        return regex.compile(_from_javascript(pattern), options)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise ValueError(f"its pattern is not valid: {error}") from error


_JAVASCRIPT: Final = re.compile(
    r"\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})|\\k<(\w+)>|\\/|\[\^\]|\[\]|\\.|\{", re.DOTALL
)


def _from_javascript(pattern: str) -> str:
    """What JavaScript writes differently: code points, named references, `[^]`, a bare brace, `$` at the
    very end."""

    def one(found: re.Match[str]) -> str:
        text = found[0]
        code = found[1] or found[2]
        if code:
            number = int(code, 16)
            return re.escape(chr(number)) if number <= 0x10FFFF else "(?!)"
        if found[3]:
            return f"(?P={found[3]})"
        if text == "{":
            # Anything but a counted repeat is a plain brace there, and fuzzy matching here.
            return "{" if _QUANTIFIER.match(pattern, found.start()) else r"\{"
        return {"\\/": "/", "[^]": r"[\s\S]", "[]": "(?!)"}.get(text, text)

    return _JAVASCRIPT.sub(one, pattern)

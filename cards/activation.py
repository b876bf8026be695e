"""Which lorebook entries fire on a chat, and why the others do not.

After SillyTavern's World Info and Character Card V3: passes over the entries, each of which may make more of
them fire by what the last ones say. Two things differ on purpose: an entry that does not fit the budget is
skipped by itself, not with all that follow; and a book inside a card is active without having been imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from itertools import chain
from random import Random

from cards import limits
from cards.book import Lorebook
from cards.lore_conditions import condition_against, logic_holds
from cards.lore_entry import Entry
from cards.lore_groups import group_losers
from cards.lore_keys import Key, KeyIndex
from cards.lore_timers import Timer, Timers, advanced, keeps_time, started
from cards.lore_values import Activation, Fired, LoreScene, LoreSettings, Skipped

__all__ = ["activate"]


def activate(
    books: Lorebook | Sequence[Lorebook],
    messages: Sequence[str],
    *,
    settings: LoreSettings | None = None,
    scene: LoreScene | None = None,
    timers: Timers | None = None,
    dice: Random | None = None,
    count: Callable[[str], int] = lambda text: (len(text) + 3) // 4,
    expand: Callable[[str], str] = lambda text: text,
    expand_for_scan: Callable[[str], str] | None = None,
) -> Activation:
    """Which entries of `books` fire on `messages` (newest last, each as `Name: text`).

    `count` gives a text's tokens (a guess by default), `expand` expands the macros of keys and contents, and
    `expand_for_scan` those of a content that other entries' keys are looked for in (hidden keys). `timers` is
    what the last scan of this chat returned. All that fires stays within `settings.budget`, and each book
    within its own `token_budget`: the smaller wins. The same arguments, dice included, give the same result.
    """
    listed = [books] if isinstance(books, Lorebook) else list(books)
    scan = _Scan(
        listed,
        messages,
        settings or LoreSettings(),
        scene or LoreScene(),
        timers or {},
        dice or Random(),
        count,
        expand,
        expand_for_scan or expand,
    )
    return scan.run()


_At = tuple[int, int]
"""A book's number and an entry's place in it."""


class _Scan:
    def __init__(
        self,
        books: list[Lorebook],
        messages: Sequence[str],
        settings: LoreSettings,
        scene: LoreScene,
        timers: Timers,
        dice: Random,
        count: Callable[[str], int],
        expand: Callable[[str], str],
        expand_for_scan: Callable[[str], str],
    ) -> None:
        self.books = books
        self.messages = messages
        self.settings = settings
        self.scene = scene
        self.dice = dice
        self.count = count
        self.expand = expand
        self.expand_for_scan = expand_for_scan
        self.entries: dict[_At, Entry] = {
            (number, place): entry
            for number, book in enumerate(books)
            for place, entry in enumerate(book.entries)
        }
        self.timed = self._timer_keys()
        keyed = [(key, self.entries[at]) for at, key in self.timed.items()]
        self.timers = advanced(timers, len(messages), keyed) if timers else {}
        self.indexes = [self._index(book) for book in books]
        self.order = sorted(self.entries, key=self._precedence)
        self.rank = {at: rank for rank, at in enumerate(self.order)}
        self.places = {(at[0], entry.index): at for at, entry in self.entries.items()}
        self.waiting: dict[int, list[_At]] = {}
        """Entries that wait for recursion, by their level."""
        for at in self.order:
            if level := self.entries[at].delay_until_recursion:
                self.waiting.setdefault(level, []).append(at)
        self.windows: list[dict[int, set[Key]]] = [{} for _ in books]
        self.always = [index.found(scene.also) if scene.also else frozenset[Key]() for index in self.indexes]
        self.spoken: list[set[Key]] = [set() for _ in books]
        """Keys in the text of entries that fired."""
        self.recursing = False
        self.level = 0
        self.skew = 0
        self.spent = 0
        self.book_spent = [0 for _ in books]
        self.fired: dict[_At, tuple[str, str]] = {}
        self.skipped: dict[_At, str] = {}
        self.final: set[_At] = set()
        """Skipped for good: another pass does not try them again."""
        self.groups: dict[str, str] = {}

    def _index(self, book: Lorebook) -> KeyIndex:
        choices = {"case_sensitive": self.settings.case_sensitive, "whole_words": self.settings.whole_words}
        if any("{{" in key for entry in book.entries for key in entry.keys):
            # Keys with macros in them mean something else in every chat.
            return KeyIndex(book.entries, **choices, expand=self.expand)
        return book.index(**choices)

    def _timer_keys(self) -> dict[_At, str]:
        """Names for entries that remember, the same in every scan; two that share an id get one each."""
        named: dict[str, _At] = {}
        for at, entry in self.entries.items():
            if keeps_time((entry,)):
                key = f"{self.books[at[0]].name}/{entry.uid}"
                named[key if key not in named else f"{key} {at[0]}.{at[1]}"] = at
        return {at: key for key, at in named.items()}

    def _timer(self, at: _At) -> Timer | None:
        return self.timers.get(self.timed[at]) if self.timers and at in self.timed else None

    def run(self) -> Activation:
        looked_at: Sequence[_At] = self.order
        steps = 0
        while True:
            # After the first pass only those entries are judged for which something has changed.
            new = self._pass(looked_at)
            heard = self._speak(new) if new else None
            if heard is not None and self._may_recurse(steps):
                waiting = () if self.recursing else chain.from_iterable(self.waiting.values())
                looked_at = self._touched(heard, waiting)
                self.recursing = True
                steps += 1
                continue
            if self._wants_more():
                looked_at = self._look_further(heard)
                self.recursing = False
                continue
            if self.recursing and (deeper := self._next_level()) is not None and self._may_recurse(steps):
                self.level = deeper
                looked_at = self.waiting[deeper]
                steps += 1
                continue
            return self._result()

    def _look_further(self, heard: Sequence[Set[Key]] | None) -> list[_At]:
        """A message more, for `min_activations`; the entries that its keys and those last `heard` are of."""
        depth = self.settings.scan_depth + self.skew
        # A window that will be widened is worth keeping; all of them would fill the memory.
        self.windows = [
            {known: keys for known, keys in each.items() if known == depth} for each in self.windows
        ]
        self.skew += 1
        further = self.messages[len(self.messages) - depth - 1]
        found = [index.found(further) for index in self.indexes]
        if heard:
            found = [keys | said for keys, said in zip(found, heard, strict=True)]
        return self._touched(found, ())

    def _touched(self, heard: Sequence[Set[Key]], more: Iterable[_At]) -> list[_At]:
        """The entries that newly heard keys are of, and `more`, in the order in which they are considered."""
        touched = set(more)
        for number, keys in enumerate(heard):
            users = self.indexes[number].users if keys else {}
            touched.update(self.places[number, place] for key in keys for place in users.get(key, ()))
        return sorted(touched, key=self.rank.__getitem__)

    def _precedence(self, at: _At) -> tuple[bool, float, int, int]:
        """Who is considered first: what must stay, then higher priority, or order where a book gives none."""
        entry = self.entries[at]
        return (
            entry.decorators.ignore_on_max_context,
            -(entry.order if entry.priority is None else entry.priority),
            *at,
        )

    def _may_recurse(self, steps: int) -> bool:
        return steps < min(self.settings.max_recursion_steps or limits.LORE_STEPS, limits.LORE_STEPS)

    def _wants_more(self) -> bool:
        if len(self.fired) >= self.settings.min_activations:
            return False
        furthest = min(len(self.messages), self.settings.max_depth or len(self.messages))
        return self.settings.scan_depth + self.skew < furthest

    def _next_level(self) -> int | None:
        above = sorted(level for level in self.waiting if level > max(1, self.level))
        return next((level for level in above if not self.fired.keys() >= set(self.waiting[level])), None)

    def _pass(self, order: Sequence[_At]) -> list[_At]:
        """One look at every entry that has not fired; those that fire now."""
        candidates: list[tuple[_At, Entry]] = []
        reasons: dict[_At, str] = {}
        for at in order:
            if at in self.fired or at in self.final:
                continue
            fires, why = self._judge(at)
            if fires:
                reasons[at] = why
                candidates.append((at, self.entries[at]))
            else:
                self.skipped[at] = why
        losers = group_losers(
            candidates, self.groups, self._sticks, self._score, self.settings.group_scoring, self.dice
        )
        new: list[_At] = []
        for at, entry in sorted(candidates, key=lambda candidate: not self._sticks(candidate[0])):
            refusal = losers.get(at) or self._refusal(at, entry)
            if not refusal:
                # Expanded once: dice in the text must not fall twice, for its length and for its words. Where
                # nothing has room any more, a book of thousands is not worth expanding.
                text = entry.content if self._over_budget(at, entry, 1) else self.expand(entry.content)
                tokens = self.count(text)
                refusal = self._over_budget(at, entry, tokens)
            if refusal:
                self.skipped[at] = refusal
                self.final.add(at)
                continue
            self._fire(at, entry, reasons[at], text, tokens)
            new.append(at)
        return new

    def _sticks(self, at: _At) -> bool:
        timer = self._timer(at)
        return timer is not None and timer.kind in ("sticky", "kept")

    def _judge(self, at: _At) -> tuple[bool, str]:
        """Whether an entry would fire now, and the reason either way."""
        entry = self.entries[at]
        if not entry.enabled:
            return False, "disabled"
        if barred := self._barred(at, entry):
            return False, barred
        marks = entry.decorators
        if marks.activate:
            return True, "@@activate"
        if marks.dont_activate:
            return False, "@@dont_activate"
        if entry.constant:
            return True, "constant"
        if self._sticks(at):
            return True, "sticky"
        return self._matches(at, entry)

    def _barred(self, at: _At, entry: Entry) -> str:
        """What keeps an entry from firing whatever its keys say; "" when nothing does."""
        timer = self._timer(at)
        if timer is not None and timer.kind == "cooldown":
            return f"cooldown for {(timer.end or 0) - len(self.messages)} more messages"
        if timer is not None and timer.kind == "spent":
            return "it has fired once, and may only once"
        if entry.delay and len(self.messages) < entry.delay:
            return f"delayed until message {entry.delay}"
        if entry.delay_until_recursion and not self._sticks(at):
            if not self.recursing:
                return "waits for another entry"
            if entry.delay_until_recursion > max(1, self.level):
                return f"waits for recursion level {entry.delay_until_recursion}"
        if self.recursing and entry.exclude_recursion:
            return self.skipped.get(at) or "not by another entry's text"
        return condition_against(entry, self.scene, len(self.messages))

    def _matches(self, at: _At, entry: Entry) -> tuple[bool, str]:
        index = self.indexes[at[0]]
        there = self._heard(at, entry)
        spoken: Set[Key] = frozenset() if entry.exclude_recursion else self.spoken[at[0]]
        primary = index.primary[entry.index]
        hit = next((number for number in primary if number in there or number in spoken), None)
        if hit is None:
            return False, index.complaint(entry) or "no key"
        found = there | spoken if spoken else there
        for group in index.required.get(entry.index, ()):
            if found.isdisjoint(group):
                return False, "wrong logic: an additional key is missing"
        if not found.isdisjoint(index.excluded.get(entry.index, ())):
            return False, "wrong logic: an excluded key is there"
        secondary = index.secondary[entry.index]
        if entry.selective and secondary and not logic_holds(entry.logic, secondary, found):
            return False, f"wrong logic: {entry.logic.replace('_', ' ')} of its secondary keys"
        key = entry.keys[primary.index(hit)] if len(primary) == len(entry.keys) else entry.keys[0]
        return True, f'key "{key}"' + ("" if hit in there else " in another entry")

    def _heard(self, at: _At, entry: Entry) -> Set[Key]:
        """Keys in the messages that an entry looks at, and in the texts that it asks for."""
        there: Set[Key] = self._window(at[0], self._depth(at[0], entry))
        for told in entry.also_in:
            if text := self.scene.told.get(told):
                there = there | self.indexes[at[0]].found(text)
        return there

    def _depth(self, number: int, entry: Entry) -> int:
        own = self.books[number].scan_depth if entry.scan_depth is None else entry.scan_depth
        return self.settings.scan_depth + self.skew if own is None else own

    def _window(self, number: int, depth: int) -> set[Key]:
        """Keys in the last `depth` messages."""
        depth = min(depth, len(self.messages))
        windows = self.windows[number]
        if depth not in windows:
            nearest = max((known for known in windows if known < depth), default=0)
            found = set(windows.get(nearest, self.always[number]))
            end = len(self.messages) - nearest
            for message in self.messages[len(self.messages) - depth : end]:
                found |= self.indexes[number].found(message)
            windows[depth] = found
        return windows[depth]

    def _score(self, at: _At) -> int:
        """How many of its keys an entry finds."""
        entry, index = self.entries[at], self.indexes[at[0]]
        found = self._heard(at, entry) | self.spoken[at[0]]
        secondary = sum(number in found for number in index.secondary[entry.index])
        counts = entry.logic == "and_any" or (
            entry.logic == "and_all" and secondary == len(entry.secondary_keys)
        )
        return sum(number in found for number in index.primary[entry.index]) + (secondary if counts else 0)

    def _refusal(self, at: _At, entry: Entry) -> str:
        """Why an entry that matched does not fire after all: dice, or no text."""
        if entry.probability < 100 and not self._sticks(at):
            thrown = self.dice.random() * 100
            if thrown > entry.probability:
                return f"probability: {thrown:.0f} was thrown against {entry.probability:g}"
        return "" if entry.content.strip() else "it has no text"

    def _over_budget(self, at: _At, entry: Entry, tokens: int) -> str:
        over = max(
            self.spent + tokens - (self.settings.budget if self.settings.budget is not None else 10**12),
            self.book_spent[at[0]] + tokens - (self.books[at[0]].token_budget or 10**12),
        )
        if over > 0 and not entry.ignore_budget:
            return f"over budget by {over} tokens"
        return ""

    def _fire(self, at: _At, entry: Entry, why: str, text: str, tokens: int) -> None:
        self.spent += tokens
        self.book_spent[at[0]] += tokens
        self.fired[at] = (why, text)
        self.skipped.pop(at, None)
        if at in self.timed:
            started(self.timed[at], entry, len(self.messages), self.timers)
        for name in entry.groups:
            self.groups.setdefault(name, entry.label)

    def _speak(self, new: Sequence[_At]) -> list[Set[Key]] | None:
        """Adds the keys that new entries say, and gives those not said before, book by book; None where
        nothing is said that other entries hear."""
        before = [set(keys) for keys in self.spoken]
        heard = False
        for at in new:
            entry = self.entries[at]
            recursive = self.books[at[0]].recursive
            if entry.prevent_recursion or not (self.settings.recursive if recursive is None else recursive):
                continue
            heard = True
            text = self.expand_for_scan(entry.content)
            for number, index in enumerate(self.indexes):
                self.spoken[number] |= index.found(text)
        return [keys - old for keys, old in zip(self.spoken, before, strict=True)] if heard else None

    def _result(self) -> Activation:
        fired = [
            (
                self.entries[at].order,
                at,
                Fired(self._placed(self.entries[at]), why, text, self.books[at[0]].name),
            )
            for at, (why, text) in self.fired.items()
        ]
        fired.sort(key=lambda item: item[:2])
        skipped = [
            Skipped(entry, self.skipped.get(at, "no key"), self.books[at[0]].name)
            for at, entry in self.entries.items()
            if at not in self.fired
        ]
        return Activation([item[2] for item in fired], skipped, self.spent, self.timers)

    def _placed(self, entry: Entry) -> Entry:
        marks = entry.decorators
        if marks.position is None and marks.depth is None and marks.reverse_depth is not None:
            return replace(entry, depth=max(0, len(self.messages) - marks.reverse_depth))
        return entry

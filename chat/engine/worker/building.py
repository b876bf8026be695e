"""From a sampling to the samplers of its chain, in their order."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np

from chat.engine.worker.candidates import Candidates, Floats, Ints, Native, Table
from chat.engine.worker.history import History
from chat.engine.worker.steps import (
    GuardedXTC,
    MinPReach,
    Smoothing,
    TailFree,
    TopA,
    TopKReach,
    penalize_by_age,
)
from chat.engine.worker.words import Words
from presets.sampling import Sampler, Sampling

__all__ = ["DryShelf", "Parts", "build", "seed32"]

WHOLE: tuple[Sampler, ...] = ("penalties", "dry", "top_n_sigma")
"""Samplers that work on the whole vocabulary when they come first."""

MIROSTAT_CANDIDATES = 100
"""Mirostat 1's m: how many candidates its estimate of the distribution's exponent looks at."""

Step = Callable[[Candidates], int]
Head = Callable[[Floats], None]
Reach = Callable[[Floats, float], Ints]
"""Of the whole vocabulary's logits and the best of them."""


@dataclass(slots=True)
class Parts:
    """The samplers of a chain."""

    names: list[str] = field(default_factory=list)
    head_names: list[str] = field(default_factory=list)
    heads: list[tuple[str, Head]] = field(default_factory=list)
    """On the whole vocabulary, by name."""
    steps: list[tuple[str, Step]] = field(default_factory=list)
    """On candidates; the last one draws. A name where one sampler stands alone."""
    natives: list[Native] = field(default_factory=list)
    """Those that the history does not prime."""
    learns: list[Native] = field(default_factory=list)
    """Those of them that are told what was chosen."""
    takes_best: bool = False
    """Nothing that follows the heads can change which token is the best."""
    greedy: bool = False
    """The best one is drawn."""
    prefilter: bool = True
    cuts_first: TailFree | None = None
    """TFS, when it is the first of the steps: it need not see the unlikely tokens."""
    reach: Reach | None = None
    """The tokens that the first of the steps may keep, where no more than a look at the best logit tells:
    instead of the prefilter."""
    highest_temperature: float = 1.0


class DryShelf:
    """Keeps the last DRY sampler of a vocabulary: to look its breakers up costs tens of milliseconds."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._kept: Any = None

    def sampler(self, vocab: Any, s: Sampling, breakers: Sequence[str]) -> Any:
        """A sampler of the caller's own."""
        texts = [text.encode("utf-8", "replace") for text in (*s.dry_sequence_breakers, *breakers) if text]
        key = (s.dry_multiplier, s.dry_base, s.dry_allowed_length, s.dry_penalty_last_n, *texts)
        if self._kept is None or key != self._key:
            self.close()
            array = (ctypes.c_char_p * len(texts))(*texts)
            settings = (s.dry_multiplier, s.dry_base, s.dry_allowed_length, s.dry_penalty_last_n)
            self._kept = api.llama_sampler_init_dry(vocab, *settings, array, len(texts))
            self._key = key
        return api.llama_sampler_clone(self._kept)

    def close(self) -> None:
        if self._kept is not None:
            api.llama_sampler_free(self._kept)
            self._kept = None

    def __del__(self) -> None:
        self.close()


def build(
    sampling: Sampling,
    table: Table,
    history: History,
    vocab: Any,
    words: Words,
    shelf: DryShelf,
    seed: int,
    *,
    apart: bool,
    draws_apart: bool = False,
) -> Parts:
    """The chain's parts. `apart`: every sampler alone, so that one can look between them; `draws_apart`: the
    last of them at least."""
    builder = _Builder(sampling, table, history, vocab, words, shelf, seed, apart, draws_apart)
    return builder.parts


def seed32(seed: int) -> int:
    """llama.cpp's samplers take 32 bits, and all ones mean `at random` to them."""
    folded = (seed ^ seed >> 32) & 0xFFFFFFFF
    return folded if folded != 0xFFFFFFFF else 0xFFFFFFFE


class _Builder:
    def __init__(
        self,
        sampling: Sampling,
        table: Table,
        history: History,
        vocab: Any,
        words: Words,
        shelf: DryShelf,
        seed: int,
        apart: bool,
        draws_apart: bool,
    ) -> None:
        self.parts = Parts()
        self._s = sampling
        self._table = table
        self._size = table.rows.size
        self._history = history
        self._vocab = vocab
        self._words = words
        self._shelf = shelf
        self._seed = seed
        self._apart = apart
        self._open: Native | None = None
        """The native chain that the next native sampler may join."""
        warm = "temperature" in sampling.samplers
        self._dynamic = warm and sampling.dynatemp_range > 0
        self._temperature = sampling.temperature if warm else 1.0
        self._greedy = self._temperature == 0 and not self._dynamic
        order = [name for name in sampling.samplers if self._active(name)]
        count = next((i for i, name in enumerate(order) if name not in WHOLE), len(order))
        heads, body = order[:count], order[count:]
        late = any(name in ("penalties", "dry") for name in body)
        parts = self.parts
        best_may_go = late or "typical_p" in body or "xtc" in body
        parts.greedy = self._greedy
        parts.takes_best = self._greedy and not best_may_go and not apart
        adaptive = self._draw == "adaptive_p"
        parts.prefilter = not (parts.takes_best or late or adaptive or "smoothing" in body)
        spread = sampling.dynatemp_range if self._dynamic else 0.0
        parts.highest_temperature = max(1.0, self._temperature + spread)
        if body[:1] in (["min_p"], ["top_k"]) and not parts.takes_best:
            parts.reach = MinPReach(sampling.min_p) if body[0] == "min_p" else TopKReach(sampling.top_k)
            parts.prefilter = False
        self._add_heads(heads)
        self._add_body(body)
        if draws_apart:
            self._open = None
        self._add_draw()
        first = parts.steps[0][1]
        if isinstance(first, TailFree) and not apart:
            parts.cuts_first = first

    @property
    def _draw(self) -> str:
        s = self._s
        if self._greedy:
            return "greedy"
        if s.mirostat:
            return "mirostat"
        return "adaptive_p" if s.adaptive_target >= 0 else "dist"

    def _active(self, name: Sampler) -> bool:
        s = self._s
        if self._draw == "mirostat" and name not in ("penalties", "dry", "temperature", "smoothing"):
            return False
        looks_back = (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) != (1, 0, 0)
        return {
            "penalties": looks_back and s.repeat_last_n > 0,
            "dry": s.dry_multiplier > 0 and s.dry_penalty_last_n > 0 and self._vocab is not None,
            "top_n_sigma": s.top_n_sigma > 0,
            "top_k": s.top_k > 0,
            "top_a": s.top_a > 0,
            "tfs_z": s.tfs_z < 1,
            "typical_p": s.typical_p < 1,
            "top_p": s.top_p < 1,
            "min_p": s.min_p > 0,
            "xtc": s.xtc_probability > 0,
            "temperature": not self._greedy and (s.temperature != 1 or self._dynamic),
            "smoothing": not self._greedy and s.smoothing_factor > 0,
        }[name]

    # On the whole vocabulary --------------------------------------------------------------------------------

    def _add_heads(self, order: Sequence[Sampler]) -> None:
        parts, native = self.parts, None
        for name in order:
            before = len(parts.head_names)
            if name == "top_n_sigma":
                parts.head_names.append(f"top_n_sigma({self._s.top_n_sigma:g})")
                if not parts.takes_best:
                    parts.heads.append((parts.head_names[-1], _TopNSigma(self._s.top_n_sigma)))
                native = None
                continue
            aged, sampler = self._looks_back(name, parts.head_names)
            label = parts.head_names[before]
            if aged:
                parts.heads.append((label, self._aged_head()))
                native = None
            if sampler is not None and native is not None and not self._apart:
                native.add(sampler)
            elif sampler is not None:
                native = self._history_native(sampler)
                label = parts.head_names[before + aged]
                parts.heads.append((label, partial(self._history.apply, native)))

    def _looks_back(self, name: Sampler, names: list[str]) -> tuple[bool, Any]:
        """`penalties` or `dry`: whether the penalty goes by age, which is ours, and the native sampler, if
        any."""
        s, history = self._s, self._history
        if name == "dry":
            history.look_back(s.dry_penalty_last_n)
            names.append(f"dry({s.dry_multiplier:g})")
            return False, self._shelf.sampler(self._vocab, s, self._words.breakers)
        history.look_back(s.repeat_last_n)
        aged = s.repeat_penalty != 1 and 0 < s.repeat_penalty_slope < 1
        values = (1.0 if aged else s.repeat_penalty, s.frequency_penalty, s.presence_penalty)
        if s.repeat_penalty != 1:
            slope = f", slope={s.repeat_penalty_slope:g}" if aged else ""
            names.append(f"repeat_penalty({s.repeat_penalty:g}{slope})")
        if s.frequency_penalty:
            names.append(f"frequency_penalty({s.frequency_penalty:g})")
        if s.presence_penalty:
            names.append(f"presence_penalty({s.presence_penalty:g})")
        if aged:
            history.keep_order(s.repeat_last_n)
        if values == (1.0, 0.0, 0.0):
            return aged, None
        return aged, api.llama_sampler_init_penalties(self._size, s.repeat_last_n, *values)

    def _history_native(self, sampler: Any) -> Native:
        native = Native(self._table)
        native.add(sampler)
        self._history.natives.append(native)
        return native

    def _aged_head(self) -> Head:
        s, history, size = self._s, self._history, self._size

        def head(work: Floats) -> None:
            ids = history.ids
            logits = work[ids]
            recent = history.recent(s.repeat_last_n)
            penalize_by_age(logits, ids, recent, s.repeat_penalty, s.repeat_penalty_slope, size)
            work[ids] = logits

        return head

    # On candidates ------------------------------------------------------------------------------------------

    def _add_body(self, order: Sequence[Sampler]) -> None:
        s, names = self._s, self.parts.names
        for place, name in enumerate(order):
            if name in ("penalties", "dry"):
                self._add_late(name)
            elif name == "tfs_z":
                joins = not self._apart and place > 0 and order[place - 1] == "top_k"
                names.append(f"tfs_z({s.tfs_z:g})")
                self._add_own(TailFree(s, s.top_k if joins else 0))
            elif name == "top_k" and not self._apart and order[place + 1 : place + 2] == ["tfs_z"]:
                names.append(f"top_k({s.top_k})")
            elif name == "top_a":
                names.append(f"top_a({s.top_a:g})")
                self._add_own(TopA(s.top_a))
            elif name == "smoothing":
                names.append(f"smoothing({s.smoothing_factor:g}, curve={s.smoothing_curve:g})")
                self._add_own(Smoothing(s.smoothing_factor, s.smoothing_curve))
            elif name == "xtc" and self._words.protected:
                names.append(f"xtc({s.xtc_probability:g})")
                native = self._alone(self._native("xtc")[1])
                self._add_own(GuardedXTC(native, s.xtc_threshold, self._size, self._words.protected))
            else:
                label, sampler = self._native(name)
                names.append(label)
                self._add_native(sampler)

    def _native(self, name: Sampler) -> tuple[str, Any]:
        s = self._s
        value = getattr(s, name, None)
        if name == "xtc":
            sampler = api.llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 1, self._seed)
            return f"xtc({s.xtc_probability:g})", sampler
        if name == "temperature":
            if self._dynamic:
                sampler = api.llama_sampler_init_temp_ext(
                    s.temperature, s.dynatemp_range, s.dynatemp_exponent
                )
                return f"temperature({s.temperature:g}, dynatemp_range={s.dynatemp_range:g})", sampler
            return f"temperature({s.temperature:g})", api.llama_sampler_init_temp(s.temperature)
        if name == "top_k":
            return f"top_k({s.top_k})", api.llama_sampler_init_top_k(s.top_k)
        if name == "top_n_sigma":
            return f"top_n_sigma({s.top_n_sigma:g})", api.llama_sampler_init_top_n_sigma(s.top_n_sigma)
        make = {
            "typical_p": api.llama_sampler_init_typical,
            "top_p": api.llama_sampler_init_top_p,
            "min_p": api.llama_sampler_init_min_p,
        }[name]
        return f"{name}({value:g})", make(value, 1)

    def _add_late(self, name: Sampler) -> None:
        """Penalties after a cut: on what candidates there are."""
        parts, s = self.parts, self._s
        before = len(parts.names)
        by_age, sampler = self._looks_back(name, parts.names)

        def aged(candidates: Candidates) -> int:
            logits = np.array(candidates.logits)
            recent = self._history.recent(s.repeat_last_n)
            slope = s.repeat_penalty_slope
            penalize_by_age(logits, candidates.ids, recent, s.repeat_penalty, slope, self._size)
            candidates.logits, candidates.is_sorted = logits, False
            return -1

        if by_age:
            parts.steps.append((parts.names[before], aged))
        if sampler is not None:
            parts.steps.append((parts.names[before + by_age], self._history_native(sampler)))
        self._open = None

    def _add_own(self, step: Step) -> None:
        self.parts.steps.append((self.parts.names[-1], step))
        self._open = None

    def _add_native(self, sampler: Any) -> Native:
        parts = self.parts
        if self._open is None or self._apart:
            self._open = self._alone(sampler)
            parts.steps.append((parts.names[-1] if self._apart else "", self._open))
        else:
            self._open.add(sampler)
        return self._open

    def _alone(self, sampler: Any) -> Native:
        native = Native(self._table)
        native.add(sampler)
        self.parts.natives.append(native)
        return native

    def _add_draw(self) -> None:
        s, seed, parts = self._s, self._seed, self.parts
        if self._draw == "greedy":
            parts.names.append("greedy")
            native = self._add_native(api.llama_sampler_init_greedy())
        elif self._draw == "mirostat":
            tau, eta = s.mirostat_tau, s.mirostat_eta
            parts.names.append(f"mirostat({s.mirostat}, tau={tau:g}, eta={eta:g})")
            if s.mirostat == 1:
                sampler = api.llama_sampler_init_mirostat(self._size, seed, tau, eta, MIROSTAT_CANDIDATES)
            else:
                sampler = api.llama_sampler_init_mirostat_v2(seed, tau, eta)
            native = self._add_native(sampler)
        elif self._draw == "adaptive_p":
            parts.names.append(f"adaptive_p({s.adaptive_target:g}, decay={s.adaptive_decay:g})")
            sampler = api.llama_sampler_init_adaptive_p(s.adaptive_target, s.adaptive_decay, seed)
            native = self._add_native(sampler)
            parts.learns.append(native)
        else:
            parts.names.append("dist")
            native = self._add_native(api.llama_sampler_init_dist(seed))
        native.chooses = not (self._apart and self._draw in ("mirostat", "adaptive_p"))
        if self._apart and self._draw in ("greedy", "dist"):
            parts.steps[-1] = ("", parts.steps[-1][1])


class _TopNSigma:
    """Top-n-sigma (Tang et al. 2024) on the whole vocabulary, as llama.cpp has it."""

    def __init__(self, n: float) -> None:
        self._n = n

    def __call__(self, work: Floats) -> None:
        finite = work[np.isfinite(work)]
        if finite.size:
            depth = self._n * float(finite.std(dtype=np.float64))
            work[work < finite.max() - depth] = -np.inf

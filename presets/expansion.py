"""Macros in the texts that go into a prompt: each expanded once, by itself, the same way in every prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from cards.card import Card
from cards.macros import Macros
from presets.text import Cast
from presets.values import Persona

Expand = Callable[[str, str], str]
"""A text with its macros expanded, from its origin (`card description`, `persona` ...) and the text."""

_OUTLET = re.compile(r"\{\{\s*outlet\s*::\s*([^{}]*?)\s*\}\}", re.IGNORECASE)


def expander(
    card: Card,
    persona: Persona,
    given: Macros | None,
    cast: Cast,
    outlets: Mapping[str, str] | None = None,
    asked: set[str] | None = None,
) -> Expand:
    """Expands the texts of one prompt. `given` stays as it is: its variables are copied, its dice not thrown.

    Each origin has dice of its own, seeded from the given ones, so that `{{random}}` in one text does not
    change what another says when a lorebook entry comes or goes. What `{{persona}}`, `{{description}}` and
    their kin stand for has its own macros expanded, once. `outlets` is what `{{outlet::NAME}}` stands for;
    the names that texts asked for come into `asked`.
    """
    own = given or Macros.for_card(card, cast.user, persona.description, dice=Random(0))
    dice = Random()
    dice.setstate(own.dice.getstate())
    seed = dice.getrandbits(64)
    known = replace(own, char=cast.char, user=cast.user, outlets=outlets or {})

    def thrown(macros: Macros, source: str) -> Macros:
        return replace(macros, dice=Random(f"{seed} {source}"))

    def aside(macros: Macros, source: str, text: str) -> str:
        """What a macro stands for; the variables that `text` sets are set where it stands itself."""
        return thrown(_with_own_variables(macros), source).expand(text)

    names = replace(known, persona="", description="", personality="", scenario="", mes_examples="")
    fields = replace(names, persona=aside(names, "persona", known.persona))
    whole = replace(
        _with_own_variables(fields),
        description=aside(fields, "card description", known.description),
        personality=aside(fields, "card personality", known.personality),
        scenario=aside(fields, "card scenario", known.scenario),
        mes_examples=aside(fields, "card mes_example", known.mes_examples),
    )

    def expand(source: str, text: str) -> str:
        if asked is not None:
            asked.update(_OUTLET.findall(text))
        return thrown(whole, source).expand(text)

    return expand


def _with_own_variables(macros: Macros) -> Macros:
    return replace(macros, variables=dict(macros.variables), global_variables=dict(macros.global_variables))

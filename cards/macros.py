"""Macros: `{{char}}`, `{{user}}`, `{{random:a,b}}` and their kin, one pass over the text.

Names after Character Card V3 (curly braced syntaxes) and SillyTavern. Values are never expanded again: a
user named
`{{char}}` stays `{{char}}`. An unknown macro stays as it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Final

__all__ = ["Macros"]

_LEGACY: Final = re.compile(r"(?<!<)<(user|bot|char|group|charifnotgroup)>(?!>)", re.IGNORECASE)


@dataclass(frozen=True)
class Macros:
    """What macros stand for."""

    char: str = ""
    user: str = "User"
    persona: str = ""
    description: str = ""
    personality: str = ""
    scenario: str = ""
    mes_examples: str = ""
    clock: datetime | None = None
    dice: Random = field(default_factory=Random)

    def expand(self, text: str) -> str:
        """`text` with its macros replaced."""
        values = {
            "char": self.char,
            "user": self.user,
            "persona": self.persona,
            "description": self.description,
        }
        values |= {"personality": self.personality, "scenario": self.scenario, "newline": "\n", "noop": ""}

        def one(found: re.Match[str]) -> str:
            legacy = found[1]
            if legacy:
                return self.user if legacy.lower() == "user" else self.char
            return values.get(found[2].strip().lower(), found[0])

        return re.sub(_LEGACY.pattern + r"|\{\{([^{}]*)\}\}", one, text, flags=re.IGNORECASE)

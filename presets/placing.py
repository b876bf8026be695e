"""Where a persona stands in the prompt, as stored documents and people write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from presets.values import Persona, PersonaPosition, Role

__all__ = ["place_of", "placed_persona", "words_for"]

POSITIONS: Final[tuple[PersonaPosition, ...]] = get_args(PersonaPosition)
ROLES: Final[tuple[Role, ...]] = get_args(Role)


def placed_persona(name: str, description: str, place: object) -> Persona:
    """A persona from its stored parts; what `place` lacks or says wrongly has its default."""
    usual = Persona(name, description)
    found: Mapping[str, Any] = place if isinstance(place, Mapping) else {}
    position = str(found.get("position", "")).replace("-", "_")
    depth, role = found.get("depth"), found.get("role")
    return Persona(
        name,
        description,
        position if position in POSITIONS else usual.position,
        depth
        if isinstance(depth, int) and not isinstance(depth, bool) and 0 <= depth < 10_000
        else usual.depth,
        cast("Role", role) if role in ROLES else usual.role,
    )


def place_of(persona: Persona) -> dict[str, Any]:
    """What `placed_persona` reads."""
    return {"position": persona.position, "depth": persona.depth, "role": persona.role}


def words_for(persona: Persona) -> str:
    """Where it stands, for people."""
    match persona.position:
        case "header":
            return "in the prompt's header"
        case "none":
            return "in no prompt"
        case "note_top":
            return "above the author's note"
        case "note_bottom":
            return "below the author's note"
        case "depth":
            role = "the character" if persona.role == "char" else f"the {persona.role}"
            count = "1 message" if persona.depth == 1 else f"{persona.depth} messages"
            return f"{count} from the end, as {role}"

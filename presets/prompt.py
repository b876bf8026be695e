"""`build`: the one place where a prompt is made. Pure: no I/O, nothing given to it is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cards.card import Card
from cards.macros import Macros
from presets.assembly import Block, Note, Play, Script, blocks
from presets.budget import fit
from presets.chat_template import template_blocks
from presets.errors import nearest
from presets.examples import example_turns
from presets.expansion import Expand, expander
from presets.format import PromptFormat
from presets.header import HeaderText
from presets.reasoning import Thinking, listed, split, think_tokens
from presets.text import Cast, line_name, lines
from presets.values import (
    Budget,
    LoreInsertion,
    Mode,
    Persona,
    Prompt,
    Segment,
    SegmentKind,
    ThinkPlan,
    Turn,
    Window,
)

_ORIGINAL = re.compile(r"\{\{\s*original\s*\}\}", re.IGNORECASE)


def build(
    card: Card,
    persona: Persona,
    format: PromptFormat,
    turns: Sequence[Turn],
    *,
    mode: Mode = "reply",
    options: Mapping[str, str] | None = None,
    macros: Macros | None = None,
    lore: Sequence[LoreInsertion] = (),
    budget: Budget | None = None,
    window: Window | None = None,
) -> Prompt:
    """The prompt for the next turn.

    `turns` is the whole chat, greeting first, in the order it was said; its texts are taken as they are,
    while macros are expanded in the card's fields, the persona and lore. A turn without a name takes the
    card's or the persona's. `options` are the format's (`PromptFormat.options`), as `--set` gives them.
    Without a `budget` everything stays in, whatever `window` says.

    Raises PromptTooLong when not even header, injections and last turn fit, ValueError for an unknown
    option or value and for a `continue` that has nothing to continue.
    """
    chosen = chosen_options(format, options or {})
    if chosen["thoughts"] == "off":
        turns = _without_thoughts(turns, mode)
    cast = _cast(card, persona, format, chosen, macros)
    expand = expander(card, persona, macros, cast)
    if format.sillytavern is not None:
        from presets.sillytavern.rendering import play as as_sillytavern

        play = as_sillytavern(card, persona, format, turns, mode, expand, lore, chosen, cast)
    else:
        play = _play(_script(card, turns, mode, expand, persona, lore, chosen, cast), turns, cast)
    window = window or Window()
    prompt = Prompt(
        segments=(),
        stops=play.stops,
        ban_eos=chosen["ban_eos"] == "on",
        strip_names=_strip_names(cast, mode),
        keep_leading_space=mode == "continue",
        base_text=play.base_text,
        think=_think_plan(cast, mode),
        window=window,
    )
    if budget is None:
        return replace(prompt, segments=_flat(play.render(0, chosen.get("examples", "never") != "never")))
    fitted = fit(play.render, play.spoken, budget, window, chosen.get("examples", "never"))
    return replace(
        prompt,
        segments=_flat(fitted.blocks),
        tokens=fitted.tokens,
        window=fitted.window,
        dropped=fitted.dropped,
    )


def _play(script: Script, turns: Sequence[Turn], cast: Cast) -> Play:
    def render(first: int, with_examples: bool) -> list[Block]:
        arrange = template_blocks if cast.format.chat_template else blocks
        return arrange(script, cast, first, with_examples=with_examples)

    spoken = [*script.history, *([script.continued] if script.continued else [])]
    base_text = script.continued.text if script.continued else ""
    return Play(render, _stops(cast, script.mode, turns), spoken, base_text)


def chosen_options(format: PromptFormat, options: Mapping[str, str]) -> dict[str, str]:
    """Every option of `format` with its value; raises ValueError for one that it does not know."""
    known = format.options()
    chosen = {name: values[0] for name, values in known.items()}
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"format {format.id} has no option {name}{nearest(name, list(known))}")
        if value not in known[name]:
            allowed = listed(known[name])
            raise ValueError(f"{name}={value} is not a choice of format {format.id}: it takes {allowed}")
        chosen[name] = value
    return chosen


def _cast(
    card: Card,
    persona: Persona,
    format: PromptFormat,
    chosen: Mapping[str, str],
    macros: Macros | None,
) -> Cast:
    return Cast(
        char=line_name(card.call_name, "Character"),
        user=line_name(persona.name, "User"),
        length=format.length.words[chosen["length"]] if format.length else "",
        format=format,
        names=chosen["names"] == "on",
        think=chosen["think"],
        clock=macros.clock if macros else None,
    )


def _without_thoughts(turns: Sequence[Turn], mode: Mode) -> Sequence[Turn]:
    """What the character thought aloud in earlier turns stays out; a turn that is continued is kept whole."""
    last = len(turns) - (mode == "continue")
    return [
        replace(turn, text=split(turn.text).text) if turn.role == "char" and index < last else turn
        for index, turn in enumerate(turns)
    ]


def _think_plan(cast: Cast, mode: Mode) -> ThinkPlan:
    style = cast.format.thinking or Thinking()
    wanted = cast.think != "off" and mode == "reply" and cast.format.sillytavern is None
    limit = think_tokens(cast.think) if wanted else None
    return ThinkPlan(wanted, wanted, limit, style.open, style.close)


def _script(
    card: Card,
    turns: Sequence[Turn],
    mode: Mode,
    expand: Expand,
    persona: Persona,
    lore: Sequence[LoreInsertion],
    chosen: Mapping[str, str],
    cast: Cast,
) -> Script:
    history = [t if t.source else replace(t, source=f"message {n}") for n, t in enumerate(turns, 1)]
    continued = None
    if mode == "continue":
        if not history or history[-1].role != "char":
            raise ValueError(f"there is nothing to continue: the last message is not {cast.char}'s")
        continued = history.pop()
        # A space at the end would be a token of its own that no model saw in training.
        continued = replace(continued, text=continued.text.rstrip(" "))
    if not cast.format.uses_card:
        return Script(HeaderText(), (), history, (), "", mode, continued)
    written = lines(card.system_prompt) if chosen.get("card_system_prompt") == "on" else ""
    entries = [replace(entry, text=lines(expand(entry.source, entry.text))) for entry in lore]
    head = HeaderText(
        system_prompt=tuple(expand("card system_prompt", text) for text in _ORIGINAL.split(written)),
        description=expand("card description", card.description),
        personality=expand("card personality", card.personality),
        persona=expand("persona", persona.description),
        scenario=expand("card scenario", card.scenario),
        lore=entries,
    )
    examples = example_turns(expand("card mes_example", card.mes_example), cast, line_name(card.name, ""))
    notes = [*_lore_notes(entries), *_own_note(card, expand)]
    last_word = lines(expand("card post_history_instructions", card.post_history_instructions))
    return Script(head, examples, history, notes, last_word, mode, continued)


def _lore_notes(lore: Sequence[LoreInsertion]) -> Iterator[Note]:
    for entry in lore:
        if entry.position == "depth" and entry.text:
            kind: SegmentKind = "lore" if entry.source.startswith("lore ") else "note"
            text = Segment(kind, entry.source, entry.text, False)
            yield Note(text, max(entry.depth, 0), entry.role)


def _own_note(card: Card, expand: Expand) -> Iterator[Note]:
    """The character's note."""
    own = card.depth_prompt
    if own is not None and (written := lines(expand("card depth_prompt", own.prompt))):
        text = Segment("note", "card depth_prompt", written, False)
        yield Note(text, max(own.depth, 0), own.role)


def _stops(cast: Cast, mode: Mode, turns: Sequence[Turn]) -> tuple[str, ...]:
    texts = list(cast.format.stops)
    if mode == "impersonate":
        texts += cast.format.stops_impersonate
    stops = [cast.plain(text) for text in texts]
    rule = cast.format.names.stops
    if rule == "always" or (rule == "with names" and cast.names):
        earlier = [line_name(turn.name, "") for turn in turns if turn.role == "user"]
        stops += [f"\n{name}:" for name in (cast.user, *earlier) if name]
    if mode == "impersonate" and rule != "never":
        stops.append(f"\n{cast.char}:")
    return tuple(dict.fromkeys(stops))


def _strip_names(cast: Cast, mode: Mode) -> tuple[str, ...]:
    """Continuing, the model is past the name already."""
    if mode == "continue" or cast.format.names.stops == "never":
        return ()
    return (f"{cast.user if mode == 'impersonate' else cast.char}:",)


def _flat(parts: Sequence[Block]) -> tuple[Segment, ...]:
    return tuple(segment for block in parts for segment in block.segments)

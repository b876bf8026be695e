"""`build`: the one place where a prompt is made. Pure: no I/O, nothing given to it is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cards.card import Card
from cards.macros import Macros
from presets.assembly import Block, Play, Script, blocks
from presets.budget import Fitted, fit
from presets.chat_template import template_blocks
from presets.errors import nearest
from presets.examples import example_turns, lore_examples
from presets.expansion import Expand, expander
from presets.format import PromptFormat
from presets.header import HeaderText
from presets.notes import LeftOut, notes_of
from presets.reasoning import Thinking, listed, split, think_tokens
from presets.text import ORIGINAL, Cast, line_name, lines
from presets.values import (
    AuthorsNote,
    Budget,
    Dropped,
    LoreAt,
    LoreInsertion,
    Mode,
    Persona,
    Prompt,
    Segment,
    ThinkPlan,
    Turn,
    Window,
)


def build(
    card: Card,
    persona: Persona,
    format: PromptFormat,
    turns: Sequence[Turn],
    *,
    mode: Mode = "reply",
    options: Mapping[str, str] | None = None,
    macros: Macros | None = None,
    lore: Sequence[LoreInsertion] | LoreAt = (),
    note: AuthorsNote | None = None,
    prefill: str = "",
    budget: Budget | None = None,
    window: Window | None = None,
) -> Prompt:
    """The prompt for the next turn.

    `turns` is the whole chat, greeting first, in the order it was said; its texts are taken as they are,
    while macros are expanded in the card's fields, the persona, lore, the author's `note` and the `prefill`,
    with which a reply begins. A turn without a name takes the card's or the persona's. `options` are the
    format's (`PromptFormat.options`), as `--set` gives them. Without a `budget` everything stays in, whatever
    `window` says.

    Raises PromptTooLong when not even header, injections and last turn fit, ValueError for an unknown
    option or value and for a `continue` that has nothing to continue.
    """
    chosen = chosen_options(format, options or {})
    if chosen["thoughts"] == "off":
        turns = _without_thoughts(turns, mode)
    cast = _cast(card, persona, format, chosen, macros)
    stage = _Stage(card, persona, turns, mode, chosen, cast, macros, note or AuthorsNote(), prefill)
    lore_at: LoreAt = lore if callable(lore) else lambda first: lore
    plays: dict[tuple[LoreInsertion, ...], Play] = {}

    def play_from(first: int) -> Play:
        entries = tuple(lore_at(first))
        if entries not in plays:
            plays[entries] = stage.play(entries)
        return plays[entries]

    def render(first: int, with_examples: bool) -> list[Block]:
        return play_from(first).render(first, with_examples)

    # What does not depend on lore must not have it looked for through the whole chat.
    play = stage.play(()) if callable(lore) else play_from(0)
    prompt = Prompt(
        segments=(),
        stops=play.stops,
        ban_eos=chosen["ban_eos"] == "on",
        strip_names=() if play.base_text else _strip_names(cast, mode),
        keep_leading_space=mode == "continue" or bool(play.base_text),
        base_text=play.base_text,
        think=_think_plan(cast, mode),
        window=window or Window(),
    )
    examples = chosen.get("examples", "never")
    if budget is None:
        return replace(prompt, segments=_flat(render(0, examples != "never")))
    fitted = fit(render, play.spoken, budget, prompt.window, examples)
    left_out = play_from(fitted.first).left_out()
    return replace(
        prompt,
        segments=_flat(fitted.blocks),
        tokens=fitted.tokens,
        window=fitted.window,
        dropped=(*fitted.dropped, *_counted(left_out, fitted, budget)),
    )


def _counted(left_out: Sequence[LeftOut], fitted: Fitted, budget: Budget) -> Iterator[Dropped]:
    """What is left out for another reason than its length, with its tokens."""
    # The prompt's own first segment stands before it: what begins a prompt counts a token more.
    begin = [block.segments[0] for block in fitted.blocks if block.segments][:1]
    for one in left_out:
        text = Segment(one.kind, one.source, one.text, False)
        yield Dropped(one.kind, one.source, one.why, budget.count([*begin, text])[-1])


@dataclass(frozen=True)
class _Stage:
    """All that a prompt is made from, except which lore fires."""

    card: Card
    persona: Persona
    turns: Sequence[Turn]
    mode: Mode
    chosen: Mapping[str, str]
    cast: Cast
    macros: Macros | None
    note: AuthorsNote
    prefill: str

    def play(self, lore: Sequence[LoreInsertion]) -> Play:
        """The prompt with this lore, before anything is left out. Raises ValueError."""
        asked: set[str] = set()
        outlets = self._outlets(lore)
        texts = {name: "\n".join(text for _, text in entries) for name, entries in outlets.items()}
        expand = expander(self.card, self.persona, self.macros, self.cast, texts, asked)
        prefill = expand("prefill", self.prefill).rstrip(" ") if self._may_prefill else ""
        play = (self._as_sillytavern if self.cast.format.sillytavern else self._own)(lore, expand, prefill)

        def left_out() -> list[LeftOut]:
            unasked = [
                LeftOut("lore", source, text, f"no text asks for its outlet {name!r}")
                for name, entries in outlets.items()
                for source, text in entries
                if name not in asked
            ]
            return [*play.left_out(), *unasked, *self._refused(expand)]

        return replace(play, left_out=left_out)

    def _outlets(self, lore: Sequence[LoreInsertion]) -> dict[str, list[tuple[str, str]]]:
        """Source and text of the entries that wait at each outlet."""
        found: dict[str, list[tuple[str, str]]] = {}
        waiting = [entry for entry in lore if entry.position == "outlet"]
        expand = expander(self.card, self.persona, self.macros, self.cast) if waiting else None
        for entry in waiting:
            if expand is not None and (text := lines(expand(entry.source, entry.text))):
                found.setdefault(entry.outlet, []).append((entry.source, text))
        return found

    @property
    def _may_prefill(self) -> bool:
        """A model that thinks first cannot begin with the words of its reply."""
        return self.mode == "reply" and self.cast.think == "off"

    def _refused(self, expand: Expand) -> Iterator[LeftOut]:
        """What a setting keeps out of this prompt."""
        chosen, card = self.chosen, self.card
        if self.prefill and self.mode == "reply" and not self._may_prefill:
            yield LeftOut("open", "prefill", self.prefill, "the model thinks first: the setting think")
        for option, kind, source, text in (
            ("card_system_prompt", "header", "card system_prompt", card.system_prompt),
            (
                "card_post_history",
                "post_history",
                "card post_history_instructions",
                card.post_history_instructions,
            ),
        ):
            if chosen.get(option) == "off" and (written := lines(expand(source, text))):
                yield LeftOut(kind, source, written, f"the setting {option}=off")  # type: ignore[arg-type]

    def _as_sillytavern(self, lore: Sequence[LoreInsertion], expand: Expand, prefill: str) -> Play:
        from presets.sillytavern.rendering import play

        return play(
            self.card,
            self.persona,
            self.turns,
            self.mode,
            expand,
            lore,
            self.chosen,
            self.cast,
            note=self.note,
            prefill=prefill,
        )

    def _own(self, lore: Sequence[LoreInsertion], expand: Expand, prefill: str) -> Play:
        script, left_out = self._script(lore, expand, prefill)
        cast = self.cast

        def render(first: int, with_examples: bool) -> list[Block]:
            arrange = template_blocks if cast.format.chat_template else blocks
            return arrange(script, cast, first, with_examples=with_examples)

        spoken = [*script.history, *([script.continued] if script.continued else [])]
        base_text = script.continued.text if script.continued else prefill
        return Play(render, _stops(cast, self.mode, self.turns), spoken, base_text, lambda: left_out)

    def _script(
        self, lore: Sequence[LoreInsertion], expand: Expand, prefill: str
    ) -> tuple[Script, list[LeftOut]]:
        card, cast, persona = self.card, self.cast, self.persona
        history, continued = self._history()
        if not cast.format.uses_card:
            own_note, left_out = notes_of(None, Persona(), self.note, (), self.turns, expand)
            head = HeaderText()
            return Script(head, (), history, own_note, "", self.mode, continued, prefill=prefill), left_out
        entries = [
            replace(entry, text=lines(expand(entry.source, entry.text)))
            for entry in lore
            if entry.position != "outlet"
        ]
        notes, left_out = notes_of(card, persona, self.note, entries, self.turns, expand)
        script = Script(
            header=self._header(entries, expand),
            examples=example_turns(expand("card mes_example", card.mes_example), cast, *self._names),
            history=history,
            notes=notes,
            post_history=self._post_history(expand),
            mode=self.mode,
            continued=continued,
            before_examples=self._example_lore(entries, "examples_top"),
            after_examples=self._example_lore(entries, "examples_bottom"),
            prefill=prefill,
        )
        return script, left_out

    def _history(self) -> tuple[list[Turn], Turn | None]:
        """The chat, and its last turn apart from it when that is continued. Raises ValueError."""
        history = [t if t.source else replace(t, source=f"message {n}") for n, t in enumerate(self.turns, 1)]
        if self.mode != "continue":
            return history, None
        if not history or history[-1].role != "char":
            raise ValueError(f"there is nothing to continue: the last message is not {self.cast.char}'s")
        continued = history.pop()
        # A space at the end would be a token of its own that no model saw in training.
        return history, replace(continued, text=continued.text.rstrip(" "))

    def _header(self, entries: Sequence[LoreInsertion], expand: Expand) -> HeaderText:
        card, persona = self.card, self.persona
        written = lines(card.system_prompt) if self.chosen.get("card_system_prompt") == "on" else ""
        in_header = persona.position == "header"
        return HeaderText(
            system_prompt=tuple(expand("card system_prompt", text) for text in ORIGINAL.split(written)),
            description=expand("card description", card.description),
            personality=expand("card personality", card.personality),
            persona=expand("persona", persona.description) if in_header else "",
            scenario=expand("card scenario", card.scenario),
            lore=entries,
        )

    def _post_history(self, expand: Expand) -> str:
        if self.chosen.get("card_post_history") == "off":
            return ""
        return lines(expand("card post_history_instructions", self.card.post_history_instructions))

    @property
    def _names(self) -> tuple[str, ...]:
        """A card's name beside its nickname."""
        return (line_name(self.card.name, ""),)

    def _example_lore(self, entries: Sequence[LoreInsertion], position: str) -> list[Turn]:
        found = (entry for entry in entries if entry.position == position)
        return [turn for e in found for turn in lore_examples(e.text, e.source, self.cast, *self._names)]


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

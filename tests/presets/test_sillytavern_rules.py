"""Random presets and scenes against a second, plain telling of SillyTavern 1.12.6's rules.

The telling below works on strings alone, message by message, and shares nothing with the renderer. Groups,
the newer wrap of the story string and instruct mode off have cases of their own in the other files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cards.card import card_from_document
from presets.format import PromptFormat
from presets.prompt import build
from presets.values import AuthorsNote, LoreInsertion, Mode, Persona, Prompt, Role, Turn

STORY = (
    "{{#if system}}{{system}}\n{{/if}}{{#if wiBefore}}{{wiBefore}}\n{{/if}}{{#if description}}{{description}}"
    "\n{{/if}}{{#if scenario}}Scenario: {{scenario}}\n{{/if}}{{#if wiAfter}}{{wiAfter}}\n{{/if}}"
    "{{#if persona}}{{persona}}\n{{/if}}"
)
ENDS = ("", "{{trim}}</head>", "{{trim}}", "\n\n{{trim}}\n{{char}}\n")
"""What follows the parts of the story string."""

Note = tuple[int, Role, str]


@dataclass(frozen=True)
class Scene:
    way: dict[str, Any]
    frame: dict[str, Any]
    system: str
    card: dict[str, str]
    user: str
    char: str
    persona: str
    turns: list[tuple[Role, str, str]]
    mode: Mode
    lore: list[tuple[str, str]]
    notes: list[Note]
    """The author's, the character's, then lore; none twice but of lore."""
    end: str


@dataclass(frozen=True)
class Said:
    role: Role
    name: str
    text: str
    foreign: bool = False


def macros(text: str, scene: Scene, name: str | None = None) -> str:
    text = re.sub(r"\n*\{\{trim\}\}\n*", "", text)
    text = text.replace("{{user}}", scene.user).replace("{{char}}", scene.char)
    return text if name is None else text.replace("{{name}}", name)


def glue(scene: Scene, *parts: str) -> str:
    return ("\n" if scene.way["wrap"] else "").join(part for part in parts if part)


def sequence(scene: Scene, key: str, name: str) -> str:
    text = scene.way.get(key, "")
    return macros(text, scene, name or "System") if scene.way["macro"] else text


def message(scene: Scene, said: Said, place: str, *, ended: bool = True) -> str:
    """A message; `place` is `first_`, `last_` or nothing."""
    kind = {"user": "input", "char": "output", "system": "system"}[said.role]
    if said.role == "system":
        kind, place = ("input" if scene.way.get("system_same_as_user") else kind), ""
    own = f"{place}{kind}_sequence"
    key = own if place and scene.way.get(own) else f"{kind}_sequence"
    naming = scene.way["names_behavior"]
    named = naming == "always" or (naming == "force" and said.foreign)
    name = f"{said.name}: " if named and said.role != "system" and said.name else ""
    end = sequence(scene, f"{kind}_suffix", said.name) or ("\n" if scene.way["wrap"] else "")
    prefix = sequence(scene, key, said.name)
    return glue(scene, prefix, name + said.text + (end if ended else "\0")).removesuffix("\0")


def examples(scene: Scene) -> str:
    """Each block is `<START>` and lines, that begin with the user's or the character's name."""
    text = macros(scene.card["mes_example"], scene)
    heading = scene.frame["example_separator"]
    heading = macros(heading, scene) + "\n" if heading else ""
    result = ""
    for block in text.split("<START>\n")[1:]:
        if scene.way.get("skip_examples"):
            result += heading + block.strip() + "\n"
            continue
        result += heading
        for line in block.strip().split("\n"):
            name, said = line.split(":", 1)
            kind = "input" if name == scene.user else "output"
            named = scene.way["names_behavior"] == "always"
            named = named or (scene.way["names_behavior"] == "force" and kind == "input")
            end = sequence(scene, f"{kind}_suffix", name)
            end = end or ("\n" if scene.way["wrap"] and scene.way["macro"] else "")
            prefix = sequence(scene, f"{kind}_sequence", name)
            result += glue(scene, prefix, (f"{name}: " if named else "") + said.strip() + end)
    return result


def story(scene: Scene) -> str:
    """The head, each part on a line of its own."""
    way = scene.way
    system = macros(scene.card["system_prompt"] or scene.system, scene)
    if system:
        before, after = (way.get(f"system_sequence_{side}", "") for side in ("prefix", "suffix"))
        line = "\n" if way["wrap"] else ""
        system = (before.replace("{{name}}", "System") + line if before else "") + system
        system = macros(system + (line + after if after else ""), scene)
    lore = {
        position: "\n".join(text for at, text in scene.lore if at == position)
        for position in ("before_char", "after_char")
    }
    scenario = macros(scene.card["scenario"].strip(), scene)
    parts = (
        system,
        lore["before_char"],
        macros(scene.card["description"].strip(), scene),
        f"Scenario: {scenario}" if scenario else "",
        lore["after_char"],
        macros(scene.persona.strip(), scene),
    )
    text = macros("".join(f"{part}\n" for part in parts if part) + scene.end, scene).lstrip("\n")
    return text + "\n" if text and not text.endswith("\n") and way["wrap"] else text


def chat(scene: Scene) -> list[Said]:
    """The messages, the notes among them: depth counts messages of the chat; the system has the last word."""
    usual: dict[str, str] = {"user": scene.user, "char": scene.char, "system": "System"}
    going_on = scene.mode == "continue"
    count = len(scene.turns)
    placed: dict[int, list[Said]] = {}
    roles: tuple[Role, ...] = ("char", "user", "system")
    for depth in sorted({note[0] for note in scene.notes}, reverse=True):
        place = max(count - (max(depth, 1) if going_on else depth), 0)
        for role in roles:
            texts = [text for at, by, text in scene.notes if (at, by) == (depth, role)]
            if texts:
                name = scene.user if role == "user" else scene.char
                placed.setdefault(place, []).append(Said(role, name, "\n".join(texts)))
    result: list[Said] = []
    for number, (role, name, text) in enumerate(scene.turns):
        result += placed.get(number, [])
        result.append(Said(role, name or usual[role], text, bool(name) and name != usual[role]))
    result += placed.get(count, [])
    last_word = macros(scene.card["post_history_instructions"].strip(), scene)
    if last_word and scene.frame.get("allow_jailbreak"):
        result.insert(len(result) - 1 if going_on else len(result), Said("user", "", last_word))
    return result


def expected(scene: Scene) -> str:
    way, said = scene.way, chat(scene)
    user_spoke_last = max((n for n, one in enumerate(said) if one.role == "user"), default=-1)
    going_on = said.pop() if scene.mode == "continue" else None
    texts = [
        message(scene, one, "last_" if number == user_spoke_last else "" if number else "first_")
        for number, one in enumerate(said)
    ]
    if way.get("user_alignment_message") and not (said and said[0].role == "user"):
        begun = Said("user", scene.user, macros(way["user_alignment_message"], scene))
        texts.insert(0, message(scene, begun, "first_"))
    head = story(scene) + examples(scene)
    head += macros(scene.frame["chat_start"] + "\n", scene) if scene.frame["chat_start"] else ""
    if going_on:
        text = message(scene, going_on, "last_", ended=False)
        own = f"{scene.char}:"
        if texts and text.lstrip().startswith(own):  # taken for what the model wrote
            text = text.lstrip()[len(own) :].lstrip()
        return head + "".join(texts) + text
    if texts and way["wrap"]:
        texts[-1] = texts[-1].removesuffix("\n")
    return head + "".join(texts) + opened(scene)


def opened(scene: Scene) -> str:
    way, line = scene.way, "\n" if scene.way["wrap"] else ""
    name = scene.user if scene.mode == "impersonate" else scene.char
    last, usual = way.get("last_output_sequence", ""), way["output_sequence"]
    key = "last_output_sequence" if last else "output_sequence"
    key = "input_sequence" if scene.mode == "impersonate" else key
    text = line + sequence(scene, key, name)
    named = way["names_behavior"] == "always"
    if named:
        lacking = way[key] == last and usual[-1:].isspace() and not last[-1:].isspace()
        text += line + (usual[-1] if last and lacking else "") + f"{name}:"
    return (text.rstrip() if line else text) + ("" if named else line)


def stops(scene: Scene) -> list[str]:
    way, frame = scene.way, scene.frame
    result = ["\n"] if frame.get("single_line") else []
    if frame.get("names_as_stop_strings", True):
        result += [f"\n{scene.char}:"] if scene.mode == "impersonate" else []
        result.append(f"\n{scene.user}:")
    speakers = {
        "stop_sequence": "{{name}}",
        "input_sequence": scene.user,
        "output_sequence": scene.char,
        "first_output_sequence": scene.char,
        "last_output_sequence": scene.char,
        "system_sequence": "System",
        "last_system_sequence": "System",
    }
    for key, name in speakers.items():
        for text in way.get(key, "").replace("{{name}}", name).split("\n"):
            stop = ("\n" if way["wrap"] else "") + text
            result += [macros(stop, scene) if way["macro"] else stop] if text.strip() else []
    if frame.get("use_stop_strings"):
        separators = (frame["chat_start"], frame["example_separator"])
        result += [f"\n{macros(text, scene)}" for text in separators if text]
    return list(dict.fromkeys(result))


# Scenes -------------------------------------------------------------------------------------------------

SEQUENCES = st.sampled_from(
    ["", "IN", "### {{name}}:", "<|x|>\n", " [I] ", "[/I] ", "[/I]", "{{char}}\n{{user}}", "\n", "\n### R: "]
)
SUFFIXES = st.sampled_from(["", "", "\n\n", "<e>\n", "</s>", " {{name}}e\n"])
TEXTS = st.sampled_from(["", "a", "x\ny", " lead", "trail ", "nl\n", "\n\nbig", "$& {x} (a|b)", "\\1 %s"])
NAMES = st.sampled_from([("Alex", "Vesna"), ("A.*", "B(x"), ("$&", "\\d"), ("[Al]", "{Ve"), ("Al", "O'N.")])
ROLES = st.sampled_from(["system", "user", "char"])
MARKS = st.sampled_from(["", "***", "Of {{char}}"])
SWITCH = st.booleans()
WAYS = st.fixed_dictionaries(
    {
        "input_sequence": SEQUENCES,
        "output_sequence": SEQUENCES,
        "wrap": SWITCH,
        "macro": SWITCH,
        "names_behavior": st.sampled_from(["none", "force", "always"]),
    },
    optional={
        **dict.fromkeys(("first_input_sequence", "last_input_sequence", "first_output_sequence"), SEQUENCES),
        **dict.fromkeys(("last_output_sequence", "last_system_sequence", "system_sequence"), SEQUENCES),
        **dict.fromkeys(("system_sequence_prefix", "system_sequence_suffix", "stop_sequence"), SEQUENCES),
        **dict.fromkeys(("input_suffix", "output_suffix", "system_suffix"), SUFFIXES),
        **dict.fromkeys(("skip_examples", "system_same_as_user"), SWITCH),
        "user_alignment_message": st.sampled_from(["", "Begin, {{char}}.", "x\n"]),
    },
)
FRAMES = st.fixed_dictionaries(
    {"example_separator": MARKS, "chat_start": MARKS},
    optional=dict.fromkeys(
        ("use_stop_strings", "allow_jailbreak", "names_as_stop_strings", "single_line"), SWITCH
    ),
)
CARDS = st.fixed_dictionaries(
    {
        "description": TEXTS,
        "scenario": TEXTS,
        "system_prompt": st.sampled_from(["", "", "own"]),
        "post_history_instructions": st.sampled_from(["", "P {{char}}"]),
        "mes_example": st.sampled_from(
            [
                "",
                "<START>\n{{user}}: Q\n{{char}}: A",
                "<START>\n{{char}}: A\n<START>\n{{user}}: Q\n{{char}}: B",
            ]
        ),
    }
)
NOTE = st.tuples(st.integers(0, 4), ROLES)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    mode: Mode = draw(st.sampled_from(["reply", "continue", "impersonate"]))
    said = st.tuples(ROLES, st.sampled_from(["", "", "Boris"]), TEXTS)
    turns = [(role, name if role == "user" else "", text) for role, name, text in draw(st.lists(said))]
    turns += [("char", "", "C c")] if mode == "continue" else []
    author, own = draw(st.none() | NOTE), draw(st.none() | NOTE)
    notes = [(*at, text) for at, text in ((author, "AN"), (own, "DP")) if at]
    notes += [(*at, f"lore {n}") for n, at in enumerate(draw(st.lists(NOTE, max_size=3)))]
    user, char = draw(NAMES)
    return Scene(
        draw(WAYS),
        draw(FRAMES),
        draw(st.sampled_from(["", "S", "Be {{char}}."])),
        draw(CARDS),
        user,
        char,
        draw(TEXTS),
        turns,
        mode,
        draw(
            st.lists(st.tuples(st.sampled_from(["before_char", "after_char"]), st.just("L\nm")), max_size=2)
        ),
        notes,
        draw(st.sampled_from(ENDS)),
    )


def rendered(scene: Scene) -> Prompt:
    files = {
        "instruct": scene.way,
        "context": {**scene.frame, "story_string": STORY + scene.end},
        "sysprompt": {"content": scene.system},
    }
    written = {"id": "own", "title": "Own", "source": "test", "sillytavern": files}
    data: dict[str, Any] = {"name": scene.char, **scene.card}
    note = AuthorsNote()
    lore = [LoreInsertion(text, f"lore B/{n}", position) for n, (position, text) in enumerate(scene.lore)]  # type: ignore[arg-type]
    for depth, role, text in scene.notes:
        if text == "AN":
            note = AuthorsNote(text, depth, role)
        elif text == "DP":
            by = "assistant" if role == "char" else role
            data["extensions"] = {"depth_prompt": {"prompt": text, "depth": depth, "role": by}}
        else:
            lore.append(LoreInsertion(text, f"lore B/{text}", "depth", depth, role))
    card = card_from_document({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})[0]
    return build(
        card,
        Persona(scene.user, scene.persona),
        PromptFormat.model_validate(written),
        [Turn(*turn) for turn in scene.turns],
        mode=scene.mode,
        lore=lore,
        note=note,
    )


@settings(max_examples=250, deadline=None)
@given(scenes())
def test_a_prompt_is_what_sillytavern_writes(scene: Scene) -> None:
    prompt = rendered(scene)
    assert prompt.text == expected(scene)
    assert list(prompt.stops) == stops(scene)

"""A prompt format as data: what a file under `formats/` may say. A new format is a new file, not new code.

Text in a format may hold three placeholders, `{char}`, `{user}` and `{length}`; every other brace stands for
itself. What is filled in is never looked through for placeholders again.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from presets.reasoning import THINK, Thinking
from presets.sillytavern.documents import Settings, control_markers, settings_of
from presets.values import Role

ROLEPLAY_SENTENCE = (
    "Write {char}'s next reply in a chat between {user} and {char}. Write a single reply only."
)
"""The opening sentence of every instruct format that has none of its own (MythoMax's card suggests it)."""

PLACEHOLDER = re.compile(r"\{(char|user|length)\}")


def _switch(value: object) -> object:
    """YAML 1.1 reads a bare `on` as true."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TurnShape(_Part):
    """What stands around one speaker's turn."""

    prefix: str = ""
    """Before the name, or before the text where names are off."""
    suffix: str = ""
    """After the text of a finished turn."""
    open: str | None = None
    """Instead of `prefix` in the turn that the model writes or continues; None: the same."""
    open_bare: str | None = None
    """Instead of `open` where nothing follows it, not even a name; None: the same."""
    fresh_line: bool = False
    """True: a prefix that begins with a newline loses it where the text before already ends a line."""


class Turns(_Part):
    user: TurnShape
    char: TurnShape
    system: TurnShape | None = None
    """Narration, notes, lore at a depth and post-history instructions; None: they take a user's turn."""


class Labels(_Part):
    """What stands before each part of the persona block."""

    persona: str = "{char}'s Persona: "
    personality: str = "{char}'s personality: "
    user: str = "{user}'s Persona: "
    scenario: str = "Scenario: "
    before_personality: str = "\n"
    """Between a description and the personality."""


class Piece(_Part):
    """One stretch of the header: a text, the opening sentence, or the persona block with lore around it."""

    text: str | None = None
    instruction: bool = False
    """The opening sentence; a card's `system_prompt` may take its place."""
    block: bool = False
    """Persona, user persona and scenario, lore before and after them, a line each."""
    when: Literal["always", "persona", "no persona", "block", "no block"] = "always"
    """`persona`: persona, user persona or scenario are there; `block`: they or a line of lore."""
    before: str = ""
    """Stands before the block where there is one."""

    @model_validator(mode="after")
    def _one_kind(self) -> Piece:
        if (self.text is not None) + self.instruction + self.block != 1:
            raise ValueError("a piece is one of: text, instruction, block")
        return self


def _generic_pieces() -> tuple[Piece, ...]:
    return (Piece(instruction=True), Piece(block=True, before="\n\n"))


class Around(_Part):
    """What stands before and after the header's text."""

    opening: str = ""
    closing: str = ""


class Header(Around):
    """The system text and what wraps it."""

    with_user: Around | None = None
    """When set, a first turn of the user's shares the header's section: this wraps the header, and the turn
    follows without its prefix. Otherwise the header stands alone, a whole turn in user-first formats."""
    instruction: str = ROLEPLAY_SENTENCE
    system_prompt: Literal["replace", "append", "ignore"] = "replace"
    """What a card's `system_prompt` does: take the sentence's place, or follow it if the user asks for it."""
    append_separator: str = "\n"
    """Before an appended `system_prompt`."""
    pieces: tuple[Piece, ...] = Field(default_factory=_generic_pieces)
    labels: Labels = Labels()
    separator: str = "\n"
    """Between the lines of the block."""
    one_line: bool = False
    """True: line breaks inside a part of the block become spaces."""


AS_SILLYTAVERN = "as-sillytavern"


class Names(_Part):
    """Whether turns begin with `Name: `. A file may give the default alone: `names: off`."""

    default: Annotated[Literal["on", "off", "as-sillytavern"], BeforeValidator(_switch)] = "on"
    """`as-sillytavern`: as the imported preset says, its `force` rule included."""
    fixed: bool = False
    """True: the format knows no other way."""
    stops: Literal["always", "with names", "never"] = "always"
    """When the names are stop strings."""

    @model_validator(mode="before")
    @classmethod
    def _default_alone(cls, value: Any) -> Any:
        return {"default": value} if isinstance(value, (str, bool)) else value


class Length(_Part):
    """The words for a message's length that a format was trained with."""

    default: str
    words: dict[str, str]
    """What the user may choose -> what stands in the prompt for `{length}`."""

    @model_validator(mode="before")
    @classmethod
    def _list_of_words(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("words"), list):
            return {**value, "words": {str(word): str(word) for word in value["words"]}}
        return value

    @model_validator(mode="after")
    def _default_is_one(self) -> Length:
        if self.default not in self.words:
            raise ValueError(f"default length {self.default!r} is not among the words")
        return self


class TemplateSignature(_Part):
    """How a GGUF's `tokenizer.chat_template` shows that it is this format."""

    contains: Annotated[tuple[str, ...], Field(min_length=1)]
    lacks: tuple[str, ...] = ()


class SillyTavernFiles(_Part):
    """The preset files of SillyTavern that a format was imported from, as they were: unknown keys are kept.

    What they say is read anew each time, so a setting may be changed here and is exported as it stands.
    """

    instruct: dict[str, Any] | None = None
    """None: instruct mode is off, turns are lines that begin with a name."""
    context: dict[str, Any] | None = None
    sysprompt: dict[str, Any] | None = None

    def settings(self) -> Settings:
        return settings_of(self.instruct, self.context, self.sysprompt)

    def turns(self) -> dict[str, Any]:
        """The shapes of the turns, for those who ask a format for its markers."""
        way = self.settings().instruct
        end = "\n" if way.wrap else ""
        system = (way.input_sequence, way.input_suffix)
        if not way.system_same_as_user:
            system = (way.system_sequence, way.system_suffix)
        pairs = {
            "user": (way.input_sequence, way.input_suffix),
            "char": (way.output_sequence, way.output_suffix),
        }
        return {
            role: {"prefix": start + end if start else "", "suffix": suffix or end}
            for role, (start, suffix) in {**pairs, "system": system}.items()
        }


class ChatTemplate(_Part):
    """The chat template that a model's file carries, for models that no shipped format fits."""

    text: str
    """Jinja, as `tokenizer.chat_template` has it."""
    bos: str = ""
    """The token that begins a text, by its name."""
    eos: str = ""
    begins_text: bool = False
    """The template writes BOS before all else; it is left out there, for the tokenizer adds it."""
    opens_turn: bool = True
    """The template opens the model's turn when it is asked to."""
    user_opens: bool = False
    """The end of a user's turn opens the model's: nothing more is needed."""
    lead: str = ""
    """White space between the opened turn and a name in it."""


class PromptFormat(_Part):
    """A prompt format, whole. Frozen; equal to another one that says the same."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    source: Annotated[str, Field(min_length=1)]
    """Where its bytes come from."""
    sampling: str = "modern"
    """The sampling preset of its family."""
    header: Header = Header()
    chat_start: str = ""
    """Between the examples and the chat."""
    turns: Turns
    names: Names = Names()
    length: Length | None = None
    stops: tuple[str, ...] = ()
    stops_impersonate: tuple[str, ...] = ()
    """Added when the model writes for the user: the character's marker."""
    ban_eos: bool = False
    """No end-of-generation token may be sampled."""
    control: tuple[str, ...] = ()
    """Markers that must be single control tokens of the model's vocabulary; the others are plain text."""
    template: tuple[TemplateSignature, ...] = ()
    """Any one of them tells this format."""
    uses_card: bool = True
    """False: nothing of the card goes into the prompt, only the chat's own turns."""
    starts: Literal["greeting", "reply"] = "greeting"
    """`reply`: a new chat begins empty and asks for a reply at once."""
    first_turn: str = ""
    """What the user says before a greeting where a format must begin with the user and has no header."""
    thinking: Thinking | None = None
    """How the model thinks aloud or not; None: nothing is known of it."""
    chat_template: ChatTemplate | None = None
    """When set, this template lays out the turns; the header's text is still this format's."""
    sillytavern: SillyTavernFiles | None = None
    """When set, SillyTavern's own rules render these files; of the rest only `names` counts."""

    @model_validator(mode="before")
    @classmethod
    def _turns_of_the_files(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("sillytavern") is None or "turns" in value:
            return value
        files = value["sillytavern"]
        files = files if isinstance(files, SillyTavernFiles) else SillyTavernFiles.model_validate(files)
        control = control_markers(files.instruct, files.context)
        return {"names": AS_SILLYTAVERN, "control": control, **value, "turns": files.turns()}

    @property
    def begins_with_reply(self) -> bool:
        return self.starts == "reply"

    def shape(self, role: Role) -> TurnShape:
        """What stands around a turn of `role`."""
        if role == "system":
            return self.turns.system or self.turns.user
        return self.turns.user if role == "user" else self.turns.char

    def options(self) -> dict[str, tuple[str, ...]]:
        """The format options that `--set` takes, with their values, the default first."""
        names = self.names.default
        others = tuple(value for value in ("on", "off") if value != names)
        known: dict[str, tuple[str, ...]] = {"names": (names,) if self.names.fixed else (names, *others)}
        if self.length is not None:
            default = self.length.default
            known["length"] = (default, *(word for word in self.length.words if word != default))
        if self.uses_card:
            known["examples"] = ("gradual", "pinned", "never")
            if self.header.system_prompt != "ignore":
                known["card_system_prompt"] = (
                    ("on", "off") if self.header.system_prompt == "replace" else ("off", "on")
                )
            sends = self.sillytavern is None or self.sillytavern.settings().context.post_history
            known["card_post_history"] = ("on", "off") if sends else ("off", "on")
        known["think"] = THINK
        known["thoughts"] = ("off", "on")
        known["ban_eos"] = ("on", "off") if self.ban_eos else ("off", "on")
        return known

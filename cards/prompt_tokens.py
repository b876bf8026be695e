"""Words of prompt formats inside a card: `<|im_start|>`, `[INST]`, `### Instruction:` and their kin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cards.card import Card
from cards.errors import CardWarning
from cards.paths import value_at
from cards.texts import counted, texts_in

__all__ = ["prompt_token_warnings", "prompt_tokens"]

_TOKENS: Final = re.compile(
    r"<\|[A-Za-z_][\w /-]{0,40}\|?>"  # <|im_start|>, <|eot_id|>, <|turn>
    r"|<\uff5c[^\uff5c\n]{1,40}\uff5c>"  # DeepSeek's, between full-width bars
    r"|</?s>|<(?:bos|eos|pad|unk|end_of_text|end_of_utterance)>|<(?:start|end)_of_turn>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|THINK)\]|<</?SYS>>"
    r"|</?think(?:ing)?>"
    r"|^#{2,3} ?(?:Instruction|Response|Input|System|User|Assistant)\b:?"
    r"|^(?:USER|ASSISTANT|SYSTEM|User|Assistant|Human):",
    re.MULTILINE,
)
_IN_PROMPTS: Final = (
    "name",
    "nickname",
    "description",
    "personality",
    "scenario",
    "first_mes",
    "mes_example",
    "system_prompt",
    "post_history_instructions",
    "alternate_greetings",
    "group_only_greetings",
)


def prompt_tokens(text: str) -> list[str]:
    """The words of prompt formats in a text, each once."""
    return list(dict.fromkeys(found[0] for found in _TOKENS.finditer(text)))


def prompt_token_warnings(card: Card) -> list[CardWarning]:
    """A warning for each text that goes into prompts and holds a prompt format's own words.

    They never become control tokens in rpchat; a model may be misled by them all the same, and another
    program may not be so careful.
    """
    found: list[CardWarning] = []
    for place, text in _spoken(card):
        tokens = prompt_tokens(text)
        if tokens:
            message = f"contains prompt tokens: {', '.join(map(repr, tokens[:4]))}"
            found.append(CardWarning("prompt-tokens", message, place))
    return counted(found, "contain prompt tokens")


def _spoken(card: Card) -> Iterator[tuple[str, str]]:
    """The texts that a prompt is made of, with their places."""
    fields = value_at(card.document, card.shape.fields)
    dot = "".join(f"{part}." for part in card.shape.fields)
    if not isinstance(fields, Mapping):
        return
    for key in dict.fromkeys(key for name in _IN_PROMPTS for key in card.shape.aliases(name)):
        yield from texts_in(fields.get(key), f"{dot}{key}")
    note = ("extensions", "depth_prompt", "prompt")
    yield from texts_in(value_at(fields, note), f"{dot}{'.'.join(note)}")
    book = card.shape.book_key
    entries: Any = value_at(fields, (book, "entries"))
    if not isinstance(entries, (Mapping, list)):
        return
    listed: Iterable[tuple[Any, Any]] = (
        entries.items() if isinstance(entries, Mapping) else enumerate(entries)
    )
    for key, entry in listed:
        if isinstance(entry, Mapping):
            yield from texts_in(entry.get("content"), f"{dot}{book}.entries[{key}].content")

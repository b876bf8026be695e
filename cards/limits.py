"""Every limit of the card codecs. Sizes are bytes for files and characters for text."""

from __future__ import annotations

from typing import Final

FILE: Final = 256 * 2**20
"""A card file of any kind."""
PNG_CHUNK: Final = 64 * 2**20
"""One text chunk of a PNG, as it lies in the file."""
INFLATED_TEXT: Final = 24 * 2**20
"""A zTXt or iTXt chunk once inflated: base64 of the largest JSON text that is read."""
INFLATED_TOTAL: Final = 2 * INFLATED_TEXT
"""All compressed text of one PNG together."""
PNG_CHUNKS: Final = 100_000
PNG_CARDS: Final = 8
"""Chunks with a card's keyword that are looked at."""
JSON_TEXT: Final = 16 * 2**20
"""A card's JSON or YAML."""
DAMAGED_TEXT: Final = 4 * 2**20
"""Bytes of UTF-16 or UTF-32 in which units that mean nothing are replaced."""
NUMBERS: Final = 4 * 2**20
"""A WebP's comment that spells a card's bytes as numbers, two to four characters each."""
JSON_DEPTH: Final = 64
JSON_VALUES: Final = 1_000_000
"""Commas and brackets in a JSON text, an upper bound of its values that costs nothing to count."""
YAML_TEXT: Final = 2**20
"""YAML is parsed far slower than JSON, and its cards are small."""
YAML_NODES: Final = 20_000
"""Nodes of a YAML document with aliases written out."""
TEXT: Final = 4 * 2**20
"""One field of a card."""
WARNINGS: Final = 500
"""Odd values of one card that are named; how many more there are is said."""
WARNINGS_COUNTED: Final = 10_000
"""Odd values of one card that are counted at all."""
ASSETS: Final = 10_000
LANGUAGES: Final = 500
"""Languages of a card's notes."""
ATTRIBUTES: Final = 10_000
"""Attributes of an Agnai persona."""
DECORATORS: Final = 200
"""Decorator lines of one lorebook entry that count; those behind them are only taken off."""
SUSPICIOUS: Final = 1_000
"""Texts of one card that are looked at for mojibake, and characters of each."""
PARTS: Final = 1_000
"""Tags, keys or groups that are written as one text with commas."""
LORE_ENTRIES: Final = 20_000
LORE_KEYS: Final = 500
"""Keys of one lorebook entry."""
ZIP_MEMBERS: Final = 10_000
ZIP_DOCUMENT: Final = 16 * 2**20
"""`card.json` or another JSON member of a zip card."""
ZIP_ASSET: Final = 50 * 2**20
ZIP_TOTAL: Final = 512 * 2**20
"""What all members of a zip card say that they unpack to."""
AVATAR_PIXELS: Final = 40_000_000
NAME_CELLS: Final = 80
"""A card's name where it is shown, in terminal cells."""
MACRO_OUTPUT: Final = 256 * 2**10
"""Characters that macros may add to one text; what comes after stays as written."""
MACRO_DEPTH: Final = 8
"""Macros written inside the arguments of macros."""
DICE: Final = 1_000
DICE_SIDES: Final = 1_000_000_000
LORE_BOOK_KEYS: Final = 100_000
"""Different keys of one book that are looked for."""
LORE_STEPS: Final = 100
"""Passes in which entries make others fire by what they say."""
REGEX: Final = 500
"""A lorebook key that is a regular expression."""
REGEX_SECONDS: Final = 0.05
"""One regular expression against one message."""
REGEX_BOOK_SECONDS: Final = 0.5
"""What the slow regular expressions of one book may take together; then each has REGEX_IMPATIENCE."""
REGEX_IMPATIENCE: Final = 0.001
REGEX_TEXT_SECONDS: Final = 0.005
"""What all regular expressions of one book may take for one message, on average, REGEX_BOOK_SECONDS aside."""
REGEX_COMPILING: Final = 1.0
"""Seconds in which the regular expressions of one book are compiled; those left over are not used."""
EXPORT_NAME: Final = 100
"""An exported file's name without its ending, in UTF-8 bytes."""

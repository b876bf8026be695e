"""Any bytes to a Card: sniffed by content, read tolerantly, refused in one line. No I/O but
`read_card_file`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cards import limits
from cards.book import Lorebook
from cards.card import Card, Container, card_from_document, differing_fields
from cards.charx import has_zip, read_zip_card
from cards.errors import CardError, CardWarning
from cards.exif import is_webp, user_comment
from cards.file_kinds import binary_kind
from cards.filenames import plain_stem
from cards.json_text import decode_text, parse_json
from cards.mojibake import mojibake_warnings
from cards.payload import payload_document
from cards.png_chunks import CARD_KEYWORDS, OTHER_KEYWORDS, TextChunk, is_png, text_chunks
from cards.scripts import script_warnings
from cards.shapes import looks_like

_OBJECT: Final = re.compile(r'\{\s{0,99}"[^"\n]{1,99}"\s{0,99}:')

__all__ = ["book_document", "book_in", "read_card", "read_card_file", "read_copy", "read_lorebook"]


def read_card(data: bytes, filename: str = "") -> tuple[Card, list[CardWarning]]:
    """The card in a file's bytes, and what was odd about it. Raises CardError, and nothing else."""
    try:
        card, warnings = _read(data, plain_stem(filename))
    except CardError as error:
        raise error.at(filename) from error.__cause__
    return card, warnings + script_warnings(card) + mojibake_warnings(card)


def read_copy(data: bytes, number: int, filename: str = "") -> Card:
    """One of several copies of a card in a PNG, counted from 1 as the warnings of `read_card` do.

    Raises CardError for a number that is no copy's, and for a copy that cannot be read.
    """
    if not is_png(data):
        raise CardError("copy", "only a PNG holds several copies of its card", filename)
    stem = plain_stem(filename)
    copies = _candidates(text_chunks(data, CARD_KEYWORDS + OTHER_KEYWORDS).chunks)
    if not 0 < number <= len(copies):
        count = f"{len(copies)} copies" if len(copies) != 1 else "one copy"
        raise CardError("copy", f"the file holds {count} of its card; there is no copy {number}", filename)
    try:
        card, _ = card_from_document(payload_document(copies[number - 1].text, []), stem)
    except CardError as error:
        raise error.at(filename) from error.__cause__
    return card.found_in("png", avatar=data)


def read_card_file(path: Path) -> tuple[Card, list[CardWarning]]:
    """`read_card` on a file: only a regular one within the size limit is opened. Raises CardError."""
    from cards.library import read_file

    return read_card(read_file(path), path.name)


def _read(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    if not data:
        raise CardError("empty", "the file is empty")
    if len(data) > limits.FILE:
        raise CardError("too-large", f"the file is over the limit of {limits.FILE // 2**20} MB")
    if is_png(data):
        return _read_png(data, stem)
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")) or (
        data.startswith(b"\xff\xd8\xff") and has_zip(data)
    ):
        return _read_zip(data, stem)
    if is_webp(data):
        return _read_webp(data, stem)
    card, warnings = _read_text(data, stem)
    return card.found_in(card.container, source=data), warnings


def _read_zip(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    warnings: list[CardWarning] = []
    found = read_zip_card(data, warnings)
    card, more = card_from_document(found.document, stem)
    picture = data.startswith(b"\xff\xd8\xff")
    container: Container = "byaf" if found.byaf else "jpeg" if picture else "charx"
    avatar = found.avatar or (data if picture else None)
    return card.found_in(container, source=data, avatar=avatar), warnings + more


def _read_webp(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    comment = user_comment(data)
    if not comment:
        raise CardError("no-card", "this WebP picture has no character data; fetch the original file")
    warnings: list[CardWarning] = []
    card, more = card_from_document(payload_document(comment, warnings), stem)
    return card.found_in("webp", source=data, avatar=data), warnings + more


def _read_png(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    found = text_chunks(data, CARD_KEYWORDS + OTHER_KEYWORDS)
    warnings = found.warnings
    candidates = _candidates(found.chunks)
    failure: CardError | None = None
    for index, chunk in enumerate(candidates):
        notes: list[CardWarning] = []
        try:
            card, more = card_from_document(payload_document(chunk.text, notes), stem)
        except CardError as error:
            failure = failure or error
            warnings.append(_unread(error, "not readable", chunk))
            continue
        warnings += notes + more
        _compare(card, candidates, index, warnings)
        return card.found_in("png", source=data, avatar=data), warnings
    if failure is not None:
        raise failure
    if found.truncated_card or any(warning.code == "truncated" for warning in warnings):
        raise CardError("truncated", "the file is truncated: it ends before its card does; fetch it again")
    lost = next((warning for warning in warnings if warning.code in ("chunk", "too-large")), None)
    if lost is not None:
        raise CardError("chunk", f"this PNG's card cannot be read: {lost.message}")
    raise CardError(
        "no-card",
        "this PNG has no character data (sites often strip it): "
        "fetch the original file, or use it as a new card's portrait: rpchat card new NAME --avatar FILE",
    )


def _candidates(chunks: list[TextChunk]) -> list[TextChunk]:
    """Chunks in the order in which they are tried: `ccv3`, `chara`, other keywords; the first of each
    comes first."""
    return [
        chunk
        for keyword in CARD_KEYWORDS + OTHER_KEYWORDS
        for chunk in chunks
        if chunk.keyword.lower() == keyword
    ]


def _compare(card: Card, copies: list[TextChunk], used: int, warnings: list[CardWarning]) -> None:
    """Warns where another copy of the card in the same picture says something else."""
    for number, chunk in list(enumerate(copies, 1))[used + 1 : used + 5]:
        if chunk.keyword.lower() not in CARD_KEYWORDS:
            continue
        try:
            other, _ = card_from_document(payload_document(chunk.text, []))
        except CardError as error:
            warnings.append(_unread(error, "a second copy is not readable", chunk))
            continue
        fields = differing_fields(card, other)
        if fields:
            message = (
                f"copy {number} of the card differs and was not used, in {', '.join(fields)}; "
                f"to take it: rpchat card edit REF --copy {number}"
            )
            warnings.append(CardWarning("conflict", message, chunk.keyword))


def _unread(error: CardError, what: str, chunk: TextChunk) -> CardWarning:
    return CardWarning(
        error.code, f"{what}: {error.message}", chunk.keyword, line=error.line, column=error.column
    )


def _read_text(data: bytes, stem: str) -> tuple[Card, list[CardWarning]]:
    kind = binary_kind(data)
    if kind:
        raise CardError("not-a-card", f"not a character card: this is {kind}")
    if data.startswith(b"rcc||"):
        payload_document(data, [])
    warnings: list[CardWarning] = []
    blank, text = _split_text(data, warnings)
    if not text:
        raise CardError("empty", "the file has no text in it")
    container: Container = "json"
    if text[0] in "{[":
        document = _json_document(blank, text, warnings)
    else:
        container, document = _written_document(blank.count("\n"), text, warnings)
    if not isinstance(document, dict):
        code, message = looks_like(document)
        raise CardError(code, message)
    card, more = card_from_document(document, stem)
    return card.found_in(container), warnings + more


def _split_text(data: bytes, warnings: list[CardWarning]) -> tuple[str, str]:
    """The blank lines at a text's beginning, so that an error can name the line of the file, and the text."""
    if len(data) > 4 * limits.JSON_TEXT:
        raise CardError("too-large", f"the text is over the limit of {limits.JSON_TEXT // 2**20} MB")
    whole = decode_text(data, warnings)
    text = whole.lstrip("\ufeff \t\r\n\0")
    if len(whole) > limits.JSON_TEXT:
        raise CardError("too-large", f"the text is over the limit of {limits.JSON_TEXT // 2**20} MB")
    return whole[: len(whole) - len(text)].translate({0xFEFF: None, 0: None}), text


def _written_document(blank: int, text: str, warnings: list[CardWarning]) -> tuple[Container, Any]:
    # Importing a YAML parser takes longer than reading a JSON or PNG card.
    from cards.markdown import document_from_markdown, has_front_matter
    from cards.yaml_text import looks_like_yaml_card, parse_yaml

    if has_front_matter(text):
        return "markdown", document_from_markdown(text, warnings)
    if not text.startswith(("//", "/*")) and looks_like_yaml_card(text):
        try:
            document = parse_yaml("\n" * blank + text)
        except CardError as error:
            misplaced = _text_before_object(blank, text)
            raise misplaced or error from error.__cause__
        if isinstance(document, dict):
            return "yaml", document
    misplaced = _text_before_object(blank, text)
    raise misplaced or CardError("not-a-card", "not a character card: this is a text file")


def _text_before_object(blank: int, text: str) -> CardError | None:
    """An error where an object of JSON begins behind a comment or other text; None where none does, and in
    YAML that has a field of a card before it."""
    from cards.yaml_text import looks_like_yaml_card

    found = _OBJECT.search(text)
    if not found or (looks_like_yaml_card(text[: found.start()]) and not text.startswith(("//", "/*"))):
        return None
    begin = found.start()
    line, column = blank + text.count("\n", 0, begin) + 1, begin - text.rfind("\n", 0, begin)
    message = (
        f"broken JSON at line {blank + 1} column 1: {text[:40].splitlines()[0]!r} stands before the card; "
        f"delete everything before the {{ at line {line} column {column}"
    )
    return CardError("json", message, line=blank + 1, column=1)


def _json_document(blank: str, text: str, warnings: list[CardWarning]) -> Any:
    try:
        return parse_json(blank + text if blank else text, warnings)
    except CardError as error:
        # A chat is one JSON object a line, and its first line names the two who talk.
        first, _, rest = text.partition("\n")
        if rest.strip() and error.code == "json":
            try:
                code, message = looks_like(parse_json(first, []))
            except CardError:
                raise error from error.__cause__
            if code == "chat":
                raise CardError(code, message) from error
        raise


def read_lorebook(data: bytes, filename: str = "") -> tuple[Lorebook, list[CardWarning]]:
    """A lorebook's file: a V2 or V3 book, SillyTavern's World Info, an Agnai memory, or the book inside any
    card.

    Raises CardError.
    """
    stem = plain_stem(filename)
    try:
        warnings: list[CardWarning] = []
        book = book_in(data, warnings)
        if book is not None:
            read = Lorebook.read(book, "", warnings)
            return (read if read.name else replace(read, name=stem)), warnings
        card, warnings = _read(data, stem)
    except CardError as error:
        raise error.at(filename) from error.__cause__
    if card.character_book is None:
        raise CardError("no-lorebook", "there is no lorebook in this card", filename)
    return card.character_book, warnings


def book_in(data: bytes, warnings: list[CardWarning]) -> dict[str, Any] | None:
    """The book in a lorebook's file, None when the file is something else. Raises CardError for JSON that
    cannot be read."""
    if is_png(data) or data[:999].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1] != b"{":
        return None
    return book_document(parse_json("".join(_split_text(data, warnings)), warnings))


def book_document(document: Any) -> dict[str, Any] | None:
    """The book in a lorebook file's JSON; None when it is no lorebook's."""
    if not isinstance(document, dict):
        return None
    if document.get("spec") == "lorebook_v3" and isinstance(document.get("data"), dict):
        return dict(document["data"])
    return document if looks_like(document)[0] == "lorebook" and "data" not in document else None

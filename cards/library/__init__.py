"""The folder of cards, and the only I/O under `cards`.

Importing (`cards.library.arriving`) and saving (`cards.library.saving`) stand by themselves: who only lists
and reads does not wait for the writers.
"""

from cards.library.files import FileState, file_state, read_file, save_file
from cards.library.folder import CardLibrary, id_in, lasting
from cards.library.index import LibraryCard
from cards.library.ordering import SORTS, Sort, TypedFilter, filtered, in_order

__all__ = [
    "SORTS",
    "CardLibrary",
    "FileState",
    "LibraryCard",
    "Sort",
    "TypedFilter",
    "file_state",
    "filtered",
    "id_in",
    "in_order",
    "lasting",
    "read_file",
    "save_file",
]

"""The alphabet of a CTC network: what its outputs stand for. Texts to symbols, and frames back to texts.

F frames · V symbols
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

_DELIMITER = "|"


@dataclass(frozen=True)
class Alphabet:
    """V symbols, one of which is the blank.

    Args:
        symbols: by their number. What is longer than a letter (<pad>, <unk>) is never written.
        blank: the number of the one that stands for nothing.
        delimiter: the symbol that stands for a space.
    """

    symbols: tuple[str, ...]
    blank: int = 0
    delimiter: str = _DELIMITER

    @cached_property
    def numbers(self) -> dict[str, int]:
        letters = {s: i for i, s in enumerate(self.symbols) if len(s) == 1 and i != self.blank}
        return {" " if s == self.delimiter else s: i for s, i in letters.items()}

    @cached_property
    def has_case(self) -> bool:
        """Whether there are both small and capital letters."""
        return any(s.islower() for s in self.numbers) == any(s.isupper() for s in self.numbers)

    def in_case(self, text: str) -> str:
        """The text in the only case that the alphabet has, if it has one."""
        if self.has_case:
            return text
        return text.upper() if any(s.isupper() for s in self.numbers) else text.lower()

    def encode(self, text: str) -> list[int]:
        """Numbers of the letters; what the alphabet has no symbol for is left out."""
        return [self.numbers[s] for s in " ".join(self.in_case(text).split()) if s in self.numbers]

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Letters that the alphabet has no symbol for, and how often they occur."""
        return Counter(s for text in texts for s in self.in_case(text) if s not in self.numbers and not s.isspace())

    def decode(self, numbers: Sequence[int]) -> str:
        """Labels to a text; nothing is collapsed, as a word may have the same letter twice in a row."""
        letters = {i: s for s, i in self.numbers.items()}
        return " ".join("".join(letters.get(i, "") for i in numbers).split())

    def collapse(self, frames: Sequence[int]) -> list[int]:
        """The most likely symbol of each frame to labels: repetitions are one, and blanks go."""
        return [number for number, _ in groupby(frames) if number != self.blank]


def of_texts(texts: Iterable[str]) -> Alphabet:
    """The letters of the texts, sorted."""
    letters = sorted({letter for text in texts for letter in text} - {" "})
    return Alphabet(("<pad>", _DELIMITER, *(s for s in letters if s != _DELIMITER)))


def frames_needed(labels: Sequence[int]) -> int:
    """Frames without which no path leads to the labels: one each, and a blank between two that are the same."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))

"""Word and character error rates from counts that add up exactly over batches and processes, and what was misheard.

Counts are equal to jiwer's, which stands on the same library.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from zoo.audio.normalise import Normaliser, normaliser
from zoo.samples import Split

_WORST = 20
_COUNTS = ("words", "wrong", "letters", "wrong_letters")
_OPERATIONS = ("replace", "delete", "insert")
_KINDS = ("raw", "normalised")
Pair = tuple[Tensor, int]
Aligned = list[tuple[str, str, str]]


@dataclass(frozen=True)
class Heard:
    """What was said in one utterance, and what was heard.

    Args:
        index: of the sample.
        seconds: how long it is.
        finished: whether the network came to an end by itself.
    """

    index: int
    name: str
    reference: str
    hypothesis: str
    seconds: float = 0.0
    finished: bool = True


def counts(heard: Sequence[Heard], normalise: Normaliser) -> Tensor:
    """[2, 7] float64: words and wrong words, letters and wrong letters, substitutions, deletions and insertions of
    words; of the texts as they are, then normalised."""
    total = torch.zeros(len(_KINDS), len(_COUNTS) + len(_OPERATIONS), dtype=torch.float64)
    for one in heard:
        for row, clean in enumerate((_spaced, normalise)):
            said, got = _spaced(clean(one.reference)), _spaced(clean(one.hypothesis))
            steps = Levenshtein.editops(said.split(), got.split())
            kinds = [sum(step.tag == kind for step in steps) for kind in _OPERATIONS]
            wrong_letters = Levenshtein.distance(said, got)
            total[row] += torch.tensor([len(said.split()), len(steps), len(said), wrong_letters, *kinds])
    return total


def error_rates(total: Tensor) -> dict[str, float]:
    """WER and CER, raw and normalised, and which share of the (normalised) words was substituted, deleted, inserted.

    Args:
        total: sum of `counts`.
    """
    rates: dict[str, float] = {}
    for kind, row in zip(_KINDS, total.tolist(), strict=True):
        words, wrong, letters, wrong_letters, *_ = row
        ending = "" if kind == "raw" else f"_{kind}"
        rates |= {f"wer{ending}": _share(wrong, words), f"cer{ending}": _share(wrong_letters, letters)}
    words, *_ = normalised = total[1].tolist()
    names = ("substitutions", "deletions", "insertions")
    return rates | {n: _share(x, words) for n, x in zip(names, normalised[len(_COUNTS) :], strict=True)}


def _share(part: float, whole: float) -> float:
    """Something heard where nothing was said is all wrong."""
    return part / whole if whole else float(part > 0)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def aligned(reference: str, hypothesis: str) -> Aligned:
    """Word by word: (equal | replace | delete | insert, what was said, what was heard)."""
    said, got = reference.split(), hypothesis.split()
    rows: Aligned = []
    for step in Levenshtein.opcodes(said, got):
        left, right = said[step.src_start : step.src_end], got[step.dest_start : step.dest_end]
        width = max(len(left), len(right))
        pairs = zip(left + [""] * (width - len(left)), right + [""] * (width - len(right)), strict=True)
        rows += [(step.tag, a, b) for a, b in pairs]
    return rows


class Worst:
    """The utterances with most wrong words, each once."""

    def __init__(self, normalise: Normaliser):
        self.normalise = normalise
        self.found: dict[int, tuple[int, Heard]] = {}

    def add(self, heard: Sequence[Heard]) -> None:
        for one in heard:
            said, got = self.normalise(one.reference).split(), self.normalise(one.hypothesis).split()
            if wrong := Levenshtein.distance(said, got):
                self.found[one.index] = wrong, one
        self.found = {one.index: (wrong, one) for wrong, one in self.ranked()}

    def merge(self, everyone: Sequence[Mapping[int, tuple[int, Heard]]]) -> None:
        """Take what every process has found."""
        self.found = {index: pair for theirs in everyone for index, pair in theirs.items()}

    def ranked(self) -> list[tuple[int, Heard]]:
        """How many words are wrong, and the utterance."""
        return sorted(self.found.values(), key=lambda pair: (-pair[0], pair[1].index))[:_WORST]


class Scores:
    """What a recogniser heard in one evaluation, compared with what was said.

    Args:
        language: of the recordings; it decides how texts are normalised.
        spellings: that Whisper's normaliser of English replaces.
    """

    def __init__(self, language: str | None, spellings: tuple[tuple[str, str], ...] = ()):
        self.name, self.normalise = normaliser(language, spellings)
        self.worst = Worst(self.normalise)
        self.elapsed = self.seconds = 0.0

    @contextmanager
    def timed(self, seconds: Sequence[float]) -> Iterator[None]:
        """Of what runs inside, how long it takes for so many seconds of recordings."""
        begin = time.perf_counter()
        yield
        self.elapsed += time.perf_counter() - begin
        self.seconds += sum(seconds)

    def add(self, batch: Mapping[str, Any], texts: Sequence[str], finished: Sequence[bool] | None = None) -> Pair:
        """Counts of a batch, and its length: a pair whose mean `rates` takes.

        Args:
            batch: with `index`, `name`, `text` and `seconds` of its samples.
            finished: whether the network came to an end by itself.
        """
        ended = finished or [True] * len(texts)
        rows = zip(*(batch[key] for key in ("index", "name", "text")), texts, batch["seconds"], ended, strict=True)
        heard = [Heard(*row) for row in rows]
        self.worst.add(heard)
        return counts(heard, self.normalise), len(heard)

    def rates(self, mean: Tensor, count: float) -> dict[str, float]:
        return error_rates((mean * count).round())

    def settings(self, split: Split) -> dict[str, Any]:
        """How results were measured. A test has the real-time factor of this machine beside it; what a training writes
        is a function of its config."""
        timed = split == "test" and self.seconds
        speed = {"real-time factor": f"{self.elapsed / self.seconds:.3g}"} if timed else {}
        return {"normalised by": self.name, **speed}

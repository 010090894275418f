"""Recordings of any length in windows that a network can hear, and what was heard put together again.

S samples · F frames of the network · V symbols
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

_OVERLAP = 1 / 6
"""Of a window, at each side: what is heard there by the window beside it as well."""
_PAUSE, _LONGEST = 0.6, 8.0
"""Seconds of silence that end a line of subtitles, and seconds after which a line ends at the next word."""
_SEARCHED = 8.0
"""Seconds at the end of a window in which the quietest moment is looked for."""


@dataclass(frozen=True)
class Window:
    """A part of a recording, and the part of that which counts, in samples."""

    start: int
    end: int
    keep_from: int
    keep_to: int


def overlapping(samples: int, most: int, step: int) -> list[Window]:
    """Windows of at most so many samples; what counts of them covers the recording once, away from their edges.

    Args:
        step: samples of a frame of the network: windows begin, and are kept, by whole frames.
    """
    if samples <= most:
        return [Window(0, samples, 0, samples)]
    margin = max(1, int(most * _OVERLAP) // step) * step
    inner = max(1, (most - 2 * margin) // step) * step
    found, kept = [], 0
    while kept < samples:
        start = max(0, kept - margin)
        end = min(samples, start + margin + inner + margin)
        to = samples if end == samples else end - margin
        found.append(Window(start, end, kept, to))
        kept = to
    return found


def at_pauses(waveform: np.ndarray, rate: int, most: float) -> list[tuple[int, int]]:
    """Beginning and end, in samples, of parts of at most so many seconds that follow each other, cut where it is
    quietest near their ends."""
    longest, frame = int(most * rate), rate // 50
    found, start = [], 0
    while len(waveform) - start > longest:
        first = start + longest - int(min(_SEARCHED, most / 2) * rate)
        region = waveform[first : start + longest]
        power = np.square(region[: len(region) // frame * frame]).reshape(-1, frame).mean(1)
        smooth = np.convolve(power, np.ones(10) / 10, mode="same")  # 0.2 s: a pause, not a stop consonant
        end = first + int(smooth.argmin()) * frame + frame // 2
        found.append((start, end))
        start = end
    return [*found, (start, len(waveform))]


@dataclass(frozen=True)
class Word:
    """A word and when it is said, in seconds."""

    text: str
    start: float
    end: float


def lines(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Words as lines of subtitles: a pause ends one, and so does its length."""
    line: list[Word] = []
    for before, word in pairwise([None, *words]):
        assert word is not None
        if before and (word.start - before.end > _PAUSE or word.end - line[0].start > _LONGEST):
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def segment(words: Sequence[Word], with_words: bool) -> dict[str, Any]:
    """A line of subtitles as a plain dictionary."""
    made: dict[str, Any] = {
        "start": round(words[0].start, 2),
        "end": round(words[-1].end, 2),
        "text": " ".join(word.text for word in words),
    }
    if with_words:
        made["words"] = [{"word": w.text, "start": round(w.start, 2), "end": round(w.end, 2)} for w in words]
    return made


def shifted(line: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A segment with its words, so many seconds later."""
    moved = {**line, "start": round(line["start"] + seconds, 2), "end": round(line["end"] + seconds, 2)}
    return {**moved, "words": [shifted(word, seconds) for word in line["words"]]} if "words" in line else moved


def with_words(segments: list[dict[str, Any]], words: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Segments with the words that make up their texts, which follow each other as the words do."""
    made, rest = [], list(words)
    for one in segments:
        text, own = one["text"].replace(" ", ""), []
        while rest and text:
            word = rest.pop(0)
            text = text[len(word["word"].replace(" ", "")) :]
            own.append(word)
        made.append({**one, "words": own})
    return made

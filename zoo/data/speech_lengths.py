"""How long recordings are, and which of them, or which parts, are neither too short nor too long to learn from."""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from zoo.audio import reading, subtitles
from zoo.errors import BrokenSampleError
from zoo.files import cache
from zoo.files.forms import Cell
from zoo.samples import SpeechSample

_LISTENED, _LONG = 3600, 600
"""Seconds of each split that are listened to before the first step, and those of a recording that would take too long.
"""


def lengths(samples: Sequence[SpeechSample], name: str) -> list[float | str]:
    """Seconds of each whole recording by its header, or why it cannot be read.

    Args:
        name: under which the cache remembers the good ones, by path, size and time of change.
    """
    return _measured(samples, "lengths", name, lambda sample: reading.length(sample.audio, sample.rate))


def peaks(samples: Mapping[int, SpeechSample], seconds: Mapping[int, float], name: str) -> dict[int, float | str]:
    """The largest number in some of the recordings, evenly spread and about an hour in all; or why one cannot be read.

    Args:
        samples: by their index, as they were found: without an end, the whole recording is meant.
        seconds: of each.
        name: as for `lengths`.
    """
    short = [i for i in samples if seconds[i] < _LONG]
    some = short[:: max(1, math.ceil(sum(seconds[i] for i in short) / _LISTENED))]
    parts = [samples[i] for i in some]
    found = _measured(parts, "peaks", name, lambda part: reading.peak(part.audio, part.start, part.end))
    return dict(zip(some, found, strict=True))


def _measured(
    samples: Sequence[SpeechSample], kind: str, name: str, measure: Callable[[SpeechSample], float]
) -> list[float | str]:
    """A number for each recording, or what is wrong with it. In parallel; one of a file, or of the same part, once."""

    def look(sample: SpeechSample) -> float | str:
        try:
            return measure(sample)
        except BrokenSampleError as error:
            return str(error)

    known: dict[str, float] = cache.recall(kind, name) or {}
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        keys = [key or f"#{i}" for i, key in enumerate(pool.map(_key, samples))]
        if kind == "peaks":
            keys = [f"{key} {sample.start} {sample.end}" for key, sample in zip(keys, samples, strict=True)]
        first = {key: i for i, key in reversed([*enumerate(keys)]) if key not in known}
        found = dict(zip(first, pool.map(lambda i: look(samples[i]), first.values()), strict=True))
    good = {key: number for key, number in found.items() if not (key.startswith("#") or isinstance(number, str))}
    if good:
        cache.note(kind, name, {**{key: known[key] for key in keys if key in known}, **good})
    return [found[key] if key in found else known[key] for key in keys]


def _key(sample: SpeechSample) -> str:
    """What tells a recording from others without opening it; empty where nothing does."""
    if isinstance(sample.audio, Cell):
        return f"{sample.audio.key} {sample.audio.row}" if sample.audio.key else ""
    if not isinstance(sample.audio, (str, Path)):
        return ""
    try:
        status = os.stat(sample.audio)
    except (OSError, ValueError):  # ValueError: a name with NUL
        return ""
    return f"{sample.audio} {status.st_size} {status.st_mtime_ns}"


def part(sample: SpeechSample, seconds: float) -> SpeechSample:
    """A sample that knows where it ends."""
    return replace(sample, end=seconds if sample.end is None else min(sample.end, seconds))


def within(samples: Sequence[SpeechSample], least: float, most: float | None) -> tuple[list[SpeechSample], list[str]]:
    """The samples to learn from, longer ones in parts where times say what is said in each; and what was left out.

    Args:
        least: seconds.
        most: seconds; None for any number.
    """
    kept: list[SpeechSample] = []
    counts: Counter[str] = Counter()
    for sample in samples:
        assert sample.seconds is not None
        if sample.text is None:
            counts["without a transcript"] += 1
        elif sample.seconds < least:
            counts[f"shorter than {least:g} s"] += 1
        elif most is None or sample.seconds <= most:
            kept.append(sample)
        elif sample.times is None:
            counts[f"longer than {most:g} s without times to cut them by"] += 1
        else:
            parts, too_long = cut(sample, most)
            counts[f"longer than {most:g} s cut into parts"] += 1
            counts[f"segments longer than {most:g} s or outside of their recording"] += too_long
            kept += [one for one in parts if (one.seconds or 0) >= least]
    return kept, [f"{count:,} {what}" for what, count in counts.items() if count]


def cut(sample: SpeechSample, most: float) -> tuple[list[SpeechSample], int]:
    """The parts of a long recording, by its times; and how many of its segments are in none of them."""
    assert sample.times is not None
    assert sample.end is not None
    inside = tuple(time for time in sample.times if time[0] >= sample.start)
    found, left_out = subtitles.pieces(inside, most, sample.end)
    name = sample.name or str(sample.audio)
    return [
        replace(sample, text=subtitles.text_of(times), start=start, end=end, times=times, name=f"{name} at {start:g} s")
        for start, end, times in found
    ], left_out

"""How long recordings are, and which of them, or which parts, are neither too short nor too long to learn from."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from zoo.audio import reading, subtitles
from zoo.errors import BrokenSampleError
from zoo.files import cache
from zoo.files.forms import Cell
from zoo.samples import SpeechSample


def measured(samples: Sequence[SpeechSample], name: str) -> list[float | str]:
    """Seconds of each whole recording by its header, or why it cannot be read. In parallel, and once for each file.

    Args:
        name: under which the cache remembers the good ones, by path, size and time of change.
    """
    known: dict[str, float] = cache.recall("lengths", name) or {}
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        keys = [key or f"#{i}" for i, key in enumerate(pool.map(_key, samples))]
        first = {key: i for i, key in reversed([*enumerate(keys)]) if key not in known}  # parts of one file: once
        found = dict(zip(first, pool.map(lambda i: _length(samples[i]), first.values()), strict=True))
    good = {key: seconds for key, seconds in found.items() if not (key.startswith("#") or isinstance(seconds, str))}
    if good:
        cache.note("lengths", name, {**{key: known[key] for key in keys if key in known}, **good})
    return [found[key] if key in found else known[key] for key in keys]


def _length(sample: SpeechSample) -> float | str:
    try:
        return reading.length(sample.audio, sample.rate)
    except BrokenSampleError as error:
        return str(error)


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
            counts[f"segments longer than {most:g} s"] += too_long
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

"""How good and how fast resamplers are, and how fast recordings of each format are read, whole and in part.

    uv run python tools/bench_recordings.py

Quality: signal over error of a sine sweep up to 85 % of what the lower rate can hold, against the same sweep made at
that rate; and what a sweep above that leaves behind, which should be nothing. One core, medians over rounds in turns.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
import torch
import torchaudio

from zoo.audio import reading

RATES = ((48_000, 16_000), (44_100, 16_000), (96_000, 16_000), (8_000, 16_000))
KAISER = {"resampling_method": "sinc_interp_kaiser", "lowpass_filter_width": 64, "rolloff": 0.9475937167399596,
          "beta": 14.769656459379492}  # fmt: skip
"""torchaudio's own settings for the quality of librosa's kaiser_best."""
Resampler = Callable[[np.ndarray, int, int], np.ndarray]


def by_torchaudio(wave: np.ndarray, rate: int, wanted: int, **settings: Any) -> np.ndarray:
    return torchaudio.functional.resample(torch.from_numpy(wave), rate, wanted, **settings).numpy()


def by_soxr(wave: np.ndarray, rate: int, wanted: int, quality: str) -> np.ndarray:
    return soxr.resample(wave, rate, wanted, quality)


RESAMPLERS: dict[str, Resampler] = {
    "torchaudio, default (6 zero crossings)": by_torchaudio,
    "torchaudio, Kaiser window (64)": partial(by_torchaudio, **KAISER),
    "soxr MQ": partial(by_soxr, quality="MQ"),
    "soxr HQ": partial(by_soxr, quality="HQ"),
    "soxr VHQ": partial(by_soxr, quality="VHQ"),
}


def sweep(rate: int, low: float, high: float, seconds: float = 4.0) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * (low * t + (high - low) * t * t / (2 * seconds)))


def signal_over_error(resample: Resampler, rate: int, wanted: int) -> float:
    """In decibels, without a quarter of a second at both ends."""
    top = 0.85 * min(rate, wanted) / 2
    expected, found = sweep(wanted, 50, top), resample(sweep(rate, 50, top).astype(np.float32), rate, wanted)
    inside = slice(wanted // 4, min(len(found), len(expected)) - wanted // 4)
    error = np.square(found[inside] - expected[inside]).mean()
    return 10 * np.log10(np.square(expected[inside]).mean() / error)


def left_of_what_is_too_high(resample: Resampler, rate: int, wanted: int) -> float:
    """In decibels of the sweep, whose frequencies the lower rate cannot hold."""
    found = resample(sweep(rate, 1.1 * wanted / 2, 0.98 * rate / 2).astype(np.float32), rate, wanted)
    return 10 * np.log10(np.square(found[wanted // 4 : -wanted // 4]).mean() / 0.125)


def medians(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, which take turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def resamplers(rounds: int) -> None:
    print("rates | resampler | signal over error, dB | aliases, dB | ms for 30 s")
    for rate, wanted in RATES:
        noise = np.random.default_rng(0).standard_normal(30 * rate).astype(np.float32)
        times = medians({name: partial(way, noise, rate, wanted) for name, way in RESAMPLERS.items()}, rounds)
        for name, way in RESAMPLERS.items():
            aliases = f"{left_of_what_is_too_high(way, rate, wanted):.0f}" if rate > wanted else "none"
            quality = signal_over_error(way, rate, wanted)
            print(f"{rate} to {wanted} | {name} | {quality:.0f} | {aliases} | {times[name]:.1f}")


def written(folder: Path, seconds: int, rate: int) -> dict[str, Path]:
    """Noise that gets louder and softer, in each format."""
    t = np.arange(seconds * rate) / rate
    wave = (0.1 * np.sin(t) * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)
    paths = {name: folder / f"a.{name}" for name in ("wav", "flac", "ogg", "mp3", "m4a")}
    for name in ("wav", "flac", "ogg", "mp3"):
        with soundfile.SoundFile(paths[name], "w", rate, 1) as file:
            for start in range(0, len(wave), rate):  # libsndfile fails on minutes of ogg in one piece
                file.write(wave[start : start + rate])
    with av.open(str(paths["m4a"]), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return paths


def formats(rounds: int) -> None:
    seconds, rate = 600, 44_100
    print(
        "format, 10 min at 44.1 kHz | ms to read 30 s of it from the middle | ms to read all of it | ms for its length"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, path in written(Path(folder), seconds, rate).items():
            part = partial(reading.read, path, 16_000, 300, 330)
            works = {"part": part, "all": partial(reading.read, path, 16_000), "length": partial(reading.length, path)}
            times = medians(works, rounds)
            print(f"{name} | {times['part']:.1f} | {times['all']:.0f} | {times['length']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    resamplers(args.rounds)
    print()
    formats(args.rounds)


if __name__ == "__main__":
    main()

"""How training recordings are varied: speed, room, noise and loudness of waveforms, masks over their features.

n samples of a waveform · T frames of features · M bands
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import soxr
import torch
from torch import Tensor

from zoo.audio import reading
from zoo.constraints import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveShare,
    ShareBelowOne,
    checked,
)
from zoo.errors import BrokenSampleError, DataError, MissingInputError
from zoo.files import sources
from zoo.rules import AtMost, Rule

WHITE = "white"


@checked
@dataclass(frozen=True)
class Augmentation:
    """How training recordings are varied. Every draw is a function of seed, step and sample.

    Args:
        speed: most that a recording is played faster or slower, pitch and all: 0.1 for 90% to 110% of its speed.
        gain: most that it is made louder or softer, in decibels.
        noise: a folder of recordings of noise, any part of which is added, or white.
        noise_share: of the recordings that get noise.
        noise_snr_from: least ratio of speech to noise, in decibels.
        noise_snr_to: largest ratio.
        room: a folder of impulse responses of rooms, in one of which it is heard.
        room_share: of the recordings that are heard in a room.
        time_masks: spans of time that are blanked in the features.
        time_mask_seconds: length of one, at most.
        time_mask_share: of the recording that one blanks, at most.
        frequency_masks: spans of frequency that are blanked in the features.
        frequency_mask_share: of the bands that one blanks, at most.
    """

    speed: ShareBelowOne = 0.0
    gain: NonNegativeFloat = 0.0
    noise: str | None = None
    noise_share: ClosedUnitInterval = 0.5
    noise_snr_from: float = 5.0
    noise_snr_to: float = 30.0
    room: str | None = None
    room_share: ClosedUnitInterval = 0.5
    time_masks: NonNegativeInt = 0
    time_mask_seconds: PositiveFloat = 0.5
    time_mask_share: PositiveShare = 0.1
    frequency_masks: NonNegativeInt = 0
    frequency_mask_share: PositiveShare = 0.2

    rules: ClassVar[tuple[Rule, ...]] = (AtMost(("noise_snr_from", "noise_snr_to")),)

    @property
    def masks(self) -> bool:
        return self.time_masks > 0 or self.frequency_masks > 0


# Waveforms ------------------------------------------------------------------------------------------------------


class Variation:
    """The changes of a waveform, as one function of (waveform, stream). Picklable.

    Args:
        rate: of the waveforms, in Hz.
        max_seconds: that a recording has at most after its speed was changed; None for any number.

    Raises:
        MissingInputError: there is no such folder.
        DataError: it has no recordings.
    """

    def __init__(self, augmentation: Augmentation, rate: int, max_seconds: float | None = None):
        self.augmentation, self.rate, self.max_seconds = augmentation, rate, max_seconds
        self._noises = _recordings(augmentation.noise, "noise") if augmentation.noise not in (None, WHITE) else []
        self._rooms = _recordings(augmentation.room, "room") if augmentation.room is not None else []

    def __call__(self, wave: np.ndarray, stream: torch.Generator) -> np.ndarray:
        """[n'] f32 of [n] f32."""
        a = self.augmentation
        if a.speed:
            wave = faster(wave, self._factor(len(wave), _uniform(1 - a.speed, 1 + a.speed, stream)), self.rate)
        if self._rooms and _happens(a.room_share, stream):
            wave = in_room(wave, self._impulse(_index(len(self._rooms), stream)))
        if a.noise and _happens(a.noise_share, stream):
            wave = with_noise(wave, self._noise(len(wave), stream), _uniform(a.noise_snr_from, a.noise_snr_to, stream))
        return louder(wave, _uniform(-a.gain, a.gain, stream)) if a.gain else wave

    def _factor(self, frames: int, drawn: float) -> float:
        """No slower than the limit of its length allows, and never slowed down for it."""
        least = 0.0 if self.max_seconds is None else math.ceil(1000 * frames / (self.max_seconds * self.rate)) / 1000
        return max(drawn, min(least, 1.0))

    def _noise(self, count: int, stream: torch.Generator) -> np.ndarray:
        """[count] f32 of a noise, from a place that is drawn; a short one again and again."""
        if not self._noises:
            return torch.randn(count, generator=stream).numpy()
        path = self._noises[_index(len(self._noises), stream)]
        place = _uniform(0, 1, stream)
        with _of_the_folder(path):
            free = max(0.0, reading.length(path) - count / self.rate)
            found = reading.read(path, self.rate, place * free, place * free + count / self.rate)
        return np.resize(found, count)

    def _impulse(self, index: int) -> np.ndarray:
        with _of_the_folder(self._rooms[index]):
            return reading.read(self._rooms[index], self.rate)


def faster(wave: np.ndarray, factor: float, rate: int) -> np.ndarray:
    """[n / factor] f32: played `factor` times as fast, pitch and all, in steps of a thousandth.

    Source: Ko et al. 2015.
    """
    steps = round(factor * 1000)
    return wave if steps == 1000 else soxr.resample(wave, rate * steps / 1000, rate, "HQ")


def louder(wave: np.ndarray, decibels: float) -> np.ndarray:
    return wave * np.float32(10 ** (decibels / 20))


def with_noise(wave: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """A waveform and as much of a noise ([n]) that their powers have this ratio, in decibels.

    A waveform or a noise without power is left as it is.
    """
    power, own = (float(np.mean(np.square(one, dtype=np.float64))) for one in (wave, noise))
    if not power or not own:
        return wave
    return wave + noise * np.float32((power / own / 10 ** (snr / 10)) ** 0.5)


def in_room(wave: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """[n] f32: as it is heard in a room by its impulse response: in time with the direct sound, as loud as before."""
    size = len(wave) + len(impulse) - 1
    whole = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(impulse, size), size)
    direct = int(np.abs(impulse).argmax())
    heard = whole[direct : direct + len(wave)]
    power, own = float(np.mean(np.square(heard))), float(np.mean(np.square(wave, dtype=np.float64)))
    return (heard * (own / power) ** 0.5).astype(np.float32) if power else wave


# Features -------------------------------------------------------------------------------------------------------


def masked(
    features: Tensor, augmentation: Augmentation, per_second: float, stream: torch.Generator, value: float = 0.0
) -> Tensor:
    """[T, M]: SpecAugment without its warping of time: spans of frames, and of bands, have `value`.

    Args:
        features: [T, M], of a recording's real frames only.
        per_second: frames.

    Source: Park et al. 2019. The network's own, as in Wav2Vec2 and Whisper, draws from numpy's global state.
    """
    frames, bands = masks(features.shape[0], features.shape[1], augmentation, per_second, stream)
    return features.masked_fill(frames[:, None] | bands[None], value)


def masks(
    frames: int, bands: int, augmentation: Augmentation, per_second: float, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """[T] and [M] bool: which frames and which bands are blanked."""
    a = augmentation
    longest = min(round(a.time_mask_seconds * per_second), int(a.time_mask_share * frames))
    widest = int(a.frequency_mask_share * bands)
    return spans(frames, a.time_masks, longest, stream), spans(bands, a.frequency_masks, widest, stream)


def spans(count: int, number: int, longest: int, stream: torch.Generator) -> Tensor:
    """[count] bool: so many spans, which may overlap, each of 0 to `longest` places, evenly drawn, anywhere."""
    found = torch.zeros(count, dtype=torch.bool)
    for length, place in torch.rand(number, 2, generator=stream).tolist():
        size = min(int(length * (longest + 1)), count)
        start = int(place * (count - size + 1))
        found[start : start + size] = True
    return found


# Folders and draws ------------------------------------------------------------------------------------------------


def _uniform(low: float, high: float, stream: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=stream, dtype=torch.float64))


def _happens(share: float, stream: torch.Generator) -> bool:
    return _uniform(0, 1, stream) < share


def _index(count: int, stream: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=stream))


@contextmanager
def _of_the_folder(path: Path) -> Iterator[None]:
    """A file of noise that cannot be read is no defect of the sample that it is for."""
    try:
        yield
    except BrokenSampleError as error:
        raise DataError(f"augmentation: {path}: {error}.") from error


def _recordings(folder: str | None, what: str) -> list[Path]:
    path = Path(folder or "").expanduser()
    if not path.is_dir():
        raise MissingInputError(f"augmentation.{what}: {folder}: no such folder.")
    found = [one for one in sources.walk(path, []) if one.suffix.lower() in reading.SUFFIXES]
    if not found:
        raise DataError(f"augmentation.{what}: {folder} has no recordings in it.")
    return found

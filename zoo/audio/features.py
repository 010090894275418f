"""What networks hear: waveforms as they want them, and log-mel spectrograms of the real frames only.

S samples of a waveform · T frames · M mel bands
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torchaudio
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class LogMel:
    """Log-mels of small encoders that are trained from scratch, each clip with mean 0 and deviation 1.

    Args:
        rate: in Hz.
        mels: bands, up to 7,600 Hz or half the rate.
    """

    rate: int = 16_000
    mels: int = 80

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: 10 ms."""
        return self.rate // 100

    @property
    def n_fft(self) -> int:
        """Samples of a transform, around the 25 ms that it looks at: enough for no band to be empty."""
        return max(512, self.rate // 40)

    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples."""
        return 1 + max(samples, self.n_fft) // self.hop

    def __call__(self, waveform: np.ndarray) -> Tensor:
        """[T, M] f32."""
        samples = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
        samples = F.pad(samples, (0, max(0, self.n_fft - len(samples))))
        mel = (_mel_spectrogram(self)(samples) + 1e-5).log()
        return ((mel - mel.mean()) / (mel.std() + 1e-5)).T.contiguous()


@cache
def _mel_spectrogram(wanted: LogMel) -> torchaudio.transforms.MelSpectrogram:
    highest = min(wanted.rate / 2, 7600.0)
    return torchaudio.transforms.MelSpectrogram(
        wanted.rate, wanted.n_fft, wanted.rate // 40, wanted.hop, n_mels=wanted.mels, f_max=highest
    )


@dataclass(frozen=True)
class Waveform:
    """The samples themselves, for networks that learned their own filters.

    Args:
        rate: in Hz.
        normalised: whether each clip is shifted and scaled to mean 0, deviation 1, before anything is padded.
        least: samples under which the network has not a single frame; shorter clips are filled up with zeros.
    """

    rate: int = 16_000
    normalised: bool = True
    least: int = 400

    def frames(self, samples: int) -> int:
        return max(samples, self.least)

    def __call__(self, waveform: np.ndarray) -> Tensor:
        """[S] f32."""
        samples = np.asarray(waveform, dtype=np.float32)
        if self.normalised and len(samples):
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        return F.pad(torch.from_numpy(np.ascontiguousarray(samples)), (0, max(0, self.least - len(samples))))


@dataclass(frozen=True)
class WhisperMel:
    """Whisper's log-mels, of the real frames only: what follows them has one value, by which a batch is padded.

    Equal to transformers' `WhisperFeatureExtractor` to the last bit, which computes all 30 seconds of every clip.

    Args:
        rate: in Hz.
        n_fft: samples of a window.
        hop: samples from one frame to the next.
        mels: bands; 128 in large-v3, else 80.
        seconds: that the network always hears.
    """

    rate: int = 16_000
    n_fft: int = 400
    hop: int = 160
    mels: int = 80
    seconds: int = 30

    @property
    def samples(self) -> int:
        return self.seconds * self.rate

    def frames(self, samples: int) -> int:
        return self.samples // self.hop

    def __call__(self, waveform: np.ndarray) -> Tensor:
        """[M, T] f32, with as many frames as touch the waveform; the last one is the clip's floor."""
        real = torch.from_numpy(np.ascontiguousarray(waveform[: self.samples], dtype=np.float32))
        touched = (len(real) + self.n_fft // 2) // self.hop + 2  # and one that is silence
        length = min(touched * self.hop + self.n_fft // 2, self.samples)  # beyond it, `stft` mirrors
        wave = F.pad(real, (0, length - len(real)))
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=torch.hann_window(self.n_fft), return_complex=True)
        power = spectrum[:, : min(touched, self.samples // self.hop)].abs() ** 2
        logs = (_whisper_filters(self).T @ power).clamp(min=1e-10).log10()
        return (torch.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0

    def padded(self, mel: Tensor) -> Tensor:
        """[M, T] to [M, 3000], by the clip's own floor."""
        missing = self.samples // self.hop - mel.shape[1]
        return torch.cat([mel, mel[:, -1:].expand(-1, missing)], dim=1) if missing else mel


@cache
def _whisper_filters(wanted: WhisperMel) -> Tensor:
    """[F, M], as transformers makes them."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=1 + wanted.n_fft // 2,
        num_mel_filters=wanted.mels,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=wanted.rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters).to(torch.float32)

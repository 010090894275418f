"""Features against those of the libraries that the networks were trained with."""

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from zoo.audio.features import LogMel, Waveform, WhisperMel


def speechlike(samples: int, seed: int, loudness: float = 0.1) -> np.ndarray:
    """Noise that swells and fades, of any loudness."""
    noise = np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
    return (loudness * noise * np.sin(np.arange(samples) / 3000) ** 2).astype(np.float32)


LENGTHS = [1, 159, 160, 161, 200, 399, 400, 401, 1000, 15_999, 16_000, 16_001, 123_457, 320_079, 479_600, 479_799]
EDGES = [479_800, 479_801, 479_840, 479_999, 480_000, 480_001, 500_000]


@pytest.mark.parametrize("mels", [80, 128])
def test_whispers_mel_is_that_of_transformers_to_the_last_bit(mels: int):
    extract, wanted = WhisperFeatureExtractor(feature_size=mels), WhisperMel(mels=mels)
    for seed, samples in enumerate(LENGTHS + EDGES):
        for loudness in (1e-6, 0.1):
            clip = speechlike(samples, seed, loudness)
            theirs = extract(clip, sampling_rate=16_000, return_tensors="pt").input_features[0]
            assert torch.equal(wanted.padded(wanted(clip)), theirs), (samples, loudness)


def test_whispers_mel_of_silence_is_that_of_transformers():
    theirs = WhisperFeatureExtractor()(np.zeros(5000, np.float32), sampling_rate=16_000, return_tensors="pt")
    wanted = WhisperMel()
    assert torch.equal(wanted.padded(wanted(np.zeros(5000, np.float32))), theirs.input_features[0])


def test_whispers_mel_of_a_second_has_about_a_second_of_frames():
    assert WhisperMel()(speechlike(16_000, 0)).shape[1] < 110


def test_a_waveform_is_normalised_as_wav2vec2s_extractor_does_it():
    clip = speechlike(16_123, 0) + 0.3
    theirs = Wav2Vec2FeatureExtractor()(clip, sampling_rate=16_000, return_tensors="pt").input_values[0]
    assert torch.allclose(Waveform()(clip), theirs, atol=1e-6)
    assert torch.equal(Waveform(normalised=False)(clip), torch.from_numpy(clip))


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 16_000, 16_159])
@pytest.mark.parametrize("wanted", [LogMel(), LogMel(8000, 40), Waveform()])
def test_the_number_of_frames_is_known_beforehand(wanted: LogMel | Waveform, samples: int):
    features = wanted(speechlike(samples, 0))
    assert len(features) == wanted.frames(samples)
    assert features.isfinite().all()


def test_log_mels_hardly_depend_on_loudness():
    clip = speechlike(16_000, 0, 1.0)
    assert (LogMel()(clip) - LogMel()(0.5 * clip)).abs().mean() < 0.05

"""Augmentations against what they are by definition; each is a function of its arguments and the stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from zoo import streams
from zoo.audio import augment
from zoo.audio.augment import Augmentation, Variation
from zoo.errors import ConfigError, DataError, MissingInputError

RATE = 16000


def tone(frequency: float, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(wave: np.ndarray) -> float:
    """The strongest frequency, in Hz."""
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18)).argmax() * RATE / (1 << 18))


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def stream(*parts: Any) -> torch.Generator:
    return streams.generator("test", *parts)


def varied(wave: np.ndarray, name: Any = 0, most: float | None = None, **settings: Any) -> np.ndarray:
    return Variation(Augmentation(**settings), RATE, most)(wave, stream(name))


@pytest.fixture
def noises(tmp_path: Path) -> str:
    """A second of 1 kHz, and ten of 3 kHz at another rate."""
    soundfile.write(tmp_path / "शोर.wav", tone(1000), RATE)
    soundfile.write(tmp_path / "long.flac", 0.1 * np.sin(2 * np.pi * 3000 * np.arange(80000) / 8000), 8000)
    return str(tmp_path)


# Waveforms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.137])
def test_what_is_played_faster_is_shorter_and_higher_by_the_same_factor(factor: float):
    found = augment.faster(tone(500), factor, RATE)
    assert len(found) == pytest.approx(RATE / factor, abs=1)
    assert pitch(found) == pytest.approx(500 * factor, rel=1e-3)


@pytest.mark.parametrize("decibels", [-6.0, 0.0, 20.0])
def test_decibels_are_a_factor_of_the_amplitude(decibels: float):
    assert np.allclose(augment.louder(tone(500), decibels), tone(500) * 10 ** (decibels / 20), rtol=1e-6)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 17.0])
def test_noise_is_added_in_the_ratio_that_is_asked_for(snr: float):
    found = augment.with_noise(tone(500), tone(1300, level=0.01), snr)
    added = found - tone(500)
    assert 10 * np.log10(power(tone(500)) / power(added)) == pytest.approx(snr, abs=1e-3)
    assert pitch(added) == pytest.approx(1300, rel=1e-3)


@pytest.mark.parametrize(("wave", "noise"), [(tone(500), 0 * tone(1)), (0 * tone(1), tone(500))])
def test_silence_and_silent_noise_change_nothing(wave: np.ndarray, noise: np.ndarray):
    assert np.array_equal(augment.with_noise(wave, noise, 10), wave)


def test_a_room_of_one_impulse_changes_nothing():
    impulse = np.zeros(100, np.float32)
    impulse[40] = 0.2  # the direct sound comes late and soft, which is undone
    assert np.allclose(augment.in_room(tone(500), impulse), tone(500), atol=1e-6)


def test_an_echo_is_the_same_sound_later_and_the_whole_is_as_loud_as_before():
    impulse = np.zeros(1001, np.float32)
    impulse[0], impulse[1000] = 1, 0.5
    wave = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    heard = wave + 0.5 * np.concatenate([np.zeros(1000, np.float32), wave[:-1000]])
    expected = heard * (power(wave) / power(heard)) ** 0.5
    found = augment.in_room(wave, impulse)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)


def test_silence_in_a_room_stays_silence():
    assert np.array_equal(augment.in_room(0 * tone(1), tone(1)), 0 * tone(1))


# One variation --------------------------------------------------------------------------------------------------


def test_without_settings_nothing_is_varied():
    assert np.array_equal(varied(tone(500)), tone(500))


def test_the_same_stream_varies_alike_and_another_one_does_not(noises: str):
    settings = {"speed": 0.1, "gain": 6, "noise": noises, "noise_share": 1, "room": noises, "room_share": 1}
    once, again, other = (varied(tone(500), name, **settings) for name in (1, 1, 2))
    assert np.array_equal(once, again)
    assert once.shape != other.shape or not np.allclose(once, other)


def test_what_is_varied_is_left_as_it_was(noises: str):
    wave = tone(500)
    varied(wave, speed=0.1, gain=6, noise=noises, noise_share=1, room=noises, room_share=1)
    assert np.array_equal(wave, tone(500))


def test_speeds_are_within_the_share_and_on_both_sides_of_one():
    factors = [RATE / len(varied(tone(500), i, speed=0.1)) for i in range(40)]
    assert 0.899 < min(factors) < 0.95
    assert 1.05 < max(factors) < 1.101


def test_no_recording_becomes_longer_than_the_limit_or_faster_because_of_it():
    for i in range(40):
        assert len(varied(tone(500, 2.95), i, most=3, speed=0.2)) <= 3 * RATE
        assert len(varied(tone(500, 4), i, most=3, speed=0.2)) <= 4 * RATE


def test_gains_are_within_their_decibels():
    gains = [10 * np.log10(power(varied(tone(500), i, gain=6)) / power(tone(500))) for i in range(40)]
    assert -6.01 < min(gains) < -3
    assert 3 < max(gains) < 6.01


def test_noise_comes_from_the_folder_in_the_range_of_ratios(noises: str):
    added = [
        varied(tone(500, 2), i, noise=noises, noise_share=1, noise_snr_from=3, noise_snr_to=9) - tone(500, 2)
        for i in range(30)
    ]
    ratios = [10 * np.log10(power(tone(500, 2)) / power(one)) for one in added]
    assert 2.9 < min(ratios) < max(ratios) < 9.1
    assert {round(pitch(one), -1) for one in added} == {1000, 3000}  # the short one is repeated


def test_noise_is_taken_from_any_place_of_its_recording(tmp_path: Path):
    t = np.arange(20 * RATE) / RATE
    soundfile.write(tmp_path / "rising.wav", 0.3 * np.sin(2 * np.pi * (100 * t + 75 * t * t)), RATE)  # to 3,100 Hz
    added = [varied(tone(500, 0.2), i, noise=str(tmp_path), noise_share=1) - tone(500, 0.2) for i in range(40)]
    heard = [pitch(one) for one in added]
    assert min(heard) < 500
    assert max(heard) > 2700


def test_a_share_of_the_recordings_has_noise():
    has_noise = [
        not np.array_equal(varied(tone(500), i, noise="white", noise_share=0.25), tone(500)) for i in range(200)
    ]
    assert 0.15 < np.mean(has_noise) < 0.35


def test_folders_that_are_not_there_or_empty_are_named(tmp_path: Path):
    with pytest.raises(MissingInputError, match=r"augmentation\.noise: .*nowhere: no such folder\."):
        Variation(Augmentation(noise=str(tmp_path / "nowhere")), RATE)
    with pytest.raises(DataError, match=r"augmentation\.room: .* has no recordings in it"):
        Variation(Augmentation(room=str(tmp_path)), RATE)


def test_a_broken_noise_is_named_and_is_no_defect_of_the_sample(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.wav: it is empty") as caught:
        varied(tone(500), noise=str(tmp_path), noise_share=1)
    assert type(caught.value) is DataError


def test_ratios_that_are_the_wrong_way_round_are_refused():
    with pytest.raises(ConfigError, match="noise_snr_from"):
        Augmentation(noise_snr_from=20, noise_snr_to=10)


# Features -------------------------------------------------------------------------------------------------------


def test_masks_have_the_value_and_all_else_is_as_it_was():
    features = torch.randn(200, 80)
    settings = Augmentation(time_masks=2, time_mask_seconds=0.3, frequency_masks=2, frequency_mask_share=0.2)
    found = augment.masked(features, settings, 100, stream(1), value=-7)
    frames, bands = augment.masks(200, 80, settings, 100, stream(1))
    expected = features.clone()
    expected[frames] = -7
    expected[:, bands] = -7
    assert torch.equal(found, expected)
    assert frames.any()
    assert bands.any()


def test_no_mask_is_longer_than_its_limits():
    draws = [augment.masks(1000, 80, Augmentation(time_masks=1, frequency_masks=1), 100, stream(i)) for i in range(300)]
    assert max(int(frames.sum()) for frames, _ in draws) == 50  # half a second, before a tenth of the recording
    assert max(int(bands.sum()) for _, bands in draws) == 16
    short = [augment.masks(100, 80, Augmentation(time_masks=1), 100, stream(i))[0] for i in range(300)]
    assert max(int(frames.sum()) for frames in short) == 10


def test_spans_are_whole_of_every_length_and_everywhere():
    draws = [augment.spans(20, 1, 5, stream(i)) for i in range(2000)]
    lengths = torch.stack(draws).sum(1)
    assert torch.bincount(lengths, minlength=6).float().div(2000).sub(1 / 6).abs().max() < 0.04
    assert torch.stack(draws).any(0).all()
    for one in draws:
        edges = torch.diff(one.int(), prepend=torch.zeros(1, dtype=torch.int), append=torch.zeros(1, dtype=torch.int))
        assert int(edges.abs().sum()) in (0, 2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_shortest_recordings_can_be_masked(count: int):
    features = torch.randn(count, 80)
    assert augment.masked(features, Augmentation(time_masks=3), 100, stream(0)).shape == (count, 80)
    assert augment.spans(count, 3, 10, stream(0)).shape == (count,)
